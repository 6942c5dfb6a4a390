//! Reports stalls of the calling process: each hold of a GIL that was at least as long as a threshold and made other
//! threads wait, with the stack of the holder, which is read while it holds the GIL.
//!
//! That a hold was long, and how long, is exact: its release leaves it in the ring of its GIL (`counting::long_holds`),
//! which costs the other releases nothing. The stack and the waiting threads come from looks at the running hold. The
//! thread that looks needs no GIL, and reads the memory of its own process as that of any other one ([`StackReader`]).

use super::clock::{self, Scale};
use super::counting::gil::Gil;
use super::counting::gils::GILS;
use super::counting::long_holds::LongHold;
use super::counting::{holds, pool, read};
use crate::remote::{Frame, StackReader};
use crate::snapshot::{Stall, Waiter};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Reports the stalls from its creation on. Dropping it ends that.
pub struct Stalls {
    /// In ticks.
    threshold: u64,
    _noted: holds::Noted,
    session: u64,
    /// The next hold in the ring of each GIL.
    next: HashMap<u64, Next>,
    /// The running hold of each GIL, if it is long already.
    running: HashMap<u64, Running>,
    found: VecDeque<Stall>,
    missed: u64,
    reader: Result<Box<StackReader>, String>,
}

const TOO_SHORT: &str = "the hold ended before its stack could be read";

/// The first hold in a ring that was not read yet.
#[derive(Clone, Copy, Default)]
struct Next {
    number: u64,
    /// A time at or before its start, in ticks.
    since: u64,
}

/// What was seen of a running hold.
struct Running {
    id: u64,
    since: u64,
    /// The thread id of each waiting thread, and the start of its wait, by the number of its row.
    waiters: BTreeMap<u64, (u32, u64)>,
    stack: Result<Vec<String>, String>,
    /// The age of the hold at which the stack was read.
    read_at: u64,
}

impl Stalls {
    /// Begins to report the holds that last for `threshold` or longer. The meter must be running: otherwise there are none.
    /// Returns None on platforms where it never runs.
    pub fn new(threshold: Duration) -> Option<Self> {
        let threshold_ns = threshold.as_nanos().try_into().unwrap_or(u64::MAX).max(1);
        let threshold = Scale::now().ticks(threshold_ns).max(1);
        Some(Self {
            threshold,
            _noted: holds::Noted::from(threshold),
            session: pool::session(),
            next: GILS.all().iter().map(|gil| (gil.id(), Next::of(gil))).collect(),
            running: HashMap::new(),
            found: VecDeque::new(),
            missed: 0,
            reader: Err(TOO_SHORT.into()),
        })
    }

    /// Returns how often [`Self::look`] should be called from now on: several times during the shortest stall of all
    /// reporters, since they share the rings, in which the holds that are short for one overwrite those that are long for
    /// another.
    pub fn period(&self) -> Duration {
        let shortest = Scale::now().ns(self.threshold.min(holds::least()));
        (Duration::from_nanos(shortest) / 4).clamp(Duration::from_millis(1), Duration::from_millis(25))
    }

    /// Prepares the reading of stacks, which may take up to a second. Without it, the stalls have no stack.
    pub fn attach(&mut self) {
        self.reader = StackReader::attach(std::process::id()).map(Box::new).map_err(|error| error.to_string());
    }

    /// Looks at the running holds, and returns the next stall that has ended.
    pub fn look(&mut self) -> Option<Stall> {
        let session = pool::session();
        if self.session != session {
            self.session = session;
            self.next.clear();
            self.running.clear();
        }
        for gil in GILS.all().iter().filter(|gil| gil.is_of(session)) {
            self.take_ended(gil);
            self.look_at_running(gil);
        }
        self.found.pop_front()
    }

    fn take_ended(&mut self, gil: &Gil) {
        let next = self.next.get(&gil.id()).copied().unwrap_or_default();
        let mut ended = Vec::new();
        let since = Next::start(gil);
        let (number, lost) = gil.noted_from(next.number, |hold| ended.push(hold));
        self.next.insert(gil.id(), Next { number, since });
        self.missed += may_be_long(lost, clock::ticks().saturating_sub(next.since), self.threshold);
        for hold in ended {
            let seen = self.running.remove(&gil.id());
            let seen = seen.filter(|seen| (seen.id, seen.since) == (hold.id, hold.since));
            if hold.until.saturating_sub(hold.since) >= self.threshold && hold.waiting > 0 {
                self.report(gil, &hold, seen);
            }
        }
    }

