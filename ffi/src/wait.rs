use crate::boundary;
use crate::cancel::busy_cancel;
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_CANCELLED, BUSY_NULL_POINTER, BUSY_OUT_OF_RANGE, BUSY_UNSUPPORTED, busy_status,
};
use busy_core::MAX_WAIT_NS;
use std::ffi::c_uint;
use std::time::Duration;

/// The longest time that busy_wait_ns() and busy_load() accept, in nanoseconds: 2^63 - 1, which is 292 years.
pub const BUSY_WAIT_MAX_NS: u64 = 9223372036854775807;
// cbindgen copies the literal into busy.h; it can't evaluate the core's constant.
const _: () = assert!(BUSY_WAIT_MAX_NS == MAX_WAIT_NS, "busy.h must state the core's longest wait");

/// Poll CLOCK_MONOTONIC. This is the default, and every system that can build the library has this clock.
pub const BUSY_CLOCK_MONOTONIC: u32 = 0;
/// Poll the processor's time stamp counter, and read CLOCK_MONOTONIC to confirm that the time has passed. Like a
/// wait with BUSY_CLOCK_MONOTONIC, such a wait never ends before the time has passed on CLOCK_MONOTONIC, unless it is
/// cancelled; and it ends closer to that time. It requires an x86-64 processor with an invariant time stamp counter; on
/// any other machine the status is BUSY_UNSUPPORTED.
pub const BUSY_CLOCK_TSC: u32 = 1;

/// The options of busy_wait_ns(). Initialise them with BUSY_WAIT_OPTIONS_INIT, then set the fields that you need.
#[repr(C)]
pub struct busy_wait_options {
    /// sizeof(busy_wait_options); BUSY_WAIT_OPTIONS_INIT sets it.
    pub size: usize,
    /// The flag that can end the wait early, or NULL for no flag.
    pub cancel: *const busy_cancel,
    /// The clock to poll: BUSY_CLOCK_MONOTONIC or BUSY_CLOCK_TSC.
    pub clock: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// The result of busy_wait_ns().
#[repr(C)]
pub struct busy_wait_result {
    /// The number of times that the wait polled a clock and went on because the time had not passed. With
    /// BUSY_CLOCK_TSC, the polls of both clocks count.
    pub count: u64,
    /// The length of the wait by CLOCK_MONOTONIC, whichever clock was polled, in nanoseconds: at least the requested
    /// time after BUSY_OK, and less than that after BUSY_CANCELLED.
    pub elapsed_ns: u64,
}

/// Spins on CLOCK_MONOTONIC for `seconds` seconds, never less, and returns how often it polled the clock and went on
/// because the time had not passed. If `seconds` is 0, it returns 0 at once.
///
/// It has the name and the arguments of the function of the talk "Global Interpreter Lock, Episode I: Break the Seal"
/// (PyCon APAC 2015, slide 13), but never ends early; busy_wait_time() has the talk's own loop. The talk's call works
/// unchanged: `ctypes.CDLL("libbusy.so.1").busy_wait(ctypes.c_uint(10))`. Without a `restype`, ctypes reads the
/// returned count as a C int, which is too small for long waits. To get the whole count, set `restype` to c_uint64.
///
/// Blocking: yes; the thread spins until the time has passed. The wait can't be cancelled.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it. A handler that runs during the wait does not end it.
/// Errors: if the library catches a defect of its own, the function returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn busy_wait(seconds: c_uint) -> u64 {
    boundary::count(|| busy_core::busy_wait(Duration::from_secs(u64::from(seconds))).count)
}

