//! The tally: how long all threads together have held one GIL and waited for it, and how often. The thread of each event
//! keeps it beside its account, so a reader reads the sums without a walk over the threads.
//!
//! A running hold or wait must count up to the moment of the reading, although the reader and the threads share no lock.
//! So a sum and the start of what is running are one value, which changes by one store: the ends minus the starts. The
//! reader adds the present time, once for each hold or wait that is running.

use std::arch::asm;
use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Set in [`Tally::held`] during a hold.
const RUNNING: u64 = 1 << 63;

/// The tally of one GIL, in ticks. Zeroed memory is an empty one.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Tally {
    /// The ends of the holds minus their starts, modulo 2^63; the upper bit is set during a hold. Only the holder writes
    /// it.
    held: AtomicU64,
    acquisitions: AtomicU64,
    forced_drops: AtomicU64,
    waits: Waits,
    /// The longest times that a reader was given, held, waited and metered, in nanoseconds.
    reported: [AtomicU64; 3],
}

/// The sums at one moment: times in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) held: u64,
    pub(super) waited: u64,
    pub(super) acquisitions: u64,
    pub(super) forced_drops: u64,
}

impl Tally {
    /// Empties the tally. The caller holds the GIL, or no thread does.
    pub(super) fn reset(&self) {
        [&self.held, &self.acquisitions, &self.forced_drops].into_iter().for_each(|sum| sum.store(0, Relaxed));
        self.reported.iter().for_each(|time| time.store(0, Relaxed));
    }

    /// Forgets the waits of all sessions. No thread waits.
    pub(super) fn forget_waits(&self) {
        self.waits.forget();
    }

    /// Records that the calling thread holds the GIL since `now`.
    #[inline]
    pub(super) fn hold_began(&self, now: u64) {
        let held = self.held.load(Relaxed);
        if held & RUNNING == 0 {
            self.held.store(held.wrapping_sub(now) | RUNNING, Release);
        }
    }

    /// Records an acquire.
    #[inline]
    pub(super) fn acquired(&self) {
        self.acquisitions.store(self.acquisitions.load(Relaxed) + 1, Relaxed);
    }

