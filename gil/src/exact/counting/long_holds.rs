//! The latest long holds of one GIL, from the threads that held it to the one that reports stalls (`super::super::stalls`).

use super::single_writer::{Sequence, cells};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The number of places. A reader finds one hold less, since the next one is written over the oldest.
const PLACES: usize = 17;

cells! {
    /// A hold that has ended; times in ticks.
    pub(crate) struct LongHold, Cells {
        /// The number of the holder's row, and its thread id.
        id,
        tid,
        since,
        until,
        /// The number of threads that waited when it ended.
        waiting,
    }
}

/// A ring of holds. Only the holder of the GIL writes. Zeroed memory is an empty one.
#[derive(Debug)]
#[repr(C)]
pub(super) struct LongHolds {
    /// The number of holds that were ever written.
    written: AtomicU64,
    places: [Place; PLACES],
}

#[derive(Debug)]
#[repr(C)]
struct Place {
    sequence: Sequence,
    hold: Cells,
}

impl LongHolds {
    /// Writes a hold.
    pub(super) fn push(&self, hold: &LongHold) {
        let written = self.written.load(Relaxed);
        let place = &self.places[written as usize % PLACES];
        place.sequence.write(|| place.hold.store(hold));
        self.written.store(written + 1, Release);
    }

    /// Empties the ring. No thread holds the GIL.
    pub(super) fn reset(&self) {
        self.written.store(0, Release);
    }

    /// Returns the number of holds that were ever written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Acquire)
    }

    /// Passes the holds from number `next` on to `body`, and returns the number that comes next, and how many were
    /// overwritten before they could be read.
    pub(super) fn read_from(&self, next: u64, mut body: impl FnMut(LongHold)) -> (u64, u64) {
        let written = self.written();
        let mut lost = 0;
        for number in next.min(written)..written {
            let place = &self.places[number as usize % PLACES];
            let hold = place.sequence.read(|| place.hold.load());
            // Overwritten meanwhile, perhaps by a hold that does not count as written yet.
            match hold.filter(|_| self.written() - number < PLACES as u64) {
                Some(hold) => body(hold),
                None => lost += 1,
            }
        }
        (written, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    #[test]
    fn every_hold_of_the_length_is_noted_with_the_number_of_waiting_threads() {
        let world = World::new();
        let (gil, open) = (world.gils.first(), &world.open);
        let [one, other] = [1, 2].map(|id| world.begin(id, 0, 0));
        let hold = |since, until| {
            gil.acquired(one, open, since);
            gil.released(open, 1, until, false);
        };
        let lengths = || {
            let mut found = Vec::new();
            gil.noted_from(0, |hold| found.push((hold.until - hold.since, hold.waiting)));
            found
        };
        hold(1000, 9000);
        assert!(lengths().is_empty(), "no length is set");
        open.note_holds(Some(40), || 10_000);
        hold(20_000, 20_030);
        assert!(lengths().is_empty());
        // The second one is not the longest so far.
        hold(20_100, 20_150);
        gil.waits(other, open, 20_200);
        hold(20_200, 20_240);
        assert_eq!(lengths(), [(50, 0), (40, 1)]);
        // Also while a window has its own longest hold, and while lengths are counted.
        let window = world.open(30_000);
        hold(30_100, 30_160);
        hold(30_200, 30_241);
        open.begin_lengths(|| 40_000, 0.001);
        hold(50_000, 50_042);
        hold(50_100, 50_110);
        assert_eq!(lengths()[2..], [(60, 1), (41, 1), (42, 1)]);
        open.close(window.0);
        open.note_holds(None, || 60_000);
        hold(70_000, 79_000);
        assert_eq!(lengths().len(), 5);
    }

    #[test]
    fn each_hold_is_read_once_and_those_that_were_overwritten_are_counted() {
        // SAFETY: numbers, for which zeros are valid.
        let holds: LongHolds = unsafe { std::mem::zeroed() };
        let push = |ids: std::ops::Range<u64>| ids.for_each(|id| holds.push(&LongHold { id, ..LongHold::default() }));
        let read = |next| {
            let mut ids = Vec::new();
            let (next, lost) = holds.read_from(next, |hold| ids.push(hold.id));
            (ids, next, lost)
        };
        push(0..2);
        assert_eq!(read(0), (vec![0, 1], 2, 0));
        assert_eq!(read(2), (vec![], 2, 0));
        push(2..18);
        assert_eq!(read(2), ((2..18).collect(), 18, 0));
        push(18..37);
        assert_eq!(read(18), ((21..37).collect(), 37, 3));
    }
}
