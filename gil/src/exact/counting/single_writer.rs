//! Memory that one thread at a time writes, by plain stores, and that any thread may read.

use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::atomic::{AtomicU64, fence};

/// Adds `more` to `counter`. There is one writer at a time, so no locked instruction is needed.
#[inline]
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Relaxed);
}

/// A sequence lock (Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012): a reader sees
/// either all changes of a write or none of them. The number is odd during a write.
#[repr(transparent)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Runs `body`, which writes.
    #[inline]
    pub(super) fn write(&self, body: impl FnOnce()) {
        let sequence = self.0.load(Relaxed);
        self.0.store(sequence + 1, Relaxed);
        fence(Ordering::Release);
        body();
        self.0.store(sequence + 2, Ordering::Release);
    }

    /// Returns the result of `body`, whose reads all see the same moment. If writes follow each other faster than
    /// `body` can read, the last try's result may mix several moments.
    pub(super) fn read<T>(&self, mut body: impl FnMut() -> T) -> T {
        self.try_read(&mut body).unwrap_or_else(body)
    }

    /// Returns the same as [`Self::read`], but `None` if all tries have failed.
    fn try_read<T>(&self, body: &mut impl FnMut() -> T) -> Option<T> {
        const TRIES: usize = 1000;
        for _ in 0..TRIES {
            let before = self.0.load(Ordering::Acquire);
            if before % 2 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let result = body();
            fence(Ordering::Acquire);
            if self.0.load(Relaxed) == before {
                return Some(result);
            }
        }
        None
    }

    /// Ends a write that a fork has interrupted: the thread that was writing does not exist in the child.
    pub(super) fn end_cut_off_write(&self) {
        self.0.store(self.0.load(Relaxed) & !1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_reader_sees_all_of_a_write_or_nothing_of_it() {
        const WRITES: u64 = 100_000;
        let (sequence, pair) = (Sequence::new(), [const { AtomicU64::new(0) }; 2]);
        // None if the writer loses its CPU during a write.
        let read = || sequence.try_read(&mut || pair.each_ref().map(|word| word.load(Relaxed)));
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
    fn a_read_during_a_write_is_repeated() {
        let (sequence, reads) = (Sequence::new(), Cell::new(0));
        sequence.read(|| {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                sequence.write(|| ());
            }
        });
        assert_eq!(reads.get(), 2);
    }

    #[test]
    fn a_write_that_a_fork_has_cut_off_does_not_block_readers() {
        let sequence = Sequence::new();
        sequence.0.store(7, Relaxed);
        assert_eq!(sequence.try_read(&mut || 5), None);
        sequence.end_cut_off_write();
        assert_eq!(sequence.try_read(&mut || 5), Some(5));
    }
}
