//! Checks of what the functions have written, by the comments of busy_gil.h.

use super::header::*;
use super::python::python;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// How far two times in nanoseconds may differ, because the meter converts the ticks of another clock, and measures the
/// length of a tick again and again.
const SLACK: u64 = 1_000_000;
/// How far two lengths may differ, because each is rounded separately.
const ROUNDING: u64 = 1_000;

/// The number of the latest session that any thread has read.
pub static LATEST_SESSION: AtomicU64 = AtomicU64::new(0);

/// The time on CLOCK_MONOTONIC in nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid, and every system has this clock.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub fn gettid() -> u32 {
    // SAFETY: gettid(2) only returns the id of the calling thread.
    unsafe { libc::gettid() as u32 }
}

/// Fails unless the reading of `at_ns` lies between the call's begin and now.
fn assert_time(at_ns: u64, begin: u64) {
    let end = now();
    assert!((begin - SLACK..=end + SLACK).contains(&at_ns), "{at_ns} is not between {begin} and {end}");
}

fn assert_interpreter(id: i64) {
    let python = python().expect("a meter without Python");
    assert!((0..python.gils()).any(|gil| python.interpreter(gil) == id), "interpreter {id}");
}

/// Checks the totals of a snapshot that began at `begin`.
pub fn check_totals(totals: &Totals, begin: u64) {
    assert!(totals.metered <= 1 && (totals.gil > 0 || totals.metered == 1), "{totals:?}");
    assert!(totals.gil < totals.gils && totals.gils as usize <= python().unwrap().gils(), "{totals:?}");
    assert_eq!((totals.unlisted_gils, totals.unlisted_threads), (0, 0), "{totals:?}");
    assert_interpreter(totals.interpreter);
    assert_time(totals.at_ns, begin);
    LATEST_SESSION.fetch_max(totals.session, SeqCst);
    if totals.metered == 1 {
        assert!(totals.held_ns <= totals.metered_ns && totals.metered_ns <= totals.at_ns, "{totals:?}");
        assert!(totals.longest_hold_ns <= totals.held_ns + ROUNDING, "{totals:?}");
        assert!(totals.longest_wait_ns <= totals.waited_ns + ROUNDING, "{totals:?}");
    }
}

/// Checks a row. `window` is that of the interval.
pub fn check_row(row: &Row, window: u32) {
    assert_eq!(row.id == 0, row.tid == 0, "{row:?}");
    let known = HOLDS | WAITS | ENDED | if window == 0 { 0 } else { NEW };
    assert_eq!(row.state & !known, 0, "{row:?}");
    assert!(row.state & ENDED == 0 || row.state & (HOLDS | WAITS) == 0, "an ended thread: {row:?}");
    assert!(row.state & (HOLDS | WAITS) != HOLDS | WAITS, "a thread that holds what it waits for: {row:?}");
    assert!(row.longest_hold_ns <= row.held_ns + ROUNDING, "{row:?}");
    assert!(row.longest_wait_ns <= row.waited_ns + ROUNDING, "{row:?}");
}

/// Checks the rows of a snapshot, of which `needed` exist, if that is known.
pub fn check_rows(totals: &Totals, rows: &[Row], needed: Option<usize>) {
    rows.iter().for_each(|row| check_row(row, totals.window));
    assert!(rows.is_sorted_by(|one, next| one.id < next.id), "not sorted: {rows:?}");
    assert!(rows.iter().filter(|row| row.state & HOLDS != 0).count() <= 1, "several holders: {rows:?}");
    if needed != Some(rows.len()) || totals.metered == 0 {
        return;
    }
    let sum = |figure: fn(&Row) -> u64| rows.iter().map(figure).sum::<u64>();
    let found = [
        sum(|row| row.held_ns),
        sum(|row| row.waited_ns),
        sum(|row| row.acquisitions),
        sum(|row| row.voluntary_releases),
        sum(|row| row.forced_drops),
    ];
    let Totals { held_ns, waited_ns, acquisitions, voluntary_releases, forced_drops, .. } = *totals;
    let expected = [held_ns, waited_ns, acquisitions, voluntary_releases, forced_drops];
    assert_eq!(found, expected, "the sums over the rows {rows:?}");
    let longest = |figure: fn(&Row) -> u64| rows.iter().map(figure).max().unwrap_or(0);
    let found = [longest(|row| row.longest_hold_ns), longest(|row| row.longest_wait_ns)];
    assert_eq!(found, [totals.longest_hold_ns, totals.longest_wait_ns], "the longest of the rows {rows:?}");
}

/// Checks counters that were read after `before` in the same thread, in a call that began at `begin`.
pub fn check_counters(counters: &Counters, before: Option<&Counters>, begin: u64) {
    assert!(counters.metered <= 1 && (counters.gil > 0 || counters.metered == 1), "{counters:?}");
    assert!(counters.gil < counters.gils && counters.gils as usize <= python().unwrap().gils(), "{counters:?}");
    assert!(counters.has_histograms <= 1, "{counters:?}");
    assert_interpreter(counters.interpreter);
    assert_time(counters.at_ns, begin);
    LATEST_SESSION.fetch_max(counters.session, SeqCst);
    if counters.metered == 0 {
        return;
    }
    assert!(counters.held_ns <= counters.metered_ns, "{counters:?}");
    if counters.has_histograms == 0 {
        assert_eq!((counters.holds, counters.waits), ([0; BUCKETS], [0; BUCKETS]));
    }
    let Some(before) = before else { return };
    assert!(before.session <= counters.session, "an earlier session: {before:?}, then {counters:?}");
    if before.session == counters.session {
        let falls = figures(before).zip(figures(counters)).any(|(before, after)| after < before);
        assert!(!falls, "a figure falls: {before:?}, then {counters:?}");
    }
}

/// Returns the figures that never fall.
fn figures(counters: &Counters) -> impl Iterator<Item = u64> {
    let Counters { at_ns, metered_ns, held_ns, waited_ns, acquisitions, forced_drops, has_histograms, .. } = *counters;
    let sums = [at_ns, metered_ns, held_ns, waited_ns, acquisitions, forced_drops, has_histograms];
    sums.into_iter().chain(counters.holds).chain(counters.waits)
}

/// Checks a stall that an object with this threshold has reported.
pub fn check_stall(stall: &Stall, threshold_ns: u64) {
    assert_interpreter(stall.interpreter);
    assert!(stall.id > 0 && stall.tid > 0 && stall.waiting > 0, "{stall:?}");
    assert!(stall.held_ns + ROUNDING >= threshold_ns, "shorter than {threshold_ns} ns: {stall:?}");
    assert!(stall.at_ns + stall.held_ns <= now() + SLACK, "not ended yet: {stall:?}");
    assert!(stall.has_stack <= 1 && stall.listed as usize <= WAITERS, "{stall:?}");
    let listed = stall.listed as usize;
    assert!(stall.waiter_ns[..listed].is_sorted_by(|one, next| one >= next), "{stall:?}");
    assert!(stall.waiter_ns.iter().all(|waited| *waited <= stall.held_ns + ROUNDING), "{stall:?}");
    assert!(!stall.waiter_tids[..listed].iter().any(|tid| *tid == 0 || *tid == stall.tid), "{stall:?}");
}

/// Checks a text that was written to an array of at least one byte. Returns it without the NUL.
pub fn check_text(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().position(|byte| *byte == 0).expect("a text without NUL");
    assert!(std::str::from_utf8(&bytes[..length]).is_ok(), "{bytes:?}");
    &bytes[..length]
}
