//! The accounts under loom, which runs the threads in all orders of their memory accesses (`make loom`): a thread records
//! events while a reader makes cuts, opens a window and reads.
//!
//! The modules are those of the meter, compiled with loom's atomics. loom does not know membarrier(2), so the recording
//! thread executes the barrier itself here.

#![cfg(loom)]
#![allow(unsafe_code, dead_code, unused_imports, reason = "the modules contain more than these tests use")]

#[path = "../src/exact/counting/account.rs"]
mod account;
#[path = "../src/exact/counting/figures.rs"]
mod figures;
#[path = "../src/exact/counting/histogram.rs"]
mod histogram;
#[path = "../src/exact/counting/lock.rs"]
mod lock;
#[path = "../src/exact/counting/single_writer.rs"]
mod single_writer;
#[path = "../src/exact/counting/slot_figures.rs"]
mod slot_figures;

/// loom's atomics.
mod atomic {
    pub(super) use loom::sync::atomic::*;

    /// The barrier that a reader has all threads execute.
    pub(super) fn compiler_fence(_: Ordering) {
        fence(Ordering::SeqCst);
    }

    pub(super) fn wait_a_moment(_: u32) {
        loom::thread::yield_now();
    }
}

mod capacity {
    pub(super) const BUCKETS: usize = 2;
}

/// The latest cut, and one window.
mod slots {
    use super::atomic::{AtomicU64, Ordering, fence};
    pub(super) use super::slot_figures::Kind;
    use super::slot_figures::SlotFigures;

    loom::lazy_static! {
        pub(super) static ref OPEN: Slots = Slots::new();
    }

    #[derive(Debug)]
    pub(super) struct Slots {
        cut: AtomicU64,
        opened: AtomicU64,
        figures: SlotFigures,
    }

    pub(super) struct Slot;

    impl Slots {
        pub(super) fn new() -> Self {
            Self { cut: AtomicU64::new(1), opened: AtomicU64::new(0), figures: SlotFigures::default() }
        }

        pub(super) fn cut(&self) -> u64 {
            self.cut.load(Ordering::Acquire)
        }

        pub(super) fn cut_at(&self, at: u64) {
            self.cut.store(at, Ordering::SeqCst);
            // The barrier of `super::barrier`.
            fence(Ordering::SeqCst);
        }

        /// Opens the window at the cut `at`.
        pub(super) fn open(&self, at: u64) {
            self.opened.store(at, Ordering::Relaxed);
            self.cut_at(at);
        }

        /// Lengths are counted from the beginning on; a tick is a microsecond.
        pub(super) fn counts_lengths(&self, _: u64) -> bool {
            true
        }

        pub(super) fn noted(&self) -> u64 {
            u64::MAX
        }

        pub(super) fn whole_us(&self, ticks: u64) -> u64 {
            ticks
        }

        pub(super) fn close(&self) {
            self.opened.store(0, Ordering::Relaxed);
        }

        pub(super) fn book(&self, _: u32, cut: u64, kind: Kind, since: u64, now: u64) -> u64 {
            let opened = self.opened.load(Ordering::Acquire);
            if opened == 0 {
                return u64::MAX;
            }
            self.figures.belong_to(opened, cut);
            self.figures.keep(cut, kind, now.saturating_sub(since.max(opened)))
        }

        /// Returns the longest hold that has ended in the window up to `cut`.
        pub(super) fn longest_hold(&self, cut: u64) -> u64 {
            let opened = self.opened.load(Ordering::Acquire);
            if self.figures.are_of(opened) { self.figures.at(cut, Kind::Hold) } else { 0 }
        }
    }

    impl Slot {
        pub(super) fn longest(&self, _: u32, _: u64, _: Kind) -> u64 {
            0
        }
    }
}

use account::Account;
use figures::Figures;
use loom::sync::Arc;
use loom::thread;
use slots::Slots;

fn recorded(account: &Account, open: &Slots, holds: &[(u64, u64)]) {
    for (since, until) in holds {
        account.acquired(open, *since);
        account.released(open, *until, false);
    }
}

