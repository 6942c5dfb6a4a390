//! State that several threads share and that a forked child finds whole: fork(2) is made to wait for the lock.

use std::cell::UnsafeCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) struct Shared<T: 'static> {
    value: Mutex<T>,
    /// The forking thread's, from before the fork to after it.
    held: UnsafeCell<Option<MutexGuard<'static, T>>>,
}

// SAFETY: `held` is only touched by the thread that holds the lock.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), held: UnsafeCell::new(None) }
    }

    /// Never across anything that waits for the GIL: who forks has it.
    pub(crate) fn lock(&'static self) -> MutexGuard<'static, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a fork, in the forking thread.
    pub(crate) fn hold(&'static self) {
        let guard = self.lock();
        // SAFETY: this thread has the lock.
        unsafe { *self.held.get() = Some(guard) };
    }

    /// After the fork, in the parent and in the child.
    pub(crate) fn let_go(&'static self) {
        // SAFETY: this thread has the lock, since `hold`.
        drop(unsafe { (*self.held.get()).take() });
    }
}
