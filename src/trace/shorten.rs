//! Shortens a long recording: the old events of each thread are merged, the stalls among them are kept as they are, and old
//! samples and CPU times are summed up. What is newer stays, so totals, stalls and the latest events are exact.

use super::block::{Block, Totals};
use super::event::Event;
use super::holder_sample::HolderSample;
use super::lane::{State, Stretch};
use super::merged::Merger;
use super::stall::Stall;
use super::usage::{Cores, ThreadUsage, Usage};
use busy_gil::log::Kind;
use std::collections::BTreeMap;
use std::io;

/// How a recording is shortened.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The time before which samples and CPU times are old.
    pub old_ns: u64,
    /// The time before which events are merged, by process and GIL: no stall may span it. It is 0 for another GIL.
    pub cuts: BTreeMap<(u32, u32), u64>,
    /// All stalls that began before the cut of their GIL.
    pub stalls: Vec<Stall>,
    /// The length of the merged parts.
    pub step_ns: u64,
}

/// Passes the blocks of a recording on to `write`, as the plan has it. They must be in the order in which they were written.
///
/// # Errors
/// That of `write`.
pub fn shorten(
    blocks: impl Iterator<Item = Block>,
    plan: &Plan,
    mut write: impl FnMut(&Block) -> io::Result<()>,
) -> io::Result<()> {
    let mut old = Old::default();
    for block in blocks {
        match block {
            Block::Stall(_) => {}
            Block::Thread(thread) => {
                let cut_ns = plan.cuts.get(&(thread.process, thread.gil)).copied().unwrap_or(0);
                let row = old.rows.entry((thread.process, thread.row)).or_insert_with(|| Row {
                    cut_ns,
                    ended_ns: None,
                    merger: Merger::new(thread.process, thread.row, plan.step_ns),
                    now: None,
                    is_written: false,
                });
                row.ended_ns = thread.ended_ns;
                write(&Block::Thread(thread))?;
            }
            Block::Merged(merged) => {
                let Some(row) = old.rows.get_mut(&(merged.process, merged.row)) else { continue };
                let mut from_ns = merged.from_ns;
                for part in &merged.parts {
                    row.merger.add(from_ns, *part);
                    from_ns += part.length_ns;
                }
            }
            Block::Events { process, row, events } => {
                let Some(known) = old.rows.get_mut(&(process, row)) else { continue };
                let new = known.add(&events);
                if !new.is_empty() {
                    known.write(process, row, &mut write)?;
                    write(&Block::Events { process, row, events: new })?;
                }
            }
            Block::ProcessEnd(end) => {
                for ((process, row), known) in &mut old.rows {
                    if *process == end.number {
                        known.ended_ns = Some(known.ended_ns.map_or(end.at_ns, |ended| ended.min(end.at_ns)));
                        known.write(*process, *row, &mut write)?;
                    }
                }
                write(&Block::ProcessEnd(end))?;
            }
            Block::Totals { process, row, totals } => {
                old.totals.insert((process, row), totals);
            }
            Block::HolderSample(sample) if sample.at_ns < plan.old_ns => {
                let key = (sample.process, sample.gil, sample.tid, sample.stack);
                let (count, at_ns) = old.samples.entry(key).or_default();
                (*count, *at_ns) = (*count + sample.count, sample.at_ns.max(*at_ns));
            }
            Block::Sighting(sighting) => {
                let cut_ns = plan.cuts.get(&(sighting.process, sighting.gil)).copied().unwrap_or(0);
                if sighting.samples.last().is_some_and(|sample| sample.at_ns >= cut_ns) {
                    write(&Block::Sighting(sighting))?;
                }
            }
            Block::Usage(usage) if usage.at_ns < plan.old_ns => {
                let sums = old.usage.entry(usage.process).or_default();
                if let Some(whole) = sums.extend(usage.at_ns / plan.step_ns, &usage) {
                    write(&Block::Usage(whole))?;
                }
            }
            Block::Cores(cores) if cores.at_ns < plan.old_ns => {
                if let Some(whole) = old.cores.extend(cores.at_ns / plan.step_ns, &cores) {
                    write(&Block::Cores(whole))?;
                }
            }
            Block::Usage(usage) => {
                let rest = old.usage.remove(&usage.process).and_then(UsageSums::finish);
                rest.map_or(Ok(()), |rest| write(&Block::Usage(rest)))?;
                write(&Block::Usage(usage))?;
            }
            Block::Cores(cores) => {
                let rest = std::mem::take(&mut old.cores).finish();
                rest.map_or(Ok(()), |rest| write(&Block::Cores(rest)))?;
                write(&Block::Cores(cores))?;
            }
            other => write(&other)?,
        }
    }
    old.finish(plan, &mut write)
}

/// What is old, as far as it was read.
#[derive(Default)]
struct Old {
    rows: BTreeMap<(u32, u64), Row>,
    totals: BTreeMap<(u32, u64), Totals>,
    /// The number and the time of the samples, by process, GIL, thread and stack.
    samples: BTreeMap<(u32, u32, u32, u32), (u64, u64)>,
    usage: BTreeMap<u32, UsageSums>,
    cores: CoreSums,
}

