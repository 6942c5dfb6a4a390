//! Samples of the Python stacks of the threads that held a GIL, at regular moments.

use super::leb128::{put, take};
use std::collections::BTreeMap;

/// The Python stack of the thread that held a GIL at a regular moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderSample {
    /// The process, by its number.
    pub process: u32,
    /// The index of the GIL.
    pub gil: u32,
    /// The holder.
    pub tid: u32,
    /// The time.
    pub at_ns: u64,
    /// The number of the stack in this recording.
    pub stack: u32,
    /// How many samples it stands for. In a long recording, old ones are added up.
    pub count: u64,
}

/// How often each thread was found with each stack while it held the GIL: by process, GIL and thread id.
pub(super) type Counts = BTreeMap<(u32, u32, u32), BTreeMap<u32, u64>>;

impl HolderSample {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20);
        [u64::from(self.process), self.gil.into(), self.tid.into(), self.at_ns, self.stack.into(), self.count]
            .iter()
            .for_each(|number| put(&mut bytes, *number));
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let rest = &mut content;
        let short = |number: u64| u32::try_from(number).ok();
        let (process, gil, tid) = (short(take(rest)?)?, short(take(rest)?)?, short(take(rest)?)?);
        Some(Self { process, gil, tid, at_ns: take(rest)?, stack: short(take(rest)?)?, count: take(rest)? })
    }
}
