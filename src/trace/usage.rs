//! The CPU time of a recorded program: of its threads and of the cores, some ten times per second.

use super::leb128::{put, take};

/// How much CPU time the threads of one process used since the previous block of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The process, by its number.
    pub process: u32,
    /// The end of this interval.
    pub at_ns: u64,
    /// The threads that ran or were runnable, in the order of their ids. Those that are absent slept.
    pub threads: Vec<ThreadUsage>,
}

/// The CPU time of one thread in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadUsage {
    /// The native thread id.
    pub tid: u32,
    /// The CPU time.
    pub cpu_ns: u64,
    /// The time that it was runnable without a CPU.
    pub run_delay_ns: u64,
}

/// How busy the cores were since the previous such block, with all programs of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    /// The end of this interval.
    pub at_ns: u64,
    /// The number of each core that is online, and how busy it was, in thousandths.
    pub busy: Vec<(u32, u16)>,
}

impl Usage {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 8 * self.threads.len());
        [u64::from(self.process), self.at_ns, self.threads.len() as u64]
            .iter()
            .for_each(|number| put(&mut bytes, *number));
        for thread in &self.threads {
            [u64::from(thread.tid), thread.cpu_ns, thread.run_delay_ns]
                .iter()
                .for_each(|number| put(&mut bytes, *number));
        }
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let rest = &mut content;
        let (process, at_ns, count) = (u32::try_from(take(rest)?).ok()?, take(rest)?, take(rest)?);
        let mut threads = Vec::new();
        for _ in 0..count {
            let tid = u32::try_from(take(rest)?).ok()?;
            threads.push(ThreadUsage { tid, cpu_ns: take(rest)?, run_delay_ns: take(rest)? });
        }
        Some(Self { process, at_ns, threads })
    }
}

impl Cores {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 3 * self.busy.len());
        [self.at_ns, self.busy.len() as u64].iter().for_each(|number| put(&mut bytes, *number));
        for (core, busy) in &self.busy {
            [u64::from(*core), u64::from(*busy)].iter().for_each(|number| put(&mut bytes, *number));
        }
        bytes
    }

    pub(super) fn decode(mut content: &[u8]) -> Option<Self> {
        let rest = &mut content;
        let (at_ns, count) = (take(rest)?, take(rest)?);
        let mut busy = Vec::new();
        for _ in 0..count {
            busy.push((u32::try_from(take(rest)?).ok()?, u16::try_from(take(rest)?).ok()?));
        }
        Some(Self { at_ns, busy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let threads = vec![ThreadUsage { tid: 70_000, cpu_ns: 99_000_000, run_delay_ns: 0 }];
        let usage = Usage { process: 3, at_ns: 1 << 40, threads };
        let bytes = usage.encode();
        assert_eq!(Usage::decode(&bytes), Some(usage));
        assert!((0..bytes.len()).all(|end| Usage::decode(&bytes[..end]).is_none()));
        let cores = Cores { at_ns: 7, busy: vec![(0, 1000), (300, 12)] };
        let bytes = cores.encode();
        assert_eq!(Cores::decode(&bytes), Some(cores));
        assert!((0..bytes.len()).all(|end| Cores::decode(&bytes[..end]).is_none()));
    }
}
