//! Samples a process from outside while it runs: the CPU time of its threads and of the machine's cores, and the cost of the
//! sampling itself.

use crate::units::percent_of;
use busy_core::clock::monotonic_ns;
use busy_core::cpu::{CoreUsage, Sampler, ThreadSample, ThreadUsage, current_thread, threads};
use busy_core::pace::Pace;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// One sample of the process and the machine.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The time on CLOCK_MONOTONIC, in seconds.
    pub monotonic_s: f64,
    /// The time on the wall clock, in seconds since 1970.
    pub unix_s: f64,
    /// The threads that were alive.
    pub threads: Vec<ThreadSample>,
    /// The cores that were online; None if the cores had been read shortly before ([`Sampler::CORES_HZ`]).
    pub cores: Option<Vec<CoreUsage>>,
}

/// Sampling in a separate thread.
pub struct Sampling {
    pid: u32,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Sampled>>,
}

/// The samples of one process.
#[derive(Debug)]
pub struct Sampled {
    /// The samples, taken at a constant rate.
    pub samples: Vec<Sample>,
    /// All figures of each thread at the end.
    pub threads: Vec<ThreadUsage>,
    /// The CPU time of the sampling thread, in percent of the time that it sampled.
    pub cost_percent: f64,
    /// The number of samples that were skipped because their time had passed.
    pub missed: u64,
}

impl Sampling {
    /// Starts to sample process `pid`, `hz` times per second.
    pub fn start(pid: u32, hz: NonZero<u32>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || sample(pid, hz, &stopped));
        Self { pid, stop, thread }
    }

    /// Stops sampling, and reads all figures of each thread.
    ///
    /// # Errors
    /// The process has ended, or /proc can't be read.
    pub fn finish(self) -> io::Result<Sampled> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let sampled = self.thread.join().map_err(|_| io::Error::other("the sampling thread failed"))??;
        Ok(Sampled { threads: threads(self.pid)?, ..sampled })
    }
}

fn sample(pid: u32, hz: NonZero<u32>, stop: &AtomicBool) -> io::Result<Sampled> {
    let (start_ns, cpu_at_start) = (monotonic_ns(), current_thread());
    let mut sampler = Sampler::open(pid)?;
    let mut pace = Pace::start(hz);
    let mut samples = Vec::new();
    let mut cores_read = 0;
    while pace.wait(|| !stop.load(Ordering::Relaxed)) {
        let sample = match sampler.sample() {
            Ok(sample) => sample,
            // The process has ended, which the caller detects by itself.
            Err(ended) if ended.kind() == io::ErrorKind::NotFound => break,
            Err(other) => return Err(other),
        };
        samples.push(Sample {
            monotonic_s: sample.monotonic_ns as f64 / 1e9,
            unix_s: SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?.as_secs_f64(),
            threads: sample.threads.clone(),
            cores: (sample.cores_monotonic_ns != cores_read).then(|| sample.cores.clone()),
        });
        cores_read = sample.cores_monotonic_ns;
    }
    let wall = Duration::from_nanos((monotonic_ns() - start_ns).max(1));
    let cost_percent = percent_of(current_thread() - cpu_at_start, wall);
    Ok(Sampled { samples, threads: Vec::new(), cost_percent, missed: pace.missed() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn samples_are_taken_at_the_requested_rate_and_no_faster_and_each_is_taken_or_missed() {
        let mut child = sleeper();
        for hz in [20, 1000] {
            let start = monotonic_ns();
            let sampling = Sampling::start(child.id(), NonZero::new(hz).unwrap());
            std::thread::sleep(Duration::from_millis(300));
            let sampled = sampling.finish().unwrap();
            let elapsed = (monotonic_ns() - start) as f64 / 1e9;
            let samples = &sampled.samples;
            assert!(samples.len() > 1 && samples.is_sorted_by(|one, next| one.monotonic_s < next.monotonic_s));
            let ticks = samples.len() as u64 + sampled.missed;
            assert!(ticks as f64 <= f64::from(hz) * elapsed + 1.0, "{ticks} at {hz} Hz in {elapsed} s");
            let span = samples.last().unwrap().monotonic_s - samples[0].monotonic_s;
            assert!(ticks as f64 >= f64::from(hz) * span, "{ticks} at {hz} Hz, of {span} s");
            let readings = samples.iter().filter(|sample| sample.cores.is_some()).count();
            assert!(
                samples[0].cores.is_some() && readings as f64 <= f64::from(hz.min(Sampler::CORES_HZ)) * elapsed + 2.0
            );
            assert!(sampled.cost_percent > 0.0 && sampled.cost_percent < 101.0, "{}", sampled.cost_percent);
            assert_eq!(sampled.threads.len(), 1);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = sleeper();
        let sampling = Sampling::start(child.id(), NonZero::new(100).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(sampling.finish().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
