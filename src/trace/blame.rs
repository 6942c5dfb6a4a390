//! What the recorder has seen of a hold while other threads waited for its end: the Python stacks of the holder.

use super::leb128::{put, take};
use std::collections::{BTreeMap, HashMap};

/// A stack of a thread that held a GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The time at which its reading began.
    pub at_ns: u64,
    /// The number of the stack in this recording ([`Stacks`]).
    pub stack: u32,
}

/// One hold, as the recorder has seen it from outside. The events have its exact start and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The process, by its number.
    pub process: u32,
    /// The index of the GIL.
    pub gil: u32,
    /// The holder.
    pub tid: u32,
    /// The switch interval; None if it is unknown.
    pub interval_ns: Option<u64>,
    /// How much the holder's run delay grew from the first sample to the end of the hold, at most: the thread may have ended
    /// with the hold. None if it is unknown.
    pub run_delay_ns: Option<u64>,
    /// For how long of it the holder was in fork(2).
    pub forked_ns: u64,
    /// The stacks, in order. There is at least one.
    pub samples: Vec<Sample>,
    /// The last stack of each thread that waited, by its row, if these are recorded.
    pub waiters: BTreeMap<u64, u32>,
}

impl Sighting {
    /// Returns the content of its block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let plus_one = |value: Option<u64>| value.map_or(0, |value| value.saturating_add(1));
        let head = [
            u64::from(self.process),
            u64::from(self.gil),
            u64::from(self.tid),
            plus_one(self.interval_ns),
            plus_one(self.run_delay_ns),
            self.forked_ns,
            self.samples.len() as u64,
        ];
        let mut bytes = Vec::new();
        head.into_iter().for_each(|number| put(&mut bytes, number));
        let mut before = 0;
        for sample in &self.samples {
            put(&mut bytes, sample.at_ns.saturating_sub(before));
            put(&mut bytes, sample.stack.into());
            before = before.max(sample.at_ns);
        }
        put_stacks(&mut bytes, &self.waiters);
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let rest = &mut content;
        let short = |number: u64| u32::try_from(number).ok();
        let (process, gil, tid) = (short(take(rest)?)?, short(take(rest)?)?, short(take(rest)?)?);
        let (interval_ns, run_delay_ns) = (take(rest)?.checked_sub(1), take(rest)?.checked_sub(1));
        let (forked_ns, count, mut samples, mut at_ns) = (take(rest)?, take(rest)?, Vec::new(), 0u64);
        for _ in 0..count {
            at_ns = at_ns.checked_add(take(rest)?)?;
            samples.push(Sample { at_ns, stack: short(take(rest)?)? });
        }
        let waiters = take_stacks(rest)?;
        Some(Self { process, gil, tid, interval_ns, run_delay_ns, forked_ns, samples, waiters })
    }
}

/// Appends the stacks of some threads, by their rows.
pub(super) fn put_stacks(bytes: &mut Vec<u8>, stacks: &BTreeMap<u64, u32>) {
    put(bytes, stacks.len() as u64);
    for (row, stack) in stacks {
        put(bytes, *row);
        put(bytes, u64::from(*stack));
    }
}

/// Takes what [`put_stacks`] has appended.
pub(super) fn take_stacks(rest: &mut &[u8]) -> Option<BTreeMap<u64, u32>> {
    let mut stacks = BTreeMap::new();
    for _ in 0..take(rest)? {
        stacks.insert(take(rest)?, u32::try_from(take(rest)?).ok()?);
    }
    Some(stacks)
}

/// The stacks of a recording, each once: by number, the frames as `file:line function`, the innermost first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stacks {
    numbers: HashMap<Vec<u32>, u32>,
    stacks: Vec<Vec<u32>>,
    frames: Frames,
}

/// The frames of a recording, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Frames {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

/// A stack that was not met before: its number, and the frames by their numbers, of which the last `new` ones met are
/// given as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStack {
    /// The frames that were not met before. Their numbers follow those of the earlier ones.
    pub names: Vec<String>,
    /// The frames by their numbers, the innermost first.
    pub frames: Vec<u32>,
}

