//! What was seen of a GIL over some time. Plain sums: the difference of two is what was seen in between.

use super::error::RemoteError;
use super::{Holder, Sample};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a [`super::Recorder`] has seen since it started. All times in nanoseconds.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Window {
    /// The first sample, on CLOCK_MONOTONIC.
    pub from_ns: u64,
    /// The last sample.
    pub to_ns: u64,
    /// How many samples there were, and how many more the rate asked for.
    pub samples: u64,
    /// See `samples`.
    pub missed: u64,
    /// The longest time between two samples. Of a difference: of all until its end.
    pub longest_gap_ns: u64,
    /// Time of which nothing is known: two samples were more than ten of the rate's steps apart. It counts as nothing.
    pub unseen_ns: u64,
    /// For how long anyone had the GIL. Between two samples half the time counts as each of them.
    pub held_ns: u64,
    /// The part of it that no thread could be told for.
    pub held_by_unknown_ns: u64,
    /// Each thread that was seen, by its id, those included that have ended.
    pub threads: BTreeMap<u32, ThreadWindow>,
    /// The ids of interpreters that had a GIL of their own at the last look, which is not the one that was sampled.
    pub other_gils: Vec<i64>,
    /// The sampling thread's own CPU time.
    pub cost: Duration,
    /// Why it can't go on: the process has ended, for one. What was seen until then holds.
    pub ended: Option<Arc<RemoteError>>,
    /// The holder at `to_ns`.
    pub(super) last: Option<Holder>,
}

/// How one thread stood to the GIL. `held_ns` is from the samples, the rest from the looks at its state, which are fewer:
/// the time between two looks, less what it held, is shared by the states found at either end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadWindow {
    /// As the kernel has it, at most 15 bytes.
    pub name: Arc<str>,
    /// From the first look at it to the last, less what was not seen.
    pub seen_ns: u64,
    /// It had the GIL.
    pub held_ns: u64,
    /// It slept until it got the GIL.
    pub waiting_ns: u64,
    /// It ran without the GIL.
    pub running_ns: u64,
    /// It could have run without the GIL, but had no CPU.
    pub runnable_ns: u64,
    /// It slept for something else.
    pub sleeping_ns: u64,
    /// The kernel did not tell.
    pub untold_ns: u64,
    /// Its CPU time, by the kernel's own account.
    pub cpu_ns: u64,
    /// Time it could have run but had no CPU, with the GIL or without, by the kernel's own account.
    pub cpu_wait_ns: u64,
}

impl Window {
    /// From the first sample to the last.
    pub fn wall_ns(&self) -> u64 {
        self.to_ns - self.from_ns
    }

    /// The time of which something is known.
    pub fn seen_ns(&self) -> u64 {
        self.wall_ns() - self.unseen_ns
    }

    /// The part of the time seen that anyone had the GIL, 0 to 1. None before the second sample.
    pub fn held_share(&self) -> Option<f64> {
        (self.seen_ns() > 0).then(|| self.held_ns as f64 / self.seen_ns() as f64)
    }

    /// What was seen since `earlier`, a window of the same recorder.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let threads = self.threads.iter().map(|(tid, thread)| {
            let before = earlier.threads.get(tid);
            (*tid, before.map_or_else(|| thread.clone(), |before| thread.since(before)))
        });
        Self {
            from_ns: if earlier.samples > 0 { earlier.to_ns } else { self.from_ns },
            samples: self.samples - earlier.samples,
            missed: self.missed - earlier.missed,
            unseen_ns: self.unseen_ns - earlier.unseen_ns,
            held_ns: self.held_ns - earlier.held_ns,
            held_by_unknown_ns: self.held_by_unknown_ns - earlier.held_by_unknown_ns,
            threads: threads.collect(),
            cost: self.cost - earlier.cost,
            other_gils: self.other_gils.clone(),
            ended: self.ended.clone(),
            ..*self
        }
    }

    /// `longest_ns`: what is further from the sample before was not seen.
    pub(super) fn add(&mut self, sample: Sample, longest_ns: u64) {
        match self.last {
            None => self.from_ns = sample.at_ns,
            Some(last) => {
                let gap = sample.at_ns - self.to_ns;
                self.longest_gap_ns = self.longest_gap_ns.max(gap);
                if gap > longest_ns {
                    self.unseen_ns += gap;
                } else {
                    self.credit(last, gap / 2);
                    self.credit(sample.holder, gap - gap / 2);
                }
            }
        }
        self.samples += 1;
        self.to_ns = sample.at_ns;
        self.last = Some(sample.holder);
    }

    fn credit(&mut self, holder: Holder, ns: u64) {
        match holder {
            Holder::None => return,
            Holder::Unknown => self.held_by_unknown_ns += ns,
            Holder::Thread(tid) => self.threads.entry(tid).or_default().held_ns += ns,
        }
        self.held_ns += ns;
    }
}

impl ThreadWindow {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            seen_ns: self.seen_ns - earlier.seen_ns,
            held_ns: self.held_ns - earlier.held_ns,
            waiting_ns: self.waiting_ns - earlier.waiting_ns,
            // A wait for a CPU is known once it is over: only then does it move from here to `runnable_ns`.
            running_ns: self.running_ns.saturating_sub(earlier.running_ns),
            runnable_ns: self.runnable_ns - earlier.runnable_ns,
            sleeping_ns: self.sleeping_ns - earlier.sleeping_ns,
            untold_ns: self.untold_ns - earlier.untold_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            cpu_wait_ns: self.cpu_wait_ns - earlier.cpu_wait_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_two_samples_counts_half_as_each() {
        let mut window = Window::default();
        let add = |window: &mut Window, at_ns, holder| window.add(Sample { at_ns, holder }, 500);
        add(&mut window, 1000, Holder::Thread(7));
        assert_eq!(window.held_share(), None);
        add(&mut window, 1100, Holder::Thread(7));
        add(&mut window, 1301, Holder::None);
        let middle = window.clone();
        add(&mut window, 1401, Holder::Unknown);
        add(&mut window, 1501, Holder::Thread(8));
        assert_eq!((window.wall_ns(), window.samples, window.longest_gap_ns), (501, 5, 201));
        assert_eq!((window.held_ns, window.held_by_unknown_ns), (100 + 100 + 50 + 100, 100));
        assert_eq!((window.threads[&7].held_ns, window.threads[&8].held_ns), (200, 50));
        let since = window.since(&middle);
        assert_eq!((since.wall_ns(), since.held_ns, since.samples), (200, 150, 2));
        assert_eq!((since.threads[&7].held_ns, since.threads[&8].held_ns), (0, 50));
    }

    #[test]
    fn time_between_samples_too_far_apart_counts_as_nothing() {
        let mut window = Window::default();
        for at_ns in [0, 500, 1001, 1101] {
            window.add(Sample { at_ns, holder: Holder::Thread(7) }, 500);
        }
        assert_eq!((window.wall_ns(), window.unseen_ns, window.held_ns), (1101, 501, 600));
        assert_eq!(window.held_share(), Some(1.0));
    }
}
