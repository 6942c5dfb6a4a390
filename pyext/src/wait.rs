//! The two functions: the same wait, with the GIL held and with the GIL released. They detect Ctrl-C in different ways,
//! since Python runs signal handlers only on the main thread and only with the GIL held.

use crate::capi::{Raised, caught, check_signals, detached, panicked};
use crate::one_argument::OneArgument;
use crate::seconds::to_nanoseconds;
use crate::sigint::{self, Chain};
use busy_core::clock::monotonic_ns;
use busy_core::{busy_wait, busy_wait_while};
use pyo3::Borrowed;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::time::Duration;

/// The period at which with_lock checks for signals. During a shorter wait, only the interpreter checks for them, after
/// the call. The period is too short to be noticed as a delay, and long enough that the cost of the checks is
/// negligible.
const SIGNAL_CHECK_PERIOD_NS: u64 = 10_000_000;

/// `busy.with_lock`.
pub struct WithLock;

impl OneArgument for WithLock {
    const NAME: &CStr = c"with_lock";
    const DOC: &CStr = c"with_lock(seconds, /)\n--\n\n\
Spin for at least `seconds` with the GIL held, and return the number of clock polls.

No other thread runs Python code during the wait, except while a Python signal handler runs. `seconds` is any real
number: an object with `__float__` or `__index__`. On the main thread, signal handlers run within 10 ms. If a handler
raises an exception, such as KeyboardInterrupt, the wait ends; if it returns, the wait continues.

Raises ValueError if `seconds` is negative, NaN or infinite, OverflowError if it is over 292 years, and TypeError if
it is not a real number.";

    fn call(py: Python<'_>, seconds: Borrowed<'_, '_, PyAny>) -> Result<u64, Raised> {
        let length = to_nanoseconds(seconds)?;
        // This avoids the two clock reads, so that the cost of the bare call can be measured.
        if length == 0 {
            return Ok(0);
        }
        let deadline = caught(|| monotonic_ns() + length).ok_or_else(|| panicked(py))?;
        let mut count = 0;
        loop {
            let waited = caught(|| {
                let left = Duration::from_nanos(deadline.saturating_sub(monotonic_ns()));
                busy_wait_while(left, |elapsed| elapsed < SIGNAL_CHECK_PERIOD_NS)
            });
            let waited = waited.ok_or_else(|| panicked(py))?;
            count += waited.count;
            if waited.completed {
                return Ok(count);
            }
            check_signals(py)?;
        }
    }
}

/// `busy.without_lock`.
pub struct WithoutLock;

impl OneArgument for WithoutLock {
    const NAME: &CStr = c"without_lock";
    const DOC: &CStr = c"without_lock(seconds, /)\n--\n\n\
Spin for at least `seconds` with the GIL released, and return the number of clock polls.

Other threads run Python code during the wait: the GIL is released once, and acquired again when the wait is over.
`seconds` is any real number: an object with `__float__` or `__index__`. If SIGINT (Ctrl-C) arrives on the main
thread, its Python handler runs as soon as the thread has acquired the GIL. If the handler raises an exception, such
as KeyboardInterrupt, the wait ends; if it returns, the wait continues. Handlers of other signals run after the wait.
For the time of the wait this module installs a SIGINT handler that calls the previous one; if SIGINT is ignored or
kills the process (SIG_IGN, SIG_DFL), it stays so.

Raises ValueError if `seconds` is negative, NaN or infinite, OverflowError if it is over 292 years, and TypeError if
it is not a real number.";

    fn call(py: Python<'_>, seconds: Borrowed<'_, '_, PyAny>) -> Result<u64, Raised> {
        let length = to_nanoseconds(seconds)?;
        if length == 0 {
            detached(py, || 0)
        } else if length > SIGNAL_CHECK_PERIOD_NS && sigint::on_main_thread() {
            without_lock_until_sigint(py, length)
        } else {
            detached(py, || busy_wait(Duration::from_nanos(length)).count)
        }
    }
}

/// Waits with the GIL released, and reattaches only when a SIGINT has arrived or the time is over. Reattaching
/// periodically to check for signals would cost a switch interval each time: at a period of 40 ms, the wait and one thread
/// of Python code together use 88 % of two cores instead of 99 %.
fn without_lock_until_sigint(py: Python<'_>, length: u64) -> Result<u64, Raised> {
    let deadline = caught(|| monotonic_ns() + length).ok_or_else(|| panicked(py))?;
    let mut count = 0;
    loop {
        // Runs the Python handler of the SIGINT that ended the previous part, before our handler is installed again: the
        // Python handler must find the action that it knows.
        check_signals(py)?;
        let chain = caught(Chain::install).ok_or_else(|| panicked(py))?;
        // A SIGINT between the two calls has reached only CPython's handler, and would not end the wait.
        if let Err(raised) = check_signals(py) {
            _ = caught(|| chain.undo());
            return Err(raised);
        }
        let waited = detached(py, || {
            let left = Duration::from_nanos(deadline.saturating_sub(monotonic_ns()));
            let waited = busy_wait_while(left, |_| !chain.arrived());
            // Before the GIL is acquired, which may end the thread.
            chain.undo();
            waited
        })?;
        count += waited.count;
        if waited.completed {
            // A SIGINT may have arrived at the last moment.
            return check_signals(py).map(|()| count);
        }
    }
}