    fn report(&mut self, gil: &Gil, hold: &LongHold, seen: Option<Running>) {
        const NOT_SEEN: &str = "the thread that reads stacks had no CPU during the hold";
        let (mut waiters, stack) =
            seen.map_or_else(|| (BTreeMap::new(), Err(NOT_SEEN.into())), |seen| (seen.waiters, seen.stack));
        // Those that began to wait since the latest look, and still wait.
        for (id, tid, since) in read::waiters(gil, self.session) {
            if since < hold.until {
                waiters.entry(id).or_insert((tid, since));
            }
        }
        let scale = Scale::now();
        let waited = |since: u64| scale.ns(hold.until.saturating_sub(since.max(hold.since)));
        let mut waiters: Vec<_> = waiters
            .into_values()
            .map(|(tid, since)| Waiter { tid, waited_ns: waited(since) })
            .filter(|waiter| waiter.tid != hold.tid as u32)
            .collect();
        waiters.sort_by_key(|waiter| std::cmp::Reverse(waiter.waited_ns));
        self.found.push_back(Stall {
            interpreter: gil.interpreter(),
            id: hold.id,
            tid: hold.tid as u32,
            at_ns: scale.time(hold.since),
            held_ns: scale.ns(hold.until - hold.since),
            waiting: hold.waiting as u32,
            waiters,
            stack,
            missed: std::mem::take(&mut self.missed),
        });
    }

    /// Reads the stack of a hold that has reached half of the threshold, and again whenever it is twice as old, since a
    /// hold may begin with something short.
    fn look_at_running(&mut self, gil: &Gil) {
        let Some((id, since)) = gil.running_hold() else { return };
        let age = clock::ticks().saturating_sub(since);
        if age < self.threshold / 2 || gil.waiting(self.session) == 0 {
            return;
        }
        let seen = self.running.entry(gil.id()).or_insert_with(|| Running::new(id, since));
        if (seen.id, seen.since) != (id, since) {
            *seen = Running::new(id, since);
        }
        seen.waiters.extend(read::waiters(gil, self.session).into_iter().map(|(id, tid, since)| (id, (tid, since))));
        if age < seen.read_at.saturating_mul(2) {
            return;
        }
        let stack = match (&mut self.reader, GILS.thread_state(gil)) {
            (Err(reason), _) => Err(reason.clone()),
            (_, None) => Err("this CPython does not show which thread state holds the GIL".into()),
            (Ok(reader), Some(state)) => reader
                .read(state)
                .map(|stack| stack.frames.iter().map(line).collect())
                .map_err(|error| error.to_string()),
        };
        // Only if it was the stack of this hold all the time.
        if gil.running_hold() == Some((id, since)) && (stack.is_ok() || seen.stack.is_err()) {
            seen.stack = stack;
            seen.read_at = age;
        }
    }
}

impl Next {
    /// The next hold that ends.
    fn of(gil: &Gil) -> Self {
        let since = Self::start(gil);
        Self { number: gil.noted_so_far(), since }
    }

    /// Returns the start of the running hold, or the present time. A hold that is not in the ring yet was running then, or
    /// began later.
    fn start(gil: &Gil) -> u64 {
        gil.running_hold().map_or_else(clock::ticks, |(_, since)| since)
    }
}

/// Returns how many of the holds that were lost within that many ticks may have been as long as the threshold: the other
/// ones are lost to the reporters of lower thresholds. Holds of one GIL do not overlap.
fn may_be_long(lost: u64, elapsed: u64, threshold: u64) -> u64 {
    lost.min(elapsed / threshold)
}

impl Running {
    fn new(id: u64, since: u64) -> Self {
        Self { id, since, waiters: BTreeMap::new(), stack: Err(TOO_SHORT.into()), read_at: 0 }
    }
}

fn line(frame: &Frame) -> String {
    let line = frame.line.map_or_else(|| "?".into(), |line| line.to_string());
    format!("{}:{line} {}", frame.file, frame.function)
}

impl std::fmt::Debug for Stalls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stalls").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_lost_holds_those_that_fit_in_the_time_may_have_been_long() {
        // 30 holds of 1 ms within 30 ms, for thresholds of 1 ms, 10 ms and 100 ms.
        assert_eq!([1, 10, 100].map(|threshold| may_be_long(30, 30, threshold)), [30, 3, 0]);
        assert_eq!(may_be_long(2, 1000, 10), 2);
    }
}
