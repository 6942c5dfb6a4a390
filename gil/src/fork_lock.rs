//! A lock whose value stays consistent in a forked child.

use std::cell::UnsafeCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock for a static value that several threads share. fork(2) waits for the lock: the forking thread takes it before
/// the fork, and releases it afterwards in the parent and in the child. So the child never inherits a partially written
/// value, or a lock held by a thread that does not exist in the child.
///
/// The owner of the value registers [`Self::before_fork`] and [`Self::after_fork`] by pthread_atfork(3). Two rules
/// prevent deadlocks:
///
/// - Never hold the lock while waiting for the GIL: the forking thread may hold the GIL while it waits for this lock.
/// - Never wait for one of these locks while holding another one, unless the handlers of the held one were registered
///   later: a fork takes that one first (pthread_atfork(3)).
pub struct ForkLock<T: 'static> {
    value: Mutex<T>,
    /// The MutexGuard of the forking thread, from before the fork to after it.
    held: UnsafeCell<Option<MutexGuard<'static, T>>>,
}

// SAFETY: only the thread that holds the lock accesses `held`.
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> ForkLock<T> {
    /// Returns an unlocked lock.
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), held: UnsafeCell::new(None) }
    }

    /// Waits for the lock and takes it.
    pub fn lock(&'static self) -> MutexGuard<'static, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock until [`Self::after_fork`]. The forking thread calls this before the fork.
    pub fn before_fork(&'static self) {
        let guard = self.lock();
        // SAFETY: this thread holds the lock.
        unsafe { *self.held.get() = Some(guard) };
    }

    /// Returns the MutexGuard, which releases the lock when it is dropped. The forking thread calls this after the
    /// fork, in the parent and in the child. Returns `None` if the fork was under way when [`Self::before_fork`] was
    /// registered.
    ///
    /// # Safety
    /// No other thread may be between `before_fork` and `after_fork`: either this thread has called `before_fork`, or
    /// no thread has.
    pub unsafe fn after_fork(&'static self) -> Option<MutexGuard<'static, T>> {
        // SAFETY: the caller guarantees that this thread has held the lock since `before_fork`.
        unsafe { (*self.held.get()).take() }
    }
}

impl<T> std::fmt::Debug for ForkLock<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ForkLock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_fork_waits_for_the_lock_and_others_wait_for_the_fork() {
        static LOCK: ForkLock<u32> = ForkLock::new(0);
        let mut guard = LOCK.lock();
        let forking = thread::spawn(|| {
            LOCK.before_fork();
            // SAFETY: `before_fork` was called just now.
            let mut guard = unsafe { LOCK.after_fork() }.unwrap();
            assert_eq!(*guard, 1, "the forking thread must see the first value");
            *guard = 2;
        });
        thread::sleep(Duration::from_millis(20));
        assert!(!forking.is_finished());
        *guard = 1;
        drop(guard);
        forking.join().unwrap();
        assert_eq!(*LOCK.lock(), 2);
    }

    #[test]
    fn a_panic_leaves_the_value_usable() {
        static LOCK: ForkLock<u32> = ForkLock::new(7);
        let panicking = thread::spawn(|| {
            let _guard = LOCK.lock();
            panic!("as planned");
        });
        panicking.join().unwrap_err();
        assert_eq!(*LOCK.lock(), 7);
    }
}
