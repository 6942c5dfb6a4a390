//! Shares the time between two looks at a thread among the states it was found in.

use super::threads::{State, ThreadState};
use super::window::{ThreadWindow, Window};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The looks so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    threads: BTreeMap<u32, Account>,
}

/// One thread at the last look.
#[derive(Debug)]
struct Account {
    at_ns: u64,
    state: State,
    /// What was not seen by then, and what it had held.
    unseen_ns: u64,
    held_ns: u64,
    cpu: Duration,
    run_delay: Duration,
    /// Time in which it held nothing, though it was found to hold at either end of it.
    unshared_ns: u64,
    /// What counts as run since it was last found not to run, less what is known by now as a wait for a CPU.
    ran_ns: u64,
}

impl Ledger {
    /// Adds the states at `at_ns`, which is the time of the last sample in `window`.
    pub fn add(&mut self, window: &mut Window, at_ns: u64, states: &[ThreadState]) {
        self.threads.retain(|tid, _| states.binary_search_by_key(tid, |thread| thread.tid).is_ok());
        let unseen_ns = window.unseen_ns;
        for thread in states {
            let sums = window.threads.entry(thread.tid).or_default();
            sums.name = Arc::clone(&thread.name);
            let account = self.threads.entry(thread.tid).or_insert_with(|| Account {
                at_ns,
                state: thread.state,
                unseen_ns,
                held_ns: sums.held_ns,
                cpu: thread.cpu,
                run_delay: thread.run_delay,
                unshared_ns: 0,
                ran_ns: 0,
            });
            account.share(sums, at_ns, unseen_ns, thread);
        }
    }
}

impl Account {
    fn share(&mut self, sums: &mut ThreadWindow, at_ns: u64, unseen_ns: u64, now: &ThreadState) {
        let passed = at_ns - self.at_ns - (unseen_ns - self.unseen_ns);
        let free = (passed + self.unshared_ns).saturating_sub(sums.held_ns - self.held_ns);
        let waited = nanoseconds(now.run_delay.saturating_sub(self.run_delay));
        sums.seen_ns += passed;
        sums.cpu_ns += nanoseconds(now.cpu.saturating_sub(self.cpu));
        sums.cpu_wait_ns += waited;

        self.unshared_ns = 0;
        match (self.state, now.state) {
            (State::Holds, State::Holds) => self.unshared_ns = free,
            (State::Holds, state) | (state, State::Holds) => self.credit(sums, state, free),
            (before, state) => {
                self.credit(sums, before, free / 2);
                self.credit(sums, state, free - free / 2);
            }
        }
        // The kernel accounts for a wait for a CPU when it is over. What was waited with the GIL is no matter here.
        let runnable = if self.unshared_ns > 0 { 0 } else { waited.min(self.ran_ns) };
        self.ran_ns -= runnable;
        sums.running_ns -= runnable;
        sums.runnable_ns += runnable;
        if !matches!(now.state, State::Runs | State::Runnable) {
            self.ran_ns = 0;
        }
        *self = Self {
            at_ns,
            state: now.state,
            unseen_ns,
            held_ns: sums.held_ns,
            cpu: now.cpu,
            run_delay: now.run_delay,
            ..*self
        };
    }

    fn credit(&mut self, sums: &mut ThreadWindow, state: State, ns: u64) {
        match state {
            State::Waits => sums.waiting_ns += ns,
            State::Sleeps => sums.sleeping_ns += ns,
            State::Untold => sums.untold_ns += ns,
            State::Runs | State::Runnable => {
                sums.running_ns += ns;
                self.ran_ns += ns;
            }
            State::Holds => unreachable!("what is held is known from the samples"),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at one thread, 10 ms apart: its state, what it held since the last one, and the CPU wait that became known.
    fn looks(looks: &[(State, u64, u64)]) -> ThreadWindow {
        let (mut ledger, mut window) = (Ledger::default(), Window::default());
        let mut waited = Duration::ZERO;
        for (number, (state, held_ms, waited_ms)) in (0..).zip(looks) {
            window.threads.entry(7).or_default().held_ns += held_ms * 1_000_000;
            waited += Duration::from_millis(*waited_ms);
            let (name, cpu) = ("".into(), Duration::ZERO);
            let thread = ThreadState { tid: 7, name, state: *state, cpu, run_delay: waited };
            ledger.add(&mut window, number * 10_000_000, &[thread]);
        }
        let mut sums = window.threads.remove(&7).unwrap();
        let ns = [&mut sums.held_ns, &mut sums.waiting_ns, &mut sums.running_ns, &mut sums.runnable_ns];
        ns.into_iter()
            .chain([&mut sums.sleeping_ns, &mut sums.seen_ns, &mut sums.cpu_wait_ns])
            .for_each(|ns| *ns /= 1_000_000);
        sums
    }

    #[test]
    fn time_that_was_not_held_is_shared_by_the_states_at_either_end() {
        let sums = looks(&[(State::Waits, 0, 0), (State::Holds, 4, 0), (State::Holds, 7, 0), (State::Sleeps, 1, 0)]);
        // 6 before it held; 3 while it was found to hold, and 9 after.
        assert_eq!((sums.waiting_ns, sums.held_ns, sums.sleeping_ns, sums.seen_ns), (6, 12, 12, 30));
        let sums = looks(&[(State::Waits, 0, 0), (State::Runs, 2, 0)]);
        assert_eq!((sums.waiting_ns, sums.held_ns, sums.running_ns), (4, 2, 4));
    }

    #[test]
    fn a_wait_for_a_cpu_is_no_run_once_it_is_known() {
        let runs = [(State::Runs, 0, 0), (State::Runs, 0, 0), (State::Runnable, 0, 0), (State::Runs, 0, 16)];
        let sums = looks(&runs);
        assert_eq!((sums.running_ns, sums.runnable_ns, sums.cpu_wait_ns), (14, 16, 16));
        // With the GIL, or after a sleep, it takes nothing away from what was run before.
        let sums = looks(&[(State::Runs, 0, 0), (State::Runs, 0, 0), (State::Sleeps, 0, 0), (State::Sleeps, 0, 9)]);
        assert_eq!((sums.running_ns, sums.runnable_ns, sums.sleeping_ns, sums.cpu_wait_ns), (15, 0, 15, 9));
        let sums = looks(&[(State::Holds, 0, 0), (State::Holds, 10, 9)]);
        assert_eq!((sums.held_ns, sums.runnable_ns, sums.cpu_wait_ns), (10, 0, 9));
    }
}
