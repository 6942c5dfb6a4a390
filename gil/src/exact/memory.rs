//! This process's memory: reads, which fail instead of faulting if the memory is unmapped; and reservations.

use crate::refusal::Refusal;
use std::io;
use std::ptr::null_mut;

/// Reserves `bytes` of address space that are full of zeros. Pages become memory as they are touched; nothing is freed.
///
/// # Errors
/// [`Refusal::System`], with `purpose`.
pub(super) fn reserve(bytes: usize, purpose: &'static str) -> Result<*mut u8, Refusal> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new memory, at an address of the kernel's choice.
    let reserved = unsafe { libc::mmap(null_mut(), bytes, rights, flags, -1, 0) };
    if reserved == libc::MAP_FAILED {
        return Err(Refusal::System(purpose, io::Error::last_os_error().to_string()));
    }
    // Huge pages would make megabytes of each touched byte. If this fails, the kernel has none.
    // SAFETY: the memory that was reserved above.
    unsafe { libc::madvise(reserved, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(reserved.cast())
}

/// Returns the words that begin at `address` if all of them are mapped. Makes one system call and does not change
/// errno.
pub(super) fn words<const N: usize>(address: usize) -> Option<[usize; N]> {
    let mut words = [0usize; N];
    let bytes = size_of_val(&words);
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: bytes };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
    // SAFETY: errno is the thread's own; process_vm_readv(2) writes to the local buffer only, and fails with EFAULT if
    // the source is not mapped.
    let read = unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let read = libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0);
        *errno = before;
        read
    };
    (read == bytes as isize).then_some(words)
}
