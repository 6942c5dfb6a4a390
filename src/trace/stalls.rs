//! The stalls of a recorded program: the holds of a GIL that made other threads wait for long, from the events of its
//! threads, in bounded memory.
//!
//! The events of a thread arrive in order, those of several threads in rounds: each reading of a process's log brings those
//! of each thread once, up to the same moment. So when a thread's events arrive for the second time, those of the round before
//! are complete, however late the reading was.

use super::blame::Sighting;
use super::block::Thread;
use super::cause::{of_hold, stack_of};
use super::convoy::Convoy;
use super::event::Event;
use super::row::{Row, Span};
use super::stall::Stall;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How much later than another thread's an event may be written, beside two thresholds for a sighting that is not
/// confirmed before.
const LAG_NS: u64 = 1_000_000_000;
/// The time between two searches in what has arrived.
const STEP_NS: u64 = 50_000_000;
/// How long waits may overlap as one stall by many short holds, before the next one begins. Threads that compute may
/// compete for the GIL for hours.
const LONGEST_CONVOY_NS: u64 = 1_000_000_000;
/// The number of sightings that a GIL keeps at most.
const MOST_SIGHTINGS: usize = 4096;

/// Finds the stalls.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stalls {
    threshold_ns: u64,
    /// By process and index.
    gils: BTreeMap<(u32, u32), Gil>,
    found: Vec<Stall>,
}

/// One GIL, with what is not settled yet.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Gil {
    pub(super) rows: BTreeMap<u64, Row>,
    /// The holds that may be stalls, with their rows.
    candidates: Vec<(u64, Span)>,
    /// The holds that are stalls, in order, as far as waits may contain them that are not settled.
    stalling: VecDeque<Span>,
    pub(super) sightings: VecDeque<Sighting>,
    convoy: Option<Convoy>,
    settled_ns: u64,
    /// The rows whose events have arrived in this round, and the time of the latest event.
    round: BTreeSet<u64>,
    latest_ns: u64,
}

impl Stalls {
    /// Sets the length from which on a wait is a stall.
    pub fn set_threshold(&mut self, threshold_ns: u64) {
        self.threshold_ns = threshold_ns.max(1);
    }

    /// Returns the stalls that are known, in no particular order.
    pub fn found(&self) -> &[Stall] {
        &self.found
    }

    /// Adds a stall whose events are not known any more.
    pub fn add(&mut self, stall: Stall) {
        self.found.push(stall);
    }

    /// Notes that the events of a thread before `at_ns` were merged.
    pub fn cut(&mut self, thread: &Thread, at_ns: u64) {
        let gil = self.gils.entry((thread.process, thread.gil)).or_default();
        gil.rows.entry(thread.row).or_insert_with(|| Row::new(thread.tid)).cut_ns = Some(at_ns);
    }

    /// Returns for each of these GILs, given with its process, up to which time its events are not needed any more, at most
    /// `until`: all stalls that began before are known, and none spans it.
    pub fn settled(&self, gils: impl Iterator<Item = (u32, u32)>, until: u64) -> BTreeMap<(u32, u32), u64> {
        let mut latest_first: Vec<&Stall> = self.found.iter().collect();
        latest_first.sort_by_key(|stall| (stall.process, Reverse(stall.at_ns)));
        let settled = |(process, gil): (u32, u32)| {
            let open = self.gils.get(&(process, gil)).map_or(until, |open| until.min(open.settled()));
            let first = latest_first.partition_point(|stall| stall.process < process);
            let own = latest_first[first..].iter().take_while(|stall| stall.process == process);
            own.fold(open, |cut, stall| if stall.at_ns < cut && cut < stall.end_ns { stall.at_ns } else { cut })
        };
        gils.map(|gil| (gil, settled(gil))).collect()
    }

    /// Returns the stalls that are known, and forgets them.
    pub fn take(&mut self) -> Vec<Stall> {
        std::mem::take(&mut self.found)
    }

    /// Adds the next events of a thread.
    pub fn events(&mut self, thread: &Thread, events: &[Event]) {
        let gil = self.gils.entry((thread.process, thread.gil)).or_default();
        if !gil.round.insert(thread.row) {
            gil.round = BTreeSet::from([thread.row]);
            let lag = LAG_NS.saturating_add(self.threshold_ns.saturating_mul(2));
            let until = gil.latest_ns.saturating_sub(lag);
            if until >= gil.settled_ns + STEP_NS {
                gil.settle((thread.process, self.threshold_ns), until, &mut self.found);
            }
        }
        let row = gil.rows.entry(thread.row).or_insert_with(|| Row::new(thread.tid));
        for event in events {
            let hold = row.event(event).filter(|hold| hold.length() >= self.threshold_ns);
            gil.candidates.extend(hold.map(|hold| (thread.row, hold)));
            gil.latest_ns = gil.latest_ns.max(row.latest_ns);
        }
    }

    /// Adds what was seen of a hold.
    pub fn sighting(&mut self, sighting: Sighting) {
        let gil = self.gils.entry((sighting.process, sighting.gil)).or_default();
        if gil.sightings.len() == MOST_SIGHTINGS {
            gil.sightings.pop_front();
        }
        gil.sightings.push_back(sighting);
    }

    /// Ends a process, or the recording of it: its current holds and waits end there.
    pub fn end(&mut self, process: u32, at_ns: u64) {
        for (_, mut gil) in self.gils.extract_if(.., |(number, _), _| *number == process) {
            for (row, thread) in &mut gil.rows {
                let hold = thread.end(at_ns).filter(|hold| hold.length() >= self.threshold_ns);
                gil.candidates.extend(hold.map(|hold| (*row, hold)));
            }
            gil.settle((process, self.threshold_ns), u64::MAX, &mut self.found);
        }
    }
}

