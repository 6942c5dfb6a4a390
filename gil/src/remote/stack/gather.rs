//! Reads the beginnings of many objects of a process by one system call.

use super::super::error::RemoteError;
use super::super::target::Target;
use std::ffi::c_void;

/// Fills `buffer` with `size` bytes from each of `addresses`, one behind the other. Returns the number of objects read;
/// it is smaller than that of the addresses if the next one is not mapped.
///
/// process_vm_readv(2) finds the process by its id, which may have been reused. The caller therefore reads through
/// `target`'s descriptor afterwards: if that succeeds, the process still has the id.
pub(super) fn gather(
    target: &Target,
    addresses: &[u64],
    size: usize,
    buffer: &mut Vec<u8>,
) -> Result<usize, RemoteError> {
    /// UIO_MAXIOV in the kernel's include/uapi/linux/uio.h.
    const MOST: usize = 1024;
    buffer.resize(addresses.len() * size, 0);
    let mut done = 0;
    for (part, memory) in addresses.chunks(MOST).zip(buffer.chunks_mut(MOST * size.max(1))) {
        let local = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
        let remote = |address: &u64| libc::iovec { iov_base: *address as usize as *mut c_void, iov_len: size };
        let remote: Vec<_> = part.iter().map(remote).collect();
        // SAFETY: the kernel writes only to `local`, which is `memory`, a live exclusive borrow of that length, and it
        // reads both lists during the call only. The addresses in `remote` refer to the other process; the kernel
        // checks them.
        let read = unsafe {
            libc::process_vm_readv(
                target.pid as libc::pid_t,
                &raw const local,
                1,
                remote.as_ptr(),
                remote.len() as u64,
                0,
            )
        };
        // A filter of system calls may forbid the call; reading one by one finds the reason, too, if there is another.
        let read = usize::try_from(read).unwrap_or(0) / size.max(1);
        for (index, (address, object)) in part.iter().zip(memory.chunks_exact_mut(size.max(1))).enumerate().skip(read) {
            if !target.read(*address, object)? {
                return Ok(done + index);
            }
        }
        done += part.len();
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_up_to_the_first_that_is_not_mapped() {
        let mut target = Target::open(std::process::id()).unwrap();
        let objects: Vec<[u8; 24]> = (0..3000u32).map(|index| [index as u8; 24]).collect();
        let mut addresses: Vec<u64> = objects.iter().map(|object| object.as_ptr() as u64).collect();
        let mut buffer = Vec::new();
        assert_eq!(gather(&target, &addresses, 24, &mut buffer).unwrap(), 3000);
        assert!(buffer.as_chunks().0 == objects);
        // Above the largest process id (PID_MAX_LIMIT), so the call fails, and each object is read by the descriptor.
        let pid = std::mem::replace(&mut target.pid, 1 << 23);
        buffer.clear();
        assert_eq!(gather(&target, &addresses, 24, &mut buffer).unwrap(), 3000);
        assert!(buffer.as_chunks().0 == objects);
        target.pid = pid;
        addresses[2000] = 8;
        assert_eq!(gather(&target, &addresses, 24, &mut buffer).unwrap(), 2000);
        assert!(buffer.as_chunks().0[..2000] == objects[..2000]);
        assert_eq!(gather(&target, &[], 24, &mut buffer).unwrap(), 0);
    }
}
