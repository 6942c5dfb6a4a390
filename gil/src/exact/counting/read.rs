//! Reads the accounts at a cut, in one pass. It needs no GIL, so the hooks continue to record in the meantime.

use super::super::clock::{Scale, ticks};
use super::account::Account;
use super::barrier;
use super::capacity::{self, BUCKETS};
use super::figures::Figures;
use super::gil::Gil;
use super::gils::{GILS, Gils};
use super::lock::Guard;
use super::pool::{self, REGISTRY};
use super::registry::{Lists, Registry};
use super::slots::{Kind, OPEN, Slot, Slots};
use crate::snapshot::{GilTotals, Histograms, Snapshot, ThreadTotals};

/// All accounts at one moment, in ticks.
pub(super) struct Reading {
    pub(super) session: u64,
    /// The moment.
    pub(super) at: u64,
    pub(super) gils: Vec<GilReading>,
}

/// One GIL and its accounts at one moment.
pub(super) struct GilReading {
    /// The number of the GIL.
    pub(super) id: u64,
    interpreter: i64,
    /// The start of metering, unless the GIL has had no event yet.
    metered_since: Option<u64>,
    /// The end of metering: the moment, or the end of the GIL.
    until: u64,
    /// The threads that have an account.
    pub(super) rows: Vec<Row>,
    /// The sum of the threads that have none any more, and the longest hold and wait of them.
    pub(super) past: Figures,
    /// How many holds and how many waits had which length, if that is counted.
    pub(super) lengths: Option<[[u64; BUCKETS]; 2]>,
}

/// One thread with one GIL at one moment.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The number of the row; 0 for the threads that have no account any more.
    pub(super) id: u64,
    pub(super) tid: u32,
    /// The time at which the thread ended.
    pub(super) ended: Option<u64>,
    /// The longest hold and wait are those of the window, if there is one.
    pub(super) figures: Figures,
    /// What does not count of the figures, because it came before the window was opened.
    earlier: Figures,
    /// True if the row existed when the window was opened.
    is_old: bool,
}

/// Returns the figures of the current session, which began when the stopped meter was started, or at the fork.
pub(crate) fn snapshot() -> Snapshot {
    let lists = REGISTRY.lock();
    pool::collect_locked(&lists);
    let reading = Reader { gils: &GILS, open: &OPEN, registry: &REGISTRY }.read(&lists, pool::session(), None, ticks);
    drop(lists);
    reading.into_snapshot(0, &Scale::now(), GILS.unlisted(), pool::unlisted())
}

/// Returns the calling thread's figures of the current session, with the GIL under which the meter was started. None if
/// the thread has had no event. The times never fall. Takes no lock, and needs no GIL.
pub fn own_thread() -> Option<ThreadTotals> {
    let account = pool::own_with_main()?;
    let row = Row {
        id: account.id(),
        tid: account.tid(),
        ended: None,
        figures: account.figures(),
        earlier: Figures::default(),
        is_old: true,
    };
    let mut totals = row.into_totals(0, ticks(), &Scale::now());
    [totals.held_ns, totals.waited_ns] = account.reported([totals.held_ns, totals.waited_ns]);
    Some(totals)
}

/// Returns the threads that wait for `gil` in `session`: the number of the row, the thread id, and the start of the wait.
pub(crate) fn waiters(gil: &Gil, session: u64) -> Vec<(u64, u32, u64)> {
    let lists = REGISTRY.lock();
    REGISTRY.admit(&lists);
    let own = lists.living().filter(|account| account.is_with(gil.id(), session));
    own.filter_map(|account| Some((account.id(), account.tid(), account.waits_since()?))).collect()
}

/// The parts of a meter that a reader needs.
pub(super) struct Reader<'a> {
    pub(super) gils: &'a Gils,
    pub(super) open: &'a Slots,
    pub(super) registry: &'a Registry,
}