impl Gil {
    /// Returns the time before which nothing has begun that may become a part of a stall.
    fn settled(&self) -> u64 {
        let holds = self.rows.values().filter_map(Row::holds_since);
        let waits = self.rows.values().filter_map(Row::first_wait);
        let pending = self.candidates.iter().map(|(_, hold)| hold.from);
        let convoy = self.convoy.iter().map(|convoy| convoy.span.from);
        holds.chain(waits).chain(pending).chain(convoy).min().unwrap_or(u64::MAX).min(self.settled_ns)
    }

    /// Finds the stalls that ended before `until`, and forgets what is not needed any more.
    fn settle(&mut self, (process, threshold): (u32, u64), until: u64, found: &mut Vec<Stall>) {
        self.settled_ns = until;
        let due: Vec<_> = self.candidates.extract_if(.., |(_, hold)| hold.to <= until).collect();
        for (holder, hold) in due {
            let stall = self.by_hold(process, threshold, holder, hold);
            self.stalling.extend(stall.iter().map(|_| hold));
            found.extend(stall);
        }
        self.stalling.make_contiguous().sort_by_key(|hold| hold.from);
        let mut long = Vec::new();
        for (row, thread) in &mut self.rows {
            long.extend(thread.waits_until(until).filter(|wait| wait.length() >= threshold).map(|wait| (*row, wait)));
        }
        long.sort_by_key(|(_, wait)| wait.from);
        for (row, wait) in long {
            // Its beginning was merged: a long hold there may explain it.
            if self.rows.get(&row).is_some_and(|thread| thread.cut_ns == Some(wait.from)) {
                continue;
            }
            self.by_many(process, threshold, row, wait, found);
        }
        if let Some(convoy) = self.convoy.take_if(|convoy| convoy.span.to <= until.saturating_sub(LAG_NS)) {
            found.push(convoy.stall(process, &self.sightings));
        }
        let pending = self.candidates.iter().map(|(_, hold)| hold.from);
        let needed = self.rows.values().filter_map(Row::first_wait).chain(pending).chain([until]).min();
        let needed = needed.unwrap_or(until);
        self.rows.values_mut().for_each(|row| row.forget_holds(needed));
        self.stalling.retain(|hold| hold.to > needed);
        self.rows.retain(|_, row| !row.is_idle() || row.latest_ns > needed);
        let needed = self.convoy.as_ref().map_or(needed, |convoy| needed.min(convoy.span.from));
        self.sightings.retain(|sighting| sighting.samples.last().is_some_and(|sample| sample.at_ns >= needed));
    }

    /// Returns the stall by one hold, if any thread waited for its end for as long as the threshold.
    fn by_hold(&self, process: u32, threshold: u64, holder: u64, hold: Span) -> Option<Stall> {
        let (mut waiters, mut lost_ns, mut longest) = (Vec::new(), 0, 0);
        for (row, thread) in self.rows.iter().filter(|(row, _)| **row != holder) {
            let (sum, most) = thread.waited_in(hold);
            if sum > 0 {
                waiters.push(*row);
                lost_ns += sum;
                longest = longest.max(most);
            }
        }
        if longest < threshold {
            return None;
        }
        let tid = self.rows.get(&holder)?.tid;
        let seen = self.sightings.iter().filter(|seen| seen.tid == tid);
        let seen: Vec<&Sighting> =
            seen.filter(|seen| seen.samples.iter().any(|sample| hold.contains(sample.at_ns))).collect();
        let samples = || seen.iter().flat_map(|seen| &seen.samples).filter(|sample| hold.contains(sample.at_ns));
        let cause = seen.first().and_then(|seen| of_hold(seen, hold, longest, samples().map(|sample| sample.stack)));
        let stack = stack_of(samples().map(|sample| sample.stack));
        let (at_ns, end_ns, held_ns) = (hold.from, hold.to, hold.length());
        let waiter_stacks = seen.iter().flat_map(|seen| &seen.waiters).map(|(row, stack)| (*row, *stack));
        let waiter_stacks = waiter_stacks.filter(|(row, _)| waiters.contains(row)).collect();
        Some(Stall { process, at_ns, end_ns, held_ns, holder, waiters, waiter_stacks, lost_ns, stack, cause })
    }

    /// Adds the parts of a wait that no single hold explains to the many short holds that do, if they are as long as the
    /// threshold, and others held the GIL for most of them.
    fn by_many(&mut self, process: u32, threshold: u64, waiter: u64, wait: Span, found: &mut Vec<Stall>) {
        let parts: Vec<Span> = wait.without(self.stalling.iter().copied()).collect();
        let length: u64 = parts.iter().map(|part| part.length()).sum();
        let holds = || {
            let others = self.rows.iter().filter(|(row, _)| **row != waiter);
            others.flat_map(|(_, thread)| parts.iter().flat_map(move |part| thread.holds_in(*part)))
        };
        if length < threshold {
            return;
        }
        let (held, count) = holds().fold((0, 0), |(held, count), hold| (held + hold.length(), count + 1));
        if held < length / 2 || count < 2 {
            return;
        }
        let has_ended = |convoy: &mut Convoy| convoy.span.to < wait.from || convoy.span.length() >= LONGEST_CONVOY_NS;
        if let Some(ended) = self.convoy.take_if(has_ended) {
            found.push(ended.stall(process, &self.sightings));
        }
        for part in parts {
            self.convoy.get_or_insert_with(|| Convoy::new(part.from)).add(waiter, part, &self.rows);
        }
    }
}

#[cfg(test)]
#[path = "stalls_tests.rs"]
mod tests;
