//! This process's memory: reads, which fail instead of faulting if the memory is unmapped; and reservations. Both happen
//! inside hooks, whose callers may rely on errno.

use crate::refusal::Refusal;
use std::io;
use std::ptr::null_mut;

/// Runs `body`, and restores errno. CPython looks at errno after it has released the GIL, as in `ScandirIterator_iternext`
/// (Modules/posixmodule.c), where 0 means the end of the folder.
pub(crate) fn keep_errno<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: errno is the thread's own, and lives as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { errno.read() };
    let result = body();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}

/// Reserves `bytes` of address space that are full of zeros. Pages become memory as they are touched. The memory is never
/// freed, except by [`unreserve`]. Does not change errno.
///
/// # Errors
/// [`Refusal::System`], with `purpose`.
pub(super) fn reserve(bytes: usize, purpose: &'static str) -> Result<*mut u8, Refusal> {
    keep_errno(|| map(bytes)).map_err(|error| Refusal::System(purpose, error.to_string()))
}

fn map(bytes: usize) -> io::Result<*mut u8> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new memory, at an address of the kernel's choice.
    let reserved = unsafe { libc::mmap(null_mut(), bytes, rights, flags, -1, 0) };
    if reserved == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Huge pages would make megabytes of each touched byte. If this fails, the kernel has none.
    // SAFETY: the memory that was reserved above.
    unsafe { libc::madvise(reserved, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(reserved.cast())
}

/// Returns what [`reserve`] has reserved, if nobody uses it.
pub(super) fn unreserve(reserved: *mut u8, bytes: usize) {
    // SAFETY: the caller reserved it and has not shared it.
    unsafe { libc::munmap(reserved.cast(), bytes) };
}

/// Returns the words that begin at `address` if all of them are mapped. Does not change errno.
pub(super) fn words<const N: usize>(address: usize) -> Option<[usize; N]> {
    read(address).ok()
}

/// Returns the words that begin at `address`. Makes one system call, or four if the first is forbidden, as by a seccomp
/// filter. Allocates nothing and does not change errno.
///
/// # Errors
/// EFAULT or EIO if the words are not mapped. Otherwise, the process may not read itself.
pub(super) fn read<const N: usize>(address: usize) -> io::Result<[usize; N]> {
    let mut words = [0usize; N];
    let result = keep_errno(|| match read_by_call(address, &mut words) {
        Err(error) if error.raw_os_error() != Some(libc::EFAULT) => read_by_file(address, &mut words).or(Err(error)),
        read => read,
    });
    result.map(|()| words)
}

fn read_by_call(address: usize, words: &mut [usize]) -> io::Result<()> {
    let bytes = size_of_val(words);
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: bytes };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
    // SAFETY: process_vm_readv(2) writes to the local buffer only, and fails with EFAULT if the source is not mapped.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    if read == bytes as isize { Ok(()) } else { Err(error(read)) }
}

fn read_by_file(address: usize, words: &mut [usize]) -> io::Result<()> {
    let bytes = size_of_val(words);
    // SAFETY: plain system calls; pread(2) writes to the buffer only, and fails with EIO if the source is not mapped.
    unsafe {
        let file = libc::open(c"/proc/self/mem".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        let read = libc::pread(file, words.as_mut_ptr().cast(), bytes, address as libc::off_t);
        let result = if read == bytes as isize { Ok(()) } else { Err(error(read)) };
        libc::close(file);
        result
    }
}

/// Returns the error of a read that returned `read`. A partial read has ended at memory that is not mapped.
fn error(read: isize) -> io::Error {
    if read < 0 { io::Error::last_os_error() } else { io::Error::from_raw_os_error(libc::EFAULT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_both_ways_if_they_are_mapped() {
        let words = [7usize, 8];
        let address = words.as_ptr() as usize;
        for read in [read_by_call, read_by_file] {
            let mut found = [0; 2];
            read(address, &mut found).unwrap();
            assert_eq!(found, [7, 8]);
            read(16, &mut found).unwrap_err();
        }
        assert_eq!((super::words::<2>(address), super::words::<1>(16)), (Some([7, 8]), None));
    }
}
