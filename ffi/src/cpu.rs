use crate::boundary;
use crate::status::{BUSY_NO_SUCH_THREAD, BUSY_NULL_POINTER, BUSY_UNSUPPORTED, busy_status};
use std::io::ErrorKind;

/// Writes to `*ns` the CPU time that the thread `tid` of the calling process has used since the thread started, in
/// nanoseconds. The value is exact even while the thread is running. The function makes one system call.
///
/// - `tid`: the thread id, as gettid(2) returns it; 0 is the calling thread.
/// - `ns`: receives the CPU time.
///
/// Ownership: the caller owns `ns`.
/// Blocking: no.
/// Threads and signals: safe to call from any thread and from a signal handler.
///
/// Returns:
/// - BUSY_OK: `*ns` is written.
/// - BUSY_NULL_POINTER: `ns` is NULL.
/// - BUSY_NO_SUCH_THREAD: the thread has ended, or it belongs to another process.
/// - BUSY_UNSUPPORTED: the operating system is not Linux.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_thread_cpu_ns(tid: u32, ns: *mut u64) -> busy_status {
    boundary::status(|| {
        if ns.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        let used = busy_core::cpu::own_thread(tid).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => BUSY_UNSUPPORTED,
            _ => BUSY_NO_SUCH_THREAD,
        })?;
        // SAFETY: the pointer is not NULL, so the header requires space for one number.
        unsafe { ns.write(used.as_nanos() as u64) };
        Ok(())
    })
}
