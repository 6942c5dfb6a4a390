//! One slot for each open window, and the longest hold and wait that every account keeps for each slot.
//!
//! The counts and times of a window are the difference of two snapshots. Its longest hold and wait are not, so each
//! account keeps them for every open window. A hold or wait that is no longer than the least of these (the floor) costs
//! one comparison, however many windows are open.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of windows that may be open at the same time.
pub(crate) const SLOTS: usize = 16;

/// The slots of this process.
pub(crate) static OPEN: Slots = Slots::new();

/// The slots: free ones, and those of the open windows.
pub(crate) struct Slots {
    /// The time at which each window was opened, in ticks; 0 if the slot is free.
    opened: [AtomicU64; SLOTS],
    /// Grows whenever a window is opened or closed, which makes the floors of earlier epochs invalid. Never 0.
    epoch: AtomicU64,
}

/// The slot of one open window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    index: usize,
    opened: u64,
}

/// The longest hold and wait of one account in one window, in ticks.
#[repr(C)]
pub(crate) struct SlotFigures {
    /// The window's time of opening. If the slot has another one by now, the figures are a former window's.
    opened: AtomicU64,
    hold: AtomicU64,
    wait: AtomicU64,
}

/// The longest hold, or the longest wait, of one account, in ticks.
#[repr(C)]
pub(crate) struct Longest {
    ever: AtomicU64,
    /// In this epoch, nothing that is no longer than this is the longest of any window.
    floor: AtomicU64,
    epoch: AtomicU64,
}

impl Slots {
    pub(crate) const fn new() -> Self {
        Self { opened: [const { AtomicU64::new(0) }; SLOTS], epoch: AtomicU64::new(1) }
    }

    /// Takes a free slot for a window that opens `now`. Returns `None` if all are taken.
    pub(crate) fn open(&self, now: u64) -> Option<Slot> {
        let opened = now.max(1);
        let is_taken = |slot: &AtomicU64| slot.compare_exchange(0, opened, Relaxed, Relaxed).is_ok();
        let index = self.opened.iter().position(is_taken)?;
        self.epoch.fetch_add(1, Relaxed);
        Some(Slot { index, opened })
    }

    /// Frees `slot`.
    pub(crate) fn close(&self, slot: Slot) {
        self.opened[slot.index].store(0, Relaxed);
        self.epoch.fetch_add(1, Relaxed);
    }
}

impl SlotFigures {
    #[cfg(test)]
    pub(super) const fn new() -> Self {
        Self { opened: AtomicU64::new(0), hold: AtomicU64::new(0), wait: AtomicU64::new(0) }
    }

    /// Begins a new session. A window that is open stays open in a forked child, and must not have its parent's figures.
    pub(super) fn clear(&self) {
        self.opened.store(0, Relaxed);
    }

    pub(super) fn hold(&self) -> &AtomicU64 {
        &self.hold
    }

    pub(super) fn wait(&self) -> &AtomicU64 {
        &self.wait
    }
}

impl Longest {
    #[cfg(test)]
    pub(super) const fn new() -> Self {
        Self { ever: AtomicU64::new(0), floor: AtomicU64::new(0), epoch: AtomicU64::new(0) }
    }

    /// The longest of the session.
    pub(super) fn ever(&self) -> u64 {
        self.ever.load(Relaxed)
    }

    /// Begins a new session.
    pub(super) fn clear(&self) {
        self.ever.store(0, Relaxed);
        self.epoch.store(0, Relaxed);
    }

    /// Books a hold or wait from `since` to `now`, for the session and for every open window.
    #[inline]
    pub(super) fn book(
        &self,
        open: &Slots,
        figures: &[SlotFigures; SLOTS],
        which: fn(&SlotFigures) -> &AtomicU64,
        since: u64,
        now: u64,
    ) {
        let length = now.saturating_sub(since);
        if length > self.ever.load(Relaxed) {
            self.ever.store(length, Relaxed);
        }
        if length > self.floor.load(Relaxed) || self.epoch.load(Relaxed) != open.epoch.load(Relaxed) {
            self.book_in_slots(open, figures, which, since, now);
        }
    }