impl Stacks {
    /// Returns the number of the stack with these frames, and what is new in it if it was not met before.
    pub fn number(&mut self, frames: impl Iterator<Item = String>) -> (u32, Option<NewStack>) {
        let known = self.frames.texts.len();
        let frames: Vec<u32> = frames.map(|frame| self.frames.number(frame)).collect();
        if let Some(number) = self.numbers.get(&frames) {
            return (*number, None);
        }
        let new = NewStack { names: self.frames.texts[known..].to_vec(), frames };
        (self.push(new.frames.clone()), Some(new))
    }

    /// Adds a stack that was read from a file.
    pub fn add(&mut self, new: &NewStack) {
        new.names.iter().for_each(|name| _ = self.frames.number(name.clone()));
        self.push(new.frames.clone());
    }

    fn push(&mut self, frames: Vec<u32>) -> u32 {
        let number = self.stacks.len() as u32;
        self.numbers.insert(frames.clone(), number);
        self.stacks.push(frames);
        number
    }

    /// Returns the frames of a stack, the innermost first; none if there is no such stack.
    pub fn frames(&self, stack: u32) -> Vec<&str> {
        let frames = self.stacks.get(stack as usize).map_or(&[][..], Vec::as_slice);
        frames.iter().filter_map(|frame| self.frames.texts.get(*frame as usize)).map(String::as_str).collect()
    }
}

impl Frames {
    fn number(&mut self, text: String) -> u32 {
        let next = self.texts.len() as u32;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }
}

impl NewStack {
    /// Returns the content of its block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.names.len() as u64);
        for name in &self.names {
            put(&mut bytes, name.len() as u64);
            bytes.extend(name.as_bytes());
        }
        put(&mut bytes, self.frames.len() as u64);
        self.frames.iter().for_each(|frame| put(&mut bytes, u64::from(*frame)));
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let (mut names, mut frames) = (Vec::new(), Vec::new());
        for _ in 0..take(&mut content)? {
            let length = usize::try_from(take(&mut content)?).ok()?;
            let (name, rest) = content.split_at_checked(length)?;
            names.push(String::from_utf8(name.to_vec()).ok()?);
            content = rest;
        }
        for _ in 0..take(&mut content)? {
            frames.push(u32::try_from(take(&mut content)?).ok()?);
        }
        Some(Self { names, frames })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stack_and_each_frame_is_kept_once() {
        let mut stacks = Stacks::default();
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into_iter();
        let (first, new) = stacks.number(of(&["a.py:1 f", "a.py:9 <module>"]));
        assert_eq!(new.as_ref().map(|new| new.names.len()), Some(2));
        assert_eq!(stacks.number(of(&["a.py:1 f", "a.py:9 <module>"])), (first, None));
        let (second, newer) = stacks.number(of(&["a.py:2 f", "a.py:9 <module>"]));
        let newer = newer.unwrap();
        assert_eq!((second, newer.names.len(), newer.frames.len()), (1, 1, 2));
        // A reader of the file has the same.
        let mut read = Stacks::default();
        [new.unwrap(), newer].iter().for_each(|new| read.add(&NewStack::decode(&new.encode()).unwrap()));
        assert_eq!(read, stacks);
        assert_eq!(read.frames(second), ["a.py:2 f", "a.py:9 <module>"]);
        assert!(read.frames(7).is_empty());
    }

    #[test]
    fn a_sighting_is_read_as_it_was_written() {
        let samples = vec![Sample { at_ns: 5_000_000, stack: 0 }, Sample { at_ns: 15_000_000, stack: 300 }];
        let (interval_ns, run_delay_ns, forked_ns) = (Some(5_000_000), None, 7_000_000);
        let waiters = [(7, 300), (1 << 40, 0)].into();
        let sighting = Sighting { process: 1, gil: 0, tid: 99, interval_ns, run_delay_ns, forked_ns, samples, waiters };
        let bytes = sighting.encode();
        assert_eq!(Sighting::decode(&bytes).unwrap(), sighting);
        assert!((0..bytes.len()).all(|end| Sighting::decode(&bytes[..end]).is_none()));
    }
}