/// Reads time(2) in a loop until it returns more than the first reading plus `seconds`, and returns how often it read
/// the clock and went on. This is the loop of the talk (see busy_wait()), for comparing counts with those of the talk.
///
/// Since time(2) counts whole seconds, the loop takes a time between `seconds` and `seconds + 1` seconds, except for
/// the few milliseconds by which time(2) may lag. It reads the system's clock of the time of day. If that clock is set
/// back meanwhile, the loop takes longer; if it is set forward, the loop ends early. To wait for an exact time, use
/// busy_wait() or busy_wait_ns().
///
/// Blocking, threads, signals and errors: as for busy_wait().
#[unsafe(no_mangle)]
pub extern "C" fn busy_wait_time(seconds: c_uint) -> u64 {
    // SAFETY: with NULL, time(2) only returns the time.
    let time = || unsafe { libc::time(std::ptr::null_mut()) };
    boundary::count(|| busy_core::busy_wait_whole_seconds(u64::from(seconds), time))
}

/// Spins on the CPU for `ns` nanoseconds of CLOCK_MONOTONIC, never less unless it is cancelled, and writes the result
/// of the wait to `*result`.
///
/// - `ns`: the time to wait, from 0 to BUSY_WAIT_MAX_NS. If it is 0 and all arguments are valid, the call returns
///   BUSY_OK at once, even if the cancel flag is set.
/// - `options`: the clock and the cancel flag, or NULL for the defaults of BUSY_WAIT_OPTIONS_INIT.
/// - `result`: receives the result; must not be NULL.
///
/// Ownership: the caller owns `options` and `result`; the library does not keep the pointers.
/// Blocking: yes; the thread spins until the time has passed or the cancel flag is set.
/// Threads: any number of threads may call it at the same time. Calls may share their options.
/// Signals: a signal handler may call it. A handler that runs during the wait does not end it, but may set the cancel
/// flag.
///
/// Returns:
/// - BUSY_OK: the time has passed. `*result` is written.
/// - BUSY_CANCELLED: the cancel flag ended the wait early. `*result` is written.
/// - BUSY_NULL_POINTER: `result` is NULL.
/// - BUSY_OUT_OF_RANGE: `ns` is greater than BUSY_WAIT_MAX_NS.
/// - BUSY_BAD_SIZE: `options->size` is smaller than the first version of the struct or greater than 4096, or `options`
///   has a nonzero field that this library does not know.
/// - BUSY_BAD_OPTION: `options->clock` is neither BUSY_CLOCK_MONOTONIC nor BUSY_CLOCK_TSC, or `options->reserved` is
///   not 0.
/// - BUSY_UNSUPPORTED: this machine does not have the clock that `options->clock` selects.
///
/// After every status except BUSY_OK and BUSY_CANCELLED, the call has not waited and has not written to `*result`.
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
        if ns > MAX_WAIT_NS {
            return Err(BUSY_OUT_OF_RANGE);
        }
        let duration = Duration::from_nanos(ns);
        let (cancel, clock) = if options.is_null() {
            (std::ptr::null(), BUSY_CLOCK_MONOTONIC)
        } else {
            // SAFETY: the pointer is not NULL, so the header requires live options.
            let busy_wait_options { cancel, clock, reserved, .. } = unsafe { known_prefix(options) }?;
            if reserved != 0 {
                return Err(BUSY_BAD_OPTION);
            }
            (cancel, clock)
        };
        // SAFETY: the header requires NULL or a flag that is alive until this wait returns.
        let flag = unsafe { busy_cancel::flag(cancel) };
        let waited = match clock {
            BUSY_CLOCK_MONOTONIC => busy_core::busy_wait_while(duration, |_| !flag.is_set()),
            BUSY_CLOCK_TSC => busy_core::busy_wait_tsc(duration, || !flag.is_set()).map_err(|_| BUSY_UNSUPPORTED)?,
            _ => return Err(BUSY_BAD_OPTION),
        };
        let elapsed_ns = waited.elapsed.as_nanos() as u64;
        // SAFETY: the pointer is not NULL, so the header requires space for one result.
        unsafe { result.write(busy_wait_result { count: waited.count, elapsed_ns }) };
        if waited.completed { Ok(()) } else { Err(BUSY_CANCELLED) }
    })
}
