//! The stalls of the last ten seconds.

use crate::command::recording::Recorder;
use crate::show::live::{Stall, Wait};
use crate::trace;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a stall is shown.
const LATE: Duration = Duration::from_secs(10);
/// How long a thread that has ended may still be named by a stall, which is found some seconds after its end.
const NAMED: Duration = Duration::from_secs(30);
/// The time between two summaries of what each thread has waited for.
const STEP: Duration = Duration::from_secs(1);

/// A thread with a GIL: its process id, its thread id, the index of the GIL.
pub type Key = (u32, u32, u32);

/// The stalls of late.
#[derive(Default)]
pub struct Lately {
    /// The rows of the recording, by process and row, each with the time at which it was last seen.
    rows: HashMap<(u32, u64), (Key, Instant)>,
    /// The stalls, with the times at which they were found, and the threads that waited.
    found: Vec<(Instant, Stall, Vec<Key>)>,
    /// The longest stall of each thread, as an index of `found`, and the time at which this was summed up.
    longest: HashMap<Key, (Wait, Rc<[String]>)>,
    summed_up: Option<Instant>,
}

impl Lately {
    /// Adds the stalls that the recorder has found.
    pub fn add(&mut self, now: Instant, recorder: &mut Recorder) {
        for (number, process) in &recorder.recording().processes {
            for (row, thread) in &process.threads {
                let key = (process.process.pid, thread.thread.tid, thread.thread.gil);
                self.rows.insert((*number, *row), (key, now));
            }
        }
        self.rows.retain(|_, (_, seen)| now.duration_since(*seen) < NAMED);
        self.found.retain(|(found, ..)| now.duration_since(*found) < LATE);
        for stall in recorder.take_stalls() {
            self.found.extend(self.resolve(&stall, recorder).map(|(shown, waiters)| (now, shown, waiters)));
        }
        if self.summed_up.is_none_or(|at| now.duration_since(at) >= STEP) {
            self.summed_up = Some(now);
            self.sum_up();
        }
    }

    fn resolve(&self, stall: &trace::Stall, recorder: &Recorder) -> Option<(Stall, Vec<Key>)> {
        let key = |row: &u64| self.rows.get(&(stall.process, *row)).map(|(key, _)| *key);
        let (pid, holder, _) = key(&stall.holder)?;
        let stack = stall.stack.map_or_else(Vec::new, |stack| recorder.recording().stacks.frames(stack));
        let shown = Stall {
            held_s: stall.held_ns as f64 / 1e9,
            goes_on: false,
            pid,
            holder,
            waiters: stall.waiters.len(),
            lost_s: stall.lost_ns as f64 / 1e9,
            stack: stack.into_iter().map(str::to_owned).collect(),
        };
        Some((shown, stall.waiters.iter().filter_map(key).collect()))
    }

    fn sum_up(&mut self) {
        self.longest.clear();
        // Of stalls of the same length within a percent, one whose stack was read is more useful.
        let rank = |stall: &Stall| ((100.0 * stall.held_s.ln()).round() as i64, !stall.stack.is_empty());
        self.found.sort_by_key(|(_, stall, _)| Reverse(rank(stall)));
        for (_, stall, waiters) in &self.found {
            let stack: Rc<[String]> = stall.stack.as_slice().into();
            for waiter in waiters {
                let wait = Wait { length_s: stall.held_s, goes_on: false };
                self.longest.entry(*waiter).or_insert_with(|| (wait, stack.clone()));
            }
        }
    }

    /// Returns the longest recent stall that a thread has waited for, and the stack of its holder.
    pub fn longest(&self, key: Key) -> Option<&(Wait, Rc<[String]>)> {
        self.longest.get(&key)
    }

    /// Returns the stalls that cost most, the worst first.
    pub fn worst(&self, count: usize) -> Vec<Stall> {
        let mut all: Vec<&Stall> = self.found.iter().map(|(_, stall, _)| stall).collect();
        all.sort_by(|one, other| other.lost_s.total_cmp(&one.lost_s));
        all.into_iter().take(count).cloned().collect()
    }
}
