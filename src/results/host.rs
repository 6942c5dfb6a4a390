//! The machine that a result was measured on.

use serde::{Deserialize, Serialize};

/// The CPU use of other processes, in percent of one core, above which a measurement is disturbed.
pub const TOO_LOADED_PERCENT: f64 = 10.0;

/// A machine, and how loaded it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The processor's own name.
    pub cpu: String,
    /// The number of cores that this process may use.
    pub cores: usize,
    /// The kernel's name and release.
    pub kernel: String,
    /// The machine type, such as x86_64.
    pub machine: String,
    /// The clock source behind CLOCK_MONOTONIC: tsc, kvm-clock, hpet, ...
    pub clocksource: String,
    /// The CPU use of other processes just before the first measurement, in percent of one core.
    pub others_percent: f64,
    /// The number of times per second that time(2), the clock of the talk's native loop, can be read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_reads_per_s: Option<f64>,
}

impl Host {
    /// Returns the machine in one line, for the foot of a table.
    pub fn title(&self) -> String {
        let Self { cpu, cores, kernel, clocksource, .. } = self;
        let cores = if *cores == 1 { "1 core".into() } else { format!("{cores} cores") };
        format!("{cpu}, {cores}, {kernel}, clock source {clocksource}.")
    }
}

#[cfg(test)]
impl Host {
    /// Returns a quiet machine with two cores.
    pub(crate) fn example() -> Self {
        Self {
            cpu: "Some CPU".into(),
            cores: 2,
            kernel: "Linux 6.1".into(),
            machine: "x86_64".into(),
            clocksource: "tsc".into(),
            others_percent: 0.0,
            time_reads_per_s: Some(450e6),
        }
    }
}
