//! Reads this process's memory. A read of unmapped memory fails instead of faulting.

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
