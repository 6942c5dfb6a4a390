//! Watches a process from outside while it runs: CPU time of its threads and of the machine's cores.

use busy_core::clock::monotonic_ns;
use busy_core::cpu::{CoreUsage, ThreadUsage, cores, threads};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Ten looks a second cost less than 0.1 % of a core, and suffice for a picture of some seconds.
const EVERY: Duration = Duration::from_millis(100);

/// One look at the process and the machine.
#[derive(Debug, Clone)]
pub struct Look {
    /// CLOCK_MONOTONIC, seconds.
    pub monotonic_s: f64,
    /// The wall clock, seconds since 1970.
    pub unix_s: f64,
    /// The threads that lived.
    pub threads: Vec<ThreadUsage>,
    /// The cores that were online.
    pub cores: Vec<CoreUsage>,
}

/// A watch that runs in a thread of its own.
pub struct Watch {
    pid: u32,
    stop: Sender<()>,
    looks: JoinHandle<Vec<Look>>,
}

impl Watch {
    /// Looks at process `pid` from now on.
    pub fn start(pid: u32) -> Self {
        let (stop, stopped) = channel();
        let looks = std::thread::spawn(move || {
            let mut looks = Vec::new();
            // A look that fails is one too late: the process has ended, which others notice.
            while let Ok(look) = look(pid) {
                looks.push(look);
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            looks
        });
        Self { pid, stop, looks }
    }

    /// Ends the watch with one last look, now.
    ///
    /// # Errors
    /// The process has gone, or /proc can't be read.
    pub fn finish(self) -> io::Result<Vec<Look>> {
        let last = look(self.pid);
        drop(self.stop);
        let mut looks = self.looks.join().map_err(|_| io::Error::other("the watching thread failed"))?;
        let last = last?;
        // The watching thread may have looked once more after the last look.
        looks.retain(|look| look.monotonic_s < last.monotonic_s);
        looks.push(last);
        Ok(looks)
    }
}

fn look(pid: u32) -> io::Result<Look> {
    let monotonic_s = monotonic_ns() as f64 / 1e9;
    let unix_s = SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?.as_secs_f64();
    Ok(Look { monotonic_s, unix_s, threads: threads(pid)?, cores: cores()? })
}
