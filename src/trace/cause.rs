//! The cause of a stall.

use super::blame::Sighting;
use super::row::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The cause of a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The holder was in a call that did not return to the interpreter, and did not release the GIL.
    #[serde(rename = "native call")]
    NativeCall,
    /// The holder ran Python code. It dropped the GIL only on request, and got it back; or it was not requested yet, since
    /// the switch interval is long.
    #[serde(rename = "Python code")]
    PythonCode,
    /// Other threads held the GIL in turn, each for a short time.
    #[serde(rename = "many short holds")]
    ManyShortHolds,
    /// The holder had no CPU for most of the hold.
    #[serde(rename = "holder off CPU")]
    OffCpu,
    /// The holder was in fork(2) for most of the hold.
    #[serde(rename = "fork")]
    Fork,
}

impl Cause {
    /// All causes, in the order of their numbers in a file.
    pub(super) const ALL: [Self; 5] =
        [Self::NativeCall, Self::PythonCode, Self::ManyShortHolds, Self::OffCpu, Self::Fork];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NativeCall => "native call",
            Self::PythonCode => "Python code",
            Self::ManyShortHolds => "many short holds",
            Self::OffCpu => "holder off CPU",
            Self::Fork => "fork",
        }
    }
}

/// Returns the cause of one long hold, in which another thread waited for `longest` without an interruption, and in which
/// the holder had those stacks, in order.
///
/// A waiter requests the GIL after each switch interval, and Python code then drops it before its next loop or call
/// (`_Py_HandlePending`, Python/ceval_gil.c). If a holder with a CPU did not for two of them, it was in a native call.
pub(super) fn of_hold(
    seen: &Sighting,
    hold: Span,
    longest: u64,
    stacks: impl Iterator<Item = u32> + Clone,
) -> Option<Cause> {
    let half = hold.length() / 2;
    if seen.run_delay_ns.is_some_and(|delay| delay >= half) {
        return Some(Cause::OffCpu);
    }
    if seen.forked_ns >= half {
        return Some(Cause::Fork);
    }
    let delay = seen.run_delay_ns?;
    let interval = seen.interval_ns?;
    // The clock of the request, and that of the wait, may be read some microseconds apart.
    let kept = longest.saturating_sub(delay).saturating_add(interval / 10);
    let first = stacks.clone().next()?;
    match (stacks.clone().all(|stack| stack == first), kept >= interval.saturating_mul(2)) {
        (true, true) => Some(Cause::NativeCall),
        (false, false) => Some(Cause::PythonCode),
        // A short native call in a long switch interval or a tight loop; or several native calls with no check of the
        // request between them.
        (true, false) | (false, true) => None,
    }
}

/// Returns the stack that was found most often; of several, the first one.
pub(super) fn stack_of(stacks: impl Iterator<Item = u32>) -> Option<u32> {
    let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (index, stack) in stacks.enumerate() {
        counts.entry(stack).or_insert((0, index)).0 += 1;
    }
    counts.into_iter().max_by_key(|(_, (count, first))| (*count, usize::MAX - first)).map(|(stack, _)| stack)
}
