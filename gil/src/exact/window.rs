//! Stretches of metering that each keep their own longest hold and wait. Counts and times of a stretch are the difference
//! of two snapshots; the longest are not, so each account keeps them for every open window. A hold or wait that
//! is no longer than the least of these (the floor) costs one comparison, however many windows are open.

use super::{clock, read};
use crate::{Refusal, Snapshot};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// So many may be open at once.
pub(super) const WINDOWS: usize = 16;

/// When each window was opened, in ticks; 0 where none is.
static OPENED: [AtomicU64; WINDOWS] = [const { AtomicU64::new(0) }; WINDOWS];
/// Grows when a window is opened or closed: floors of another epoch are not to be believed. Never 0.
static EPOCH: AtomicU64 = AtomicU64::new(1);

/// The longest of one account in one window, in ticks.
#[repr(C)]
pub(super) struct Best {
    /// The window that it belongs to, by when that was opened; of another, it counts for nothing.
    opened: AtomicU64,
    hold: AtomicU64,
    wait: AtomicU64,
}

impl Best {
    pub(super) fn hold(&self) -> &AtomicU64 {
        &self.hold
    }

    pub(super) fn wait(&self) -> &AtomicU64 {
        &self.wait
    }
}

#[inline]
pub(super) fn epoch() -> u64 {
    EPOCH.load(Relaxed)
}

/// Books a hold or wait from `since` to `now` in every window; what lay before a window was opened counts for nothing in it.
#[cold]
#[inline(never)]
pub(super) fn note(
    best: &[Best; WINDOWS],
    which: fn(&Best) -> &AtomicU64,
    since: u64,
    now: u64,
    floor: &AtomicU64,
    seen: &AtomicU64,
) {
    seen.store(epoch(), Relaxed);
    let mut least = u64::MAX;
    for (window, best) in OPENED.iter().zip(best) {
        let opened = window.load(Relaxed);
        if opened == 0 {
            continue;
        }
        if best.opened.load(Relaxed) != opened {
            best.hold.store(0, Relaxed);
            best.wait.store(0, Relaxed);
            best.opened.store(opened, Relaxed);
        }
        let longest = which(best).load(Relaxed).max(now.saturating_sub(since.max(opened)));
        which(best).store(longest, Relaxed);
        least = least.min(longest);
    }
    floor.store(least, Relaxed);
}

/// An open window, to be read as often as one likes; dropping it closes it.
#[derive(Debug)]
pub struct Window {
    index: usize,
    opened: u64,
    before: Snapshot,
}

impl Window {
    pub(super) fn open() -> Result<Self, Refusal> {
        let opened = clock::ticks().max(1);
        let free = |place: &&AtomicU64| place.compare_exchange(0, opened, Relaxed, Relaxed).is_ok();
        let place = OPENED.iter().find(free).ok_or(Refusal::TooManyWindows(WINDOWS))?;
        EPOCH.fetch_add(1, Relaxed);
        let index = OPENED.iter().position(|other| std::ptr::eq(other, place)).expect("one of them");
        Ok(Self { index, opened, before: read::snapshot(None) })
    }

    /// What happened since it was opened, the longest hold and wait included. In a forked child, since the fork.
    pub fn read(&self) -> Snapshot {
        let now = read::snapshot(Some(self));
        let mut interval = now.since(&self.before);
        for (gil, with_longest) in interval.gils.iter_mut().zip(&now.gils) {
            for (thread, with_longest) in gil.threads.iter_mut().zip(&with_longest.threads) {
                // The window opens a moment before its first snapshot is taken.
                thread.longest_hold_ns = with_longest.longest_hold_ns.map(|longest| longest.min(thread.held_ns));
                thread.longest_wait_ns = with_longest.longest_wait_ns.map(|longest| longest.min(thread.waited_ns));
            }
            gil.sum();
        }
        interval
    }

    /// The longest hold or wait so far, `best` being the account's and `since` when a running one began.
    pub(super) fn longest(
        &self,
        best: &[Best; WINDOWS],
        which: fn(&Best) -> &AtomicU64,
        since: Option<u64>,
        now: u64,
    ) -> u64 {
        let best = &best[self.index];
        let past = if best.opened.load(Relaxed) == self.opened { which(best).load(Relaxed) } else { 0 };
        past.max(since.map_or(0, |since| now.saturating_sub(since.max(self.opened))))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        OPENED[self.index].store(0, Relaxed);
        EPOCH.fetch_add(1, Relaxed);
    }
}
