//! One thread with one GIL: its latest holds and waits.

use super::event::Event;
use super::lane::SAME_WAIT_NS;
use busy_gil::log::Kind;
use std::collections::VecDeque;

/// The number of holds that are kept at most, if others wait on and on.
const MOST_HOLDS: usize = 1 << 16;

/// A stretch of time, in nanoseconds since the start of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    pub(super) fn contains(self, at: u64) -> bool {
        (self.from..=self.to).contains(&at)
    }

    fn within(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// Returns the parts of it that are outside of `others`, which are in order and do not overlap.
    pub(super) fn without(self, others: impl Iterator<Item = Self>) -> impl Iterator<Item = Self> {
        let ends = others.filter(move |other| other.from < self.to && other.to > self.from);
        let end = Self { from: self.to, to: self.to };
        let gaps = ends.chain([end]).scan(self.from, |from, other| {
            let gap = Self { from: *from, to: other.from.max(*from) };
            *from = other.to.max(*from);
            Some(gap)
        });
        gaps.filter(|gap| gap.from < gap.to)
    }
}

/// A hold of the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    span: Span,
    /// The thread dropped the GIL on request.
    is_dropped: bool,
}

/// A thread with a GIL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) tid: u32,
    /// The time of its latest event.
    pub(super) latest_ns: u64,
    /// The time before which its events are not known, if they were merged.
    pub(super) cut_ns: Option<u64>,
    holds_since: Option<u64>,
    waits_since: Option<u64>,
    /// The latest wait was one for the hand-over.
    handed_over: bool,
    holds: VecDeque<Hold>,
    /// Those that were not passed on by `waits_until`.
    waits: VecDeque<Span>,
}

impl Row {
    pub(super) fn new(tid: u32) -> Self {
        let (holds, waits) = (VecDeque::new(), VecDeque::new());
        Self { tid, latest_ns: 0, cut_ns: None, holds_since: None, waits_since: None, handed_over: false, holds, waits }
    }

    /// Adds an event. Returns the hold that it ends.
    pub(super) fn event(&mut self, event: &Event) -> Option<Span> {
        if event.kind == Kind::Lost {
            // What went on may have ended at any time.
            (self.holds_since, self.waits_since) = (None, None);
            return None;
        }
        // The scale of the clock is measured anew for each batch (gil/src/log/scale.rs), so the next may begin too early.
        let at = event.at.max(self.latest_ns);
        self.latest_ns = at;
        match event.kind {
            Kind::Acquired => {
                self.ends_wait(at, false);
                self.holds_since = Some(at);
                None
            }
            Kind::WaitBegan => {
                self.begins_wait(at);
                None
            }
            Kind::WaitEnded => {
                self.ends_wait(at, true);
                None
            }
            kind => self.ends_hold(at, kind == Kind::Dropped),
        }
    }

    /// Ends what goes on, as its process has ended. Returns the hold.
    pub(super) fn end(&mut self, at: u64) -> Option<Span> {
        self.ends_wait(at, false);
        self.ends_hold(at, false)
    }

    fn begins_wait(&mut self, at: u64) {
        let continues = |wait: &mut Span| at.saturating_sub(wait.to) <= SAME_WAIT_NS;
        let earlier = if self.handed_over { self.waits.pop_back_if(continues) } else { None };
        self.waits_since = Some(earlier.map_or(at, |wait| wait.from));
        self.handed_over = false;
    }

    fn ends_wait(&mut self, at: u64, by_handover: bool) {
        if let Some(from) = self.waits_since.take() {
            self.waits.push_back(Span { from, to: at.max(from) });
            self.handed_over = by_handover;
        }
    }

    fn ends_hold(&mut self, at: u64, is_dropped: bool) -> Option<Span> {
        let from = self.holds_since.take()?;
        let span = Span { from, to: at.max(from) };
        if self.holds.len() == MOST_HOLDS {
            self.holds.pop_front();
        }
        self.holds.push_back(Hold { span, is_dropped });
        Some(span)
    }

    /// Takes the waits that ended before `until`.
    pub(super) fn waits_until(&mut self, until: u64) -> impl Iterator<Item = Span> {
        let count = self.waits.partition_point(|wait| wait.to <= until);
        self.waits.drain(..count)
    }

    /// Returns the start of the first wait that was not taken.
    pub(super) fn first_wait(&self) -> Option<u64> {
        self.waits.front().map(|wait| wait.from).or(self.waits_since)
    }

    /// Returns the start of the hold that goes on.
    pub(super) fn holds_since(&self) -> Option<u64> {
        self.holds_since
    }

    /// Forgets the holds that ended before `needed`.
    pub(super) fn forget_holds(&mut self, needed: u64) {
        let count = self.holds.partition_point(|hold| hold.span.to < needed);
        self.holds.drain(..count);
    }

    /// Returns true if the thread does nothing with the GIL now, and nothing is kept of it.
    pub(super) fn is_idle(&self) -> bool {
        self.holds_since.or(self.waits_since).is_none() && self.holds.is_empty() && self.waits.is_empty()
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.holds.len() + self.waits.len()
    }

    /// Returns how long the thread waited in `hold` in all, and without an interruption.
    pub(super) fn waited_in(&self, hold: Span) -> (u64, u64) {
        let first = self.waits.partition_point(|wait| wait.to <= hold.from);
        let current = self.waits_since.map(|from| Span { from, to: u64::MAX });
        let waits = self.waits.range(first..).copied().chain(current).take_while(|wait| wait.from < hold.to);
        waits.map(|wait| wait.within(hold).length()).fold((0, 0), |(sum, most), one| (sum + one, most.max(one)))
    }

    /// Returns the parts of the holds that are inside `span`.
    pub(super) fn holds_in(&self, span: Span) -> impl Iterator<Item = Span> {
        let current = self.holds_since.map(|from| Span { from, to: u64::MAX });
        let holds = self.ended_holds_in(span).map(|hold| hold.span).chain(current);
        holds.take_while(move |hold| hold.from < span.to).map(move |hold| hold.within(span))
    }

    /// Returns the parts inside `span` of the holds that the thread ended on request, and how many ended there.
    pub(super) fn drops_in(&self, span: Span) -> (u64, u64) {
        let drops =
            self.ended_holds_in(span).take_while(|hold| hold.span.from < span.to).filter(|hold| hold.is_dropped);
        drops.fold((0, 0), |(sum, count), hold| {
            (sum + hold.span.within(span).length(), count + u64::from(hold.span.to <= span.to))
        })
    }

    /// Returns the holds that ended after the start of `span`.
    fn ended_holds_in(&self, span: Span) -> impl Iterator<Item = Hold> {
        let first = self.holds.partition_point(|hold| hold.span.to <= span.from);
        self.holds.range(first..).copied()
    }
}
