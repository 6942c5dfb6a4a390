//! A stall.

use super::blame::{put_stacks, take_stacks};
use super::cause::Cause;
use super::leb128::{put, take};
use std::collections::BTreeMap;

/// A wait longer than the threshold, and the hold or holds that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The process, by its number.
    pub process: u32,
    /// The start of the hold; with several holds, of the first wait.
    pub at_ns: u64,
    /// The end of the hold; with several holds, of the last wait.
    pub end_ns: u64,
    /// The length of the hold; with several holds, how long the holder held the GIL meanwhile.
    pub held_ns: u64,
    /// The row of the holder; with several holds, of the one that held the GIL longest.
    pub holder: u64,
    /// The rows that waited, each once.
    pub waiters: Vec<u64>,
    /// Their last stacks, by their rows, if these were read.
    pub waiter_stacks: BTreeMap<u64, u32>,
    /// How long they waited meanwhile, in all.
    pub lost_ns: u64,
    /// The stack of the holder that was found most often, by its number; None if none was read.
    pub stack: Option<u32>,
    /// The cause, if it is certain.
    pub cause: Option<Cause>,
}

impl Stall {
    /// Returns the content of its block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let cause = self.cause.and_then(|cause| Cause::ALL.iter().position(|one| *one == cause));
        let head = [
            u64::from(self.process),
            self.at_ns,
            self.end_ns.saturating_sub(self.at_ns),
            self.held_ns,
            self.lost_ns,
            self.stack.map_or(0, |stack| u64::from(stack) + 1),
            cause.map_or(0, |cause| cause as u64 + 1),
            self.holder,
            self.waiters.len() as u64,
        ];
        let mut bytes = Vec::with_capacity(32);
        head.iter().chain(&self.waiters).for_each(|number| put(&mut bytes, *number));
        put_stacks(&mut bytes, &self.waiter_stacks);
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let rest = &mut content;
        let (process, at_ns, length) = (u32::try_from(take(rest)?).ok()?, take(rest)?, take(rest)?);
        let (held_ns, lost_ns, stack, cause) = (take(rest)?, take(rest)?, take(rest)?, take(rest)?);
        let (holder, count, mut waiters) = (take(rest)?, take(rest)?, Vec::new());
        for _ in 0..count {
            waiters.push(take(rest)?);
        }
        let waiter_stacks = take_stacks(rest)?;
        let stack = match stack.checked_sub(1) {
            Some(stack) => Some(u32::try_from(stack).ok()?),
            None => None,
        };
        let cause = match cause.checked_sub(1) {
            Some(cause) => Some(*Cause::ALL.get(usize::try_from(cause).ok()?)?),
            None => None,
        };
        let end_ns = at_ns.checked_add(length)?;
        Some(Self { process, at_ns, end_ns, held_ns, holder, waiters, waiter_stacks, lost_ns, stack, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_read_as_it_was_written() {
        for cause in Cause::ALL.map(Some).into_iter().chain([None]) {
            let (waiters, stack) = (vec![8, 1 << 40], cause.map(|_| 300));
            let waiter_stacks = BTreeMap::from([(8, 5)]);
            let (at_ns, end_ns, held_ns, lost_ns) = (1 << 41, (1 << 41) + 12_000_000, 11_000_000, 20_000_000);
            let process = 3;
            let stall =
                Stall { process, at_ns, end_ns, held_ns, holder: 7, waiters, waiter_stacks, lost_ns, stack, cause };
            let bytes = stall.encode();
            assert_eq!(Stall::decode(&bytes), Some(stall));
            assert!((0..bytes.len()).all(|end| Stall::decode(&bytes[..end]).is_none()));
        }
    }
}
