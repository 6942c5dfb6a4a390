use crate::boundary;
use crate::status::{BUSY_NO_SUCH_THREAD, BUSY_NULL_POINTER, BUSY_UNSUPPORTED, busy_status};
use std::io::ErrorKind;

/// Writes to `ns` the CPU time that thread `tid` of the calling process has used since its start, in nanoseconds,
/// exact also while it runs. `tid` is what gettid(2) returns; 0 is the calling thread. Costs one system call.
///
/// Ownership: `ns` stays yours. Blocking: no. Threads, signals: safe from any thread and from a signal handler.
///
/// BUSY_OK; BUSY_NULL_POINTER: `ns` is NULL; BUSY_NO_SUCH_THREAD: the thread has ended, or is another process's;
/// BUSY_UNSUPPORTED: not on Linux.
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
        // SAFETY: not NULL, so by the header's word a place for one number.
        unsafe { ns.write(used.as_nanos() as u64) };
        Ok(())
    })
}
