//! Windows: periods of metering, each with its own longest hold and wait.

use super::super::clock::{Scale, ticks};
use super::capacity::BUCKETS;
use super::figures::Figures;
use super::gils::GILS;
use super::pool::{self, REGISTRY};
use super::read::{GilReading, Reader, Reading};
use super::slots::{OPEN, Slot};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// An open window. It may be read any number of times; dropping it closes it.
#[derive(Debug)]
pub struct Window {
    slot: Slot,
    before: Before,
}

/// The figures at the opening.
#[derive(Debug)]
struct Before {
    session: u64,
    gils: Vec<GilBefore>,
}

/// The figures of one GIL at the opening.
#[derive(Debug)]
struct GilBefore {
    /// The number of the GIL.
    id: u64,
    /// The sum of the threads that had ended.
    past: Figures,
    /// How many holds and waits had which length, if that was counted.
    lengths: Option<[[u64; BUCKETS]; 2]>,
    /// The figures of the living threads, sorted by the number of the row.
    living: Vec<(u64, Figures)>,
}

impl Window {
    pub(crate) fn open() -> Result<Self, Refusal> {
        let lists = REGISTRY.lock();
        pool::collect_locked(&lists);
        let slot = OPEN.take()?;
        let reader = Reader { gils: &GILS, open: &OPEN, registry: &REGISTRY };
        let reading = reader.read_and_open(&lists, pool::session(), slot, ticks);
        drop(lists);
        Ok(Self { slot, before: Before::new(reading) })
    }

    /// Returns true, except in a forked child if another thread than the forking one had opened the window.
    pub fn is_open(&self) -> bool {
        self.slot.is_open()
    }

    /// Returns an error if the longest hold or wait of the latest reading may be missing, because there was no memory for it.
    ///
    /// # Errors
    /// [`Refusal::System`].
    pub fn check(&self) -> Result<(), Refusal> {
        let error = || std::io::Error::from_raw_os_error(libc::ENOMEM).to_string();
        let refusal = || Refusal::System("reserving address space for the longest hold and wait of a window", error());
        self.slot.is_complete().then_some(()).ok_or_else(refusal)
    }

    /// Returns what happened since the window was opened, the longest hold and wait included. In a forked child: since
    /// the fork. Returns `None` if the window is not open.
    pub fn read(&self) -> Option<Snapshot> {
        let lists = REGISTRY.lock();
        let from = self.slot.opened().filter(|_| self.is_open())?;
        pool::collect_locked(&lists);
        let reader = Reader { gils: &GILS, open: &OPEN, registry: &REGISTRY };
        let mut reading = reader.read(&lists, pool::session(), Some(&self.slot), ticks);
        let lengths_since = OPEN.lengths_since();
        drop(lists);
        self.before.subtract_from(&mut reading, from, lengths_since);
        Some(reading.into_snapshot(from, &Scale::now(), GILS.unlisted(), pool::unlisted()))
    }
}

/// Counts the lengths of holds and waits from now on, if they are not counted yet.
pub(crate) fn count_lengths() {
    let _lists = REGISTRY.lock();
    OPEN.begin_lengths(ticks, Scale::now().us_per_tick());
}

impl Drop for Window {
    fn drop(&mut self) {
        let lists = REGISTRY.lock();
        OPEN.close(self.slot);
        pool::collect_locked(&lists);
    }
}

impl Before {
    fn new(reading: Reading) -> Self {
        let at = reading.at;
        Self { session: reading.session, gils: reading.gils.into_iter().map(|gil| GilBefore::new(gil, at)).collect() }
    }

