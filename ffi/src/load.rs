use crate::boundary;
use crate::cancel::busy_cancel;
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_CANCELLED, BUSY_NO_THREADS, BUSY_NULL_POINTER, BUSY_OUT_OF_RANGE, busy_status,
};
use crate::wait::BUSY_WAIT_MAX_NS;
use busy_core::load::{Load, LoadError};
use std::time::Duration;

/// A load. Initialise it by BUSY_LOAD_OPTIONS_INIT (one thread, half a core, periods of 10 ms, one second), then set
/// what you need.
#[repr(C)]
pub struct busy_load_options {
    /// sizeof(busy_load_options).
    pub size: usize,
    /// The flag that may end the load before its time, or NULL for none.
    pub cancel: *const busy_cancel,
    /// What each thread uses of a core, 0 to 1.
    pub share: f64,
    /// How long one round of spinning and sleeping takes, in nanoseconds, more than 0; under 100000 it counts as 100000.
    pub period_ns: u64,
    /// How long all goes on, in nanoseconds, up to BUSY_WAIT_MAX_NS.
    pub duration_ns: u64,
    /// How many threads, 1 to 4096.
    pub threads: u32,
    /// 0.
    pub reserved: u32,
}

/// What a load achieved.
#[repr(C)]
pub struct busy_load_result {
    /// Nanoseconds from the first thread's start to the last one's end.
    pub elapsed_ns: u64,
    /// CPU time of all threads together, in nanoseconds.
    pub cpu_ns: u64,
    /// What the threads used of a core, on average.
    pub share: f64,
}

/// Uses a given share of a core in each of some threads of its own, and writes to `result` what was achieved. Each
/// thread spins until its own CPU clock says that its share of the period is used, then sleeps until the period ends.
///
/// Ownership: both stay yours, and are not kept. Blocking: until all threads have ended. Threads: safe from any number
/// at once. Signals: handlers run during it and do not end it (but may set the flag, which is looked at every 10 ms);
/// not to be called in a handler.
///
/// BUSY_OK: the time has passed. BUSY_CANCELLED: it was ended by the flag; the result is filled. BUSY_NULL_POINTER: one
/// of the two is NULL. BUSY_OUT_OF_RANGE: the period or the duration is over BUSY_WAIT_MAX_NS. BUSY_BAD_SIZE: as of
/// busy_wait_ns(). BUSY_BAD_OPTION: no thread or too many, no period, a share that is not from 0 to 1, or `reserved` is set.
/// BUSY_NO_THREADS: the system gives no more. After all but the first two nothing is left running and nothing was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_load(options: *const busy_load_options, result: *mut busy_load_result) -> busy_status {
    boundary::status(|| {
        if options.is_null() || result.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        // SAFETY: not NULL, so by the header's word live options.
        let busy_load_options { cancel, share, period_ns, duration_ns, threads, reserved, .. } =
            unsafe { known_prefix(options) }?;
        if reserved != 0 {
            return Err(BUSY_BAD_OPTION);
        }
        if period_ns.max(duration_ns) > BUSY_WAIT_MAX_NS {
            return Err(BUSY_OUT_OF_RANGE);
        }
        // SAFETY: NULL, or by the header's word alive until this call returns.
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
        // SAFETY: not NULL, so by the header's word a place for one result.
        unsafe { result.write(busy_load_result { elapsed_ns, cpu_ns, share: achieved.share() }) };
        if achieved.completed { Ok(()) } else { Err(BUSY_CANCELLED) }
    })
}