    /// Records the end of the hold, by a drop on request if `is_forced`.
    #[inline]
    pub(super) fn hold_ended(&self, now: u64, is_forced: bool) {
        let held = self.held.load(Relaxed);
        if held & RUNNING != 0 {
            self.held.store(held.wrapping_add(now) & !RUNNING, Release);
        }
        if is_forced {
            self.forced_drops.store(self.forced_drops.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Records that a thread waits since `since`, in `session`.
    pub(super) fn wait_began(&self, session: u64, since: u64) {
        self.waits.change(session, 1, 0u64.wrapping_sub(since));
    }

    /// Records that such a wait has ended at `now`.
    pub(super) fn wait_ended(&self, session: u64, now: u64) {
        self.waits.change(session, -1, now);
    }

    /// Returns the sums of `session` up to `at`.
    pub(super) fn sums(&self, session: u64, at: u64) -> Sums {
        let held = self.held.load(Acquire);
        let held = if held & RUNNING == 0 { held } else { held.wrapping_add(at) & !RUNNING };
        Sums {
            // An event after `at` may have been recorded before the reading: then the sum may lie below zero.
            held: if held < RUNNING / 2 { held } else { 0 },
            waited: self.waits.up_to(session, at),
            acquisitions: self.acquisitions.load(Relaxed),
            forced_drops: self.forced_drops.load(Relaxed),
        }
    }

    /// Returns the nanoseconds held, waited and metered that a reader is given: never less than any reader before. A thread that
    /// loses its CPU between the moment of its event and the record of it counts as holding or waiting until the record, and
    /// the clock's rate is averaged anew at each reading; neither may make a time fall.
    pub(super) fn reported(&self, now: [u64; 3]) -> [u64; 3] {
        std::array::from_fn(|index| self.reported[index].fetch_max(now[index], Relaxed).max(now[index]))
    }

    /// Returns the number of threads that wait in `session`.
    pub(super) fn waiting(&self, session: u64) -> u32 {
        self.waits.running(session)
    }
}

/// The waits for one GIL. Several threads may begin and end waits at the same time, so two words change together.
#[derive(Debug)]
#[repr(C, align(16))]
struct Waits(UnsafeCell<u128>);

/// The two words of [`Waits`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words {
    /// The session of the waits, and the number of those that are running.
    session: u32,
    running: u32,
    /// The ends of the waits minus their starts.
    balance: u64,
}

// SAFETY: every access is one atomic instruction.
unsafe impl Sync for Waits {}

impl Waits {
    /// Adds `running` and `balance` to the waits of `session`. A later session begins with the first of its waits. An event
    /// of an earlier session comes from a thread that still waited when that session ended, and does not count.
    fn change(&self, session: u64, running: i32, balance: u64) {
        let session = session as u32;
        let mut found = self.guess();
        loop {
            let before = match session.wrapping_sub(found.session) as i32 {
                0 => found,
                1.. if running > 0 => Words { session, running: 0, balance: 0 },
                _ => return,
            };
            let after = Words {
                running: before.running.wrapping_add_signed(running),
                balance: before.balance.wrapping_add(balance),
                ..before
            };
            match self.exchange(found, after) {
                Ok(()) => return,
                Err(other) => found = other,
            }
        }
    }

    fn forget(&self) {
        let mut found = self.load();
        while let Err(other) = self.exchange(found, Words { session: 0, running: 0, balance: 0 }) {
            found = other;
        }
    }

    fn of(&self, session: u64) -> Option<Words> {
        Some(self.load()).filter(|found| found.session == session as u32)
    }

    fn running(&self, session: u64) -> u32 {
        self.of(session).map_or(0, |found| found.running)
    }

    /// Returns the waits of `session` up to `at`.
    fn up_to(&self, session: u64, at: u64) -> u64 {
        let Some(Words { running, balance, .. }) = self.of(session) else { return 0 };
        let waited = balance.wrapping_add(at.wrapping_mul(u64::from(running)));
        // As in `Tally::sums`.
        if waited < RUNNING { waited } else { 0 }
    }

    /// Returns the two words, each of a moment of its own. An exchange shows whether they belong together, and costs as much as
    /// a load of both at once.
    fn guess(&self) -> Words {
        // SAFETY: the words are aligned, and every writer changes them by one atomic instruction.
        let words = unsafe { &*self.0.get().cast::<[AtomicU64; 2]>() };
        let [balance, counts] = words.each_ref().map(|word| u128::from(word.load(Relaxed)));
        Words::unpacked(counts << 64 | balance)
    }

    fn load(&self) -> Words {
        const NEVER: Words = Words { session: u32::MAX, running: u32::MAX, balance: u64::MAX };
        self.exchange(NEVER, NEVER).map_or_else(|found| found, |()| NEVER)
    }

    fn exchange(&self, before: Words, after: Words) -> Result<(), Words> {
        let found = self.compare_exchange(before.packed(), after.packed());
        if found == before.packed() { Ok(()) } else { Err(Words::unpacked(found)) }
    }

    /// Stores `after` if the value is `before`. Returns the value that was found. Not by std's function for it, which may
    /// become a call of libatomic.
    fn compare_exchange(&self, before: u128, after: u128) -> u128 {
        let (mut low, mut high) = (before as u64, (before >> 64) as u64);
        // SAFETY: the value is aligned. The processor has the instruction: `Meter::start` has checked it. LLVM uses rbx,
        // which the instruction needs, so rbx is restored.
        unsafe {
            asm!(
                "xchg rsi, rbx",
                "lock cmpxchg16b xmmword ptr [rdi]",
                "mov rbx, rsi",
                in("rdi") self.0.get(),
                inout("rsi") after as u64 => _,
                in("rcx") (after >> 64) as u64,
                inout("rax") low,
                inout("rdx") high,
                options(nostack),
            );
        }
        u128::from(high) << 64 | u128::from(low)
    }
}

impl Words {
    fn packed(self) -> u128 {
        u128::from(self.session) << 96 | u128::from(self.running) << 64 | u128::from(self.balance)
    }

    fn unpacked(words: u128) -> Self {
        Self { session: (words >> 96) as u32, running: (words >> 64) as u32, balance: words as u64 }
    }
}

/// Returns true if this processor has the instruction by which the waits are summed.
pub(crate) fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("cmpxchg16b")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn tally() -> Tally {
        // SAFETY: numbers, for which zeros are valid.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn a_hold_counts_up_to_the_reading_and_after_its_end_as_a_whole() {
        let tally = tally();
        tally.hold_began(100);
        tally.acquired();
        assert_eq!(tally.sums(1, 130), Sums { held: 30, acquisitions: 1, ..Sums::default() });
        assert_eq!(tally.sums(1, 90).held, 0, "the clocks of two cores may differ by a few ticks");
        tally.hold_ended(150, true);
        tally.hold_began(1000);
        assert_eq!(tally.sums(1, 1007), Sums { held: 57, acquisitions: 1, forced_drops: 1, ..Sums::default() });
        tally.hold_ended(1010, false);
        assert_eq!(tally.sums(1, 5000).held, 60);
    }

    #[test]
    fn an_end_without_a_hold_changes_nothing() {
        let tally = tally();
        tally.hold_ended(150, false);
        assert_eq!(tally.sums(1, 200), Sums::default());
    }

    #[test]
    fn each_thread_that_waits_counts() {
        let tally = tally();
        tally.wait_began(1, 100);
        tally.wait_began(1, 110);
        assert_eq!((tally.sums(1, 120).waited, tally.waiting(1)), (30, 2));
        tally.wait_ended(1, 130);
        assert_eq!((tally.sums(1, 130).waited, tally.sums(1, 140).waited), (50, 60));
        tally.wait_ended(1, 150);
        assert_eq!((tally.sums(1, 999).waited, tally.waiting(1)), (70, 0));
    }

    #[test]
    fn a_wait_that_outlives_its_session_does_not_count_in_the_next_one() {
        let tally = tally();
        tally.wait_began(1, 100);
        assert_eq!((tally.sums(2, 200).waited, tally.waiting(2)), (0, 0));
        tally.wait_ended(2, 200);
        assert_eq!(tally.sums(2, 300).waited, 0);
        tally.wait_began(2, 300);
        tally.wait_ended(1, 310);
        assert_eq!((tally.sums(2, 320).waited, tally.waiting(2)), (20, 1));
    }

    #[test]
    fn no_reader_sees_less_than_another_one_before() {
        let tally = tally();
        assert_eq!(tally.reported([10, 20, 40]), [10, 20, 40]);
        assert_eq!(tally.reported([9, 21, 39]), [10, 21, 40]);
    }

    #[test]
    fn waits_of_many_threads_at_once_are_all_counted() {
        const ROUNDS: u64 = 20_000;
        let (tally, go_on) = (tally(), AtomicBool::new(true));
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                while go_on.load(Relaxed) {
                    assert!(tally.waiting(1) <= 3);
                }
            });
            let waiting = |_| {
                scope.spawn(|| {
                    for since in 0..ROUNDS {
                        tally.wait_began(1, since);
                        tally.wait_ended(1, since + 2);
                    }
                })
            };
            let threads: Vec<_> = (0..3).map(waiting).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            go_on.store(false, Relaxed);
            reading.join().unwrap();
        });
        assert_eq!(tally.sums(1, 0).waited, 3 * 2 * ROUNDS);
    }
}
