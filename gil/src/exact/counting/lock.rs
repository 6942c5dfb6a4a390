//! The lock of the registry: readers, windows and ended threads take turns.

use super::atomic::Ordering::{Acquire, Release};
use super::atomic::{AtomicBool, wait_a_moment};
use std::ops::Deref;

/// A lock that a fork does not wait for: a forked child takes it by [`Lock::force`] and repairs the value. So the
/// forking thread never waits for a thread that may be waiting for the GIL. The value consists of atomics.
/// There is no constructor, since loom's atomics can't be created at compile time.
#[derive(Debug)]
pub(super) struct Lock<T> {
    pub(super) is_taken: AtomicBool,
    pub(super) value: T,
}

/// The right to use the value. Dropping it opens the lock.
pub(super) struct Guard<'a, T>(&'a Lock<T>);

impl<T> Lock<T> {
    /// Takes the lock if it is open.
    pub(super) fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Not then_some: it would create a guard in any case, and dropping that opens the lock.
        (!self.is_taken.swap(true, Acquire)).then(|| Guard(self))
    }

    /// Waits for the lock and takes it.
    pub(super) fn lock(&self) -> Guard<'_, T> {
        // A guard is kept for some microseconds, or milliseconds if there are thousands of threads.
        for tries in 0u32.. {
            match self.try_lock() {
                Some(guard) => return guard,
                None => wait_a_moment(tries),
            }
        }
        unreachable!("the tries have no end")
    }

    /// Takes the lock in a forked child, which does not have the thread that took it.
    pub(super) fn force(&self) -> Guard<'_, T> {
        Guard(self)
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Shared(Cell<u64>);
    // SAFETY: only the thread that has the lock uses the cell.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn add(&self, more: u64) -> u64 {
            self.0.set(self.0.get() + more);
            self.0.get()
        }
    }

    #[test]
    fn one_thread_at_a_time_has_the_lock() {
        let lock = Lock { is_taken: AtomicBool::new(false), value: Shared(Cell::new(0)) };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let guard = lock.lock();
                        guard.add(1);
                    }
                });
            }
        });
        assert_eq!(lock.lock().add(0), 4000);
        let guard = lock.try_lock();
        assert!(guard.is_some() && lock.try_lock().is_none());
        std::mem::forget(guard);
        drop(lock.force());
        assert!(lock.try_lock().is_some());
    }
}
