//! A meter for the tests, with accounts of its own.

use super::account::Account;
use super::blocks::Blocks;
use super::gils::Gils;
use super::read::{Reader, Reading};
use super::registry::Registry;
use super::slots::{Slot, Slots};

/// The accounts of a process, without a process.
pub(super) struct World {
    pub(super) registry: Registry,
    pub(super) blocks: Blocks,
    pub(super) gils: &'static Gils,
    pub(super) open: Slots,
}

impl World {
    pub(super) fn new() -> &'static Self {
        let world =
            Self { registry: Registry::new(), blocks: Blocks::new(), gils: Gils::leak(0x1000), open: Slots::new() };
        Box::leak(Box::new(world))
    }

    /// Returns the account of a new thread that holds the GIL from `since` to `now`.
    pub(super) fn begin(&self, id: u64, since: u64, now: u64) -> &'static Account {
        let account = self.blocks.take().unwrap();
        account.begin(id, self.gils.first().id(), id as u32, 1);
        self.registry.enter(account);
        account.acquired(&self.open, since);
        account.released(&self.open, now, false);
        account
    }

    /// Ends the thread of `account`.
    pub(super) fn end(&self, account: &'static Account, now: u64) {
        account.ends(&self.open, now, None);
        self.registry.leave(account);
        self.collect();
    }

    pub(super) fn collect(&self) {
        self.registry.collect(&self.registry.lock(), 1, self.gils, &self.open, &self.blocks);
    }

    /// Opens a window at `at`, and reads.
    pub(super) fn open(&self, at: u64) -> (Slot, Reading) {
        self.collect();
        let slot = self.open.open(at);
        (slot, self.reader().read_at(&self.registry.lock(), 1, None, at))
    }

    /// Makes a cut at `at`, and reads the accounts of `session`.
    pub(super) fn read(&self, session: u64, slot: Option<&Slot>, at: u64) -> Reading {
        self.collect();
        self.open.cut_at(at, None);
        self.reader().read_at(&self.registry.lock(), session, slot, at)
    }

    /// Makes a cut a little after the present `ticks`, and reads the accounts of `session`.
    pub(super) fn read_now(&self, session: u64, ticks: impl Fn() -> u64) -> Reading {
        self.collect();
        self.reader().read(&self.registry.lock(), session, None, ticks)
    }

    fn reader(&self) -> Reader<'_> {
        Reader { gils: self.gils, open: &self.open, registry: &self.registry }
    }
}
