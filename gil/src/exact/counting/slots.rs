//! One slot for each open window, and the longest hold and wait of every account in each slot.
//!
//! The counts and times of a window are the difference of two snapshots. Its longest hold and wait are not, so they are
//! kept for each account and each open window. A hold or wait that is no longer than the least of an account's (the
//! floor) costs one comparison, however many windows are open.
//!
//! The slots come in blocks. If all slots are taken, another block is reserved, and kept. So the address space alone
//! limits the number of open windows.

use super::super::memory;
use super::capacity::ACCOUNTS;
use crate::refusal::Refusal;
use std::fmt;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// The number of slots in a block.
const SLOTS: usize = 16;

/// The slots of this process.
pub(crate) static OPEN: Slots = Slots::new();

/// The slots: free ones, and those of the open windows.
pub(crate) struct Slots {
    /// The blocks, a list that grows at its head.
    blocks: AtomicPtr<Block>,
    /// Grows whenever a window is opened or closed, which makes the floors of earlier epochs invalid. Never 0.
    epoch: AtomicU64,
}

/// Some slots. Memory full of zeros is a block of free ones.
#[repr(C)]
struct Block {
    /// The time at which each window was opened, in ticks; 0 if the slot is free. In a forked child, the time of the
    /// fork.
    opened: [AtomicU64; SLOTS],
    next: AtomicPtr<Block>,
    /// The figures of each account, by its number.
    figures: [[SlotFigures; SLOTS]; ACCOUNTS],
}

/// The slot of one open window.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    block: &'static Block,
    index: usize,
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
        Self { blocks: AtomicPtr::new(null_mut()), epoch: AtomicU64::new(1) }
    }

    /// Takes a free slot for a window that opens `now`.
    ///
    /// # Errors
    /// [`Refusal::System`] if all slots are taken and no more can be reserved.
    pub(crate) fn open(&self, now: u64) -> Result<Slot, Refusal> {
        let opened = now.max(1);
        let slot = match self.blocks().find_map(|block| block.take(opened)) {
            Some(slot) => slot,
            None => self.add_block(opened)?,
        };
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(slot)
    }

    /// Frees `slot`.
    pub(crate) fn close(&self, slot: Slot) {
        slot.opened().store(0, Relaxed);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Makes the open windows begin `now`.
    pub(crate) fn begin_anew(&self, now: u64) {
        let slots = self.blocks().flat_map(|block| &block.opened);
        slots.filter(|opened| opened.load(Relaxed) != 0).for_each(|opened| opened.store(now.max(1), Relaxed));
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn blocks(&self) -> impl Iterator<Item = &'static Block> {
        // SAFETY: null, or a block. Blocks are never freed, and the list only grows at its head.
        let first = unsafe { self.blocks.load(Ordering::Acquire).as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |block| unsafe { block.next.load(Relaxed).as_ref() })
    }

    /// Adds a block, whose first slot is taken by a window that opens at `opened`.
    fn add_block(&self, opened: u64) -> Result<Slot, Refusal> {
        let reserved = memory::reserve(size_of::<Block>(), "reserving address space for more windows")?;
        // SAFETY: large enough, at the start of a page, and full of zeros.
        let block = unsafe { &*reserved.cast::<Block>() };
        block.opened[0].store(opened, Relaxed);
        let mut first = self.blocks.load(Relaxed);
        loop {
            block.next.store(first, Relaxed);
            match self.blocks.compare_exchange_weak(first, reserved.cast(), Ordering::Release, Relaxed) {
                Ok(_) => return Ok(Slot { block, index: 0 }),
                Err(now) => first = now,
            }
        }
    }
}

impl Block {
    /// Takes a free slot, if there is one.
    fn take(&'static self, opened: u64) -> Option<Slot> {
        let is_taken = |slot: &AtomicU64| slot.compare_exchange(0, opened, Relaxed, Relaxed).is_ok();
        let index = self.opened.iter().position(is_taken)?;
        Some(Slot { block: self, index })
    }
}

impl SlotFigures {
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