impl Reader<'_> {
    /// Makes a cut, and reads all accounts of `session` as they are at it. `slot` is that of the window that is read.
    pub(super) fn read(
        &self,
        lists: &Guard<'_, Lists>,
        session: u64,
        slot: Option<&Slot>,
        ticks: impl Fn() -> u64,
    ) -> Reading {
        self.read_at(lists, session, slot, self.open.make_cut(ticks, None))
    }

    /// Makes a cut, at which the window of `slot` opens, and reads all accounts as they are at it.
    pub(super) fn read_and_open(
        &self,
        lists: &Guard<'_, Lists>,
        session: u64,
        slot: Slot,
        ticks: impl Fn() -> u64,
    ) -> Reading {
        self.read_at(lists, session, None, self.open.make_cut(ticks, Some(slot)))
    }

    /// Reads all accounts at the cut `at`, the latest one.
    pub(super) fn read_at(&self, lists: &Guard<'_, Lists>, session: u64, slot: Option<&Slot>, at: u64) -> Reading {
        barrier::of_all_threads();
        // A thread that began before the cut, but after the lists were brought up to date.
        self.registry.admit(lists);
        let gils =
            self.gils.all().iter().filter(|gil| gil.is_of(session)).map(|gil| GilReading::new(gil, session, slot, at));
        let mut reading = Reading { session, at, gils: gils.collect() };
        lists.living().for_each(|account| reading.add(account, false, slot));
        lists.retired().for_each(|account| reading.add(account, true, slot));
        // After the accounts: now all events before the cut have been recorded.
        if self.open.lengths_since().is_some() {
            for gil in &mut reading.gils {
                gil.lengths = self.gils.by_id(gil.id).map(|found| found.lengths().at(session, at));
            }
        }
        reading
    }
}

impl Reading {
    fn add(&mut self, account: &Account, is_retired: bool, slot: Option<&Slot>) {
        let gil = self.gils.iter_mut().find(|gil| gil.id == account.gil());
        let Some(gil) = gil.filter(|_| account.session() == self.session) else { return };
        let mut figures = account.at(self.at);
        if is_retired {
            gil.past.subtract(&figures);
        }
        if let Some(slot) = slot {
            [figures.longest_hold, figures.longest_wait] = account.longest(slot, self.at);
        }
        // A thread that ended after the cut was alive at it.
        let ended = account.ended().filter(|ended| *ended < self.at);
        gil.rows.push(Row {
            id: account.id(),
            tid: account.tid(),
            ended,
            figures,
            earlier: Figures::default(),
            is_old: false,
        });
    }

    /// Returns the figures as plain values. They cover the time from `from`, or from the beginning of the session.
    pub(super) fn into_snapshot(self, from: u64, scale: &Scale, unlisted_gils: u64, unlisted_threads: u64) -> Snapshot {
        let gils = self.gils.into_iter().map(|gil| gil.into_totals(from, self.at, scale)).collect();
        Snapshot { session: self.session, gils, unlisted_gils, unlisted_threads }
    }
}

impl GilReading {
    fn new(gil: &Gil, session: u64, slot: Option<&Slot>, at: u64) -> Self {
        let mut past = gil.past(session);
        if let Some(slot) = slot {
            [past.longest_hold, past.longest_wait] =
                [Kind::Hold, Kind::Wait].map(|kind| slot.longest(gil.index(), at, kind));
        }
        Self {
            id: gil.id(),
            interpreter: gil.interpreter(),
            metered_since: Some(gil.metered_since()).filter(|since| (1..=at).contains(since)),
            until: gil.ended().map_or(at, |ended| ended.min(at)),
            rows: Vec::new(),
            past,
            lengths: None,
        }
    }

    /// Returns true if the GIL was destroyed before `from`, unless it is GIL 0, which every snapshot has, or the main
    /// interpreter's, which may be created again.
    pub(super) fn is_over(&self, from: u64) -> bool {
        !self.id.is_multiple_of(capacity::GILS as u64) && self.interpreter != 0 && self.until <= from
    }

