//! The cut, one slot for each open window, and the longest hold and wait of every account in each slot.
//!
//! A cut is a moment at which a reader reads all accounts. A thread whose event is the first one after a cut keeps a
//! copy of its figures as they stood at the cut. So a reader takes its time, and still sees one moment. A cut has no
//! number: its time identifies it.
//!
//! The counts and times of a window are the difference of two readings. Its longest hold and wait are not, so they are
//! kept for each account and each open window. A hold or wait that is no longer than the least of an account's (the
//! floor) costs one comparison, however many windows are open.
//!
//! The slots come in blocks. If all slots are taken, another block is reserved, and kept. So the address space alone
//! limits the number of open windows.

use super::super::{memory, thread};
use super::atomic::Ordering::{self, Acquire, Relaxed, Release};
use super::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
use super::capacity::{ACCOUNTS, BLOCKS};
use super::single_writer::add;
pub(super) use super::slot_figures::Kind;
use super::slot_figures::SlotFigures;
use crate::refusal::Refusal;
use std::fmt;
use std::ptr::null_mut;

/// The number of slots in a block. An account's figures in a block's slots are adjacent.
const SLOTS: usize = 4;
/// The time, in ticks, from the start of a cut to its moment: about a microsecond.
const AHEAD: u64 = 1 << 11;
/// A processor may read the time stamp counter this many ticks after the instructions that follow the read.
const OUT_OF_ORDER: u64 = 1 << 8;

/// The slots of this process.
pub(crate) static OPEN: Slots = Slots::new();

/// The latest cut, and the slots: free ones, and those of the open windows. One thread at a time makes cuts, opens and
/// closes windows; threads with events read.
pub(crate) struct Slots {
    /// The time of the latest cut, in ticks. Never 0.
    cut: AtomicU64,
    /// The blocks, a list that grows at its head.
    blocks: AtomicPtr<Block>,
    /// The number of windows that were ever opened.
    windows: AtomicU64,
    /// The cut since which lengths are counted in histograms; 0 if they are not.
    lengths_since: AtomicU64,
    /// Microseconds per tick, times 2^64.
    us_per_tick: AtomicU64,
    /// The length in ticks from which on a hold is noted; 0 if none is.
    noted: AtomicU64,
}

/// Some slots. Memory full of zeros is a block of free ones.
#[repr(C)]
struct Block {
    slots: [Head; SLOTS],
    next: AtomicPtr<Block>,
    /// The figures of the accounts, by block of accounts. They are reserved when first written.
    figures: [AtomicPtr<Chunk>; BLOCKS],
}

/// The figures of a block of accounts, by the account's number.
type Chunk = [[SlotFigures; SLOTS]; ACCOUNTS];

/// The state of a slot.
#[repr(C)]
struct Head {
    /// The cut at which the window was opened; 0 if the slot is free. In a forked child, the time of the fork.
    opened: AtomicU64,
    /// The number of its window, which is never used again.
    window: AtomicU64,
    /// The serial number of the thread that opened the window.
    opener: AtomicUsize,
    /// 1 if there was no memory for a longest hold or wait in the window.
    is_incomplete: AtomicU64,
}

/// The slot of one window.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    block: &'static Block,
    index: usize,
    window: u64,
}

impl Slots {
    pub(crate) const fn new() -> Self {
        Self {
            cut: AtomicU64::new(1),
            blocks: AtomicPtr::new(null_mut()),
            windows: AtomicU64::new(0),
            lengths_since: AtomicU64::new(0),
            us_per_tick: AtomicU64::new(0),
            noted: AtomicU64::new(0),
        }
    }

    /// Returns the time of the latest cut.
    #[inline]
    pub(super) fn cut(&self) -> u64 {
        // Acquire: a thread that sees the cut of a window that opens sees that window as well.
        self.cut.load(Acquire)
    }

