//! Watches a process from outside while it runs: CPU time of its threads and of the machine's cores, and what the
//! watching itself costs.

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

/// One look at the process and the machine.
#[derive(Debug, Clone)]
pub struct Look {
    /// CLOCK_MONOTONIC, seconds.
    pub monotonic_s: f64,
    /// The wall clock, seconds since 1970.
    pub unix_s: f64,
    /// The threads that lived.
    pub threads: Vec<ThreadSample>,
    /// The cores that were online; None in a look that comes too soon after their last one ([`Sampler::CORES_HZ`]).
    pub cores: Option<Vec<CoreUsage>>,
}

/// A watch that runs in a thread of its own.
pub struct Watch {
    pid: u32,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Watched>>,
}

/// What a watch saw.
#[derive(Debug)]
pub struct Watched {
    /// Its looks, at a steady rate.
    pub looks: Vec<Look>,
    /// All there is to know of the threads at the end of the watch.
    pub threads: Vec<ThreadUsage>,
    /// CPU time of the watching thread, in percent of the time that it watched.
    pub cost_percent: f64,
    /// How many looks were not made since the time for them had passed.
    pub missed: u64,
}

impl Watch {
    /// Looks at process `pid` from now on, `hz` times a second.
    pub fn start(pid: u32, hz: NonZero<u32>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch(pid, hz, &told));
        Self { pid, stop, thread }
    }

    /// Ends the watch with one last look at the threads, now.
    ///
    /// # Errors
    /// The process has gone, or /proc can't be read.
    pub fn finish(self) -> io::Result<Watched> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let watched = self.thread.join().map_err(|_| io::Error::other("the watching thread failed"))??;
        Ok(Watched { threads: threads(self.pid)?, ..watched })
    }
}

fn watch(pid: u32, hz: NonZero<u32>, stop: &AtomicBool) -> io::Result<Watched> {
    let (start_ns, cpu_at_start) = (monotonic_ns(), current_thread());
    let mut sampler = Sampler::open(pid)?;
    let mut pace = Pace::start(hz);
    let mut looks = Vec::new();
    let mut cores_read = 0;
    while pace.wait(|| !stop.load(Ordering::Relaxed)) {
        let sample = match sampler.sample() {
            Ok(sample) => sample,
            // A look too late: others notice that the process has ended.
            Err(ended) if ended.kind() == io::ErrorKind::NotFound => break,
            Err(other) => return Err(other),
        };
        looks.push(Look {
            monotonic_s: sample.monotonic_ns as f64 / 1e9,
            unix_s: SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?.as_secs_f64(),
            threads: sample.threads.clone(),
            cores: (sample.cores_monotonic_ns != cores_read).then(|| sample.cores.clone()),
        });
        cores_read = sample.cores_monotonic_ns;
    }
    let wall = Duration::from_nanos((monotonic_ns() - start_ns).max(1));
    let cost_percent = percent_of(current_thread() - cpu_at_start, wall);
    Ok(Watched { looks, threads: Vec::new(), cost_percent, missed: pace.missed() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn looks_come_at_the_rate_asked_for_and_no_faster_and_each_is_made_or_missed() {
        let mut child = sleeper();
        for hz in [20, 1000] {
            let start = monotonic_ns();
            let watch = Watch::start(child.id(), NonZero::new(hz).unwrap());
            std::thread::sleep(Duration::from_millis(300));
            let watched = watch.finish().unwrap();
            let elapsed = (monotonic_ns() - start) as f64 / 1e9;
            let looks = &watched.looks;
            assert!(looks.len() > 1 && looks.is_sorted_by(|one, next| one.monotonic_s < next.monotonic_s));
            let ticks = looks.len() as u64 + watched.missed;
            assert!(ticks as f64 <= f64::from(hz) * elapsed + 1.0, "{ticks} at {hz} Hz in {elapsed} s");
            let span = looks.last().unwrap().monotonic_s - looks[0].monotonic_s;
            assert!(ticks as f64 >= f64::from(hz) * span, "{ticks} at {hz} Hz, of {span} s");
            let readings = looks.iter().filter(|look| look.cores.is_some()).count();
            assert!(
                looks[0].cores.is_some() && readings as f64 <= f64::from(hz.min(Sampler::CORES_HZ)) * elapsed + 2.0
            );
            assert!(watched.cost_percent > 0.0 && watched.cost_percent < 101.0, "{}", watched.cost_percent);
            assert_eq!(watched.threads.len(), 1);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_has_gone_is_told() {
        let mut child = sleeper();
        let watch = Watch::start(child.id(), NonZero::new(100).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(watch.finish().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
