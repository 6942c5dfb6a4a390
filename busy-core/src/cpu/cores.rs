//! The CPU time of each core, from /proc/stat.

use super::ticks;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The times of one core since boot, in steps of 10 ms. Subtract two readings to obtain the times between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreUsage {
    /// The core's number, the N of `cpuN`.
    pub core: u32,
    /// The time in user mode, including nice.
    pub user: Duration,
    /// The time in the kernel, including interrupts.
    pub system: Duration,
    /// The idle time, including waiting for I/O.
    pub idle: Duration,
    /// The time that the hypervisor ran something else although this core had work.
    pub steal: Duration,
}

impl CoreUsage {
    /// Returns the time for which this machine used the core: user and system time.
    pub fn busy(&self) -> Duration {
        self.user + self.system
    }
}

/// Returns the times of all cores that are online.
///
/// # Errors
/// InvalidData if /proc/stat does not have the format of proc_stat(5).
pub fn cores() -> io::Result<Vec<CoreUsage>> {
    let mut cores = Vec::new();
    ProcStat::open()?.read(&mut cores)?;
    Ok(cores)
}

/// /proc/stat, kept open. The kernel generates the whole file at each read, even if only a part is read.
pub(super) struct ProcStat {
    file: File,
    /// A buffer for the lines of the cores. The lines after them are not needed.
    buffer: Vec<u8>,
}

impl ProcStat {
    pub fn open() -> io::Result<Self> {
        Ok(Self { file: File::open("/proc/stat")?, buffer: vec![0; 1024] })
    }

    /// Replaces the contents of `cores` by the times of the cores that are online.
    pub fn read(&mut self, cores: &mut Vec<CoreUsage>) -> io::Result<()> {
        loop {
            let length = self.file.read_at(&mut self.buffer, 0)?;
            let text = str::from_utf8(&self.buffer[..length]).unwrap_or_default();
            let of_cores = text.split_once("\nintr").map(|(of_cores, _)| of_cores);
            if of_cores.is_none() && length == self.buffer.len() {
                self.buffer.resize(2 * length, 0);
                continue;
            }
            let bad =
                || io::Error::new(io::ErrorKind::InvalidData, "/proc/stat does not have the format of proc_stat(5)");
            return parse(of_cores.unwrap_or(text), cores).ok_or_else(bad);
        }
    }
}

fn parse(stat: &str, cores: &mut Vec<CoreUsage>) -> Option<()> {
    cores.clear();
    let lines = stat.lines().filter_map(|line| line.strip_prefix("cpu")).filter(|line| !line.starts_with(' '));
    for line in lines {
        let mut fields = line.split_ascii_whitespace();
        let core = fields.next()?.parse().ok()?;
        let mut duration = || Some(ticks::to_duration(fields.next()?.parse().ok()?));
        // Guest time, in the fields after these, is already included in user time.
        let [user, nice, system, idle] = [duration()?, duration()?, duration()?, duration()?];
        let [iowait, irq, softirq, steal] = [duration()?, duration()?, duration()?, duration()?];
        cores.push(CoreUsage { core, user: user + nice, system: system + irq + softirq, idle: idle + iowait, steal });
    }
    (!cores.is_empty()).then_some(())
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
    fn the_lines_of_the_cores_may_be_longer_than_the_buffer() {
        let mut stat = ProcStat { buffer: vec![0; 8], ..ProcStat::open().unwrap() };
        let mut found = Vec::new();
        stat.read(&mut found).unwrap();
        let numbers = |cores: &[CoreUsage]| cores.iter().map(|core| core.core).collect::<Vec<_>>();
        assert_eq!(numbers(&found), numbers(&cores().unwrap()));
    }

    #[test]
    fn the_fields_are_summed_as_proc_stat_describes() {
        let ms = Duration::from_millis;
        let text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu3 1 2 3 4 5 6 7 8 1 0\nintr 5\n";
        let core = CoreUsage { core: 3, user: ms(30), system: ms(160), idle: ms(90), steal: ms(80) };
        let mut found = vec![CoreUsage { core: 7, ..core.clone() }];
        assert_eq!(parse(text, &mut found), Some(()));
        assert_eq!(found, [core]);
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "intr 5",
            "cpu  1 2 3 4 5 6 7 8",
            "cpu3 1 2 x",
            "cpu3 1 2 3 4 5 6 7",
            "cpux 1 2 3 4 5 6 7 8",
            "cpu3 1 2 3 4 5 6 7 -8",
            "cpu0 1 2 3 4 5 6 7 8\ncpu1 1 2 3 4 5 6 7 99999999999999999999",
        ] {
            assert_eq!(parse(text, &mut Vec::new()), None, "{text:?}");
        }
        // A time that is too long for a Duration saturates.
        let mut found = Vec::new();
        assert_eq!(parse("cpu0 4000000000000 0 2 3 4 5 6 7", &mut found), Some(()));
        assert_eq!(found[0].user, Duration::from_nanos(u64::MAX));
    }
}
