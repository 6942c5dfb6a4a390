use crate::boundary;
use crate::cancel::busy_cancel;
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_CANCELLED, BUSY_NULL_POINTER, BUSY_OUT_OF_RANGE, BUSY_UNSUPPORTED, busy_status,
};
use std::ffi::c_uint;
use std::time::Duration;

/// The longest wait that busy_wait_ns() takes, in nanoseconds: 2^63 - 1, 292 years.
pub const BUSY_WAIT_MAX_NS: u64 = 9223372036854775807;

/// Poll CLOCK_MONOTONIC: everywhere, the default.
pub const BUSY_CLOCK_MONOTONIC: u32 = 0;
/// Poll the processor's time stamp counter, and CLOCK_MONOTONIC for the last word: ends closer to the time asked for.
/// x86-64 with an invariant counter; BUSY_UNSUPPORTED elsewhere.
pub const BUSY_CLOCK_TSC: u32 = 1;

/// How a wait is to be done. Initialise it by BUSY_WAIT_OPTIONS_INIT, then set what you need: the size tells the
/// library which fields your header knew, so fields can be added without breaking you.
#[repr(C)]
pub struct busy_wait_options {
    /// sizeof(busy_wait_options).
    pub size: usize,
    /// The flag that may end the wait before its time, or NULL for none.
    pub cancel: *const busy_cancel,
    /// What to poll: BUSY_CLOCK_MONOTONIC or BUSY_CLOCK_TSC.
    pub clock: u32,
    /// 0.
    pub reserved: u32,
}

/// What a wait did.
#[repr(C)]
pub struct busy_wait_result {
    /// Polls of the clock that found time left.
    pub count: u64,
    /// Nanoseconds from the first poll to the last: at least what was asked for, unless cancelled.
    pub elapsed_ns: u64,
}

/// Spins on CLOCK_MONOTONIC for `seconds`, never less, and returns how many polls found time left. Prints nothing.
/// The symbol of the talk (slide 13): `ctypes.CDLL("libbusy.so.1").busy_wait(ctypes.c_uint(10))` works as it did.
///
/// Blocking: for the whole time, on the CPU; it can't be cancelled. Threads: safe from any number at once. Signals:
/// handlers run during it and do not end it; itself safe in a handler. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn busy_wait(seconds: c_uint) -> u64 {
    boundary::count(|| busy_core::busy_wait(Duration::from_secs(u64::from(seconds))).count)
}

/// The talk's own loop, for counts like with like: counts how often time(2) can be read until more than `seconds`
/// whole seconds have passed. So it runs anything from `seconds` to `seconds + 1` seconds, and longer if the clock
/// is set back meanwhile. To wait for an exact time, take busy_wait() or busy_wait_ns().
///
/// Blocking, threads, signals, errors: as busy_wait().
#[unsafe(no_mangle)]
pub extern "C" fn busy_wait_time(seconds: c_uint) -> u64 {
    // SAFETY: time(2) with NULL only returns the time.
    let time = || unsafe { libc::time(std::ptr::null_mut()) };
    boundary::count(|| busy_core::busy_wait_whole_seconds(u64::from(seconds), time))
}

/// Spins on the CPU for `ns` nanoseconds of CLOCK_MONOTONIC, never less, and writes to `result` what it did. 0 returns at once.
///
/// `options`: NULL for the defaults. `result`: must not be NULL. Ownership: both stay yours, and are not kept.
/// Blocking: for the whole time, on the CPU, or until the options' cancel flag is set. Threads: safe from any number
/// at once. Signals: handlers run during it and do not end it (but may set the flag); itself safe in a handler.
///
/// BUSY_OK: the time has passed. BUSY_CANCELLED: it was ended by the flag; the result is filled. BUSY_NULL_POINTER:
/// `result` is NULL. BUSY_OUT_OF_RANGE: `ns` is over BUSY_WAIT_MAX_NS. BUSY_BAD_SIZE: `options->size` is smaller than
/// any version's or over 4096, or fields that this library does not know are set. BUSY_BAD_OPTION: `options->clock` is no
/// clock, or `reserved` is set. BUSY_UNSUPPORTED: this machine has not got that clock. After these nothing was waited or
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_wait_ns(
    ns: u64,
    options: *const busy_wait_options,
    result: *mut busy_wait_result,
) -> busy_status {
    boundary::status(|| {
        if result.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        if ns > BUSY_WAIT_MAX_NS {
            return Err(BUSY_OUT_OF_RANGE);
        }
        let duration = Duration::from_nanos(ns);
        let (cancel, clock) = if options.is_null() {
            (std::ptr::null(), BUSY_CLOCK_MONOTONIC)
        } else {
            // SAFETY: not NULL, so by the header's word live options.
            let busy_wait_options { cancel, clock, reserved, .. } = unsafe { known_prefix(options) }?;
            if reserved != 0 {
                return Err(BUSY_BAD_OPTION);
            }
            (cancel, clock)
        };
        // SAFETY: NULL, or by the header's word alive until this wait returns.
        let flag = unsafe { busy_cancel::flag(cancel) };
        let waited = match clock {
            BUSY_CLOCK_MONOTONIC => busy_core::busy_wait_while(duration, |_| !flag.is_set()),
            BUSY_CLOCK_TSC => busy_core::busy_wait_tsc(duration, || !flag.is_set()).map_err(|_| BUSY_UNSUPPORTED)?,
            _ => return Err(BUSY_BAD_OPTION),
        };
        let elapsed_ns = waited.elapsed.as_nanos() as u64;
        // SAFETY: not NULL, so by the header's word a place for one result.
        unsafe { result.write(busy_wait_result { count: waited.count, elapsed_ns }) };
        if waited.completed { Ok(()) } else { Err(BUSY_CANCELLED) }
    })
}
