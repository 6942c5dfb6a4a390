//! Sums over the samples of a GIL. The difference of two windows covers the time between them.

use super::error::RemoteError;
use super::sample::{Holder, Sample};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The sums of a [`super::Recorder`] since its start. All times are in nanoseconds.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Window {
    /// The time of the first sample, on CLOCK_MONOTONIC.
    pub from_ns: u64,
    /// The time of the last sample.
    pub to_ns: u64,
    /// The number of samples taken.
    pub samples: u64,
    /// The number of samples that are missing compared with the sampling rate.
    pub missed: u64,
    /// The longest time between two samples. In a difference of two windows, this covers all samples up to the later
    /// one.
    pub longest_gap_ns: u64,
    /// The unobserved time, between samples that were more than ten sampling intervals apart. It is not part of any
    /// other sum.
    pub unseen_ns: u64,
    /// The time that any thread held the GIL. Half of the time between two samples counts for the holder in each of
    /// them.
    pub held_ns: u64,
    /// The part of it in which the holder could not be identified.
    pub held_by_unknown_ns: u64,
    /// The observed threads by their ids, including threads that have ended.
    pub threads: BTreeMap<u32, ThreadWindow>,
    /// The ids of the interpreters that had their own GIL when the states were last read. Those GILs are not sampled.
    pub other_gils: Vec<i64>,
    /// The CPU time of the sampling thread.
    pub cost: Duration,
    /// The reason why sampling has stopped, for example the end of the process. The sums up to then are valid.
    pub ended: Option<Arc<RemoteError>>,
    /// The holder at `to_ns`.
    pub(super) last: Option<Holder>,
}

/// The times of one thread's states. `held_ns` comes from the samples, the others from the readings of its state, which
/// are less frequent: the time between two readings, less the time held, is divided between the states found at both
/// ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadWindow {
    /// Its name according to the kernel, at most 15 bytes.
    pub name: Arc<str>,
    /// The time from the first reading of its state to the last, less the unseen time.
    pub seen_ns: u64,
    /// The time it held the GIL.
    pub held_ns: u64,
    /// The time it slept while waiting for the GIL.
    pub waiting_ns: u64,
    /// The time it ran without the GIL.
    pub running_ns: u64,
    /// The time it was runnable without the GIL, but had no CPU.
    pub runnable_ns: u64,
    /// The time it slept for something else.
    pub sleeping_ns: u64,
    /// The time in a state that the kernel did not report.
    pub unknown_ns: u64,
    /// Its CPU time, as reported by the kernel.
    pub cpu_ns: u64,
    /// Its run delay, with the GIL or without, as reported by the kernel.
    pub run_delay_ns: u64,
    /// True if it had ended when the states were last read.
    pub has_ended: bool,
}

impl Window {
    /// Returns the time from the first sample to the last.
    pub fn wall_ns(&self) -> u64 {
        self.to_ns - self.from_ns
    }

    /// Returns the observed time: the wall time less the unseen time.
    pub fn seen_ns(&self) -> u64 {
        self.wall_ns() - self.unseen_ns
    }

    /// Returns the share, 0 to 1, of the observed time in which any thread held the GIL, or `None` before the second
    /// sample.
    pub fn held_share(&self) -> Option<f64> {
        (self.seen_ns() > 0).then(|| self.held_ns as f64 / self.seen_ns() as f64)
    }

    /// Returns the sums since `earlier`, a window of the same recorder.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let threads = self.threads.iter().map(|(tid, thread)| {
            // If another thread has reused the id after `Recorder::forget_ended`, its sums began anew.
            let before = earlier.threads.get(tid).filter(|before| thread.continues(before));
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

    /// Adds a sample. If it is more than `longest_ns` later than the previous one, the time between them counts as
    /// unseen.
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
            // A run delay is known only when it is over. Then it moves from here to `runnable_ns`.
            running_ns: self.running_ns.saturating_sub(earlier.running_ns),
            runnable_ns: self.runnable_ns - earlier.runnable_ns,
            sleeping_ns: self.sleeping_ns - earlier.sleeping_ns,
            unknown_ns: self.unknown_ns - earlier.unknown_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            run_delay_ns: self.run_delay_ns - earlier.run_delay_ns,
            has_ended: self.has_ended,
        }
    }

    /// Returns true if no sum is less than in `earlier`. Only `running_ns` may become less.
    fn continues(&self, earlier: &Self) -> bool {
        let sums = |window: &Self| {
            let Self {
                seen_ns, held_ns, waiting_ns, runnable_ns, sleeping_ns, unknown_ns, cpu_ns, run_delay_ns, ..
            } = *window;
            [seen_ns, held_ns, waiting_ns, runnable_ns, sleeping_ns, unknown_ns, cpu_ns, run_delay_ns]
        };
        sums(self).iter().zip(sums(earlier)).all(|(now, before)| *now >= before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_between_two_samples_counts_for_each_holder() {
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
    fn a_reused_thread_id_begins_anew() {
        let window = |held_ns, seen_ns| {
            let thread = ThreadWindow { held_ns, seen_ns, ..ThreadWindow::default() };
            Window { threads: BTreeMap::from([(7, thread)]), ..Window::default() }
        };
        let since = |later: Window| later.since(&window(100, 100)).threads[&7].clone();
        assert_eq!((since(window(150, 300)).held_ns, since(window(150, 300)).seen_ns), (50, 200));
        assert_eq!((since(window(20, 300)).held_ns, since(window(20, 300)).seen_ns), (20, 300));
    }

    #[test]
    fn time_between_samples_too_far_apart_is_unseen() {
        let mut window = Window::default();
        for at_ns in [0, 500, 1001, 1101] {
            window.add(Sample { at_ns, holder: Holder::Thread(7) }, 500);
        }
        assert_eq!((window.wall_ns(), window.unseen_ns, window.held_ns), (1101, 501, 600));
        assert_eq!(window.held_share(), Some(1.0));
    }
}
