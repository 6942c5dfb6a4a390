//! The registry of the accounts: which threads live, and which ones have ended. A thread that begins or ends only puts
//! its account on a stack, and waits for nobody. The thread that has the lock moves the accounts from there to the lists.
//!
//! When a thread ends, its figures are added to the past of its GIL. Its account is kept (retired) until the last window
//! that was opened before the end is closed, at most [`RETIRED`] accounts at a time. Then it is used again.

use super::account::{Account, NONE};
use super::blocks::Blocks;
use super::capacity::RETIRED;
use super::gils::Gils;
use super::lock::{Guard, Lock};
use super::slots::Slots;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};

/// The registry: two stacks, to which any thread adds, and the lists.
pub(super) struct Registry {
    /// The accounts of threads that began, a stack.
    new: AtomicPtr<Account>,
    /// The accounts of threads that ended, a stack.
    ending: AtomicPtr<Account>,
    lists: Lock<Lists>,
}

/// The accounts in use. Only the thread that has the lock changes the lists.
pub(super) struct Lists {
    living: List,
    /// The accounts of ended threads, the first one ended first.
    retired: List,
}

/// A doubly linked list.
struct List {
    first: AtomicPtr<Account>,
    last: AtomicPtr<Account>,
    length: AtomicUsize,
}

impl Registry {
    pub(super) const fn new() -> Self {
        Self {
            new: AtomicPtr::new(NONE),
            ending: AtomicPtr::new(NONE),
            lists: Lock {
                is_taken: AtomicBool::new(false),
                value: Lists { living: List::new(), retired: List::new() },
            },
        }
    }

    /// Adds the account of a thread that begins, before its first event.
    pub(super) fn enter(&self, account: &'static Account) {
        // SeqCst, together with the store of the cut: if the thread's first event does not learn of a cut, the reader
        // who made the cut sees the account.
        push(&self.new, account, |account| &account.links.free_or_new);
        std::sync::atomic::fence(SeqCst);
    }

    /// Adds an account whose thread has ended. Nobody writes to it any more.
    pub(super) fn leave(&self, account: &'static Account) {
        push(&self.ending, account, |account| &account.links.ending);
    }

    /// Waits for the lock and takes it.
    pub(super) fn lock(&self) -> Guard<'_, Lists> {
        self.lists.lock()
    }

    /// Takes the lock if it is open.
    pub(super) fn try_lock(&self) -> Option<Guard<'_, Lists>> {
        self.lists.try_lock()
    }

    /// Empties the registry, in a forked child. The fork may have interrupted the thread that had the lock.
    pub(super) fn clear(&self) {
        [&self.new, &self.ending].into_iter().for_each(|stack| stack.store(NONE, Relaxed));
        let lists = self.lists.force();
        [&lists.living, &lists.retired].into_iter().for_each(List::clear);
    }

    /// Moves new accounts to their list.
    pub(super) fn admit(&self, lists: &Guard<'_, Lists>) {
        drain(&self.new, |account| &account.links.free_or_new, |account| lists.living.append(account));
    }

    /// Moves new and ended accounts to their lists. Gives those back that no window needs, or that are too many.
    pub(super) fn collect(&self, lists: &Guard<'_, Lists>, session: u64, gils: &Gils, open: &Slots, blocks: &Blocks) {
        // The ended ones first: each of them is on a list, or among the new ones.
        let ended = self.ending.swap(NONE, Acquire);
        self.admit(lists);
        let mut oldest_first = NONE;
        each(
            ended,
            |account| &account.links.ending,
            |account| {
                account.links.ending.store(oldest_first, Relaxed);
                oldest_first = (&raw const *account).cast_mut();
            },
        );
        each(
            oldest_first,
            |account| &account.links.ending,
            |account| {
                lists.living.remove(account);
                match gils.by_id(account.gil()) {
                    Some(gil) if account.session() == session => {
                        let mut past = gil.past(session);
                        past.add(&account.figures());
                        gil.set_past(session, &past);
                        lists.retired.append(account);
                    }
                    _ => {
                        open.forget(account.number());
                        blocks.give_back(account);
                    }
                }
            },
        );
        let oldest = open.oldest();
        while let Some(account) = lists.retired.first() {
            let is_needed = oldest.is_some_and(|oldest| account.ended().is_some_and(|ended| ended > oldest));
            if is_needed && lists.retired.length() <= RETIRED && account.session() == session {
                break;
            }
            lists.retired.remove(account);
            if let Some(gil) = gils.by_id(account.gil()).filter(|_| account.session() == session) {
                let (mut past, figures) = (gil.past(session), account.figures());
                past.longest_hold = past.longest_hold.max(figures.longest_hold);
                past.longest_wait = past.longest_wait.max(figures.longest_wait);
                gil.set_past(session, &past);
                open.add_to_past(account.number(), gil.index(), account.ended().unwrap_or(0));
            }
            open.forget(account.number());
            blocks.give_back(account);
        }
        gils.free_destroyed(oldest);
    }
}