    /// Makes a cut, at which the window of `slot` opens, and returns its time. The moment lies a little ahead. So each
    /// event that was recorded without knowledge of the cut came before it, and [`super::account`] records all others
    /// as if they came at the cut or later. If the calling thread loses its CPU just then, it tries again.
    pub(super) fn make_cut(&self, ticks: impl Fn() -> u64, slot: Option<Slot>) -> u64 {
        const TRIES: u32 = 50;
        for tries in 0.. {
            let at = (ticks() + (AHEAD << tries.min(5))).max(self.cut() + 1);
            self.cut_at(at, slot);
            if ticks() + OUT_OF_ORDER <= at || tries >= TRIES {
                return at;
            }
        }
        unreachable!("the tries end")
    }

    /// Makes a cut at the time `at`.
    pub(super) fn cut_at(&self, at: u64, slot: Option<Slot>) {
        if let Some(slot) = slot {
            slot.head().opened.store(at, Relaxed);
        }
        // SeqCst: the store is done before the caller reads the clock and the accounts.
        self.cut.store(at, Ordering::SeqCst);
    }

    /// Begins to count lengths, if they are not counted yet. The clock runs at `us_per_tick`.
    pub(super) fn begin_lengths(&self, ticks: impl Fn() -> u64, us_per_tick: f64) {
        if self.lengths_since().is_none() {
            let at = (ticks() + AHEAD).max(self.cut() + 1);
            self.us_per_tick.store((us_per_tick * 2f64.powi(64)) as u64, Relaxed);
            // Before the cut: a thread that learns of the cut counts.
            self.lengths_since.store(at, Relaxed);
            self.cut_at(at, None);
        }
    }

    /// Ends the counting of lengths, at the beginning of a session.
    pub(crate) fn end_lengths(&self) {
        self.lengths_since.store(0, Relaxed);
    }

    /// Returns the cut since which lengths are counted, if they are.
    pub(super) fn lengths_since(&self) -> Option<u64> {
        Some(self.lengths_since.load(Relaxed)).filter(|since| *since != 0)
    }

    /// Returns true if the length of an event after `cut` is counted.
    pub(super) fn counts_lengths(&self, cut: u64) -> bool {
        self.lengths_since().is_some_and(|since| cut >= since)
    }