    /// Books for the open windows, and computes the floor anew. The part before a window was opened does not count in
    /// it.
    #[cold]
    #[inline(never)]
    fn book_in_slots(
        &self,
        open: &Slots,
        figures: &[SlotFigures; SLOTS],
        which: fn(&SlotFigures) -> &AtomicU64,
        since: u64,
        now: u64,
    ) {
        self.epoch.store(open.epoch.load(Relaxed), Relaxed);
        let mut least = u64::MAX;
        for (slot, figures) in open.opened.iter().zip(figures) {
            let opened = slot.load(Relaxed);
            if opened == 0 {
                continue;
            }
            if figures.opened.load(Relaxed) != opened {
                figures.hold.store(0, Relaxed);
                figures.wait.store(0, Relaxed);
                figures.opened.store(opened, Relaxed);
            }
            let longest = which(figures).load(Relaxed).max(now.saturating_sub(since.max(opened)));
            which(figures).store(longest, Relaxed);
            least = least.min(longest);
        }
        self.floor.store(least, Relaxed);
    }
}

impl Slot {
    /// Returns the longest hold or wait of this window up to `now`, given the figures of one account. `since` is the
    /// start of a hold or wait that goes on.
    pub(super) fn longest(
        self,
        figures: &[SlotFigures; SLOTS],
        which: fn(&SlotFigures) -> &AtomicU64,
        since: Option<u64>,
        now: u64,
    ) -> u64 {
        let figures = &figures[self.index];
        let past = if figures.opened.load(Relaxed) == self.opened { which(figures).load(Relaxed) } else { 0 };
        past.max(since.map_or(0, |since| now.saturating_sub(since.max(self.opened))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest hold of one account, for the session and for each slot.
    struct Holds {
        longest: Longest,
        figures: [SlotFigures; SLOTS],
    }

    impl Holds {
        fn new() -> Self {
            Self { longest: Longest::new(), figures: [const { SlotFigures::new() }; SLOTS] }
        }

        fn book(&self, open: &Slots, since: u64, now: u64) {
            self.longest.book(open, &self.figures, SlotFigures::hold, since, now);
        }

        fn of(&self, slot: Slot) -> u64 {
            slot.longest(&self.figures, SlotFigures::hold, None, 0)
        }

        fn floor(&self) -> u64 {
            self.longest.floor.load(Relaxed)
        }
    }

    #[test]
    fn each_window_has_the_longest_since_it_was_opened() {
        let (open, holds) = (Slots::new(), Holds::new());
        let outer = open.open(1000).unwrap();
        holds.book(&open, 900, 1500);
        let inner = open.open(2000).unwrap();
        holds.book(&open, 1900, 2100);
        assert_eq!((holds.of(outer), holds.of(inner), holds.longest.ever()), (500, 100, 600));
        // One that goes on counts as well.
        assert_eq!(inner.longest(&holds.figures, SlotFigures::hold, Some(1900), 2300), 300);
        assert_eq!(inner.longest(&holds.figures, SlotFigures::wait, None, 2300), 0);
    }

    #[test]
    fn nothing_up_to_the_floor_is_booked_until_another_window_opens() {
        let (open, holds) = (Slots::new(), Holds::new());
        let first = open.open(1000).unwrap();
        holds.book(&open, 1000, 1050);
        assert_eq!(holds.floor(), 50);
        holds.book(&open, 1050, 1090);
        assert_eq!((holds.of(first), holds.floor()), (50, 50));
        let second = open.open(2000).unwrap();
        holds.book(&open, 2000, 2040);
        assert_eq!((holds.of(first), holds.of(second), holds.floor()), (50, 40, 40));
        // Without a window there is nothing left to book.
        open.close(first);
        open.close(second);
        holds.book(&open, 3000, 3001);
        assert_eq!(holds.floor(), u64::MAX);
    }

    #[test]
    fn a_slot_keeps_nothing_of_a_former_window() {
        let (open, holds) = (Slots::new(), Holds::new());
        let former = open.open(1000).unwrap();
        holds.book(&open, 1000, 1500);
        open.close(former);
        let latter = open.open(2000).unwrap();
        assert_eq!((latter.index, holds.of(latter)), (former.index, 0));
        holds.book(&open, 2000, 2010);
        assert_eq!(holds.of(latter), 10);
    }

    #[test]
    fn a_window_beyond_the_last_slot_is_refused() {
        let open = Slots::new();
        let slots: Vec<Slot> = (0..SLOTS).map(|_| open.open(0).unwrap()).collect();
        assert!(open.open(0).is_none());
        open.close(slots[3]);
        assert_eq!(open.open(5).unwrap().index, 3);
    }
}