    /// Books a hold or wait from `since` to `now`, for the session and for every open window. `account` is the number
    /// of the account.
    #[inline]
    pub(super) fn book(
        &self,
        open: &Slots,
        account: &AtomicU32,
        which: fn(&SlotFigures) -> &AtomicU64,
        since: u64,
        now: u64,
    ) {
        let length = now.saturating_sub(since);
        if length > self.ever.load(Relaxed) {
            self.ever.store(length, Relaxed);
        }
        if length > self.floor.load(Relaxed) || self.epoch.load(Relaxed) != open.epoch.load(Relaxed) {
            self.book_in_slots(open, account, which, since, now);
        }
    }

    /// Books for the open windows, and computes the floor anew. The part before a window was opened does not count in
    /// it.
    #[cold]
    #[inline(never)]
    fn book_in_slots(
        &self,
        open: &Slots,
        account: &AtomicU32,
        which: fn(&SlotFigures) -> &AtomicU64,
        since: u64,
        now: u64,
    ) {
        self.epoch.store(open.epoch.load(Ordering::Acquire), Relaxed);
        let account = account.load(Relaxed) as usize;
        let mut least = u64::MAX;
        for (slot, figures) in open.blocks().flat_map(|block| block.opened.iter().zip(&block.figures[account])) {
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
    fn opened(&self) -> &AtomicU64 {
        &self.block.opened[self.index]
    }

    /// Returns the longest hold or wait of this window up to `now`, of the account with that number. `since` is the
    /// start of a hold or wait that goes on.
    pub(super) fn longest(
        self,
        account: u32,
        which: fn(&SlotFigures) -> &AtomicU64,
        since: Option<u64>,
        now: u64,
    ) -> u64 {
        let figures = &self.block.figures[account as usize][self.index];
        let opened = self.opened().load(Relaxed);
        let past = if figures.opened.load(Relaxed) == opened { which(figures).load(Relaxed) } else { 0 };
        past.max(since.map_or(0, |since| now.saturating_sub(since.max(opened))))
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("opened", self.opened()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest hold of account 7, for the session and for each slot.
    struct Holds {
        longest: Longest,
        account: AtomicU32,
    }

    impl Holds {
        fn new() -> Self {
            Self { longest: Longest::new(), account: AtomicU32::new(7) }
        }

        fn book(&self, open: &Slots, since: u64, now: u64) {
            self.longest.book(open, &self.account, SlotFigures::hold, since, now);
        }

        fn of(&self, slot: Slot) -> u64 {
            slot.longest(7, SlotFigures::hold, None, 0)
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
        assert_eq!(inner.longest(7, SlotFigures::hold, Some(1900), 2300), 300);
        assert_eq!(inner.longest(7, SlotFigures::wait, None, 2300), 0);
        assert_eq!(inner.longest(8, SlotFigures::hold, None, 2300), 0, "another account");
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
    fn a_window_in_a_forked_child_begins_at_the_fork() {
        let (open, holds) = (Slots::new(), Holds::new());
        let (window, closed) = (open.open(1000).unwrap(), open.open(1000).unwrap());
        open.close(closed);
        holds.book(&open, 1000, 1500);
        open.begin_anew(2000);
        assert_eq!(holds.of(window), 0);
        holds.book(&open, 1900, 2010);
        assert_eq!((holds.of(window), window.longest(7, SlotFigures::hold, Some(1900), 2030)), (10, 30));
        assert_eq!(closed.opened().load(Relaxed), 0);
    }

    #[test]
    fn there_are_as_many_slots_as_windows_and_free_ones_are_used_again() {
        const WINDOWS: u64 = 5 * SLOTS as u64;
        let (open, holds) = (Slots::new(), Holds::new());
        let open_and_hold = |number: u64| {
            let (now, length) = (1000 * (number + 1), WINDOWS - number);
            let slot = open.open(now).unwrap();
            holds.book(&open, now, now + length);
            slot
        };
        let slots: Vec<Slot> = (0..WINDOWS).map(open_and_hold).collect();
        // Each hold was shorter than all before it.
        let longest: Vec<u64> = slots.iter().map(|slot| holds.of(*slot)).collect();
        assert_eq!(longest, (1..=WINDOWS).rev().collect::<Vec<_>>());
        assert_eq!(open.blocks().count(), 5);
        slots.iter().for_each(|slot| open.close(*slot));
        (0..WINDOWS).for_each(|number| _ = open.open(number).unwrap());
        assert_eq!(open.blocks().count(), 5);
    }
}
