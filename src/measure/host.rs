//! Observes the machine and its load, and waits until it is quiet.

use crate::process::interrupt;
use crate::results::{Host, TOO_LOADED_PERCENT, Topology};
use crate::units::percent_of;
use busy_core::cpu::{CoreUsage, cores};
use rustix::param::clock_ticks_per_second;
use rustix::system::uname;
use rustix::thread::{CpuSet, sched_getaffinity};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Returns what the kernel reports of this machine, after waiting up to `patience` for other processes to be quiet.
///
/// # Errors
/// Something under /proc can't be read.
pub fn observe(patience: Duration) -> io::Result<Host> {
    describe(settle(patience)?)
}

/// Returns what the kernel reports of this machine, whose other processes use `others_percent` of a core.
///
/// # Errors
/// Something under /proc can't be read.
pub fn describe(others_percent: f64) -> io::Result<Host> {
    let uname = uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let clocksource = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let mut missing = BTreeMap::new();
    let topology = allowed_cpus().and_then(|cpus| topology(Path::new("/sys/devices/system/cpu"), &cpus));
    let topology = topology.map_err(|reason| missing.insert("topology".into(), reason)).ok();
    Ok(Host {
        worker: None,
        cpu: model.map_or_else(|| text(uname.machine()), |(_, name)| name.trim().to_owned()),
        cores: thread::available_parallelism()?.get(),
        topology,
        kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
        machine: text(uname.machine()),
        clocksource: clocksource.map_or_else(|_| "unknown".into(), |name| name.trim().to_owned()),
        others_percent: Some(others_percent),
        time_reads_per_s: None,
        missing,
    })
}

