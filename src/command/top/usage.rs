//! The CPU time of the threads of several processes, and of the cores.

use super::error::TopError;
use super::window::Window;
use crate::show::live::Core;
use busy_core::cpu::{CoreUsage, Sampler};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, Instant};

/// The time after which a name is first read again. Each further time is twice as long.
const RENAMED: Duration = Duration::from_secs(1);

/// The time between two readings of the CPU times: for many threads, they cost more than all else.
const STEP: Duration = Duration::from_millis(500);

/// The CPU times, by process id and thread id.
pub type Times = HashMap<(u32, u32), Duration>;

/// Reads the CPU time of threads.
#[derive(Default)]
pub struct Usage {
    processes: BTreeMap<u32, Process>,
}

struct Process {
    sampler: Sampler,
    names: HashMap<u32, Name>,
}

struct Name {
    name: String,
    next: Instant,
    step: Duration,
}

impl Usage {
    /// Returns the CPU times of the threads of these processes, without those of a process that can't be read.
    pub fn read(&mut self, pids: &[u32]) -> Times {
        self.processes.retain(|pid, _| pids.contains(pid));
        let mut times = Times::new();
        for pid in pids {
            if !self.processes.contains_key(pid) {
                let Ok(sampler) = Sampler::open(*pid) else { continue };
                self.processes.insert(*pid, Process { sampler, names: HashMap::new() });
            }
            let Some(process) = self.processes.get_mut(pid) else { continue };
            if let Ok(sample) = process.sampler.sample() {
                times.extend(sample.threads.iter().map(|thread| ((*pid, thread.tid), thread.cpu)));
            }
        }
        times
    }

    /// Returns the native name of a thread, as of late.
    pub fn name(&mut self, pid: u32, tid: u32) -> String {
        let Some(process) = self.processes.get_mut(&pid) else { return String::new() };
        let now = Instant::now();
        let name = process.names.entry(tid).or_insert_with(|| Name { name: String::new(), next: now, step: RENAMED });
        if name.next <= now {
            if let Ok(read) = fs::read(format!("/proc/{pid}/task/{tid}/comm")) {
                name.name = String::from_utf8_lossy(read.trim_ascii_end()).into_owned();
            }
            (name.next, name.step) = (now + name.step, name.step * 2);
        }
        name.name.clone()
    }

    /// Forgets the names of threads that are not among `times`.
    pub fn forget(&mut self, times: &Times) {
        for (pid, process) in &mut self.processes {
            process.names.retain(|tid, _| times.contains_key(&(*pid, *tid)));
        }
    }
}

/// The CPU that threads and cores have used in the last second.
#[derive(Default)]
pub struct Used {
    window: Window<(Times, Vec<CoreUsage>)>,
    next: Option<Instant>,
}

impl Used {
    /// Reads the CPU times, if it is time for that.
    ///
    /// # Errors
    /// Those of the cores can't be read.
    pub fn read(&mut self, now: Instant, usage: &mut Usage, pids: &[u32]) -> Result<(), TopError> {
        if self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next = Some(now + STEP);
        let times = usage.read(pids);
        usage.forget(&times);
        self.window.add(now, (times, busy_core::cpu::cores().map_err(TopError::System)?));
        Ok(())
    }

    /// Returns the threads whose CPU time was read.
    pub fn threads(&self) -> impl Iterator<Item = (u32, u32)> {
        self.window.span().into_iter().flat_map(|(_, (times, _), _)| times.keys().copied())
    }

    /// Returns the share of a core that a thread has used.
    pub fn share(&self, thread: (u32, u32)) -> Option<f64> {
        let ((before, _), (now, _), seconds) = self.window.span()?;
        let before = before.get(&thread).copied().unwrap_or_default();
        Some(now.get(&thread)?.saturating_sub(before).as_secs_f64() / seconds)
    }

    /// Returns the share of each core that was used.
    pub fn cores(&self) -> Vec<Core> {
        self.window.span().map_or_else(Vec::new, |((_, before), (_, now), _)| cores(before, now))
    }
}

/// Returns the share of each core that was used between two readings.
pub fn cores(earlier: &[CoreUsage], later: &[CoreUsage]) -> Vec<Core> {
    let share = |now: &CoreUsage| {
        let before = earlier.iter().find(|before| before.core == now.core)?;
        let all = |core: &CoreUsage| core.busy() + core.idle + core.steal;
        let (busy, all) = (now.busy().saturating_sub(before.busy()), all(now).saturating_sub(all(before)));
        (!all.is_zero()).then(|| Core { number: now.core, busy: busy.as_secs_f64() / all.as_secs_f64() })
    };
    later.iter().filter_map(share).collect()
}
