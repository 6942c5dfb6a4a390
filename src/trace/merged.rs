//! What a long recording keeps of a thread's old events: for how long it did what, in parts of the same length.

use super::lane::{Shares, State, Stretch};
use super::leb128::{put, take};

/// The merged events of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The process, by its number.
    pub process: u32,
    /// The thread, by its row.
    pub row: u64,
    /// The start of the first part.
    pub from_ns: u64,
    /// The parts, without gaps.
    pub parts: Vec<Part>,
}

/// What a thread did in a part of the time. For the rest of it, it neither held the GIL nor waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// The length.
    pub length_ns: u64,
    /// How long it held the GIL.
    pub holds_ns: u64,
    /// How long it waited for the GIL.
    pub waits_ns: u64,
    /// For how long events are missing.
    pub unknown_ns: u64,
}

impl Part {
    /// Returns the state, if the part has only one.
    fn state(&self) -> Option<State> {
        match (self.holds_ns, self.waits_ns, self.unknown_ns) {
            (0, 0, 0) => Some(State::Released),
            (ns, 0, 0) if ns == self.length_ns => Some(State::Holds),
            (0, ns, 0) if ns == self.length_ns => Some(State::Waits),
            (0, 0, ns) if ns == self.length_ns => Some(State::Unknown),
            _ => None,
        }
    }

    fn add(&mut self, other: Self) {
        self.length_ns += other.length_ns;
        self.holds_ns += other.holds_ns;
        self.waits_ns += other.waits_ns;
        self.unknown_ns += other.unknown_ns;
    }

    /// Returns the first `ns` of the part, as if all of it were alike.
    fn first(self, ns: u64) -> Self {
        let share = |of: u64| (u128::from(of) * u128::from(ns) / u128::from(self.length_ns.max(1))) as u64;
        // The sums are rounded, so that neither the first nor the rest has more than its length.
        let held = share(self.holds_ns);
        let waited = share(self.holds_ns + self.waits_ns);
        let all = share(self.holds_ns + self.waits_ns + self.unknown_ns);
        Self { length_ns: ns, holds_ns: held, waits_ns: waited - held, unknown_ns: all - waited }
    }

    fn without(self, first: Self) -> Self {
        Self {
            length_ns: self.length_ns - first.length_ns,
            holds_ns: self.holds_ns - first.holds_ns,
            waits_ns: self.waits_ns - first.waits_ns,
            unknown_ns: self.unknown_ns - first.unknown_ns,
        }
    }
}

impl Merged {
    /// Returns what is known of no time yet.
    pub(super) fn new(process: u32, row: u64) -> Self {
        Self { process, row, from_ns: 0, parts: Vec::new() }
    }

    /// Returns the end of the last part; None if there is none.
    pub(super) fn to_ns(&self) -> Option<u64> {
        (!self.parts.is_empty()).then(|| self.from_ns + self.parts.iter().map(|part| part.length_ns).sum::<u64>())
    }

    /// Returns the lane that the parts are.
    pub(super) fn lane(&self) -> impl Iterator<Item = Stretch> {
        let mut from_ns = self.from_ns;
        self.parts.iter().map(move |part| {
            let state = part.state().unwrap_or_else(|| {
                let of = |ns| Shares::share(ns, part.length_ns);
                State::Merged(Shares::new(of(part.holds_ns), of(part.waits_ns), of(part.unknown_ns)))
            });
            let stretch = Stretch { state, from_ns, to_ns: from_ns + part.length_ns };
            from_ns = stretch.to_ns;
            stretch
        })
    }

    /// Returns the content of its block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 8 * self.parts.len());
        [u64::from(self.process), self.row, self.from_ns, self.parts.len() as u64]
            .iter()
            .for_each(|number| put(&mut bytes, *number));
        for part in &self.parts {
            [part.length_ns, part.holds_ns, part.waits_ns, part.unknown_ns]
                .iter()
                .for_each(|number| put(&mut bytes, *number));
        }
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let rest = &mut content;
        let (process, row) = (u32::try_from(take(rest)?).ok()?, take(rest)?);
        let (from_ns, count) = (take(rest)?, take(rest)?);
        let (mut parts, mut end_ns) = (Vec::new(), from_ns);
        for _ in 0..count {
            let (length_ns, holds_ns, waits_ns, unknown_ns) = (take(rest)?, take(rest)?, take(rest)?, take(rest)?);
            end_ns = end_ns.checked_add(length_ns)?;
            let used = holds_ns.checked_add(waits_ns)?.checked_add(unknown_ns)?;
            if used > length_ns {
                return None;
            }
            parts.push(Part { length_ns, holds_ns, waits_ns, unknown_ns });
        }
        Some(Self { process, row, from_ns, parts })
    }
}

/// Merges what a thread did, one stretch after the other, into parts that end at the multiples of a step.
#[derive(Debug)]
pub(super) struct Merger {
    merged: Merged,
    step_ns: u64,
    /// The end of what was added; None before.
    to_ns: Option<u64>,
    /// The last part, which may grow.
    open: Part,
}

