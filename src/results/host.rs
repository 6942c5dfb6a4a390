//! The machine that a result was measured on.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The CPU utilization of other processes, in percent of one core, above which a measurement is disturbed.
pub const TOO_LOADED_PERCENT: f64 = 10.0;

/// A machine, and how loaded it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The processor's own name.
    pub cpu: String,
    /// The number of cores that this process may use.
    pub cores: usize,
    /// How the CPUs that this process may use share cores and sockets, as the kernel reports it. A hypervisor may present
    /// the two threads of one core as two cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// The kernel's name and release.
    pub kernel: String,
    /// The machine type, such as x86_64.
    pub machine: String,
    /// The clock source behind CLOCK_MONOTONIC: tsc, kvm-clock, hpet, ...
    pub clocksource: String,
    /// The CPU utilization of other processes just before the first measurement, in percent of one core.
    pub others_percent: f64,
    /// The number of times per second that time(2), the clock of the talk's native loop, can be read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_reads_per_s: Option<f64>,
    /// The figures that could not be had, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// How CPUs share cores and sockets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The number of sockets.
    pub sockets: usize,
    /// The number of cores.
    pub cores: usize,
    /// The number of hardware threads, which the kernel calls CPUs.
    pub threads: usize,
    /// The numbers of the CPUs that are threads of the same core, a list for each such core (SMT siblings). While both run,
    /// each is slower than alone.
    pub siblings: Vec<Vec<u32>>,
}

impl Topology {
    /// Returns true if any two CPUs are threads of one core, so that whatever runs at once slows each other down.
    pub fn is_one_core(&self) -> bool {
        self.cores == 1 && self.threads > 1
    }
}

impl Host {
    /// Returns the machine in one line, for the foot of a table.
    pub fn title(&self) -> String {
        let Self { cpu, cores, kernel, clocksource, .. } = self;
        let cpus = counted(*cores, "CPU");
        let topology = self.topology_title();
        format!("{cpu}, {cpus} ({topology}), {kernel}, clock source {clocksource}.")
    }

    fn topology_title(&self) -> String {
        let Some(Topology { sockets, cores, threads, .. }) = &self.topology else {
            let reason = self.missing.get("topology").map_or("not recorded", String::as_str);
            return format!("topology unknown: {reason}");
        };
        let (sockets, cores) = (counted(*sockets, "socket"), counted(*cores, "core"));
        if self.topology.as_ref().is_some_and(|topology| topology.siblings.is_empty()) {
            format!("{cores}, {sockets}")
        } else {
            format!("{threads} threads of {cores}, {sockets}")
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
impl Host {
    /// Returns a quiet machine with two cores.
    pub(crate) fn example() -> Self {
        Self {
            cpu: "Some CPU".into(),
            cores: 2,
            topology: Some(Topology { sockets: 1, cores: 2, threads: 2, siblings: Vec::new() }),
            kernel: "Linux 6.1".into(),
            machine: "x86_64".into(),
            clocksource: "tsc".into(),
            others_percent: 0.0,
            time_reads_per_s: Some(450e6),
            missing: BTreeMap::new(),
        }
    }

    /// Returns a quiet machine whose two CPUs are threads of one core.
    pub(crate) fn example_of_siblings() -> Self {
        let topology = Topology { sockets: 1, cores: 1, threads: 2, siblings: vec![vec![0, 1]] };
        Self { topology: Some(topology), ..Self::example() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_names_the_topology_or_the_reason_why_it_is_unknown() {
        let part = |host: &Host| host.title().split(", Linux").next().unwrap().to_owned();
        assert_eq!(part(&Host::example()), "Some CPU, 2 CPUs (2 cores, 1 socket)");
        assert_eq!(part(&Host::example_of_siblings()), "Some CPU, 2 CPUs (2 threads of 1 core, 1 socket)");
        let missing = [("topology".to_owned(), "no such file".to_owned())].into();
        let unknown = Host { topology: None, missing, ..Host::example() };
        assert_eq!(part(&unknown), "Some CPU, 2 CPUs (topology unknown: no such file)");
    }
}