/// Returns the CPUs on which this process may run, or the reason why they are unknown.
fn allowed_cpus() -> Result<Vec<usize>, String> {
    let set = sched_getaffinity(None).map_err(|error| format!("can't read this process's CPU affinity: {error}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Returns how `cpus` share cores and sockets, by the files below `folder` (Documentation/admin-guide/cputopology.rst), or the
/// reason why it is unknown.
fn topology(folder: &Path, cpus: &[usize]) -> Result<Topology, String> {
    let read = |cpu: usize, name: &str| {
        let path = folder.join(format!("cpu{cpu}/topology/{name}"));
        let text = fs::read_to_string(&path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        Ok::<_, String>((path, text.trim().to_owned()))
    };
    let (mut sockets, mut cores) = (HashSet::new(), BTreeMap::<String, Vec<u32>>::new());
    for &cpu in cpus {
        let (path, socket) = read(cpu, "physical_package_id")?;
        if socket.parse::<u32>().is_err() {
            return Err(format!("expected the number of a socket in {}, found {socket:?}", path.display()));
        }
        sockets.insert(socket);
        // Before Linux 5.3, core_cpus_list was called thread_siblings_list.
        let (_, core) =
            read(cpu, "core_cpus_list").or_else(|error| read(cpu, "thread_siblings_list").map_err(|_| error))?;
        cores.entry(core).or_default().push(cpu as u32);
    }
    let mut siblings: Vec<_> = cores.values().filter(|cpus| cpus.len() > 1).cloned().collect();
    siblings.sort_unstable();
    Ok(Topology { sockets: sockets.len(), cores: cores.len(), threads: cpus.len(), siblings })
}

/// The start of a measurement whose load by other processes is to be known at its end.
pub struct Load {
    at: Instant,
    cores: Vec<CoreUsage>,
    own: Duration,
}

/// The load during a measurement, in percent of one core.
pub struct Found {
    /// The CPU utilization of other processes.
    pub others_percent: f64,
    /// The CPU time that the hypervisor took from this machine.
    pub steal_percent: f64,
}

impl Load {
    /// Begins a measurement.
    ///
    /// # Errors
    /// Something under /proc can't be read.
    pub fn begin() -> io::Result<Self> {
        Ok(Self { at: Instant::now(), cores: cores()?, own: own_and_children()? })
    }

    /// Returns the load since the beginning, without this process and the children that have ended meanwhile.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn end(self) -> io::Result<Found> {
        let (cores, own, span) = (cores()?, own_and_children()?, self.at.elapsed());
        let own = percent_of(own.saturating_sub(self.own), span);
        let steal = |cores: &[CoreUsage]| cores.iter().map(|core| core.steal).sum::<Duration>();
        Ok(Found {
            others_percent: (busy_percent(&self.cores, &cores, span) - own).max(0.0),
            steal_percent: percent_of(steal(&cores).saturating_sub(steal(&self.cores)), span),
        })
    }
}

/// Returns the CPU time of this process and of its children that were waited for, with their descendants.
fn own_and_children() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The program's name, in parentheses, may contain anything. utime, stime, cutime and cstime are fields 14 to 17 of
    // proc_pid_stat(5), and the state behind the name is field 3.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split_ascii_whitespace().skip(11).take(4));
    let ticks = fields.and_then(|fields| fields.map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>());
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat is not as proc_pid_stat(5) describes it");
    Ok(Duration::from_secs_f64(ticks.ok_or_else(bad)? as f64 / clock_ticks_per_second() as f64))
}

/// Waits until all processes together use less than [`TOO_LOADED_PERCENT`] of a core, up to `patience` or until Ctrl-C, and
/// returns their last CPU utilization.
///
/// # Errors
/// Something under /proc can't be read.
pub fn settle(patience: Duration) -> io::Result<f64> {
    let start = Instant::now();
    loop {
        let window = Duration::from_millis(300);
        let before = cores()?;
        thread::sleep(window);
        let percent = busy_percent(&before, &cores()?, window);
        if percent < TOO_LOADED_PERCENT || start.elapsed() >= patience || interrupt::requested() {
            return Ok(percent);
        }
    }
}

/// Returns the CPU utilization of all cores together between two readings `span` apart, in percent of one core.
pub fn busy_percent(before: &[CoreUsage], after: &[CoreUsage], span: Duration) -> f64 {
    let busy = |cores: &[CoreUsage]| cores.iter().map(CoreUsage::busy).sum::<Duration>();
    percent_of(busy(after).saturating_sub(busy(before)), span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Returns a folder as /sys/devices/system/cpu, with a CPU for each (socket, siblings).
    fn sysfs(siblings: &str, cpus: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (cpu, (socket, core)) in cpus.iter().enumerate() {
            let of_cpu = folder.path().join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&of_cpu).unwrap();
            fs::write(of_cpu.join("physical_package_id"), format!("{socket}\n")).unwrap();
            fs::write(of_cpu.join(siblings), format!("{core}\n")).unwrap();
        }
        folder
    }

    fn counts(topology: &Topology) -> (usize, usize, usize) {
        (topology.sockets, topology.cores, topology.threads)
    }

    #[test]
    fn cpus_of_one_core_are_siblings_and_cpus_that_this_process_may_not_use_do_not_count() {
        for name in ["core_cpus_list", "thread_siblings_list"] {
            let smt = sysfs(name, &[("0", "0,2"), ("0", "1,3"), ("0", "0,2"), ("0", "1,3")]);
            let all = topology(smt.path(), &[0, 1, 2, 3]).unwrap();
            assert_eq!((counts(&all), &*all.siblings), ((1, 2, 4), &[vec![0, 2], vec![1, 3]][..]));
            assert!(!all.is_one_core());
            let one_core = topology(smt.path(), &[0, 2]).unwrap();
            assert_eq!((counts(&one_core), &*one_core.siblings), ((1, 1, 2), &[vec![0, 2]][..]));
            assert!(one_core.is_one_core());
            let two_cores = topology(smt.path(), &[1, 2]).unwrap();
            assert_eq!((counts(&two_cores), two_cores.siblings.len()), ((1, 2, 2), 0));
        }
        let two_sockets = sysfs("core_cpus_list", &[("0", "0"), ("1", "1")]);
        assert_eq!(counts(&topology(two_sockets.path(), &[0, 1]).unwrap()), (2, 2, 2));
        assert!(!topology(two_sockets.path(), &[0]).unwrap().is_one_core());
    }

    #[test]
    fn without_its_files_the_topology_is_absent_with_the_reason() {
        let folder = sysfs("core_cpus_list", &[("0", "0")]);
        let reason = topology(folder.path(), &[0, 1]).unwrap_err();
        assert!(reason.contains("cpu1/topology/physical_package_id: No such file"), "{reason}");
        fs::remove_file(folder.path().join("cpu0/topology/core_cpus_list")).unwrap();
        let reason = topology(folder.path(), &[0]).unwrap_err();
        assert!(reason.contains("cpu0/topology/core_cpus_list: No such file"), "{reason}");
        // Where the firmware does not report it.
        let unknown = sysfs("core_cpus_list", &[("-1", "0")]);
        let reason = topology(unknown.path(), &[0]).unwrap_err();
        assert!(reason.contains("expected the number of a socket in") && reason.contains("\"-1\""), "{reason}");
    }

    #[test]
    fn the_load_of_others_excludes_children_that_were_waited_for() {
        let spin = ["sh", "-c", "while :; do :; done"];
        let before = own_and_children().unwrap();
        Command::new("timeout").arg("0.5").args(spin).status().unwrap();
        let child = own_and_children().unwrap() - before;
        // Even on a loaded machine it had some of its half second. Other tests run in this process too.
        assert!(child >= Duration::from_millis(50), "{child:?}");
        let mut other = Command::new(spin[0]).args(&spin[1..]).spawn().unwrap();
        let load = Load::begin().unwrap();
        thread::sleep(Duration::from_millis(500));
        let found = load.end().unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(found.others_percent > TOO_LOADED_PERCENT, "{}", found.others_percent);
    }
}
