//! The memory of the accounts. Blocks are added as they are needed; an account that is given back is taken again.

use super::super::memory;
use super::account::Account;
use super::capacity::{ACCOUNTS, BLOCKS, GILS};
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// Accounts, each with a number. The first numbers, one for each GIL, stand for the past: for the threads that have
/// ended.
pub(super) struct Blocks {
    blocks: [AtomicPtr<[Account; ACCOUNTS]>; BLOCKS],
    /// How many accounts were ever taken. They have the lowest numbers after those of the past. 0 at first, so that a
    /// static `Blocks` is among the zeros that take no room in the library's file.
    taken: AtomicU32,
    /// The number of the first free account, or 0, in the lower half. The upper half grows with each change, so that a
    /// thread that takes the first account notices if others have taken it and given it back meanwhile.
    free: AtomicU64,
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self {
            blocks: [const { AtomicPtr::new(null_mut()) }; BLOCKS],
            taken: AtomicU32::new(0),
            free: AtomicU64::new(0),
        }
    }

    /// Takes an account that nobody uses. Waits for no other thread. Returns `None` if there is no memory.
    pub(super) fn take(&self) -> Option<&'static Account> {
        let mut free = self.free.load(Acquire);
        while let Some(account) = self.numbered(free as u32) {
            // If another thread has taken the account, the exchange fails, and this is not the next one.
            // SAFETY: null, or an account. Accounts are never freed.
            let next = unsafe { account.links.free_or_new.load(Relaxed).as_ref() };
            match self.free.compare_exchange_weak(free, change(free, next), AcqRel, Acquire) {
                Ok(_) => return Some(account),
                Err(now) => free = now,
            }
        }
        self.take_unused()
    }

    fn take_unused(&self) -> Option<&'static Account> {
        let mut taken = self.taken.load(Relaxed);
        loop {
            let number = GILS as u32 + taken;
            self.reserve(number)?;
            match self.taken.compare_exchange_weak(taken, taken + 1, AcqRel, Relaxed) {
                Ok(_) => {
                    let account = self.numbered(number)?;
                    account.set_number(number);
                    return Some(account);
                }
                Err(now) => taken = now,
            }
        }
    }

    /// Makes sure that there is a block for the account with that number.
    pub(super) fn reserve(&self, number: u32) -> Option<()> {
        let place = self.blocks.get(number as usize / ACCOUNTS)?;
        if place.load(Acquire).is_null() {
            let bytes = size_of::<[Account; ACCOUNTS]>();
            // Full of zeros, which are accounts of no thread.
            let reserved = memory::reserve(bytes, "").ok()?;
            if place.compare_exchange(null_mut(), reserved.cast(), AcqRel, Relaxed).is_err() {
                memory::unreserve(reserved, bytes);
            }
        }
        Some(())
    }

    /// Returns the account with that number; `None` for 0.
    fn numbered(&self, number: u32) -> Option<&'static Account> {
        let number = Some(number as usize).filter(|number| *number != 0)?;
        // SAFETY: null, or a block. Blocks are never freed.
        unsafe { self.blocks[number / ACCOUNTS].load(Acquire).as_ref() }.map(|block| &block[number % ACCOUNTS])
    }

    /// Gives back an account that nobody uses any more.
    pub(super) fn give_back(&self, account: &'static Account) {
        let mut free = self.free.load(Relaxed);
        loop {
            let next = self.numbered(free as u32).map_or(null_mut(), |next| (&raw const *next).cast_mut());
            account.links.free_or_new.store(next, Relaxed);
            match self.free.compare_exchange_weak(free, change(free, Some(account)), AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => free = now,
            }
        }
    }

    /// Gives back all accounts, in a forked child, which has no thread that uses one.
    pub(super) fn give_back_all(&self) {
        self.free.store(0, Relaxed);
        self.taken.store(0, Relaxed);
    }
}

/// Returns the state after `free` in which `first` is the first free account.
fn change(free: u64, first: Option<&Account>) -> u64 {
    ((free >> 32).wrapping_add(1) << 32) | u64::from(first.map_or(0, Account::number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_account_that_was_given_back_is_taken_again() {
        let blocks = Box::leak(Box::new(Blocks::new()));
        let [one, other] = [(); 2].map(|()| blocks.take().unwrap());
        assert_eq!((one.number(), other.number()), (GILS as u32, GILS as u32 + 1));
        blocks.give_back(one);
        blocks.give_back(other);
        assert_eq!([(); 3].map(|()| blocks.take().unwrap().number()), [1025, 1024, 1026]);
    }

    #[test]
    fn no_two_threads_have_the_same_account() {
        let blocks: &Blocks = Box::leak(Box::new(Blocks::new()));
        let kept: Vec<u32> = std::thread::scope(|scope| {
            let taking = |_| {
                scope.spawn(|| {
                    let mut kept = Vec::new();
                    for round in 0..2000 {
                        let [one, other] = [(); 2].map(|()| blocks.take().unwrap());
                        blocks.give_back(one);
                        match round % 4 {
                            0 => kept.push(other.number()),
                            _ => blocks.give_back(other),
                        }
                    }
                    kept
                })
            };
            let threads: Vec<_> = (0..4).map(taking).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((kept.len(), kept.iter().collect::<HashSet<_>>().len()), (2000, 2000));
        assert!(kept.iter().all(|number| *number < 1024 + 2000 + 8));
    }
}
