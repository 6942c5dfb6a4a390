//! The machine, and how loaded it is: every result names both.

use crate::interrupt;
use crate::units::percent_of;
use busy_core::cpu::{CoreUsage, cores};
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Above this share of one core, work of other processes spoils what is measured.
pub const TOO_LOADED_PERCENT: f64 = 10.0;

/// The machine that measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// The processor's name for itself.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel name and release.
    pub kernel: String,
    /// Machine type, such as x86_64.
    pub machine: String,
    /// What drives CLOCK_MONOTONIC: tsc, kvm-clock, hpet, ...
    pub clocksource: String,
    /// What other processes used of one core just before the first measurement, in percent of one core.
    pub others_percent: f64,
    /// How often time(2), the clock of the talk's native loop, can be read in a second here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_reads_per_s: Option<f64>,
}

impl Host {
    /// Asks the kernel, after waiting up to `patience` for other processes to calm down.
    ///
    /// # Errors
    /// What can't be read under /proc.
    pub fn observe(patience: Duration) -> std::io::Result<Self> {
        let uname = uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let clocksource = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        Ok(Self {
            cpu: model.map_or_else(|| text(uname.machine()), |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism()?.get(),
            kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
            machine: text(uname.machine()),
            clocksource: clocksource.map_or_else(|_| "unknown".into(), |name| name.trim().to_owned()),
            others_percent: settle(patience)?,
            time_reads_per_s: None,
        })
    }
}

/// Waits until all processes together use less than [`TOO_LOADED_PERCENT`] of a core, `patience` at the most or until
/// Ctrl-C, and returns what they used last.
///
/// # Errors
/// What can't be read under /proc.
pub fn settle(patience: Duration) -> std::io::Result<f64> {
    let give_up = Instant::now() + patience;
    loop {
        let window = Duration::from_millis(300);
        let before = cores()?;
        thread::sleep(window);
        let percent = busy_percent(&before, &cores()?, window);
        if percent < TOO_LOADED_PERCENT || Instant::now() >= give_up || interrupt::requested() {
            return Ok(percent);
        }
    }
}

/// What all cores together did between two readings `span` apart, in percent of one core.
pub fn busy_percent(before: &[CoreUsage], after: &[CoreUsage], span: Duration) -> f64 {
    let busy = |cores: &[CoreUsage]| cores.iter().map(CoreUsage::busy).sum::<Duration>();
    percent_of(busy(after).saturating_sub(busy(before)), span)
}
