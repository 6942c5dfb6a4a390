//! The busy wait on the processor's time stamp counter, which is read in half the time that CLOCK_MONOTONIC takes, so the
//! end is met more closely. CLOCK_MONOTONIC has the last word all the same: by it, a wait never ends early.
//!
//! ```text
//!   caller's look         first look                           last look           caller's look
//!     [---|---]    call    [---|---]   ..  the counter  ..     [---|---]   return    [---|---]
//!       stamp              :  stamp                              stamp :               stamp
//!                          :                                           :
//!                          [--] head    what two stamps tell     [-----] tail
//! ```
//!
//! A look at CLOCK_MONOTONIC takes some 20 ns, and its stamp is taken on the way. So two stamps leave out the head of the
//! first look and the tail of the last, which were waited too: together at least the time of the shortest look so far. That
//! is counted in, and the caller, whose own two looks lie around these, can't see an end before its time.
//!
//! x86-64 only, and only where the counter runs at one rate whatever the core does ("invariant TSC", CPUID
//! 0x80000007 EDX bit 8; Intel SDM vol. 3B, "Time-Stamp Counter"). Its rate is not taken from anywhere: it is measured
//! against CLOCK_MONOTONIC between the first wait and the latest ones, so the first wait pays no calibration.

#![allow(unsafe_code, reason = "rdtsc is an unsafe intrinsic")]

use crate::Waited;
use crate::clock::monotonic_ns;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The counter can't be used as a clock on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTsc;

/// The last stretch, from one reading of CLOCK_MONOTONIC to the one that finds the time passed. The rate, if off by
/// 500 ppm (the most that NTP slews the clock, adjtimex(2)), is off by half a nanosecond over it.
const LAST_NS: u64 = 1_000;
/// How far the counter is trusted before CLOCK_MONOTONIC is read again. A thread that lost its core between the two
/// readings overshoots by no more than this.
const STRETCH_NS: u64 = 10_000;
/// So many looks have to be seen before the shortest is believed: the first ones come with page faults and cold caches.
const ENOUGH_LOOKS: u32 = 16;
/// Two readings this far apart tell the rate to some 20 ppm.
const SHORTEST_BASE_NS: u64 = 1_000_000;

/// Spins on the time stamp counter for `duration`, ended before its time once `go_on` returns false, and never returns
/// early by CLOCK_MONOTONIC. `count` is the polls of both clocks that found time left.
///
/// # Errors
/// [`NoTsc`], before any wait.
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
    let least_look = least_look(first.wrapping_sub(entry));
    let unseen = if rate > 0.0 { (least_look as f64 / rate) as u64 } else { 0 };
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

/// The ticks of the shortest look at CLOCK_MONOTONIC so far, this one's among them; 0 until enough were seen.
///
/// Never more than this one took: where the core got faster a moment ago, the former looks count no longer.
#[inline]
fn least_look(ticks: u64) -> u64 {
    static LEAST: AtomicU64 = AtomicU64::new(u64::MAX);
    static SEEN: AtomicU32 = AtomicU32::new(0);
    if ticks < LEAST.load(Ordering::Relaxed) {
        LEAST.fetch_min(ticks, Ordering::Relaxed);
    }
    if SEEN.load(Ordering::Relaxed) < ENOUGH_LOOKS {
        SEEN.fetch_add(1, Ordering::Relaxed);
        return 0;
    }
    LEAST.load(Ordering::Relaxed)
}

/// How long before the end the last reading of CLOCK_MONOTONIC is to begin, in 1/16 ns: so long that its stamp, taken
/// on the way, falls just behind the end.
static LEAD: AtomicU64 = AtomicU64::new(0);

#[inline]
fn lead() -> u64 {
    LEAD.load(Ordering::Relaxed) / 16
}

/// A stamp behind the end makes the next lead longer by a sixteenth of the distance, one before it shorter by 8 ns, since
/// it costs that wait one more reading. Races between threads lose a lesson at most.
#[inline]
fn learn_lead(elapsed: u64, length: u64) {
    let lead = LEAD.load(Ordering::Relaxed);
    let over = elapsed.saturating_sub(length).min(64);
    let better = if elapsed < length { lead.saturating_sub(8 * 16) } else { (lead + over).min(LAST_NS / 4 * 16) };
    LEAD.store(better, Ordering::Relaxed);
}

/// Ticks a nanosecond, as far as is known: 0 makes the wait poll CLOCK_MONOTONIC.
///
/// Measured from the first wait of the process on, and anew whenever that is twice as long ago as at the last time: so
/// it becomes more exact, and follows a rate that drifts.
#[inline]
fn rate(ticks: u64, ns: u64) -> f64 {
    static FIRST: OnceLock<(u64, u64)> = OnceLock::new();
    static RATE: AtomicU64 = AtomicU64::new(0);
    static NEXT_NS: AtomicU64 = AtomicU64::new(0);
    if ns >= NEXT_NS.load(Ordering::Relaxed) {
        let (first_ticks, first_ns) = *FIRST.get_or_init(|| (ticks, ns));
        // Another thread's first reading may be later than this one.
        let base = ns.saturating_sub(first_ns);
        if base < SHORTEST_BASE_NS {
            NEXT_NS.store(first_ns + SHORTEST_BASE_NS, Ordering::Relaxed);
        } else {
            let measured = ticks.saturating_sub(first_ticks) as f64 / base as f64;
            RATE.store(measured.to_bits(), Ordering::Relaxed);
            NEXT_NS.store(ns + base, Ordering::Relaxed);
        }
    }
    f64::from_bits(RATE.load(Ordering::Relaxed))
}

/// The counter now, in ticks; not ordered against the instructions around it. A time only where [`is_invariant`].
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn read() -> u64 {
    // SAFETY: every x86-64 has the instruction, and systems leave it to user mode (CR4.TSD is clear on Linux unless the
    // process asked for PR_TSC_SIGSEGV itself).
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// True if the counter runs at one rate whatever the core does.
#[cfg(target_arch = "x86_64")]
pub fn is_invariant() -> bool {
    static INVARIANT: OnceLock<bool> = OnceLock::new();
    *INVARIANT.get_or_init(|| {
        let leaves = std::arch::x86_64::__cpuid(0x8000_0000).eax;
        leaves >= 0x8000_0007 && std::arch::x86_64::__cpuid(0x8000_0007).edx & 1 << 8 != 0
    })
}

/// There is no such counter on this machine.
#[cfg(not(target_arch = "x86_64"))]
pub fn read() -> u64 {
    0
}

/// There is no such counter on this machine.
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
                let asked = Duration::from_nanos(nanos);
                let start = Instant::now();
                let Ok(waited) = busy_wait_tsc(asked, || true) else { return };
                assert!(start.elapsed() >= asked, "{asked:?} ended early in round {round}");
                assert!(waited.elapsed >= asked && waited.completed);
            }
        }
    }

    #[test]
    fn a_cancelled_wait_ends_at_once_and_says_so() {
        let mut polls = 0;
        let limited = || {
            polls += 1;
            polls < 100
        };
        let Ok(waited) = busy_wait_tsc(Duration::MAX, limited) else { return };
        assert!(!waited.completed && waited.count < 100);
    }

    #[test]
    fn the_rate_is_learnt_within_some_waits() {
        for _ in 0..20 {
            if busy_wait_tsc(Duration::from_millis(1), || true).is_err() {
                return;
            }
        }
        let learnt = rate(read(), monotonic_ns());
        assert!((0.1..20.0).contains(&learnt), "{learnt} ticks a nanosecond");
    }
}
