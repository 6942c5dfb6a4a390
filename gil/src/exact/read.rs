//! Accounts as values. Takes no lock and no GIL: hooks go on meanwhile.

use super::clock::{Scale, ticks};
use super::gils::{self, Gil};
use super::ledger::{Account, SESSION};
use super::window::{Best, Window};
use crate::{GilTotals, Snapshot, ThreadTotals};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Everything counted in this session; the longest hold and wait those of `window`, if one is given.
pub(super) fn snapshot(window: Option<&Window>) -> Snapshot {
    let session = SESSION.load(Relaxed);
    let scale = Scale::now();
    let gils = gils::all().iter().filter(|gil| gil.session.load(Relaxed) == session);
    let gils = gils.map(|gil| gil.consistent(|| totals(gil, session, &scale, window))).collect();
    Snapshot { session, gils, unlisted_gils: gils::unlisted() }
}

fn totals(gil: &Gil, session: u64, scale: &Scale, window: Option<&Window>) -> GilTotals {
    let now = ticks();
    let holder = gil.holder.load(Relaxed).cast_const();
    let since = gil.since.load(Relaxed);
    let metered_since = gil.metered_since.load(Relaxed);
    let threads = accounts(gil).filter(|account| account.session.load(Acquire) == session).map(|account| {
        let holds = (&raw const *account == holder).then_some(since);
        let (waited, waits_ended, waits) = account.waits_now();
        let running = |since: Option<u64>| since.map_or(0, |since| now.saturating_sub(since));
        let (longest_hold, longest_wait) = match window {
            None => (
                account.longest_hold.ever.load(Relaxed).max(running(holds)),
                account.longest_wait.ever.load(Relaxed).max(running(waits)),
            ),
            Some(window) => (
                window.longest(&account.best, Best::hold, holds, now),
                window.longest(&account.best, Best::wait, waits, now),
            ),
        };
        ThreadTotals {
            tid: account.tid.load(Relaxed),
            holds: holds.is_some(),
            waits: waits.is_some(),
            held_ns: scale.ns(account.held.load(Relaxed) + running(holds)),
            waited_ns: scale.ns(waited + running(waits)),
            acquisitions: account.acquisitions.load(Relaxed),
            waits_begun: waits_ended + u64::from(waits.is_some()),
            voluntary_releases: account.voluntary_releases.load(Relaxed),
            forced_drops: account.forced_drops.load(Relaxed),
            longest_hold_ns: Some(scale.ns(longest_hold)),
            longest_wait_ns: Some(scale.ns(longest_wait)),
        }
    });
    let mut threads: Vec<_> = threads.collect();
    threads.sort_by_key(|thread| thread.tid);
    let mut totals = GilTotals {
        interpreter: gil.interpreter.load(Relaxed),
        metered: metered_since != 0,
        at_ns: scale.time(now),
        metered_ns: if metered_since == 0 { 0 } else { scale.ns(now.saturating_sub(metered_since)) },
        threads,
        ..GilTotals::default()
    };
    totals.sum();
    totals
}

fn accounts(gil: &Gil) -> impl Iterator<Item = &'static Account> {
    // SAFETY: null, or an account; they are never freed, and the list only grows at its head.
    let first = unsafe { gil.accounts.load(Acquire).as_ref() };
    // SAFETY: as above.
    std::iter::successors(first, |account| unsafe { account.next.load(Relaxed).as_ref() })
}
