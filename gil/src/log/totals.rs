//! The figures of a thread, and those of all threads at one moment each, with few system calls.

use super::layout::{SLOT_WORDS, slot};
use super::scale::Scale;

/// The figures of a thread, in nanoseconds. Those of the current hold and wait are not part of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "as in crate::ThreadTotals")]
pub struct Totals {
    /// The start of the current hold, and of the current wait.
    pub holds_since_ns: Option<u64>,
    pub waits_since_ns: Option<u64>,
    pub held_ns: u64,
    pub waited_ns: u64,
    pub acquisitions: u64,
    pub voluntary_releases: u64,
    pub forced_drops: u64,
    pub waits: u64,
    pub longest_hold_ns: u64,
    pub longest_wait_ns: u64,
    /// The number of events that are missing in the log.
    pub lost: u64,
    /// The CPU time of the thread, once it has ended.
    pub cpu_ns: Option<u64>,
}

/// Two copies of the slots, one taken after the other, both after the words that the reader works on. If the sequence of a
/// slot is the same before and after the first copy, the totals in that copy belong together.
pub(super) struct Copies {
    pub totals: Vec<u8>,
    pub after: Vec<u8>,
}

impl Copies {
    /// Returns the totals of a slot. `words` is the slot before the copies. None if they changed meanwhile.
    pub fn of(&self, index: usize, words: &[u64]) -> Option<[u64; slot::TOTALS_WORDS]> {
        let at = |bytes: &[u8], place: usize| {
            let start = (index * SLOT_WORDS + place) * 8;
            bytes.get(start..start + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
        };
        let before = words[slot::SEQUENCE];
        let is_same = before.is_multiple_of(2) && at(&self.after, slot::SEQUENCE) == Some(before);
        let mut found = [0; slot::TOTALS_WORDS];
        for (place, word) in found.iter_mut().enumerate() {
            *word = at(&self.totals, slot::TOTALS + place)?;
        }
        is_same.then_some(found)
    }
}

/// Returns the totals in a slot's words.
pub(super) fn totals(found: [u64; slot::TOTALS_WORDS], words: &[u64], scale: Scale) -> Totals {
    let [holds, held, acquisitions, voluntary_releases, waits_since, hold, forced_drops, waited, waits, wait] = found;
    Totals {
        holds_since_ns: scale.since(holds),
        waits_since_ns: scale.since(waits_since),
        held_ns: scale.ns(held),
        waited_ns: scale.ns(waited),
        acquisitions,
        voluntary_releases,
        forced_drops,
        waits,
        longest_hold_ns: scale.ns(hold),
        longest_wait_ns: scale.ns(wait),
        lost: words[slot::LOST],
        cpu_ns: words[slot::CPU].checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_that_changed_meanwhile_are_refused() {
        let slots = |sequence: u64, held: u64| {
            let mut words = vec![0; 2 * SLOT_WORDS];
            (words[SLOT_WORDS + slot::SEQUENCE], words[SLOT_WORDS + slot::TOTALS + 1]) = (sequence, held);
            words
        };
        let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let of = |before: u64, after: u64| {
            let copies = Copies { totals: bytes(&slots(before, 7)), after: bytes(&slots(after, 9)) };
            copies.of(1, &slots(before, 5)[SLOT_WORDS..]).map(|found| found[1])
        };
        assert_eq!(of(4, 4), Some(7));
        assert_eq!([of(4, 6), of(5, 5), of(4, 5)], [None; 3]);
        let none = Copies { totals: Vec::new(), after: Vec::new() };
        assert_eq!(none.of(1, &slots(0, 0)[SLOT_WORDS..]), None);
    }
}