    /// Subtracts these figures. If they belong to another session, for example the parent's, nothing is subtracted.
    fn subtract_from(&self, reading: &mut Reading, opened: u64, lengths_since: Option<u64>) {
        reading.gils.retain(|gil| !gil.is_over(opened));
        for gil in &mut reading.gils {
            gil.lengths = gil.lengths.filter(|_| lengths_since.is_some_and(|since| since <= opened));
            // A thread that had ended before is part of the past, even if it still has an account.
            gil.rows.retain(|row| {
                let had_ended = row.ended.is_some_and(|ended| ended <= opened);
                if had_ended {
                    gil.past.add(&row.figures);
                }
                !had_ended
            });
            if let Some(before) = self.gils.iter().find(|before| before.id == gil.id && self.session == reading.session)
            {
                before.subtract_from(gil);
            }
        }
    }
}

impl GilBefore {
    fn new(gil: GilReading, at: u64) -> Self {
        let mut past = gil.past;
        gil.rows.iter().filter(|row| row.ended.is_some()).for_each(|row| past.add(&row.figures));
        let living = gil.rows.iter().filter(|row| row.ended.is_none());
        let mut living: Vec<_> = living.map(|row| (row.id, row.figures.up_to(0, at))).collect();
        living.sort_unstable_by_key(|(id, _)| *id);
        Self { id: gil.id, past, lengths: gil.lengths, living }
    }

    fn subtract_from(&self, gil: &mut GilReading) {
        gil.past.subtract(&self.past);
        // The threads that lived at the opening, and have become part of the past, count from the opening on.
        let mut without_row = Figures::default();
        self.living.iter().for_each(|(_, figures)| without_row.add(figures));
        for row in &mut gil.rows {
            if let Ok(place) = self.living.binary_search_by_key(&row.id, |(id, _)| *id) {
                let before = &self.living[place].1;
                row.subtract(before);
                without_row.subtract(before);
            }
        }
        gil.past.subtract(&without_row);
        gil.lengths = gil.lengths.zip(self.lengths).map(|(now, before)| difference(now, before));
    }
}

/// Subtracts `before` from `now`, which has grown from it.
fn difference(mut now: [[u64; BUCKETS]; 2], before: [[u64; BUCKETS]; 2]) -> [[u64; BUCKETS]; 2] {
    for (now, before) in now.as_flattened_mut().iter_mut().zip(before.as_flattened()) {
        *now = now.saturating_sub(*before);
    }
    now
}

#[cfg(test)]
mod tests {
    use super::super::capacity::RETIRED;
    use super::super::world::World;
    use super::*;
    use crate::snapshot::GilTotals;

    struct Opened(Slot, Before);

    impl Opened {
        fn at(world: &World, at: u64) -> Self {
            let (slot, reading) = world.open(at);
            Self(slot, Before::new(reading))
        }

        fn read(&self, world: &World, at: u64) -> GilTotals {
            let mut reading = world.read(1, Some(&self.0), at);
            let from = self.0.opened().unwrap();
            self.1.subtract_from(&mut reading, from, world.open.lengths_since());
            reading.into_snapshot(from, &Scale::of_nanoseconds(), 0, 0).gils.remove(0)
        }
    }

    fn rows(totals: &GilTotals) -> Vec<(u64, u64, u64)> {
        totals.threads.iter().map(|row| (row.id, row.held_ns, row.longest_hold_ns)).collect()
    }