    /// Converts a number of ticks to whole microseconds, for a histogram.
    pub(super) fn whole_us(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.us_per_tick.load(Relaxed))) >> 64) as u64
    }

    /// Notes the holds from `length` on, or none. The cut makes all threads learn of it.
    pub(super) fn note_holds(&self, length: Option<u64>, ticks: impl Fn() -> u64) {
        self.noted.store(length.unwrap_or(0), Relaxed);
        self.make_cut(ticks, None);
    }

    /// Notes no holds, in a forked child, which makes a cut afterwards.
    pub(super) fn note_no_holds(&self) {
        self.noted.store(0, Relaxed);
    }

    /// Returns the length from which on a hold is noted.
    pub(super) fn noted(&self) -> u64 {
        match self.noted.load(Relaxed) {
            0 => u64::MAX,
            length => length,
        }
    }

    /// Takes a free slot for a window that opens at the next cut.
    ///
    /// # Errors
    /// [`Refusal::System`] if all slots are taken and no more can be reserved.
    pub(super) fn take(&self) -> Result<Slot, Refusal> {
        let is_free = |slot: &Slot| slot.head().window.load(Relaxed) == 0;
        let mut slot = match self.slots().find(is_free) {
            Some(slot) => slot,
            None => Slot { block: self.add_block()?, index: 0, window: 0 },
        };
        add(&self.windows, 1);
        slot.window = self.windows.load(Relaxed);
        slot.head().window.store(slot.window, Relaxed);
        slot.head().opener.store(thread::serial(), Relaxed);
        slot.head().is_incomplete.store(0, Relaxed);
        Ok(slot)
    }

    /// Frees `slot`, unless its window is closed already.
    pub(super) fn close(&self, slot: Slot) {
        if slot.is_open() {
            slot.head().opened.store(0, Relaxed);
            slot.head().window.store(0, Relaxed);
        }
    }

    /// Makes the open windows begin `now`, in a forked child. Those that were opened by another thread than the calling
    /// one are closed, since the child does not have that thread. Returns the time at which they begin.
    pub(crate) fn begin_anew(&self, now: u64) -> u64 {
        let at = now.max(self.cut() + 1);
        for slot in self.slots().filter(|slot| slot.head().window.load(Relaxed) != 0) {
            if slot.head().opener.load(Relaxed) == thread::serial() {
                slot.head().opened.store(at, Relaxed);
                slot.head().is_incomplete.store(0, Relaxed);
            } else {
                slot.head().opened.store(0, Relaxed);
                slot.head().window.store(0, Relaxed);
            }
        }
        if self.lengths_since().is_some() {
            self.lengths_since.store(at, Relaxed);
        }
        self.cut_at(at, None);
        at
    }

    /// Returns the time at which the oldest open window was opened.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.slots().filter_map(|slot| slot.opened()).min()
    }

    /// Returns all slots.
    fn slots(&self) -> impl Iterator<Item = Slot> {
        let slots =
            |block: &'static Block| block.slots.iter().enumerate().map(move |(index, head)| (block, index, head));
        self.blocks().flat_map(slots).map(|(block, index, head)| Slot {
            block,
            index,
            window: head.window.load(Relaxed),
        })
    }

    fn blocks(&self) -> impl Iterator<Item = &'static Block> {
        // SAFETY: null, or a block. Blocks are never freed, and the list only grows at its head.
        let first = unsafe { self.blocks.load(Acquire).as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |block| unsafe { block.next.load(Relaxed).as_ref() })
    }

    fn add_block(&self) -> Result<&'static Block, Refusal> {
        let reserved = memory::reserve(size_of::<Block>(), "reserving address space for more windows")?;
        // SAFETY: large enough, at the start of a page, and full of zeros.
        let block = unsafe { &*reserved.cast::<Block>() };
        if block.chunk(0).is_none() {
            memory::unreserve(reserved, size_of::<Block>());
            return Err(Refusal::System(
                "reserving address space for more windows",
                std::io::Error::from_raw_os_error(libc::ENOMEM).to_string(),
            ));
        }
        block.next.store(self.blocks.load(Relaxed), Relaxed);
        self.blocks.store(reserved.cast(), Release);
        Ok(block)
    }

    /// Books a hold or wait of the account `account` from `since` to `now` for every open window, and returns the
    /// floor: up to this length, no hold or wait is the longest of any window. The part before a window was opened does
    /// not count in it. `cut` is the latest cut.
    pub(super) fn book(&self, account: u32, cut: u64, kind: Kind, since: u64, now: u64) -> u64 {
        let mut least = u64::MAX;
        for slot in self.slots() {
            let Some(opened) = slot.opened() else { continue };
            let Some(figures) = slot.figures_to_write(account) else {
                slot.head().is_incomplete.store(1, Relaxed);
                continue;
            };
            figures.belong_to(opened, cut);
            let longest = now.saturating_sub(since.max(opened));
            least = least.min(figures.keep(cut, kind, longest));
        }
        least
    }

    /// Adds the figures of the account `account`, whose thread has ended at `ended`, to those of the account `past`.
    pub(super) fn add_to_past(&self, account: u32, past: u32, ended: u64) {
        for slot in self.slots() {
            let Some(opened) = slot.opened().filter(|opened| *opened < ended) else { continue };
            let Some(figures) = slot.figures(account).filter(|figures| figures.are_of(opened)) else {
                continue;
            };
            match slot.figures_to_write(past) {
                Some(past) => {
                    past.belong_to(opened, 0);
                    past.include(figures);
                }
                None => slot.head().is_incomplete.store(1, Relaxed),
            }
        }
    }

    /// Empties the figures of the account `account`, which another thread may use from now on.
    pub(super) fn forget(&self, account: u32) {
        self.slots().filter_map(|slot| slot.figures(account)).for_each(SlotFigures::forget);
    }
}

