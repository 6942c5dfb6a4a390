//! The CPU time of the recorded processes' threads, and of the cores, between two readings.

use crate::trace::{Block, ThreadUsage, Usage};
use busy_core::cpu::{self, Sampler, ThreadSample};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The CPU time of one process's threads.
pub struct ProcessUsage {
    pid: u32,
    number: u32,
    /// The start of the recording on CLOCK_MONOTONIC.
    start_ns: u64,
    /// None before the first reading, and after one that failed: the process has ended, or /proc hides it.
    sampler: Option<Sampler>,
    is_readable: bool,
    /// The last reading, by thread id; None before the first one.
    before: Option<BTreeMap<u32, ThreadSample>>,
}

impl ProcessUsage {
    /// Reads the times of process `pid`, which has this number in the recording that began at `start_ns`.
    pub fn new(pid: u32, number: u32, start_ns: u64) -> Self {
        Self { pid, number, start_ns, sampler: None, is_readable: true, before: None }
    }

    /// Returns the times of the threads with these ids since the last call; None at the first call, or if they can't be
    /// read.
    pub fn read(&mut self, tids: impl Iterator<Item = u32>) -> Option<Block> {
        if self.sampler.is_none() && self.is_readable {
            self.sampler = Sampler::open(self.pid).ok().map(Sampler::without_cores);
            self.is_readable = self.sampler.is_some();
        }
        let sample = self.sampler.as_mut()?.sample().ok()?;
        let now: BTreeMap<u32, ThreadSample> = sample.threads.iter().map(|thread| (thread.tid, *thread)).collect();
        let at_ns = sample.monotonic_ns.saturating_sub(self.start_ns);
        let before = self.before.replace(now)?;
        let now = self.before.as_ref()?;
        let mut threads = Vec::new();
        for tid in tids.collect::<BTreeSet<u32>>() {
            let Some(thread) = now.get(&tid) else { continue };
            // A thread that has started since has its whole time in this interval.
            let nothing = ThreadSample { tid, cpu: Duration::ZERO, run_delay: Duration::ZERO };
            let earlier = before.get(&tid).filter(|earlier| earlier.cpu <= thread.cpu).unwrap_or(&nothing);
            let since = |now: Duration, earlier: Duration| now.saturating_sub(earlier).as_nanos() as u64;
            let (cpu_ns, run_delay_ns) = (since(thread.cpu, earlier.cpu), since(thread.run_delay, earlier.run_delay));
            if cpu_ns > 0 || run_delay_ns > 0 {
                threads.push(ThreadUsage { tid, cpu_ns, run_delay_ns });
            }
        }
        Some(Block::Usage(Usage { process: self.number, at_ns, threads }))
    }
}

/// How busy the cores are.
#[derive(Default)]
pub struct CoreUsage {
    before: Vec<cpu::CoreUsage>,
}

impl CoreUsage {
    /// Returns how busy each core was since the last call, in thousandths; None at the first call, or if the kernel does
    /// not show it.
    pub fn read(&mut self) -> Option<Vec<(u32, u16)>> {
        let now = cpu::cores().ok()?;
        let before = std::mem::replace(&mut self.before, now);
        let share = |core: &cpu::CoreUsage| {
            let earlier = before.iter().find(|earlier| earlier.core == core.core)?;
            let busy = core.busy().saturating_sub(earlier.busy()).as_secs_f64();
            let idle = core.idle.saturating_sub(earlier.idle).as_secs_f64();
            let all = busy + idle;
            (all > 0.0).then(|| (core.core, (1000.0 * busy / all).round() as u16))
        };
        let busy: Vec<(u32, u16)> = self.before.iter().filter_map(share).collect();
        (!busy.is_empty()).then_some(busy)
    }
}