impl Merger {
    pub(super) fn new(process: u32, row: u64, step_ns: u64) -> Self {
        Self { merged: Merged::new(process, row), step_ns: step_ns.max(1), to_ns: None, open: Part::default() }
    }

    /// Adds a part that begins at `from_ns`, or with the end of what was added, if that is later. What lies between is
    /// unknown.
    pub(super) fn add(&mut self, from_ns: u64, part: Part) {
        let to_ns = *self.to_ns.get_or_insert_with(|| {
            self.merged.from_ns = from_ns;
            from_ns
        });
        if let Some(length_ns) = from_ns.checked_sub(to_ns).filter(|gap| *gap > 0) {
            self.append(to_ns, Part { length_ns, unknown_ns: length_ns, ..Part::default() });
        }
        self.append(to_ns.max(from_ns), part);
    }

    fn append(&mut self, mut at_ns: u64, mut part: Part) {
        while part.length_ns > 0 {
            let edge = (at_ns / self.step_ns + 1) * self.step_ns;
            let first = part.first(part.length_ns.min(edge - at_ns));
            part = part.without(first);
            self.open.add(first);
            at_ns += first.length_ns;
            if at_ns == edge {
                self.close();
            }
        }
        self.to_ns = Some(at_ns);
    }

    /// Adds a stretch.
    pub(super) fn add_stretch(&mut self, stretch: Stretch) {
        let from_ns = self.to_ns.map_or(stretch.from_ns, |to| to.max(stretch.from_ns));
        let length_ns = stretch.to_ns.saturating_sub(from_ns);
        let part = match stretch.state {
            State::Holds => Part { length_ns, holds_ns: length_ns, ..Part::default() },
            State::Waits => Part { length_ns, waits_ns: length_ns, ..Part::default() },
            State::Unknown | State::Merged(_) => Part { length_ns, unknown_ns: length_ns, ..Part::default() },
            State::Released => Part { length_ns, ..Part::default() },
        };
        self.add(from_ns, part);
    }

    /// Returns the parts.
    pub(super) fn finish(mut self) -> Merged {
        self.close();
        self.merged
    }

    /// Ends the open part. Equal states are one part.
    fn close(&mut self) {
        let part = std::mem::take(&mut self.open);
        if part.length_ns == 0 {
            return;
        }
        match self.merged.parts.last_mut() {
            Some(last) if part.state().is_some() && last.state() == part.state() => last.add(part),
            _ => self.merged.parts.push(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(state: State, from_ns: u64, to_ns: u64) -> Stretch {
        Stretch { state, from_ns, to_ns }
    }

    #[test]
    fn stretches_become_parts_of_a_step_and_equal_ones_are_one() {
        let mut merger = Merger::new(1, 7, 100);
        merger.add_stretch(stretch(State::Holds, 30, 60));
        merger.add_stretch(stretch(State::Waits, 60, 150));
        merger.add_stretch(stretch(State::Released, 150, 450));
        let merged = merger.finish();
        let part = |length_ns, holds_ns, waits_ns| Part { length_ns, holds_ns, waits_ns, unknown_ns: 0 };
        assert_eq!((merged.from_ns, merged.to_ns()), (30, Some(450)));
        assert_eq!(merged.parts, [part(70, 30, 40), part(100, 0, 50), part(250, 0, 0)]);
        let states: Vec<Stretch> = merged.lane().collect();
        assert_eq!(states[2], stretch(State::Released, 200, 450));
        assert!(matches!(states[0].state, State::Merged(_)));
        assert_eq!(Merged::decode(&merged.encode()), Some(merged));
    }

    #[test]
    fn merged_parts_are_merged_again_without_a_loss() {
        let mut fine = Merger::new(1, 7, 10);
        for at in 0..1000 {
            let state = [State::Holds, State::Released, State::Waits, State::Unknown][at as usize % 4];
            fine.add_stretch(stretch(state, 7 * at, 7 * at + 7));
        }
        let fine = fine.finish();
        let mut coarse = Merger::new(1, 7, 333);
        let mut from_ns = fine.from_ns;
        for part in &fine.parts {
            coarse.add(from_ns, *part);
            from_ns += part.length_ns;
        }
        let coarse = coarse.finish();
        let sum = |merged: &Merged| {
            let mut sum = Part::default();
            merged.parts.iter().for_each(|part| sum.add(*part));
            sum
        };
        assert_eq!(sum(&fine), sum(&coarse));
        assert_eq!(sum(&fine).holds_ns, 1750);
        assert!(coarse.parts.len() < 30, "{}", coarse.parts.len());
        assert_eq!(Merged::decode(&coarse.encode()), Some(coarse));
    }

    #[test]
    fn a_part_that_is_longer_than_its_whole_is_refused() {
        let parts = vec![Part { length_ns: 5, holds_ns: 6, ..Part::default() }];
        assert_eq!(Merged::decode(&Merged { process: 0, row: 1, from_ns: 0, parts }.encode()), None);
    }
}