impl Block {
    /// Returns the figures of a block of accounts. If none were written yet, reserves memory for them.
    fn chunk(&self, index: usize) -> Option<&'static Chunk> {
        let place = self.figures.get(index)?;
        let mut chunk = place.load(Acquire);
        if chunk.is_null() {
            let reserved = memory::reserve(size_of::<Chunk>(), "").ok()?;
            chunk = match place.compare_exchange(null_mut(), reserved.cast(), Ordering::AcqRel, Acquire) {
                Ok(_) => reserved.cast(),
                Err(others) => {
                    memory::unreserve(reserved, size_of::<Chunk>());
                    others
                }
            };
        }
        // SAFETY: large enough, at the start of a page, full of zeros at first, and never freed.
        Some(unsafe { &*chunk })
    }
}

impl Slot {
    fn head(&self) -> &'static Head {
        &self.block.slots[self.index]
    }

    /// Returns true until its window is closed.
    pub(super) fn is_open(&self) -> bool {
        self.head().window.load(Relaxed) == self.window
    }

    /// Returns true unless a longest hold or wait is missing, because there was no memory for it.
    pub(super) fn is_complete(&self) -> bool {
        self.head().is_incomplete.load(Relaxed) == 0
    }

    /// Returns the time at which the window was opened, if a window is open in the slot.
    pub(super) fn opened(&self) -> Option<u64> {
        Some(self.head().opened.load(Acquire)).filter(|opened| *opened != 0)
    }

    fn figures(&self, account: u32) -> Option<&'static SlotFigures> {
        let chunk = self.block.figures.get(account as usize / ACCOUNTS)?.load(Acquire);
        // SAFETY: null, or a chunk. Chunks are never freed.
        Some(&unsafe { chunk.as_ref() }?[account as usize % ACCOUNTS][self.index])
    }

    fn figures_to_write(&self, account: u32) -> Option<&'static SlotFigures> {
        Some(&self.block.chunk(account as usize / ACCOUNTS)?[account as usize % ACCOUNTS][self.index])
    }

    /// Returns the longest hold or wait that has ended in this window up to `cut`, the latest one, of the account with
    /// that number.
    pub(super) fn longest(&self, account: u32, cut: u64, kind: Kind) -> u64 {
        let Some((opened, figures)) = self.opened().zip(self.figures(account)) else { return 0 };
        if figures.are_of(opened) { figures.at(cut, kind) } else { 0 }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Slots {
    /// Opens a window at the time `at`.
    pub(super) fn open(&self, at: u64) -> Slot {
        let slot = self.take().unwrap();
        self.cut_at(at, Some(slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books a hold of account 7, and returns the floor.
    fn hold(open: &Slots, since: u64, now: u64) -> u64 {
        open.book(7, open.cut(), Kind::Hold, since, now)
    }

    fn of(slot: Slot) -> u64 {
        slot.longest(7, 0, Kind::Hold)
    }

    #[test]
    fn each_window_has_the_longest_since_it_was_opened() {
        let open = Slots::new();
        let outer = open.open(1000);
        assert_eq!(hold(&open, 900, 1500), 500);
        let inner = open.open(2000);
        assert_eq!(hold(&open, 1900, 2100), 100);
        assert_eq!((of(outer), of(inner)), (500, 100));
        assert_eq!(inner.longest(7, 0, Kind::Wait), 0);
        assert_eq!(inner.longest(8, 0, Kind::Hold), 0, "another account");
        assert_eq!(inner.longest(8000, 0, Kind::Hold), 0, "of another block");
        // Without a window there is nothing to book.
        open.close(outer);
        open.close(inner);
        assert_eq!((hold(&open, 3000, 3001), open.oldest()), (u64::MAX, None));
    }

    #[test]
    fn what_comes_after_a_cut_is_not_part_of_its_reading() {
        let open = Slots::new();
        let window = open.open(1000);
        hold(&open, 1000, 1050);
        open.cut_at(2000, None);
        assert_eq!(window.longest(7, 2000, Kind::Hold), 50);
        hold(&open, 2000, 2090);
        hold(&open, 2100, 2200);
        assert_eq!(window.longest(7, 2000, Kind::Hold), 50);
        open.cut_at(3000, None);
        assert_eq!(window.longest(7, 3000, Kind::Hold), 100);
    }

    #[test]
    fn lengths_are_counted_from_a_cut_on() {
        let open = Slots::new();
        open.cut_at(5000, None);
        open.begin_lengths(|| 1000, 0.25);
        assert_eq!((open.cut(), open.lengths_since()), (5001, Some(5001)));
        assert_eq!([5000, 5001, 6000].map(|cut| open.counts_lengths(cut)), [false, true, true]);
        assert_eq!([3, 4, 4_000_000_007].map(|ticks| open.whole_us(ticks)), [0, 1, 1_000_000_001]);
        open.begin_lengths(|| 9000, 1.0);
        assert_eq!(open.begin_anew(7000), open.lengths_since().unwrap(), "in a forked child, from the fork on");
        open.end_lengths();
        assert!(!open.counts_lengths(u64::MAX));
    }

    #[test]
    fn a_cut_is_made_again_if_the_thread_loses_its_cpu() {
        let (open, reads) = (Slots::new(), std::cell::Cell::new(0));
        // Each of the first three cuts takes a millisecond.
        let ticks = || {
            reads.set(reads.get() + 1);
            if reads.get() < 7 { reads.get() * 1_000_000 } else { 7_000_000 }
        };
        let at = open.make_cut(ticks, None);
        assert_eq!((at, open.cut()), (7_000_000 + (AHEAD << 3), at));
    }

    #[test]
    fn a_slot_keeps_nothing_of_a_former_window() {
        let open = Slots::new();
        let former = open.open(1000);
        hold(&open, 1000, 1500);
        open.close(former);
        let latter = open.open(2000);
        assert_eq!((latter.index, of(latter)), (former.index, 0));
        // To close it again is not to close the latter window.
        open.close(former);
        hold(&open, 2000, 2010);
        assert_eq!((of(latter), former.is_open(), latter.is_open()), (10, false, true));
    }

    #[test]
    fn the_figures_of_an_ended_thread_become_those_of_the_past() {
        let open = Slots::new();
        let outer = open.open(1000);
        hold(&open, 1000, 1500);
        let inner = open.open(2000);
        hold(&open, 2000, 2100);
        let late = open.open(3000);
        open.add_to_past(7, 0, 2500);
        assert_eq!([outer, inner, late].map(|slot| slot.longest(0, 9, Kind::Hold)), [500, 100, 0]);
        open.forget(7);
        assert_eq!([outer, inner].map(of), [0, 0], "the account may be used again");
        hold(&open, 3500, 3520);
        open.add_to_past(7, 0, 3600);
        assert_eq!([outer, inner, late].map(|slot| slot.longest(0, 9, Kind::Hold)), [500, 100, 20]);
    }

    #[test]
    fn a_window_in_a_forked_child_begins_at_the_fork() {
        let open: &Slots = Box::leak(Box::new(Slots::new()));
        let window = open.open(1000);
        let others = std::thread::spawn(|| open.open(1100)).join().unwrap();
        hold(open, 1000, 1500);
        open.begin_anew(2000);
        assert_eq!((of(window), window.opened(), others.is_open()), (0, Some(2000), false));
        hold(open, 1900, 2010);
        assert_eq!(of(window), 10);
    }

    #[test]
    fn there_are_as_many_slots_as_windows_and_free_ones_are_used_again() {
        const WINDOWS: u64 = 20 * SLOTS as u64;
        let open = Slots::new();
        let open_and_hold = |number: u64| {
            let (now, length) = (1000 * (number + 1), WINDOWS - number);
            let slot = open.open(now);
            hold(&open, now, now + length);
            slot
        };
        let slots: Vec<Slot> = (0..WINDOWS).map(open_and_hold).collect();
        // Each hold was shorter than all before it.
        assert_eq!(slots.iter().map(|slot| of(*slot)).collect::<Vec<_>>(), (1..=WINDOWS).rev().collect::<Vec<_>>());
        assert_eq!((open.blocks().count(), open.oldest()), (20, Some(1000)));
        slots.iter().for_each(|slot| open.close(*slot));
        (0..WINDOWS).for_each(|number| _ = open.open(100_000 + number));
        assert_eq!(open.blocks().count(), 20);
    }
}
