//! The memory barrier between a cut and the reading of the accounts.

/// Makes every running thread of this process execute a memory barrier (membarrier(2)). A thread that has begun to
/// record an event and did not learn of the latest cut is visible as such afterwards. So the threads need no barrier of
/// their own, which would cost as much as the rest of an event.
///
/// If the kernel does not have the call (before Linux 4.14), or a filter forbids it, the reader may miss that an event
/// has begun: then a hold may be up to a microsecond too long in one reading, and too short in the next one.
pub(super) fn of_all_threads() {
    const PRIVATE_EXPEDITED: i32 = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
    // SAFETY: membarrier(2) has no pointers. Before the process has registered itself, the call fails with EPERM.
    unsafe {
        if libc::syscall(libc::SYS_membarrier, PRIVATE_EXPEDITED, 0, 0) != 0
            && libc::syscall(libc::SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0
        {
            libc::syscall(libc::SYS_membarrier, PRIVATE_EXPEDITED, 0, 0);
        }
    }
}
