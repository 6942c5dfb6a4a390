//! Memory that one thread at a time writes, by plain stores, and that any thread may read.

use super::atomic::Ordering::{self, Relaxed};
use super::atomic::{AtomicU64, compiler_fence, fence};

/// Adds `more` to `counter`. There is one writer at a time, so no locked instruction is needed.
#[inline]
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Relaxed);
}

/// Declares a struct of numbers, and its counterpart in memory.
macro_rules! cells {
    ($(#[$of:meta])* $visible:vis struct $plain:ident, $cells:ident { $($(#[$about:meta])* $field:ident,)* }) => {
        $(#[$of])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $visible struct $plain {
            $($(#[$about])* $visible $field: u64,)*
        }

        /// The same in memory that one thread at a time writes.
        #[derive(Debug, Default)]
        #[repr(C)]
        $visible struct $cells {
            $($visible $field: super::atomic::AtomicU64,)*
        }

        impl $cells {
            /// Returns the values. They describe one moment only if nothing is written meanwhile.
            $visible fn load(&self) -> $plain {
                $plain { $($field: self.$field.load(super::atomic::Ordering::Relaxed),)* }
            }

            /// Stores `values`.
            $visible fn store(&self, values: &$plain) {
                $(self.$field.store(values.$field, super::atomic::Ordering::Relaxed);)*
            }
        }
    };
}
pub(super) use cells;

/// A sequence lock (Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012): a reader sees
/// either all changes of a write or none of them. The number is odd during a write.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    /// Runs `body`, which writes.
    #[inline]
    pub(super) fn write<T>(&self, body: impl FnOnce() -> T) -> T {
        let sequence = self.0.load(Relaxed);
        self.0.store(sequence + 1, Relaxed);
        fence(Ordering::Release);
        // The loads of `body` come after the store, as far as the compiler is concerned. The processor may still
        // exchange them: readers prevent that (`super::barrier`).
        compiler_fence(Ordering::SeqCst);
        let result = body();
        self.0.store(sequence + 2, Ordering::Release);
        result
    }

    /// Ends a write that a fork has interrupted: the thread that was writing does not exist in the child.
    pub(super) fn end_cut_off_write(&self) {
        self.0.store(self.0.load(Relaxed) & !1, Relaxed);
    }

    /// Returns the result of `body` if no write took place during it.
    pub(super) fn read<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        let before = self.0.load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        let result = body();
        fence(Ordering::Acquire);
        (self.0.load(Relaxed) == before).then_some(result)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_all_of_a_write_or_nothing_of_it() {
        const WRITES: u64 = 100_000;
        let (sequence, pair) = (Sequence::default(), [const { AtomicU64::new(0) }; 2]);
        // None if the writer loses its CPU during a write.
        let read = || sequence.read(|| pair.each_ref().map(|word| word.load(Relaxed)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=WRITES {
                    sequence.write(|| pair.iter().for_each(|word| word.store(number, Relaxed)));
                    // Gives the reader time between two writes.
                    (0..20).for_each(|_| std::hint::spin_loop());
                }
            });
            loop {
                let Some([first, second]) = read() else { continue };
                assert_eq!(first, second);
                if first == WRITES {
                    break;
                }
            }
        });
    }

    #[test]
    fn a_read_during_a_write_fails() {
        let sequence = Sequence::default();
        assert_eq!(sequence.read(|| sequence.write(|| ())), None);
        assert_eq!(sequence.write(|| sequence.read(|| 5)), None);
        assert_eq!(sequence.read(|| 5), Some(5));
    }
}
