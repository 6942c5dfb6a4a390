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
    /// How long each row held the GIL meanwhile, and its thread.
    held: BTreeMap<u64, (u64, u32)>,
}

impl Convoy {
    pub(super) fn new(from: u64) -> Self {
        let span = Span { from, to: from };
        Self { span, waiters: BTreeSet::new(), lost_ns: 0, held: BTreeMap::new() }
    }

    /// Adds a wait. The waits come in the order of their starts.
    pub(super) fn add(&mut self, waiter: u64, wait: Span, rows: &BTreeMap<u64, Row>) {
        self.waiters.insert(waiter);
        self.lost_ns += wait.length();
        // The part before is counted already.
        let rest = Span { from: wait.from.max(self.span.to), to: wait.to };
        for (row, thread) in rows {
            self.held.entry(*row).or_insert((0, thread.tid)).0 += thread.holds_in(rest).map(Span::length).sum::<u64>();
        }
        self.span.to = self.span.to.max(wait.to);
    }

    /// Returns the stall.
    pub(super) fn stall(self, process: u32, sightings: &VecDeque<Sighting>) -> Stall {
        let (holder, (held_ns, tid)) = self.held.into_iter().max_by_key(|(_, (held, _))| *held).unwrap_or_default();
        let own = sightings.iter().filter(|seen| seen.tid == tid).flat_map(|seen| &seen.samples);
        let stack = stack_of(own.filter(|sample| self.span.contains(sample.at_ns)).map(|sample| sample.stack));
        Stall {
            process,
            at_ns: self.span.from,
            end_ns: self.span.to,
            held_ns,
            holder,
            waiters: self.waiters.into_iter().collect(),
            lost_ns: self.lost_ns,
            stack,
            cause: Some(Cause::ManyShortHolds),
        }
    }
}
