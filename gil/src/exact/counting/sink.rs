//! The sink: what sees every event of every thread, with its time, beside the accounts. Without one, an event costs one
//! load and one branch more.

use super::account::Account;
use super::atomic::Ordering::{Acquire, Release};
use super::atomic::{AtomicPtr, AtomicU32};
use super::capacity;
use super::figures::Total;
use std::ptr::null_mut;

/// What a thread has done with a GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It holds the GIL. Its acquire was not seen: it came before the metering or before a fork.
    Holds,
    /// It has acquired the GIL, which ends its wait, if any.
    Acquired,
    /// It has released the GIL voluntarily.
    Released,
    /// It has dropped the GIL on request.
    Dropped,
    /// Its hold has ended with the GIL itself.
    HoldEnded,
    /// It waits for the GIL, or until another thread has acquired the GIL that it has dropped.
    WaitBegan,
    /// Another thread has acquired the GIL that it has dropped.
    WaitEnded,
    /// It has ended, or its GIL has. The row has no further events.
    Ended,
}

/// What sees the events. The hooks call it under the GIL's mutex: it must not wait, and must not call CPython.
pub trait Sink: Sync {
    /// Called by the thread of `row` at each of its events, after its account was updated. `ticks` is the time on the
    /// time stamp counter if [`crate::clock_is_tsc`], otherwise on CLOCK_MONOTONIC.
    fn event(&self, row: Row<'_>, event: Event, ticks: u64);

    /// Called at the end of a fork(2) that took so many ticks, in the parent, by the forking thread, which holds the GIL
    /// with this index.
    fn has_forked(&self, gil: usize, ticks: u64);

    /// Called in a forked child, which has one thread and no rows yet, before its first event.
    fn forked(&self);
}

/// One thread with one GIL: a row of the meter's figures.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a>(&'a Account);

impl Row<'_> {
    /// Returns the number of the row, as in [`crate::ThreadTotals::id`].
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// Returns the native thread id.
    pub fn tid(&self) -> u32 {
        self.0.tid()
    }

    /// Returns the index of the GIL among those of the process; 0 is the GIL under which the meter was started.
    #[inline]
    pub fn gil(&self) -> usize {
        index_of(self.0.gil())
    }

    /// Returns the id of the GIL, which no other GIL of the process has had.
    #[inline]
    pub(crate) fn gil_id(&self) -> u64 {
        self.0.gil()
    }

    /// Returns a number that belongs to the sink, and is 0 at the row's first event.
    #[inline]
    pub fn mark(&self) -> &AtomicU32 {
        self.0.mark()
    }

    /// Returns a figure of the row's account, in ticks, since the metering began.
    #[inline(always)]
    pub fn total(&self, total: Total) -> u64 {
        self.0.total(total)
    }
}

/// The sink in use, by a pointer that is never freed, or null.
static SINK: AtomicPtr<&'static dyn Sink> = AtomicPtr::new(null_mut());

/// Makes `sink` the one that sees the events from now on.
pub(crate) fn set(sink: &'static dyn Sink) {
    SINK.store(Box::leak(Box::new(sink)), Release);
}

/// Ends the reports.
pub(crate) fn clear() {
    SINK.store(null_mut(), Release);
}

/// Reports an event of the calling thread, which has the account `account`.
#[inline(always)]
pub(crate) fn report(account: &Account, event: Event, now: u64) {
    let sink = SINK.load(Acquire);
    if !sink.is_null() {
        pass_on(sink, account, event, now);
    }
}

#[inline(never)]
fn pass_on(sink: *const &'static dyn Sink, account: &Account, event: Event, now: u64) {
    // The account of the threads without memory for their own one has no number.
    if account.id() != 0 {
        // SAFETY: a pointer that `set` has stored.
        unsafe { *sink }.event(Row(account), event, now);
    }
}

/// Returns the index of the GIL with that id among those of the process.
#[inline]
fn index_of(id: u64) -> usize {
    (id % capacity::GILS as u64) as usize
}

/// Reports a fork, in the parent, by the thread that holds the GIL with that id.
pub(crate) fn has_forked(gil: u64, ticks: u64) {
    // SAFETY: null, or a pointer that `set` has stored.
    if let Some(sink) = unsafe { SINK.load(Acquire).as_ref() } {
        sink.has_forked(index_of(gil), ticks);
    }
}

/// Reports a fork, in the child.
pub(crate) fn forked() {
    // SAFETY: null, or a pointer that `set` has stored.
    if let Some(sink) = unsafe { SINK.load(Acquire).as_ref() } {
        sink.forked();
    }
}

/// The account of a thread that does not exist, for the tests of a sink.
#[cfg(test)]
pub(crate) struct TestRow(&'static Account);

#[cfg(test)]
impl TestRow {
    pub(crate) fn new(tid: u32) -> Self {
        Self(Account::leak(0, tid))
    }

    pub(crate) fn waits(&self, since: u64) {
        _ = self.0.begins_wait_in(&super::slots::OPEN, since);
    }

    pub(crate) fn acquires(&self, at: u64) {
        _ = self.0.acquired(&super::slots::OPEN, at);
    }

    pub(crate) fn releases(&self, at: u64, is_forced: bool) {
        _ = self.0.released(&super::slots::OPEN, at, is_forced);
    }

    pub(crate) fn is_handed_over(&self, at: u64) {
        _ = self.0.ends_handover(&super::slots::OPEN, at);
    }

    pub(crate) fn row(&self) -> Row<'static> {
        Row(self.0)
    }
}
