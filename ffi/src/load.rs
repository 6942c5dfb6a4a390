use crate::boundary;
use crate::cancel::busy_cancel;
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_CANCELLED, BUSY_NO_THREADS, BUSY_NULL_POINTER, BUSY_OUT_OF_RANGE, busy_status,
};
use busy_core::MAX_WAIT_NS;
use busy_core::load::{Load, LoadError};
use std::time::Duration;

/// The options of busy_load(). Initialise them with BUSY_LOAD_OPTIONS_INIT (one thread that uses half a core for one
/// second, in periods of 10 ms), then set the fields that you need.
#[repr(C)]
pub struct busy_load_options {
    /// sizeof(busy_load_options); BUSY_LOAD_OPTIONS_INIT sets it.
    pub size: usize,
    /// The flag that can end the load early, or NULL for no flag.
    pub cancel: *const busy_cancel,
    /// The share of a core that each thread uses, from 0 to 1; both are allowed, and NaN is not.
    pub share: f64,
    /// The length of one period of spinning and sleeping, in nanoseconds: from 1 to BUSY_WAIT_MAX_NS. A period of less
    /// than 100000 ns is lengthened to 100000 ns. If the duration is not a multiple of it, the last period is cut
    /// short, and so is the time that the thread spins in it.
    pub period_ns: u64,
    /// The duration of the load in nanoseconds, from 0 to BUSY_WAIT_MAX_NS, which each thread counts from its own
    /// start. If it is 0 and all arguments are valid, the threads are created and end at once, the status is
    /// BUSY_OK even if the cancel flag is set, and `share` of the result has no meaning.
    pub duration_ns: u64,
    /// The number of threads that the load creates, from 1 to 4096.
    pub threads: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// The result of busy_load().
#[repr(C)]
pub struct busy_load_result {
    /// The time from the creation of the first thread of the load to the end of the last one, in nanoseconds: at least
    /// the requested duration after BUSY_OK.
    pub elapsed_ns: u64,
    /// The CPU time that the threads of the load used together, in nanoseconds.
    pub cpu_ns: u64,
    /// The share of a core that the threads of the load used on average: `cpu_ns`, divided by the sum of their run
    /// times. The run time of a thread is the time from its own start to its own end.
    pub share: f64,
}

/// Creates threads that each use a given share of a core for a given time, and writes the achieved load to `*result`.
/// In each period, a thread spins until its own CPU clock shows that it has used its share of the time from its start
/// to the end of this period. Then it sleeps until the period ends. So a thread that had no CPU in some periods uses
/// more in the next ones, but makes up for at most 10 periods.
///
/// The calling thread is not one of these threads; it sleeps until they have ended. They have the signal mask of the
/// calling thread. So they may run the handler of a signal that is sent to the process, unless the calling thread
/// blocks that signal.
///
/// - `options`: the number of threads, their share of a core, and the duration; must not be NULL.
/// - `result`: receives the result; must not be NULL.
///
/// Ownership: the caller owns `options` and `result`; the library does not keep the pointers.
/// Blocking: yes; the calling thread sleeps until all threads of the load have ended.
/// Threads: any number of threads may call it at the same time; each call creates threads of its own.
/// Signals: a signal handler must not call it. A handler that runs during the call does not end the load, but may set
/// the cancel flag, which each thread of the load checks at least every 10 ms. It must not leave the call by longjmp()
/// or pthread_exit(). The call may change errno.
/// Cancellation: pthread_cancel() takes effect after the call.
///
/// Returns:
/// - BUSY_OK: the duration has passed. `*result` is written.
/// - BUSY_CANCELLED: the cancel flag ended the load early. `*result` is written.
/// - BUSY_NULL_POINTER: `options` or `result` is NULL.
/// - BUSY_OUT_OF_RANGE: `period_ns` or `duration_ns` is greater than BUSY_WAIT_MAX_NS.
/// - BUSY_BAD_SIZE: as for busy_wait_ns().
/// - BUSY_BAD_OPTION: `threads` is not from 1 to 4096, `share` is not from 0 to 1, `period_ns` is 0, or `reserved` is
///   not 0.
/// - BUSY_NO_THREADS: the system could not create a thread. Those that it had created have ended; they may have used
///   CPU time.
///
/// When the call has returned, no thread of the load is left, whatever the status. After every status except BUSY_OK
/// and BUSY_CANCELLED, `*result` is not written and, except after BUSY_NO_THREADS, no thread was created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_load(options: *const busy_load_options, result: *mut busy_load_result) -> busy_status {
    boundary::status_uncancelled(|| {
        if options.is_null() || result.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        // SAFETY: the pointer is not NULL, so the header requires live options.
        let busy_load_options { cancel, share, period_ns, duration_ns, threads, reserved, .. } =
            unsafe { known_prefix(options) }?;
        if reserved != 0 {
            return Err(BUSY_BAD_OPTION);
        }
        if period_ns.max(duration_ns) > MAX_WAIT_NS {
            return Err(BUSY_OUT_OF_RANGE);
        }
        // SAFETY: the header requires NULL or a flag that is alive until this call returns.
        let flag = unsafe { busy_cancel::flag(cancel) };
        let load = Load {
            threads: threads as usize,
            share,
            period: Duration::from_nanos(period_ns),
            duration: Duration::from_nanos(duration_ns),
        };
        let achieved = load.run(|| !flag.is_set()).map_err(|error| match error {
            LoadError::Threads(_) | LoadError::Share(_) | LoadError::NoPeriod => BUSY_BAD_OPTION,
            LoadError::Spawn(_) => BUSY_NO_THREADS,
        })?;
        let cpu_ns = achieved.threads.iter().map(|thread| thread.cpu.as_nanos() as u64).sum();
        let elapsed_ns = achieved.elapsed.as_nanos() as u64;
        // SAFETY: the pointer is not NULL, so the header requires space for one result.
        unsafe { result.write(busy_load_result { elapsed_ns, cpu_ns, share: achieved.share() }) };
        if achieved.completed { Ok(()) } else { Err(BUSY_CANCELLED) }
    })
}
