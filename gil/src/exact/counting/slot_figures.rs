//! The longest hold and wait of one account in one window.

use super::atomic::AtomicU64;
use super::atomic::Ordering::{Acquire, Relaxed, Release};

/// Whether a figure is about holds or about waits.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Hold,
    Wait,
}

/// The longest hold and wait of one account in one window, in ticks, by [`Kind`].
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct SlotFigures {
    /// The window's time of opening. If the slot has another one by now, the figures are a former window's.
    opened: AtomicU64,
    /// The cut at which `previous` was current.
    cut: AtomicU64,
    now: [AtomicU64; 2],
    previous: [AtomicU64; 2],
}

impl SlotFigures {
    /// Returns true if the figures are those of the window that was opened at `opened`.
    pub(super) fn are_of(&self, opened: u64) -> bool {
        self.opened.load(Acquire) == opened
    }

    /// Empties the figures.
    pub(super) fn forget(&self) {
        self.opened.store(0, Relaxed);
    }

    /// Adds those of an ended thread.
    pub(super) fn include(&self, other: &Self) {
        self.keep(0, Kind::Hold, other.now[0].load(Relaxed));
        self.keep(0, Kind::Wait, other.now[1].load(Relaxed));
    }

    /// Empties the figures if they are those of a window that was not opened at `opened`.
    pub(super) fn belong_to(&self, opened: u64, cut: u64) {
        if self.opened.load(Relaxed) != opened {
            self.now.iter().chain(&self.previous).for_each(|longest| longest.store(0, Relaxed));
            self.cut.store(cut, Relaxed);
            self.opened.store(opened, Release);
        }
    }

    /// Keeps the longest, and returns it. If this is the first change after `cut`, keeps what was current then as well.
    pub(super) fn keep(&self, cut: u64, kind: Kind, length: u64) -> u64 {
        let now = &self.now[kind as usize];
        if length <= now.load(Relaxed) {
            return now.load(Relaxed);
        }
        if self.cut.load(Relaxed) != cut {
            self.previous.iter().zip(&self.now).for_each(|(previous, now)| previous.store(now.load(Relaxed), Relaxed));
            self.cut.store(cut, Release);
        }
        // A reader that sees this store sees the one above as well.
        now.store(length, Release);
        length
    }

    /// Returns what was the longest at `cut`, the latest one.
    pub(super) fn at(&self, cut: u64, kind: Kind) -> u64 {
        let now = self.now[kind as usize].load(Acquire);
        if self.cut.load(Acquire) == cut { self.previous[kind as usize].load(Relaxed) } else { now }
    }
}
