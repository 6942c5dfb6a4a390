//! Reads the accounts as plain values. It takes no lock and needs no GIL, so the hooks continue to record in the
//! meantime.

use super::super::clock::{Scale, ticks};
use super::account::Account;
use super::gil::Gil;
use super::gils::{GILS, Gils};
use super::pool;
use super::slots::Slot;
use crate::snapshot::{GilTotals, Snapshot, ThreadTotals};

/// Returns the figures of the current session, which began when the stopped meter was started, or at the fork. The
/// longest hold and wait are those of the window in `slot`, if one is given.
pub(crate) fn snapshot(slot: Option<Slot>) -> Snapshot {
    Reader { session: pool::session(), slot, scale: Scale::now(), now: ticks }.snapshot(&GILS)
}

struct Reader<N: Fn() -> u64> {
    session: u64,
    slot: Option<Slot>,
    scale: Scale,
    /// The current time, in ticks.
    now: N,
}

impl<N: Fn() -> u64> Reader<N> {
    fn snapshot(&self, gils: &Gils) -> Snapshot {
        let of_session = gils.all().iter().filter(|gil| gil.session() == self.session);
        let totals = of_session.map(|gil| gil.consistent(|| self.totals(gil))).collect();
        Snapshot { session: self.session, gils: totals, unlisted_gils: gils.unlisted() }
    }

    fn totals(&self, gil: &Gil) -> GilTotals {
        let now = (self.now)();
        let (holder, since, metered_since) = (gil.holder(), gil.since(), gil.metered_since());
        let accounts = gil.accounts().filter(|account| account.session() == self.session);
        let threads = accounts.map(|account| {
            let holds = holder.is_some_and(|holder| std::ptr::eq(holder, account));
            self.thread(account, holds.then_some(since), now)
        });
        let mut threads: Vec<_> = threads.collect();
        threads.sort_by_key(|thread| thread.tid);
        let mut totals = GilTotals {
            interpreter: gil.interpreter(),
            metered: metered_since != 0,
            at_ns: self.scale.time(now),
            metered_ns: if metered_since == 0 { 0 } else { self.scale.ns(now.saturating_sub(metered_since)) },
            threads,
            ..GilTotals::default()
        };
        totals.sum();
        totals
    }

    /// Returns the figures of `account`. `holds` is the start of the current hold, if its thread holds the GIL.
    fn thread(&self, account: &Account, holds: Option<u64>, now: u64) -> ThreadTotals {
        let running = |since: Option<u64>| since.map_or(0, |since| now.saturating_sub(since));
        let waits = account.waits();
        ThreadTotals {
            tid: account.tid(),
            holds: holds.is_some(),
            waits: waits.since.is_some(),
            held_ns: self.scale.ns(account.held() + running(holds)),
            waited_ns: self.scale.ns(waits.waited + running(waits.since)),
            acquisitions: account.acquisitions(),
            waits_begun: waits.ended + u64::from(waits.since.is_some()),
            voluntary_releases: account.voluntary_releases(),
            forced_drops: account.forced_drops(),
            longest_hold_ns: Some(self.scale.ns(account.longest_hold(self.slot, holds, now))),
            longest_wait_ns: Some(self.scale.ns(account.longest_wait(self.slot, waits.since, now))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;

    fn read(gils: &Gils, session: u64, slot: Option<Slot>, now: u64) -> Snapshot {
        Reader { session, slot, scale: Scale::of_nanoseconds(), now: || now }.snapshot(gils)
    }

    #[test]
    fn a_snapshot_has_each_thread_and_their_sum() {
        let (open, gils) = (Slots::new(), Gils::leak(0x1000));
        let (gil, [one, other]) = (gils.main(), [7, 8].map(|tid| Account::leak(0, tid)));
        gil.list(other);
        gil.list(one);
        gil.seed(one, 1000);
        other.begins_wait(1010);
        gil.released(&open, 1, 1100, true);
        gil.acquired(other, &open, 1150);
        one.begins_wait(1160);

        let snapshot = read(gils, 1, None, 1200);
        assert_eq!((snapshot.session, snapshot.unlisted_gils, snapshot.gils.len()), (1, 0, 1));
        let totals = &snapshot.gils[0];
        assert_eq!((totals.at_ns, totals.metered, totals.metered_ns), (1200, true, 200));
        assert_eq!((totals.held_ns, totals.waited_ns), (150, 140 + 40));
        assert_eq!((totals.acquisitions, totals.voluntary_releases, totals.forced_drops), (1, 0, 1));
        assert_eq!((totals.longest_hold_ns, totals.longest_wait_ns), (Some(100), Some(140)));
        let [first, second] = &totals.threads[..] else { panic!("two threads, {totals:?}") };
        assert_eq!((first.tid, first.holds, first.waits, first.held_ns, first.waited_ns), (7, false, true, 100, 40));
        assert_eq!(
            (second.tid, second.holds, second.waits, second.held_ns, second.waited_ns),
            (8, true, false, 50, 140)
        );
        assert_eq!((first.waits_begun, second.waits_begun), (1, 1));
    }

    #[test]
    fn a_window_has_the_longest_since_it_was_opened() {
        let (open, gils, account) = (Slots::new(), Gils::leak(0x1000), Account::leak(0, 7));
        let gil = gils.main();
        gil.list(account);
        gil.seed(account, 1000);
        gil.released(&open, 1, 1500, false);
        let slot = open.open(1600).unwrap();
        gil.acquired(account, &open, 1700);
        let longest = |slot| read(gils, 1, slot, 1800).gils[0].longest_hold_ns;
        assert_eq!((longest(None), longest(Some(slot))), (Some(500), Some(100)));
    }

    #[test]
    fn nothing_of_a_former_session_is_read() {
        let (open, gils, account) = (Slots::new(), Gils::leak(0x1000), Account::leak(0, 7));
        let gil = gils.main();
        gil.list(account);
        gil.seed(account, 1000);
        gil.released(&open, 1, 1500, false);
        assert!(read(gils, 2, None, 2000).gils.is_empty());
        gil.reset();
        gil.begin(2, 2000);
        let snapshot = read(gils, 2, None, 2100);
        assert_eq!((snapshot.gils[0].metered_ns, snapshot.gils[0].threads.len()), (100, 0));
    }

    #[test]
    fn a_gil_without_an_event_is_named_and_not_metered() {
        let gils = Gils::leak(0x1000);
        gils.main().belong_to(1);
        let snapshot = read(gils, 1, None, 2000);
        assert_eq!((snapshot.gils[0].metered, snapshot.gils[0].metered_ns), (false, 0));
    }
}