impl Lists {
    /// Returns the accounts that were not collected since their threads ended, and the living ones.
    pub(super) fn living(&self) -> impl Iterator<Item = &'static Account> {
        self.living.accounts()
    }

    /// Returns the accounts of ended threads that have one.
    pub(super) fn retired(&self) -> impl Iterator<Item = &'static Account> {
        self.retired.accounts()
    }
}

/// The part of an account's links that belongs to a stack.
type Link = fn(&Account) -> &AtomicPtr<Account>;

fn push(stack: &AtomicPtr<Account>, account: &'static Account, link: Link) {
    let this = (&raw const *account).cast_mut();
    let mut first = stack.load(Relaxed);
    loop {
        link(account).store(first, Relaxed);
        match stack.compare_exchange_weak(first, this, SeqCst, Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

fn drain(stack: &AtomicPtr<Account>, link: Link, body: impl FnMut(&'static Account)) {
    each(stack.swap(NONE, SeqCst), link, body);
}

fn each(first: *mut Account, link: Link, mut body: impl FnMut(&'static Account)) {
    let mut next = first;
    // SAFETY: null, or an account. Accounts are never freed.
    while let Some(account) = unsafe { next.as_ref() } {
        next = link(account).load(Relaxed);
        body(account);
    }
}

impl List {
    const fn new() -> Self {
        Self { first: AtomicPtr::new(NONE), last: AtomicPtr::new(NONE), length: AtomicUsize::new(0) }
    }

    fn first(&self) -> Option<&'static Account> {
        // SAFETY: as in `each`.
        unsafe { self.first.load(Relaxed).as_ref() }
    }

    fn length(&self) -> usize {
        self.length.load(Relaxed)
    }

    fn clear(&self) {
        [&self.first, &self.last].into_iter().for_each(|end| end.store(NONE, Relaxed));
        self.length.store(0, Relaxed);
    }

    fn accounts(&self) -> impl Iterator<Item = &'static Account> {
        // SAFETY: as in `each`.
        std::iter::successors(self.first(), |account| unsafe { account.links.next.load(Relaxed).as_ref() })
    }

    /// Makes `to` the successor of `from`, or the first account.
    fn join(&self, from: *mut Account, to: *mut Account) {
        // SAFETY: as in `each`.
        let (before, after) = unsafe { (from.as_ref(), to.as_ref()) };
        before.map_or(&self.first, |before| &before.links.next).store(to, Relaxed);
        after.map_or(&self.last, |after| &after.links.previous).store(from, Relaxed);
    }

    fn append(&self, account: &'static Account) {
        let this = (&raw const *account).cast_mut();
        self.join(self.last.load(Relaxed), this);
        self.join(this, NONE);
        self.length.store(self.length() + 1, Relaxed);
    }

    fn remove(&self, account: &'static Account) {
        self.join(account.links.previous.load(Relaxed), account.links.next.load(Relaxed));
        self.length.store(self.length() - 1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    impl World {
        /// Returns the ids of the living and the retired rows, and the held time of all ended threads.
        fn found(&self) -> (Vec<u64>, Vec<u64>, u64) {
            self.collect();
            let lists = self.registry.lock();
            let [living, retired] =
                [&lists.living, &lists.retired].map(|list| list.accounts().map(Account::id).collect());
            (living, retired, self.gils.first().past(1).held)
        }
    }

    #[test]
    fn without_a_window_an_ended_thread_leaves_its_figures_and_gives_its_account_back() {
        let world = World::new();
        let one = world.begin(1, 100, 150);
        let other = world.begin(2, 200, 230);
        assert_eq!(world.found(), (vec![2, 1], vec![], 0));
        world.end(one, 300);
        assert_eq!(world.found(), (vec![2], vec![], 50));
        assert_eq!(world.gils.first().past(1).longest_hold, 50);
        assert!(std::ptr::eq(world.begin(3, 400, 410), one));
        world.end(other, 500);
        assert_eq!(world.found(), (vec![3], vec![], 80));
        assert_eq!(world.gils.first().past(2).held, 0, "another session");
    }

    #[test]
    fn an_ended_thread_keeps_its_account_until_the_windows_before_its_end_are_closed() {
        let world = World::new();
        let [one, other] = [1, 2].map(|id| world.begin(id, 100 * id, 100 * id + 50));
        let outer = world.open.open(1000);
        world.end(one, 1100);
        let inner = world.open.open(1200);
        world.end(other, 1300);
        assert_eq!(world.found(), (vec![], vec![1, 2], 100));
        world.open.close(outer);
        assert_eq!(world.found(), (vec![], vec![2], 100));
        world.open.close(inner);
        assert_eq!(world.found(), (vec![], vec![], 100));
    }

    #[test]
    fn under_one_window_memory_is_bounded_and_nothing_is_lost() {
        const THREADS: u64 = 3 * RETIRED as u64;
        let world = World::new();
        let window = world.open.open(10);
        for id in 1..=THREADS {
            world.end(world.begin(id, 100 * id, 100 * id + id), 100 * id + 50);
        }
        let (living, retired, held) = world.found();
        assert_eq!((living.len(), retired.len(), held), (0, RETIRED, THREADS * (THREADS + 1) / 2));
        assert_eq!((retired[0], *retired.last().unwrap()), (2 * RETIRED as u64 + 1, THREADS));
        assert!(world.blocks.take().unwrap().number() as usize <= 1024 + RETIRED);
        // The longest hold of those without an account.
        let kinds = [super::super::slots::Kind::Hold, super::super::slots::Kind::Wait];
        assert_eq!(kinds.map(|kind| window.longest(0, 9, kind)), [2 * RETIRED as u64, 0]);
    }

    #[test]
    fn an_account_of_another_session_or_of_a_vanished_gil_is_given_back() {
        let world = World::new();
        let [old, vanished] = [1, 2].map(|id| world.begin(id, 100, 150));
        let _window = world.open.open(1000);
        old.begin(1, world.gils.first().id(), 1, 7);
        vanished.begin(2, 5 << 30, 2, 1);
        world.end(old, 1100);
        world.end(vanished, 1100);
        assert_eq!(world.found(), (vec![], vec![], 0));
    }

    #[test]
    fn an_account_that_is_used_again_has_nothing_of_its_former_thread() {
        let world = World::new();
        // The thread waits while the meter is stopped and started. Its wait ends in a window of the next session.
        let former = world.begin(1, 100, 150);
        former.begin(1, former.gil(), 1, 7);
        former.begins_wait_in(&world.open, 160);
        let window = world.open.open(1000);
        former.ends(&world.open, 1500, None);
        world.registry.leave(former);
        world.collect();
        let latter = world.begin(2, 1600, 1610);
        assert!(std::ptr::eq(former, latter));
        assert_eq!(latter.longest(&window, 9), [10, 0]);
    }

    #[test]
    fn a_forked_child_begins_with_an_empty_registry() {
        let world = World::new();
        world.begin(1, 100, 150);
        std::mem::forget(world.registry.lock());
        world.registry.clear();
        assert_eq!(world.found(), (vec![], vec![], 0));
    }
}
