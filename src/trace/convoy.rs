//! A stall by many short holds: one or more threads waited while others held the GIL in turn.

use super::blame::Sighting;
use super::cause::{Cause, stack_of};
use super::row::{Row, Span};
use super::stall::Stall;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Waits that overlap, and the holds in them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Convoy {
    pub(super) span: Span,
    waiters: BTreeSet<u64>,
    lost_ns: u64,
    /// What each row did meanwhile.
    holders: BTreeMap<u64, Holder>,
}

/// A thread that held the GIL in turn with others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Holder {
    tid: u32,
    held_ns: u64,
    /// How long were the holds that it ended on request, and their number.
    dropped_ns: u64,
    drops: u64,
}

impl Holder {
    /// Returns true if it held the GIL for most of `span_ns`, and as Python code does: in holds of about a switch interval,
    /// each of which it ended on request. A native call holds for longer, and what waits releases the GIL without a request.
    fn runs_python(&self, span_ns: u64, interval_ns: u64) -> bool {
        let mean_ns = self.dropped_ns / self.drops.max(1);
        self.held_ns > span_ns / 2
            && self.dropped_ns > self.held_ns / 5 * 4
            && (interval_ns / 2..interval_ns / 2 * 3).contains(&mean_ns)
    }
}

impl Convoy {
    pub(super) fn new(from: u64) -> Self {
        let span = Span { from, to: from };
        Self { span, waiters: BTreeSet::new(), lost_ns: 0, holders: BTreeMap::new() }
    }

    /// Adds a wait, or a part of one.
    pub(super) fn add(&mut self, waiter: u64, wait: Span, rows: &BTreeMap<u64, Row>) {
        self.waiters.insert(waiter);
        self.lost_ns += wait.length();
        // Without the part that is counted already.
        let before = Span { from: wait.from, to: wait.to.min(self.span.from) };
        let after = Span { from: wait.from.max(self.span.to), to: wait.to };
        for part in [before, after].into_iter().filter(|part| part.from < part.to) {
            for (row, thread) in rows {
                let holder = self.holders.entry(*row).or_default();
                let (dropped_ns, drops) = thread.drops_in(part);
                holder.tid = thread.tid;
                holder.held_ns += thread.holds_in(part).map(Span::length).sum::<u64>();
                (holder.dropped_ns, holder.drops) = (holder.dropped_ns + dropped_ns, holder.drops + drops);
            }
        }
        self.span = Span { from: self.span.from.min(wait.from), to: self.span.to.max(wait.to) };
    }

    /// Returns the stall.
    pub(super) fn stall(self, process: u32, sightings: &VecDeque<Sighting>) -> Stall {
        let (row, holder) = self.holders.into_iter().max_by_key(|(_, holder)| holder.held_ns).unwrap_or_default();
        let own = || sightings.iter().filter(|seen| seen.tid == holder.tid);
        let samples = own().flat_map(|seen| &seen.samples).filter(|sample| self.span.contains(sample.at_ns));
        let stack = stack_of(samples.map(|sample| sample.stack));
        let interval_ns = own().find_map(|seen| seen.interval_ns);
        let runs_python = interval_ns.is_some_and(|interval_ns| holder.runs_python(self.span.length(), interval_ns));
        Stall {
            process,
            at_ns: self.span.from,
            end_ns: self.span.to,
            held_ns: holder.held_ns,
            holder: row,
            waiters: self.waiters.into_iter().collect(),
            waiter_stacks: BTreeMap::new(),
            lost_ns: self.lost_ns,
            stack,
            cause: Some(if runs_python { Cause::PythonCode } else { Cause::ManyShortHolds }),
        }
    }
}
