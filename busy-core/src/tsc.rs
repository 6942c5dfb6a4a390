//! The busy wait on the processor's time stamp counter. Reading it takes half as long as reading CLOCK_MONOTONIC, so a
//! wait overshoots less. The last poll still reads CLOCK_MONOTONIC: according to that clock, a wait never ends early.
//!
//! ```text
//!   caller's read         first read                           last read           caller's read
//!     [---|---]    call    [---|---]   ..  the counter  ..     [---|---]   return    [---|---]
//!       stamp              :  stamp                              stamp :               stamp
//!                          :                                           :
//!                          [--] head   between the two stamps    [-----] tail
//! ```
//!
//! A read of CLOCK_MONOTONIC takes about 20 ns, and its stamp is taken at some moment in that time. So the difference
//! of two stamps leaves out the head of the first read and the tail of the last one, which are part of the wait, too.
//! Together they take at least the time of the shortest read so far, which is added. The caller's own two reads
//! surround these, so the caller can't observe an early end.
//!
//! This works only on x86-64, and only if the counter runs at a constant rate in all states of the core ("invariant
//! TSC", CPUID 0x80000007 EDX bit 8; Intel SDM vol. 3B, "Time-Stamp Counter"). Its rate is measured against
//! CLOCK_MONOTONIC, between the first wait and the latest ones. So the first wait needs no calibration.
//!
//! A signal handler may run a wait in the middle of another wait, even of the first one. So no state here is guarded by
//! a lock or a `OnceLock`: the handler would wait for the thread that it interrupts.

#![allow(unsafe_code, reason = "rdtsc is an unsafe intrinsic")]

use crate::clock::monotonic_ns;
use crate::rate::{Rate, Reading, SHORTEST_NS};
use crate::wait::Waited;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The error if the counter can't be used as a clock on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTsc;

/// The duration of the last stretch, between the last two reads of CLOCK_MONOTONIC. If the rate is wrong by 500 ppm
/// (the maximum by which NTP slews the clock, adjtimex(2)), the error over this stretch is half a nanosecond.
const LAST_NS: u64 = 1_000;
/// The maximum time between two reads of CLOCK_MONOTONIC. If the thread loses its CPU between a read of CLOCK_MONOTONIC
/// and the following read of the counter, the wait overshoots by at most this time.
const STRETCH_NS: u64 = 10_000;
/// The number of reads before the shortest of them is used. The first reads are slow because of page faults and cold
/// caches.
const ENOUGH_READS: u32 = 16;

/// Spins on the time stamp counter for `duration`, or until `go_on` returns false. According to CLOCK_MONOTONIC, it
/// never returns early. `count` is the number of polls of either clock made before the end.
///
/// # Errors
/// [`NoTsc`], without waiting.
#[inline]
pub fn busy_wait_tsc(duration: Duration, mut go_on: impl FnMut() -> bool) -> Result<Waited, NoTsc> {
    if !is_invariant() {
        return Err(NoTsc);
    }
    let length = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let entry = read();
    let start = monotonic_ns();
    let first = read();
    let rate = rate(first, start);
    let least_read = least_read(first.wrapping_sub(entry));
    let unseen = if rate > 0.0 { (least_read as f64 / rate) as u64 } else { 0 };
    let mut elapsed = unseen;
    let mut count = 0;
    while elapsed < length {
        if !go_on() {
            return Ok(Waited { count, elapsed: Duration::from_nanos(elapsed), completed: false });
        }
        let begin = if count == 0 { first } else { read() };
        count += 1;
        let left = length - elapsed;
        let is_last = left <= LAST_NS;
        let stretch = if is_last { left.saturating_sub(lead()) } else { (left - LAST_NS / 2).min(STRETCH_NS) };
        if stretch > 0 && rate > 0.0 {
            let target = begin + (stretch as f64 * rate) as u64;
            while read() < target {
                if !go_on() {
                    let elapsed = monotonic_ns() - start + unseen;
                    return Ok(Waited { count, elapsed: Duration::from_nanos(elapsed), completed: elapsed >= length });
                }
                count += 1;
            }
        }
        elapsed = monotonic_ns() - start + unseen;
        if is_last && stretch > 0 {
            learn_lead(elapsed, length);
        }
    }
    Ok(Waited { count, elapsed: Duration::from_nanos(elapsed), completed: true })
}

/// Returns the duration in ticks of the shortest read of CLOCK_MONOTONIC so far, including this one, which took
/// `ticks`; 0 until there have been enough reads.
///
/// The result is never longer than this read: if the core has just become faster, the earlier reads no longer count.
#[inline]
fn least_read(ticks: u64) -> u64 {
    static LEAST: AtomicU64 = AtomicU64::new(u64::MAX);
    static SEEN: AtomicU32 = AtomicU32::new(0);
    if ticks < LEAST.load(Ordering::Relaxed) {
        LEAST.fetch_min(ticks, Ordering::Relaxed);
    }
    if SEEN.load(Ordering::Relaxed) < ENOUGH_READS {
        SEEN.fetch_add(1, Ordering::Relaxed);
        return 0;
    }
    LEAST.load(Ordering::Relaxed)
}

