//! Observes the machine, and waits until it is quiet.

use crate::process::interrupt;
use crate::results::{Host, TOO_LOADED_PERCENT};
use crate::units::percent_of;
use busy_core::cpu::{CoreUsage, cores};
use rustix::system::uname;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Returns what the kernel reports of this machine, after waiting up to `patience` for other processes to be quiet.
///
/// # Errors
/// Something under /proc can't be read.
pub fn observe(patience: Duration) -> std::io::Result<Host> {
    let uname = uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let clocksource = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    Ok(Host {
        cpu: model.map_or_else(|| text(uname.machine()), |(_, name)| name.trim().to_owned()),
        cores: thread::available_parallelism()?.get(),
        kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
        machine: text(uname.machine()),
        clocksource: clocksource.map_or_else(|_| "unknown".into(), |name| name.trim().to_owned()),
        others_percent: settle(patience)?,
        time_reads_per_s: None,
    })
}

/// Waits until all processes together use less than [`TOO_LOADED_PERCENT`] of a core, up to `patience` or until Ctrl-C, and
/// returns their last CPU use.
///
/// # Errors
/// Something under /proc can't be read.
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

/// Returns the CPU use of all cores together between two readings `span` apart, in percent of one core.
pub fn busy_percent(before: &[CoreUsage], after: &[CoreUsage], span: Duration) -> f64 {
    let busy = |cores: &[CoreUsage]| cores.iter().map(CoreUsage::busy).sum::<Duration>();
    percent_of(busy(after).saturating_sub(busy(before)), span)
}
