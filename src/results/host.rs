//! The machine that a result was measured on.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The CPU utilization of other processes, in percent of one core, above which a measurement is disturbed.
pub const TOO_LOADED_PERCENT: f64 = 10.0;

/// A machine, and how loaded it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The worker of a dask cluster that measured (`--dask`); absent if the command itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// The processor's own name. This and the fields below are empty, and absent in the JSON, if the worker gave no result.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// The number of cores that this process may use.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cores: usize,
    /// How the CPUs that this process may use share cores and sockets, as the kernel reports it. A hypervisor may present
    /// the two threads of one core as two cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// The kernel's name and release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// The machine type, such as x86_64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// The clock source behind CLOCK_MONOTONIC: tsc, kvm-clock, hpet, ...
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clocksource: String,
    /// The CPU utilization of other processes just before the first measurement, in percent of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others_percent: Option<f64>,
    /// The number of times per second that time(2), the clock of the talk's native loop, can be read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_reads_per_s: Option<f64>,
    /// The figures that could not be had, with the reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
}

/// A worker of a dask cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Worker {
    /// The address at which the scheduler knows it: tcp://10.0.0.3:40123.
    pub address: String,
    /// Its machine's own name; absent if it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
}

impl Worker {
    /// Returns the name of its machine, or else its place: the address without the protocol.
    pub fn name(&self) -> &str {
        self.host_name.as_deref().unwrap_or_else(|| self.place())
    }

    /// Returns the address without the protocol.
    pub fn place(&self) -> &str {
        self.address.split_once("://").map_or(&*self.address, |(_, place)| place)
    }
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
    /// Returns the machine of a worker that gave no result, for this reason.
    pub fn unknown(worker: Worker, reason: &str) -> Self {
        let figures = ["cpu", "cores", "topology", "kernel", "machine", "clocksource", "others_percent"];
        let missing = figures.map(|figure| (figure.to_owned(), reason.to_owned())).into();
        Self { worker: Some(worker), missing, ..Self::default() }
    }

    /// Returns false for the machine of a worker that gave no result.
    pub fn is_known(&self) -> bool {
        !self.cpu.is_empty()
    }

    /// Returns the machine in one line, for the foot of a table.
    pub fn title(&self) -> String {
        let Self { cpu, cores, kernel, clocksource, .. } = self;
        if !self.is_known() {
            return "unknown, since its worker gave no result.".into();
        }
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

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
impl Host {
    /// Returns a quiet machine with two cores.
    pub(crate) fn example() -> Self {
        Self {
            worker: None,
            cpu: "Some CPU".into(),
            cores: 2,
            topology: Some(Topology { sockets: 1, cores: 2, threads: 2, siblings: Vec::new() }),
            kernel: "Linux 6.1".into(),
            machine: "x86_64".into(),
            clocksource: "tsc".into(),
            others_percent: Some(0.0),
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