    fn into_totals(mut self, from: u64, at: u64, scale: &Scale) -> GilTotals {
        self.rows.sort_unstable_by_key(|row| row.id);
        let past =
            Row { id: 0, tid: 0, ended: Some(at), figures: self.past, earlier: Figures::default(), is_old: true };
        let rows = Some(past).filter(|past| !past.figures.is_empty()).into_iter().chain(self.rows);
        let mut totals = GilTotals {
            interpreter: self.interpreter,
            metered: self.metered_since.is_some(),
            at_ns: scale.time(at),
            metered_ns: self.metered_since.map_or(0, |since| scale.ns(self.until.saturating_sub(since.max(from)))),
            threads: rows.map(|row| row.into_totals(from, self.until, scale)).collect(),
            histograms: self.lengths.map(|[holds, waits]| Histograms { holds, waits }),
            ..GilTotals::default()
        };
        totals.sum();
        totals
    }
}

impl Row {
    /// Subtracts figures that include a hold and a wait up to an earlier moment.
    pub(super) fn subtract(&mut self, earlier: &Figures) {
        self.earlier.add(earlier);
        self.is_old = true;
    }

    /// `until` is the end of metering: a thread may wait for a GIL that was destroyed.
    fn into_totals(self, from: u64, until: u64, scale: &Scale) -> ThreadTotals {
        let mut figures = self.figures.up_to(from, until);
        figures.subtract(&self.earlier);
        ThreadTotals {
            id: self.id,
            tid: self.tid,
            ended: self.ended.is_some(),
            is_new: from != 0 && !self.is_old,
            holds: figures.holds_since != 0,
            waits: figures.waits_since != 0,
            held_ns: scale.ns(figures.held),
            waited_ns: scale.ns(figures.waited),
            acquisitions: figures.acquisitions,
            waits_begun: figures.waits,
            voluntary_releases: figures.voluntary_releases,
            forced_drops: figures.forced_drops,
            longest_hold_ns: scale.ns(figures.longest_hold),
            longest_wait_ns: scale.ns(figures.longest_wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    fn totals(world: &World, session: u64, at: u64) -> Vec<GilTotals> {
        world.read(session, None, at).into_snapshot(0, &Scale::of_nanoseconds(), 0, 0).gils
    }

    #[test]
    fn a_snapshot_has_each_thread_and_their_sum() {
        let world = World::new();
        let (gil, open) = (world.gils.first(), &world.open);
        let [one, other] = [7, 8].map(|id| world.begin(id, 0, 0));
        gil.seed_in(open, one, 1, 1000);
        gil.released(open, 1, 1100, true);
        gil.acquired(other, open, 1150);

        let found = totals(world, 1, 1200);
        let [found] = &found[..] else { panic!("one GIL") };
        assert_eq!((found.at_ns, found.metered, found.metered_ns), (1200, true, 200));
        assert_eq!((found.held_ns, found.acquisitions, found.forced_drops), (150, 3, 1));
        assert_eq!((found.longest_hold_ns, found.longest_wait_ns), (100, 0));
        let [first, second] = &found.threads[..] else { panic!("two threads, {found:?}") };
        assert_eq!((first.id, first.tid, first.holds, first.held_ns), (7, 7, false, 100));
        assert_eq!((second.id, second.tid, second.holds, second.held_ns), (8, 8, true, 50));
    }

    #[test]
    fn a_wait_ends_with_its_gil() {
        let world = World::new();
        let gil = world.gils.first();
        let [holder, waiter] = [1, 2].map(|id| world.begin(id, 0, 0));
        gil.acquired(holder, &world.open, 1000);
        gil.waits(waiter, &world.open, 1010);
        gil.destroyed(&world.open, 1050);
        let found = totals(world, 1, 3000).remove(0);
        assert_eq!((found.metered_ns, found.held_ns, found.waited_ns), (50, 50, 40));
        gil.thread_ended(waiter, &world.open, 4000);
        assert_eq!(totals(world, 1, 5000)[0].waited_ns, 40);
    }

    #[test]
    fn ended_threads_are_summed_up_in_one_row() {
        let world = World::new();
        world.gils.first().begin(1, 50);
        let living = world.begin(1, 100, 110);
        for id in 2..5 {
            world.end(world.begin(id, 100 * id, 100 * id + id), 100 * id + 50);
        }
        let window = world.open.open(1000);
        world.end(world.begin(5, 1100, 1120), 1150);
        let found = &totals(world, 1, 2000)[0];
        let rows: Vec<_> =
            found.threads.iter().map(|row| (row.id, row.ended, row.held_ns, row.longest_hold_ns)).collect();
        assert_eq!(rows, [(0, true, 9, 4), (1, false, 10, 10), (5, true, 20, 20)]);
        assert_eq!((found.held_ns, found.acquisitions, found.longest_hold_ns), (39, 5, 20));
        world.open.close(window);
        world.end(living, 2100);
        let found = &totals(world, 1, 2200)[0];
        assert_eq!((found.threads.len(), found.held_ns, found.longest_hold_ns), (1, 39, 20));
    }

    #[test]
    fn nothing_of_a_former_session_is_read() {
        let world = World::new();
        world.begin(1, 100, 150);
        world.gils.first().begin(1, 50);
        assert!(totals(world, 2, 2000).is_empty());
        world.gils.first().begin(2, 2000);
        let found = totals(world, 2, 2100);
        assert_eq!((found[0].metered_ns, found[0].threads.len()), (100, 0));
    }

    #[test]
    fn a_gil_without_an_event_is_named_and_not_metered() {
        let world = World::new();
        world.gils.first().belong_to(1);
        assert_eq!((totals(world, 1, 2000)[0].metered, totals(world, 1, 2100)[0].metered_ns), (false, 0));
        // Nor at a cut before the first event.
        world.gils.first().begin(1, 3000);
        assert!(!totals(world, 1, 2500)[0].metered);
    }

    #[test]
    fn snapshots_of_any_number_of_threads_at_any_rate_of_events_add_up() {
        // One after the other holds the GIL, as under its mutex. Whoever has it also keeps the truth.
        let world = World::new();
        let truth = Mutex::new(());
        let clock = AtomicU64::new(1000);
        let tick = || clock.fetch_add(1, Ordering::SeqCst);
        world.gils.first().begin(1, 1000);
        std::thread::scope(|scope| {
            // If a comparison fails, `go_on` is dropped with this closure. Then the threads end, and the scope does.
            let go_on = Arc::new(());
            for id in 1..=3 {
                let (truth, tick, go_on) = (&truth, &tick, Arc::downgrade(&go_on));
                scope.spawn(move || {
                    let account = world.begin(id, 0, 0);
                    while go_on.strong_count() == 1 {
                        let _turn = truth.lock().unwrap();
                        world.gils.first().acquired(account, &world.open, tick());
                        world.gils.first().released(&world.open, 1, tick(), false);
                    }
                });
            }
            let mut before = GilTotals::default();
            for _ in 0..2000 {
                let now = world.read_now(1, tick).into_snapshot(0, &Scale::of_nanoseconds(), 0, 0).gils.remove(0);
                assert!(now.held_ns <= now.at_ns - 1000 && now.held_ns >= before.held_ns, "{now:?} {before:?}");
                assert!(now.held_ns - before.held_ns <= now.at_ns - before.at_ns.max(1000), "{now:?} {before:?}");
                let running = now.threads.iter().filter(|row| row.holds).count() as u64;
                let ended = now.voluntary_releases + now.forced_drops;
                assert!(running <= 1 && now.acquisitions == ended + running, "{now:?}");
                before = now;
            }
        });
    }
}