impl Old {
    /// Writes what has not been written.
    fn finish(mut self, plan: &Plan, write: &mut impl FnMut(&Block) -> io::Result<()>) -> io::Result<()> {
        for ((process, row), known) in &mut self.rows {
            known.write(*process, *row, write)?;
        }
        for ((process, row), totals) in self.totals {
            write(&Block::Totals { process, row, totals })?;
        }
        for ((process, gil, tid, stack), (count, at_ns)) in self.samples {
            write(&Block::HolderSample(HolderSample { process, gil, tid, at_ns, stack, count }))?;
        }
        for usage in self.usage.into_values().filter_map(UsageSums::finish) {
            write(&Block::Usage(usage))?;
        }
        self.cores.finish().map_or(Ok(()), |cores| write(&Block::Cores(cores)))?;
        plan.stalls.iter().try_for_each(|stall| write(&Block::Stall(stall.clone())))
    }
}

/// The old events of a thread.
struct Row {
    cut_ns: u64,
    ended_ns: Option<u64>,
    merger: Merger,
    /// The state at the latest old event, and its time.
    now: Option<(State, u64)>,
    is_written: bool,
}

impl Row {
    /// Merges the events before the cut, and returns the others.
    fn add(&mut self, events: &[Event]) -> Vec<Event> {
        let is_old = |event: &&Event| event.kind == Kind::Lost || event.at < self.cut_ns;
        let count = if self.is_written { 0 } else { events.iter().take_while(is_old).count() };
        for event in &events[..count] {
            let (state, at) = match event.kind {
                Kind::Acquired => (State::Holds, event.at),
                Kind::WaitBegan => (State::Waits, event.at),
                Kind::Lost => (State::Unknown, self.now.map_or(0, |(_, since)| since)),
                Kind::Released | Kind::Dropped | Kind::HoldEnded | Kind::WaitEnded => (State::Released, event.at),
            };
            if let Some((before, since)) = self.now {
                self.merger.add_stretch(Stretch { state: before, from_ns: since, to_ns: at });
            }
            self.now = Some((state, at));
        }
        events[count..].to_vec()
    }

    /// Writes what was merged, up to the cut, and an event there with the state that goes on.
    fn write(&mut self, process: u32, row: u64, write: &mut impl FnMut(&Block) -> io::Result<()>) -> io::Result<()> {
        if std::mem::replace(&mut self.is_written, true) {
            return Ok(());
        }
        let end_ns = self.ended_ns.map_or(self.cut_ns, |ended| ended.min(self.cut_ns));
        if let Some((state, from_ns)) = self.now {
            self.merger.add_stretch(Stretch { state, from_ns, to_ns: end_ns });
        }
        let empty = Merger::new(process, row, 1);
        let merged = std::mem::replace(&mut self.merger, empty).finish();
        let Some(at) = merged.to_ns() else { return Ok(()) };
        write(&Block::Merged(merged))?;
        let kind = match self.now.filter(|_| end_ns == self.cut_ns) {
            Some((State::Holds, _)) => Kind::Acquired,
            Some((State::Waits, _)) => Kind::WaitBegan,
            Some((State::Released, _)) => Kind::Released,
            Some((State::Unknown | State::Merged(_), _)) | None => return Ok(()),
        };
        write(&Block::Events { process, row, events: vec![Event { kind, at }] })
    }
}

/// The CPU time of a process's threads in a step.
#[derive(Default)]
struct UsageSums {
    step: u64,
    sum: Option<Usage>,
}

impl UsageSums {
    /// Adds an interval, which ends in that step. Returns the sum of the step before, if this is another one.
    fn extend(&mut self, step: u64, usage: &Usage) -> Option<Usage> {
        let whole = if self.step == step { None } else { self.sum.take() };
        self.step = step;
        let Some(sum) = &mut self.sum else {
            self.sum = Some(usage.clone());
            return whole;
        };
        sum.at_ns = usage.at_ns;
        for own in &usage.threads {
            match sum.threads.binary_search_by_key(&own.tid, |thread| thread.tid) {
                Ok(place) => {
                    let thread: &mut ThreadUsage = &mut sum.threads[place];
                    thread.cpu_ns += own.cpu_ns;
                    thread.run_delay_ns += own.run_delay_ns;
                }
                Err(place) => sum.threads.insert(place, *own),
            }
        }
        whole
    }

    fn finish(self) -> Option<Usage> {
        self.sum
    }
}

/// How busy the cores were in a step: the mean of intervals that are about equal.
#[derive(Default)]
struct CoreSums {
    step: u64,
    at_ns: u64,
    sums: BTreeMap<u32, (u64, u64)>,
}

impl CoreSums {
    fn extend(&mut self, step: u64, cores: &Cores) -> Option<Cores> {
        let whole = if self.step == step { None } else { std::mem::take(self).finish() };
        (self.step, self.at_ns) = (step, cores.at_ns);
        for (core, busy) in &cores.busy {
            let (sum, count) = self.sums.entry(*core).or_default();
            (*sum, *count) = (*sum + u64::from(*busy), *count + 1);
        }
        whole
    }

    fn finish(self) -> Option<Cores> {
        let mean = |(core, (sum, count)): (u32, (u64, u64))| (core, (sum / count) as u16);
        let busy: Vec<(u32, u16)> = self.sums.into_iter().map(mean).collect();
        (!busy.is_empty()).then_some(Cores { at_ns: self.at_ns, busy })
    }
}

#[cfg(test)]
#[path = "shorten_tests.rs"]
mod tests;