    fn metered() -> &'static World {
        let world = World::new();
        world.gils.first().begin(1, 50);
        world
    }

    #[test]
    fn a_window_has_what_came_after_its_opening() {
        let world = metered();
        let account = world.begin(1, 100, 400);
        account.acquired(&world.open, 900);
        let window = Opened::at(world, 1000);
        assert_eq!(rows(&window.read(world, 1010)), [(1, 10, 10)], "the part of a hold");
        account.released(&world.open, 1020, false);
        account.acquired(&world.open, 1100);
        let found = window.read(world, 1150);
        assert_eq!((rows(&found), found.metered_ns, found.acquisitions), (vec![(1, 70, 50)], 150, 1));
        assert!(found.threads[0].holds);
    }

    #[test]
    fn a_thread_that_got_the_id_of_another_one_has_a_row_of_its_own() {
        let world = metered();
        let former = world.begin(1, 100, 400);
        let window = Opened::at(world, 1000);
        world.end(former, 1010);
        let latter = world.begin(2, 1100, 1120);
        latter.begin(2, latter.gil(), former.tid(), 1);
        latter.acquired(&world.open, 1200);
        latter.released(&world.open, 1230, false);
        let found = window.read(world, 2000);
        assert_eq!(rows(&found), [(1, 0, 0), (2, 30, 30)]);
        assert_eq!(found.threads[0].tid, found.threads[1].tid);
        // Nor is the one subtracted from the other in a window that was opened between them.
        let inner = Opened::at(world, 2100);
        assert_eq!(rows(&inner.read(world, 2200)), [(2, 0, 0)]);
    }

    #[test]
    fn threads_without_number_leave_their_sums_and_the_longest() {
        const THREADS: u64 = 4 * RETIRED as u64;
        let world = metered();
        let mut late = None;
        let before: Vec<_> = (1..=10).map(|id| world.begin(id, 100 * id, 100 * id + 60)).collect();
        world.end(world.begin(11, 1100, 1600), 1700);
        let outer = Opened::at(world, 2000);
        before.into_iter().for_each(|account| {
            account.acquired(&world.open, 2000 + account.id());
            account.released(&world.open, 2000 + 2 * account.id(), false);
            world.end(account, 2100);
        });
        for number in 0..THREADS {
            let start = 3000 + 10 * number;
            if number == THREADS - 5 {
                late = Some(Opened::at(world, start - 1));
            }
            world.end(world.begin(12 + number, start, start + 3), start + 4);
        }
        let end = 3000 + 10 * THREADS;
        let found = outer.read(world, end);
        assert_eq!(found.held_ns, 55 + 3 * THREADS);
        assert_eq!((found.acquisitions, found.longest_hold_ns), (10 + THREADS, 10));
        assert_eq!((found.threads.len(), found.threads[0].id, found.threads[0].longest_hold_ns), (1 + RETIRED, 0, 10));
        let late = late.unwrap().read(world, end);
        assert_eq!((late.threads.len(), late.held_ns, late.acquisitions, late.longest_hold_ns), (5, 15, 5, 3));
    }

    #[test]
    fn a_window_counts_the_lengths_of_the_holds_that_end_in_it() {
        let world = metered();
        let account = world.begin(1, 100, 400);
        account.counts_in(world.gils.first().lengths());
        let hold = |since: u64, us: u64| {
            account.acquired(&world.open, since);
            account.released(&world.open, since + 1000 * us, false);
        };
        let uncounted = Opened::at(world, 1000);
        world.open.begin_lengths(|| 1000, 0.001);
        hold(10_000, 1);
        let counted = Opened::at(world, 20_000);
        hold(30_000, 0);
        hold(40_000, 3);
        hold(50_000, 3);
        world.open.cut_at(70_000, None);
        hold(80_000, 5);
        let found = counted.read(world, 100_000).histograms.unwrap();
        assert_eq!((&found.holds[..5], found.waits.iter().sum::<u64>()), (&[1, 0, 2, 1, 0][..], 0));
        assert_eq!(uncounted.read(world, 110_000).histograms, None, "not from its opening on");
    }

    #[test]
    fn a_gil_that_ended_before_is_not_part_of_a_window() {
        let world = metered();
        world.gils.first().place(0, 0x1000, 5);
        let gils = [world.gils.first(), world.gils.add(0x2000)];
        gils.iter().for_each(|gil| gil.begin(1, 50));
        let outer = Opened::at(world, 100);
        gils.iter().for_each(|gil| gil.destroyed(&world.open, 300));
        let (_, reading) = world.open(500);
        let mut reading = Reading { at: 600, ..reading };
        assert_eq!(outer.read(world, 700).metered_ns, 200);
        Before { session: 1, gils: Vec::new() }.subtract_from(&mut reading, 500, None);
        let ids: Vec<_> = reading.gils.iter().map(|gil| gil.id).collect();
        assert_eq!(ids, [gils[0].id()], "GIL 0 is in every window");
    }
}