/// Checks that the figures at `cut` are those after some of the events, and that a hold adds up.
fn check(at: &Figures, cut: u64) {
    let holding = u64::from(at.holds_since != 0);
    assert_eq!(at.acquisitions, at.voluntary_releases + holding, "{at:?}");
    assert!(at.up_to(0, cut).held <= cut.saturating_sub(100), "{at:?} at {cut}");
    assert!(at.longest_hold <= at.held, "{at:?}");
}

#[test]
fn a_reader_sees_one_moment_of_a_thread_that_records() {
    loom::model(|| {
        let (account, open) = (Arc::new(Account::default()), Arc::new(Slots::new()));
        let recording = thread::spawn({
            let (account, open) = (account.clone(), open.clone());
            move || recorded(&account, &open, &[(100, 110)])
        });
        // The moment lies after all events that do not learn of the cut.
        let [first, second] = [200, 300].map(|cut| {
            open.cut_at(cut);
            let found = account.at(cut);
            check(&found, cut);
            found.up_to(0, cut)
        });
        assert!(second.held >= first.held && second.held - first.held <= 100, "{first:?} {second:?}");
        assert!(second.acquisitions >= first.acquisitions);
        recording.join().unwrap();
        open.cut_at(400);
        assert_eq!(account.at(400).acquisitions, 1);
    });
}

#[test]
fn the_holds_that_were_counted_up_to_a_cut_are_those_that_had_ended() {
    loom::model(|| {
        let (account, open) = (Arc::new(Account::default()), Arc::new(Slots::new()));
        let lengths: &'static histogram::Lengths = Box::leak(Box::default());
        account.begin(1, 5, 7, 1);
        account.counts_in(lengths);
        let recording = thread::spawn({
            let (account, open) = (account.clone(), open.clone());
            move || recorded(&account, &open, &[(100, 110), (120, 130)])
        });
        open.cut_at(200);
        let ended = account.at(200).voluntary_releases;
        let counted = |cut| lengths.at(1, cut)[0].iter().sum::<u64>();
        assert_eq!(counted(200), ended);
        recording.join().unwrap();
        open.cut_at(300);
        assert_eq!(counted(300), 2);
    });
}

#[test]
fn the_longest_hold_of_a_window_is_that_at_the_cut() {
    loom::model(|| {
        let (account, open) = (Arc::new(Account::default()), Arc::new(Slots::new()));
        account.acquired(&open, 100);
        open.open(200);
        let before = account.at(200).up_to(0, 200);
        let recording = thread::spawn({
            let (account, open) = (account.clone(), open.clone());
            move || account.released(&open, 250, false)
        });
        open.cut_at(300);
        let found = account.at(300);
        let held = found.up_to(200, 300).held - before.held;
        let longest = open.longest_hold(300);
        // The event came before the cut, or counts as after it.
        match found.holds_since {
            0 => assert_eq!((held, longest), (50, 50)),
            _ => assert_eq!((held, longest), (100, 0)),
        }
        open.close();
        recording.join().unwrap();
    });
}

#[test]
fn an_account_is_used_again_only_by_a_thread_that_begins_after_the_reading() {
    loom::model(|| {
        // The account of an ended thread is recycled by the thread that has the lock (registry.rs).
        let (account, open) = (Arc::new(Account::default()), Arc::new(Slots::new()));
        let lists = Arc::new(lock::Lock { is_taken: atomic::AtomicBool::new(false), value: () });
        account.begin(1, 5, 7, 1);
        recorded(&account, &open, &[(100, 110)]);
        account.ends(&open, 120, None);
        let recycling = thread::spawn({
            let (account, open, lists) = (account.clone(), open.clone(), lists.clone());
            move || {
                if let Some(_guard) = lists.try_lock() {
                    account.begin(2, 5, 8, 1);
                }
                recorded(&account, &open, if account.id() == 2 { &[(130, 135)] } else { &[] });
            }
        });
        if let Some(_guard) = lists.try_lock() {
            let id = account.id();
            open.cut_at(200);
            let found = account.at(200);
            assert_eq!(account.id(), id);
            assert!(if id == 1 { found.held == 10 } else { found.held <= 5 }, "{id}: {found:?}");
        }
        recycling.join().unwrap();
    });
}
