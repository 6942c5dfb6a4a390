//! The two functions: the same wait, with the GIL kept and with the GIL given up. What differs besides is how each
//! learns of a Ctrl-C, since Python runs its signal handlers on the main thread only, and only with the GIL.

use crate::capi::{Raised, check_signals};
use crate::one_argument::OneArgument;
use crate::seconds::to_nanoseconds;
use crate::sigint::{self, Chain};
use busy_core::clock::monotonic_ns;
use busy_core::{busy_wait, busy_wait_while};
use pyo3::prelude::*;
use std::ffi::CStr;
use std::time::Duration;

/// A wait up to this long leaves signals to the interpreter, which looks for them after the call; with_lock looks this
/// often itself. Well below what a person takes for a delay, and too seldom to cost anything.
const SIGNALS_EVERY_NS: u64 = 10_000_000;

/// `busy.with_lock`.
pub struct WithLock;

impl OneArgument for WithLock {
    const NAME: &CStr = c"with_lock";
    const DOC: &CStr = c"with_lock(seconds, /)\n--\n\n\
Spin for `seconds`, never less, with the GIL held, and return the number of clock polls.

No other thread runs Python code meanwhile, unless a signal handler of this thread does. `seconds` is any real
number: whatever has `__float__` or `__index__`. On the main thread signal handlers run within 10 ms and what they
raise, such as KeyboardInterrupt, ends the wait; if they return, it goes on.

Raises ValueError if `seconds` is negative, NaN or infinite, OverflowError if it is over 292 years, TypeError if it
is not a real number.";

    fn call(py: Python<'_>, seconds: &Bound<'_, PyAny>) -> Result<u64, Raised> {
        let length = to_nanoseconds(seconds)?;
        // Saves the two clock readings, so that the bare call can be timed.
        if length == 0 {
            return Ok(0);
        }
        let mut next = SIGNALS_EVERY_NS;
        let mut signals = Ok(());
        let waited = busy_wait_while(Duration::from_nanos(length), |elapsed| {
            if elapsed < next {
                return true;
            }
            next = elapsed + SIGNALS_EVERY_NS;
            signals = check_signals(py);
            signals.is_ok()
        });
        signals.map(|()| waited.count)
    }
}

/// `busy.without_lock`.
pub struct WithoutLock;

impl OneArgument for WithoutLock {
    const NAME: &CStr = c"without_lock";
    const DOC: &CStr = c"without_lock(seconds, /)\n--\n\n\
Spin for `seconds`, never less, with the GIL released, and return the number of clock polls.

Other threads run Python code meanwhile: the GIL is given up once, and asked for again when the wait is over.
`seconds` is any real number: whatever has `__float__` or `__index__`. On the main thread a SIGINT (Ctrl-C) has its
Python handler run as soon as the GIL can be had; what that raises, such as KeyboardInterrupt, ends the wait; if it
returns, the wait goes on. Handlers of other signals run after the wait. Meanwhile the process's SIGINT action is
this module's, which calls the former one, unless that was SIG_DFL or SIG_IGN, which stay and do as they do.

Raises ValueError if `seconds` is negative, NaN or infinite, OverflowError if it is over 292 years, TypeError if it
is not a real number.";

    fn call(py: Python<'_>, seconds: &Bound<'_, PyAny>) -> Result<u64, Raised> {
        let length = to_nanoseconds(seconds)?;
        if length == 0 {
            py.detach(|| ());
            Ok(0)
        } else if length > SIGNALS_EVERY_NS && sigint::on_main_thread() {
            without_lock_until_sigint(py, length)
        } else {
            Ok(py.detach(|| busy_wait(Duration::from_nanos(length))).count)
        }
    }
}

/// Reattaching now and then to look for signals would cost a switch interval each time: every 40 ms, and the wait and
/// one thread of Python code together use 88 % of two cores instead of 99 %. So the signal itself ends the wait.
fn without_lock_until_sigint(py: Python<'_>, length: u64) -> Result<u64, Raised> {
    let deadline = monotonic_ns() + length;
    let mut count = 0;
    loop {
        // Runs the handler of the SIGINT that ended the wait so far, with SIGINT's action as that handler knows it.
        check_signals(py)?;
        let chain = Chain::install();
        // A SIGINT between the two has told CPython only, and would not end the wait.
        check_signals(py)?;
        let waited = py.detach(move || {
            let left = Duration::from_nanos(deadline.saturating_sub(monotonic_ns()));
            let waited = busy_wait_while(left, |_| !chain.arrived());
            drop(chain);
            waited
        });
        count += waited.count;
        if waited.completed {
            // A SIGINT of the last moment.
            return check_signals(py).map(|()| count);
        }
    }
}
