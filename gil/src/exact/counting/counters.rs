//! Reads the sums of one GIL. Unlike a snapshot, this makes no cut and walks over no threads: it takes as long with a
//! thousand threads as with one, and no thread notices it. So the figures describe one moment only up to the event that a
//! thread is recording meanwhile.

use super::super::clock::{Scale, ticks};
use super::gil::Gil;
use super::gils::GILS;
use super::pool::{self, REGISTRY};
use super::slots::OPEN;
use super::tally::Sums;
use crate::snapshot::{Counters, Histograms};

/// Returns the sums of the GIL with the index `which` among those of a snapshot. None if there is no such GIL.
pub(crate) fn counters(which: usize) -> Option<Counters> {
    // A GIL may leave the table while the lock is open. GIL 0 never does.
    let lists = (GILS.all().len() > 1).then(|| REGISTRY.lock());
    lists.iter().for_each(pool::collect_locked);
    let session = pool::session();
    let gils = || GILS.all().iter().filter(|gil| gil.is_of(session));
    Some(of(gils().nth(which)?, session, gils().count()))
}

fn of(gil: &Gil, session: u64, gils: usize) -> Counters {
    let at = gil.ended().unwrap_or_else(ticks);
    let Sums { held, waited, acquisitions, forced_drops } = gil.tally().sums(session, at);
    let scale = Scale::now();
    let since = gil.metered_since();
    let metered = if since == 0 { 0 } else { at.saturating_sub(since) };
    let [held_ns, waited_ns, metered_ns] = gil.tally().reported([held, waited, metered].map(|time| scale.ns(time)));
    Counters {
        session,
        gils,
        interpreter: gil.interpreter(),
        metered: since != 0,
        at_ns: scale.time(at),
        // A time that was reported as held before may be longer.
        metered_ns: metered_ns.max(held_ns),
        held_ns,
        waited_ns,
        acquisitions,
        forced_drops,
        waiting: gil.tally().waiting(session),
        histograms: OPEN.lengths_since().map(|_| {
            let [holds, waits] = gil.lengths().present(session);
            Histograms { holds, waits }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    #[test]
    fn the_sums_are_those_of_all_threads() {
        let world = World::new();
        let (gil, open) = (world.gils.first(), &world.open);
        let [one, other] = [1, 2].map(|id| world.begin(id, 0, 0));
        gil.seed_in(open, one, 1, 1000);
        gil.waits(other, open, 1040);
        gil.released(open, 1, 1100, true);
        gil.waits(one, open, 1100);
        gil.acquired(other, open, 1110);
        gil.handed_over(one, open, 1120);
        gil.waits(one, open, 1130);
        gil.released(open, 1, 1150, false);
        gil.acquired(one, open, 1160);
        // one held 1000 to 1100 and from 1160 on, other 1110 to 1150; one waited 1100 to 1160, other 1040 to 1110.
        let sums = gil.tally().sums(1, 1200);
        assert_eq!(sums, Sums { held: 100 + 40 + 40, waited: 60 + 70, acquisitions: 2, forced_drops: 1 });
        let snapshot = world.read(1, None, 1200).into_snapshot(0, &Scale::of_nanoseconds(), 0, 0);
        assert_eq!((snapshot.gils[0].held_ns, snapshot.gils[0].waited_ns), (sums.held, sums.waited));
    }

    #[test]
    fn a_thread_that_ends_in_its_wait_waits_no_longer() {
        let world = World::new();
        let (gil, account) = (world.gils.first(), world.begin(1, 0, 0));
        gil.waits(account, &world.open, 1000);
        assert_eq!(gil.tally().waiting(1), 1);
        gil.thread_ended(account, &world.open, 1050);
        assert_eq!((gil.tally().waiting(1), gil.tally().sums(1, 2000).waited), (0, 50));
    }

    #[test]
    fn a_hold_ends_with_its_gil() {
        let world = World::new();
        let (gil, account) = (world.gils.first(), world.begin(1, 0, 0));
        gil.acquired(account, &world.open, 1000);
        gil.destroyed(&world.open, 1030);
        assert_eq!(gil.tally().sums(1, 2000).held, 30);
    }

    #[test]
    fn a_forked_child_begins_with_empty_sums() {
        let world = World::new();
        let (gil, account) = (world.gils.first(), world.begin(1, 0, 0));
        gil.acquired(account, &world.open, 1000);
        gil.waits(world.begin(2, 0, 0), &world.open, 1010);
        gil.reset();
        assert_eq!(gil.tally().sums(2, 2000), Sums::default());
    }
}
