//! CPU time of each core, from /proc/stat.

use super::ticks_to_duration;
use std::time::Duration;
use std::{fs, io};

/// Where one core stands since boot, in steps of 10 ms. Differences of two readings are what it did in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreUsage {
    /// The core's number, N of `cpuN`.
    pub core: u32,
    /// Time in user mode, nice included.
    pub user: Duration,
    /// Time in the kernel, interrupts included.
    pub system: Duration,
    /// Time with nothing to run, waiting for I/O included.
    pub idle: Duration,
    /// Time the hypervisor ran something else while this core had work.
    pub steal: Duration,
}

impl CoreUsage {
    /// Time that this machine's own work took.
    pub fn busy(&self) -> Duration {
        self.user + self.system
    }
}

/// All cores that are online.
///
/// # Errors
/// InvalidData if /proc/stat is not as proc_stat(5) has it.
pub fn cores() -> io::Result<Vec<CoreUsage>> {
    parse(&fs::read_to_string("/proc/stat")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat is not as proc_stat(5) has it"))
}

fn parse(stat: &str) -> Option<Vec<CoreUsage>> {
    let lines = stat.lines().filter_map(|line| line.strip_prefix("cpu")).filter(|line| !line.starts_with(' '));
    let mut found = Vec::new();
    for line in lines {
        let mut fields = line.split_ascii_whitespace();
        let core = fields.next()?.parse().ok()?;
        let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        // Guest time (the fields behind these) is part of user time already.
        let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks.as_slice() else { return None };
        found.push(CoreUsage {
            core,
            user: ticks_to_duration(user + nice),
            system: ticks_to_duration(system + irq + softirq),
            idle: ticks_to_duration(idle + iowait),
            steal: ticks_to_duration(steal),
        });
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_of_the_machine_is_read() {
        let found = cores().unwrap();
        assert!(found.iter().all(|core| core.idle + core.busy() > Duration::ZERO));
    }

    #[test]
    fn the_fields_are_summed_as_proc_stat_describes() {
        let ms = Duration::from_millis;
        let text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu3 1 2 3 4 5 6 7 8 1 0\nintr 5\n";
        let core = CoreUsage { core: 3, user: ms(30), system: ms(160), idle: ms(90), steal: ms(80) };
        assert_eq!(parse(text), Some(vec![core]));
        assert_eq!(parse("cpu3 1 2 x"), None);
        assert_eq!(parse(""), None);
    }
}
