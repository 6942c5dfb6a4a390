use crate::boundary;
use crate::status::{BUSY_NO_SUCH_THREAD, BUSY_NULL_POINTER, BUSY_UNSUPPORTED, busy_status};
use std::io::ErrorKind;

/// Writes to `*ns` the CPU time that the thread `tid` of the calling process has used since the thread started, in
/// nanoseconds. The value is exact even while the thread is running. The function makes one system call.
///
/// - `tid`: the thread id, as gettid(2) returns it, converted to uint32_t; 0 is the calling thread.
/// - `ns`: receives the CPU time; must not be NULL.
///
/// Ownership: the caller owns `ns`.
/// Blocking: no.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it.
///
/// Returns:
/// - BUSY_OK: `*ns` is written.
/// - BUSY_NULL_POINTER: `ns` is NULL.
/// - BUSY_NO_SUCH_THREAD: the thread has ended, it belongs to another process, or no thread has this id.
/// - BUSY_UNSUPPORTED: the operating system is not Linux, or a seccomp(2) filter forbids clock_gettime(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_thread_cpu_ns(tid: u32, ns: *mut u64) -> busy_status {
    boundary::status(|| {
        if ns.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        let used = keep_errno(|| busy_core::cpu::own_thread(tid)).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => BUSY_NO_SUCH_THREAD,
            _ => BUSY_UNSUPPORTED,
        })?;
        // SAFETY: the pointer is not NULL, so the header requires space for one number.
        unsafe { ns.write(used.as_nanos() as u64) };
        Ok(())
    })
}

/// Runs `body` and restores errno, which a failing system call sets: a signal handler must leave errno as it was.
#[cfg(target_os = "linux")]
fn keep_errno<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: __errno_location(3) returns the calling thread's errno, which lives as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { errno.read() };
    let result = body();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}

/// Runs `body`, which makes no system call on this platform.
#[cfg(not(target_os = "linux"))]
fn keep_errno<T>(body: impl FnOnce() -> T) -> T {
    body()
}
