//! Divides the time between two readings of a thread's state between the two states.

use super::threads::{State, ThreadState};
use super::window::{ThreadWindow, Window};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The latest reading of each live thread.
#[derive(Debug, Default)]
pub(super) struct StateTimes {
    threads: BTreeMap<u32, Latest>,
}

/// The latest reading of one thread.
#[derive(Debug)]
struct Latest {
    at_ns: u64,
    state: State,
    /// The window's unseen time at that reading.
    unseen_ns: u64,
    /// The time for which the thread had held the GIL at that reading.
    held_ns: u64,
    cpu: Duration,
    run_delay: Duration,
    /// The time before that reading in which the thread did not hold the GIL, although it held the GIL both at that
    /// reading and at the previous one.
    undivided_ns: u64,
    /// The time counted as running since the last reading at which the thread was not running, less the part that was
    /// run delay.
    ran_ns: u64,
}

impl StateTimes {
    /// Adds the states read at `at_ns`, the time of the last sample in `window`.
    pub fn add(&mut self, window: &mut Window, at_ns: u64, states: &[ThreadState]) {
        self.threads.retain(|tid, _| states.binary_search_by_key(tid, |thread| thread.tid).is_ok());
        let unseen_ns = window.unseen_ns;
        for (tid, sums) in &mut window.threads {
            sums.has_ended = !self.threads.contains_key(tid);
        }
        for thread in states {
            let sums = window.threads.entry(thread.tid).or_default();
            (sums.name, sums.has_ended) = (Arc::clone(&thread.name), false);
            let latest = self.threads.entry(thread.tid).or_insert_with(|| Latest {
                at_ns,
                state: thread.state,
                unseen_ns,
                held_ns: sums.held_ns,
                cpu: thread.cpu,
                run_delay: thread.run_delay,
                undivided_ns: 0,
                ran_ns: 0,
            });
            latest.divide(sums, at_ns, unseen_ns, thread);
        }
    }
}

impl Latest {
    fn divide(&mut self, sums: &mut ThreadWindow, at_ns: u64, unseen_ns: u64, now: &ThreadState) {
        let passed = at_ns - self.at_ns - (unseen_ns - self.unseen_ns);
        let free = (passed + self.undivided_ns).saturating_sub(sums.held_ns - self.held_ns);
        let delayed = nanoseconds(now.run_delay.saturating_sub(self.run_delay));
        sums.seen_ns += passed;
        sums.cpu_ns += nanoseconds(now.cpu.saturating_sub(self.cpu));
        sums.run_delay_ns += delayed;

        self.undivided_ns = 0;
        match (self.state, now.state) {
            (State::Holds, State::Holds) => self.undivided_ns = free,
            (State::Holds, state) | (state, State::Holds) => self.credit(sums, state, free),
            (before, state) => {
                self.credit(sums, before, free / 2);
                self.credit(sums, state, free - free / 2);
            }
        }
        // The kernel accounts for a run delay when it is over. A run delay of a thread that holds the GIL does not
        // count here.
        let runnable = if self.undivided_ns > 0 { 0 } else { delayed.min(self.ran_ns) };
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
            State::Unknown => sums.unknown_ns += ns,
            State::Runs | State::Runnable => {
                sums.running_ns += ns;
                self.ran_ns += ns;
            }
            State::Holds => unreachable!("the time held is known from the samples"),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds readings of one thread, 10 ms apart. Each has its state, and the milliseconds of hold and of run delay
    /// since the previous reading.
    fn times(readings: &[(State, u64, u64)]) -> ThreadWindow {
        let (mut times, mut window) = (StateTimes::default(), Window::default());
        let mut run_delay = Duration::ZERO;
        for (number, (state, held_ms, delayed_ms)) in (0..).zip(readings) {
            window.threads.entry(7).or_default().held_ns += held_ms * 1_000_000;
            run_delay += Duration::from_millis(*delayed_ms);
            let (name, cpu) = ("".into(), Duration::ZERO);
            let thread = ThreadState { tid: 7, name, state: *state, cpu, run_delay };
            times.add(&mut window, number * 10_000_000, &[thread]);
        }
        let mut sums = window.threads.remove(&7).unwrap();
        let ns = [&mut sums.held_ns, &mut sums.waiting_ns, &mut sums.running_ns, &mut sums.runnable_ns];
        ns.into_iter()
            .chain([&mut sums.sleeping_ns, &mut sums.seen_ns, &mut sums.run_delay_ns])
            .for_each(|ns| *ns /= 1_000_000);
        sums
    }

    #[test]
    fn time_without_a_hold_is_divided_between_the_states_at_both_ends() {
        let sums = times(&[(State::Waits, 0, 0), (State::Holds, 4, 0), (State::Holds, 7, 0), (State::Sleeps, 1, 0)]);
        // 6 before the first reading in which it holds, 3 between the two such readings, and 9 after them.
        assert_eq!((sums.waiting_ns, sums.held_ns, sums.sleeping_ns, sums.seen_ns), (6, 12, 12, 30));
        let sums = times(&[(State::Waits, 0, 0), (State::Runs, 2, 0)]);
        assert_eq!((sums.waiting_ns, sums.held_ns, sums.running_ns), (4, 2, 4));
    }

    #[test]
    fn a_thread_that_is_missing_among_the_states_has_ended() {
        let (mut times, mut window) = (StateTimes::default(), Window::default());
        let mut read = |at_ns, tids: &[u32]| {
            let thread = |tid: &u32| ThreadState {
                tid: *tid,
                name: "".into(),
                state: State::Sleeps,
                cpu: Duration::ZERO,
                run_delay: Duration::ZERO,
            };
            times.add(&mut window, at_ns, &tids.iter().map(thread).collect::<Vec<_>>());
            window.threads.iter().filter(|(_, sums)| sums.has_ended).map(|(tid, _)| *tid).collect::<Vec<_>>()
        };
        assert_eq!(read(0, &[7, 8]), []);
        assert_eq!(read(10, &[8]), [7]);
        assert_eq!(read(20, &[7, 8]), []);
    }

    #[test]
    fn a_run_delay_is_not_counted_as_running_once_it_is_known() {
        let runs = [(State::Runs, 0, 0), (State::Runs, 0, 0), (State::Runnable, 0, 0), (State::Runs, 0, 16)];
        let sums = times(&runs);
        assert_eq!((sums.running_ns, sums.runnable_ns, sums.run_delay_ns), (14, 16, 16));
        // A run delay with the GIL, or after a sleep, does not reduce the running time that was counted before.
        let sums = times(&[(State::Runs, 0, 0), (State::Runs, 0, 0), (State::Sleeps, 0, 0), (State::Sleeps, 0, 9)]);
        assert_eq!((sums.running_ns, sums.runnable_ns, sums.sleeping_ns, sums.run_delay_ns), (15, 0, 15, 9));
        let sums = times(&[(State::Holds, 0, 0), (State::Holds, 10, 9)]);
        assert_eq!((sums.held_ns, sums.runnable_ns, sums.run_delay_ns), (10, 0, 9));
    }
}