/// The time between the start of the last read of CLOCK_MONOTONIC and the end of the wait, in 1/16 ns. It is adjusted
/// so that the stamp of that read is just after the end.
static LEAD: AtomicU64 = AtomicU64::new(0);

#[inline]
fn lead() -> u64 {
    LEAD.load(Ordering::Relaxed) / 16
}

/// Adjusts the lead. If the stamp is after the end, the next lead is longer by a sixteenth of the difference. If it is
/// before the end, which costs that wait one more read, the next lead is shorter by 8 ns. If two threads race, one of
/// the adjustments is lost.
#[inline]
fn learn_lead(elapsed: u64, length: u64) {
    let lead = LEAD.load(Ordering::Relaxed);
    let over = elapsed.saturating_sub(length).min(64);
    let better = if elapsed < length { lead.saturating_sub(8 * 16) } else { (lead + over).min(LAST_NS / 4 * 16) };
    LEAD.store(better, Ordering::Relaxed);
}

/// Returns the ticks per nanosecond, or 0 if the rate is unknown, which makes the wait poll CLOCK_MONOTONIC.
///
/// The rate is measured since the first wait of the process. It is measured again whenever the time since that wait has
/// doubled. So it becomes more accurate, and follows a drift.
#[inline]
fn rate(ticks: u64, ns: u64) -> f64 {
    static MEASURED: Rate = Rate::new();
    static TICKS_PER_NS: AtomicU64 = AtomicU64::new(0);
    static NEXT_NS: AtomicU64 = AtomicU64::new(0);
    if ns >= NEXT_NS.load(Ordering::Relaxed) {
        if let Some(measured) = MEASURED.ns_per_tick(Reading { ticks, ns }) {
            TICKS_PER_NS.store(measured.recip().to_bits(), Ordering::Relaxed);
        }
        NEXT_NS.store(ns + MEASURED.over_ns().max(SHORTEST_NS), Ordering::Relaxed);
    }
    f64::from_bits(TICKS_PER_NS.load(Ordering::Relaxed))
}

/// Returns the counter in ticks. The read is not ordered with the surrounding instructions. The result is a time only
/// if [`is_invariant`] returns true.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn read() -> u64 {
    // SAFETY: every x86-64 has the instruction, and systems allow it in user mode (on Linux CR4.TSD is clear unless the
    // process itself has set PR_TSC_SIGSEGV).
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Returns true if the counter runs at a constant rate in all states of the core.
#[cfg(target_arch = "x86_64")]
pub fn is_invariant() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static INVARIANT: AtomicU8 = AtomicU8::new(UNKNOWN);
    match INVARIANT.load(Ordering::Relaxed) {
        UNKNOWN => {
            let leaves = std::arch::x86_64::__cpuid(0x8000_0000).eax;
            let is = leaves >= 0x8000_0007 && std::arch::x86_64::__cpuid(0x8000_0007).edx & 1 << 8 != 0;
            INVARIANT.store(if is { YES } else { NO }, Ordering::Relaxed);
            is
        }
        known => known == YES,
    }
}

/// Returns 0, since this architecture has no such counter.
#[cfg(not(target_arch = "x86_64"))]
pub fn read() -> u64 {
    0
}

/// Returns false, since this architecture has no such counter.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_invariant() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn never_ends_early() {
        for round in 0..200 {
            for nanos in (0..100).chain([1_000, 10_000, 100_000]) {
                let duration = Duration::from_nanos(nanos);
                let start = Instant::now();
                let Ok(waited) = busy_wait_tsc(duration, || true) else { return };
                assert!(start.elapsed() >= duration, "{duration:?} ended early in round {round}");
                assert!(waited.elapsed >= duration && waited.completed);
            }
        }
    }

    #[test]
    fn a_cancelled_wait_ends_at_once_and_is_not_completed() {
        let mut polls = 0;
        let limited = || {
            polls += 1;
            polls < 100
        };
        let Ok(waited) = busy_wait_tsc(Duration::MAX, limited) else { return };
        assert!(!waited.completed && waited.count < 100);
    }

    #[test]
    fn the_rate_is_measured_within_a_few_waits() {
        for _ in 0..20 {
            if busy_wait_tsc(Duration::from_millis(1), || true).is_err() {
                return;
            }
        }
        let rate = rate(read(), monotonic_ns());
        assert!((0.1..20.0).contains(&rate), "{rate} ticks per nanosecond");
    }
}
