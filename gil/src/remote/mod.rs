//! Samples the GIL of any CPython process by its id: who has it, and how its threads stand to it. 2.7 and 3.6 to 3.15, on
//! x86-64 Linux.
//!
//! Nothing is stopped, injected or written: CPython's own variables are read while it runs, through /proc/PID/mem, and what
//! its threads do through /proc/PID/task. It takes the rights of ptrace(2): the same user's processes, or only one's own
//! descendants where Yama's ptrace_scope is 1, or CAP_SYS_PTRACE.
//!
//! A sample can't see what is shorter than the time between two of them: shares are estimates, and no longest hold is told.
//! Where interpreters have a GIL of their own (3.12 on) it is the main interpreter's that is sampled; the others are named.

mod error;
mod ledger;
mod locate;
mod maps;
mod offsets;
mod place;
mod recorder;
mod rights;
mod target;
mod threads;
mod tid;
mod version;
mod window;

pub use error::RemoteError;
pub use recorder::{Rates, Recorder};
pub use threads::{State, ThreadState};
pub use window::{ThreadWindow, Window};

use busy_core::clock::monotonic_ns;
use busy_core::cpu::Sampler;
use place::{Gil, Kind};
use std::fmt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use target::Target;
use threads::Threads;
use tid::ThreadIds;

/// The GIL of another process (or of the own one).
pub struct RemoteGil {
    target: Target,
    gil: Gil,
    ids: ThreadIds,
    /// The holder that was resolved last.
    known: Option<Known>,
    /// The CPU time of its threads.
    sampler: Sampler,
    threads: Threads,
}

/// Who has the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    None,
    /// The thread with this id, as gettid(2) and /proc/PID/task have it.
    Thread(u32),
    /// A thread that could not be told: it took or gave the GIL at that very moment, or has ended.
    Unknown,
}

impl Holder {
    /// Whether anyone has it.
    pub fn is_held(self) -> bool {
        self != Self::None
    }
}

/// One look at the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When: nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Who had it.
    pub holder: Holder,
}

/// A PyThreadState that has been looked into.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: u64,
    /// GIL's count of holders when that was: while it stays the same, no other thread has had the GIL, so that nobody else
    /// can live at that address by now.
    switch_number: u64,
    holder: Holder,
}

impl RemoteGil {
    /// Finds the GIL of process `pid`, and makes sure that it is one, for which it looks for up to a second.
    ///
    /// # Errors
    /// Whatever stands in the way, with what to do about it.
    pub fn attach(pid: u32) -> Result<Self, RemoteError> {
        let target = Target::open(pid)?;
        let gil = Gil::find(&target)?;
        let ids = ThreadIds::new(&target)?;
        let sampler = Sampler::open(pid).map_err(|error| target.failed("read its threads' CPU time", error))?;
        let mut found = Self { target, gil, ids, known: None, sampler, threads: Threads::new() };
        found.expect_a_holder()?;
        Ok(found)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.target.pid
    }

    /// CPython's version, as `3.11.7`.
    pub fn version(&self) -> &str {
        &self.gil.version.text
    }

    /// The program or library that contains CPython, as the process sees it.
    pub fn file(&self) -> &Path {
        &self.gil.located.file
    }

    /// The ids of interpreters that have a GIL of their own: those are not sampled. As of the last [`Self::verify`].
    pub fn other_gils(&self) -> &[i64] {
        &self.gil.others
    }

    /// Looks who has the GIL now. Some 2 to 8 µs.
    ///
    /// # Errors
    /// Ended, Replaced, Unloaded, NotInitialised or NoGil once it is so; Layout if what is read makes no sense.
    pub fn sample(&mut self) -> Result<Sample, RemoteError> {
        let (state, switch_number) = match self.gil.kind {
            Kind::Struct { address, fields } => {
                let mut bytes = [0; 40];
                if !self.target.read(address, &mut bytes)? {
                    return Err(self.gil.unloaded(&self.target));
                }
                let word = |offset: u64| u64::from_le_bytes(*bytes[offset as usize..].first_chunk().expect("40 bytes"));
                let int = |offset| word(offset) as u32 as i32;
                if fields.enabled.is_some_and(|enabled| int(enabled) == 0) {
                    return Err(RemoteError::NoGil { pid: self.target.pid, version: self.gil.version.text.clone() });
                }
                match int(fields.locked) {
                    0 | 1 => {}
                    // Not created yet, or destroyed (`create_gil`, `destroy_gil`).
                    -1 => return Err(self.gil.not_initialised(&self.target)),
                    other => {
                        let found = format!("expected a GIL that is locked or not, found locked = {other}");
                        return Err(self.gil.layout(&self.target, found));
                    }
                }
                // sys.setswitchinterval takes up to 2147 s on some builds; a day is no interval.
                if !(1..=86_400_000_000).contains(&word(fields.interval)) {
                    let found = format!("expected a switch interval in microseconds, found {}", word(fields.interval));
                    return Err(self.gil.layout(&self.target, found));
                }
                let held = int(fields.locked) == 1;
                (if held { word(fields.last_holder) } else { 0 }, Some(word(fields.switch_number)))
            }
            Kind::Current { address } => match self.target.word(address)? {
                Some(state) => (state, None),
                None => return Err(self.gil.unloaded(&self.target)),
            },
        };
        let at_ns = monotonic_ns();
        let holder = if state == 0 { Holder::None } else { self.resolve(state, switch_number)? };
        Ok(Sample { at_ns, holder })
    }

    /// Looks how each thread that lives stands to the GIL now, in the order of their ids. Some 5 to 10 µs a thread, so not
    /// more than a few hundred times a second.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn states(&mut self) -> Result<Vec<ThreadState>, RemoteError> {
        self.verify()?;
        let sample = self.sample()?;
        self.states_at(sample)
    }

    /// As [`Self::states`], just after `sample`.
    fn states_at(&mut self, sample: Sample) -> Result<Vec<ThreadState>, RemoteError> {
        let waiting_at = self.gil.waiting_at(&self.target)?;
        self.threads.states(&self.target, &mut self.sampler, sample, &waiting_at)
    }

    /// Makes sure that the GIL is where it was, and looks anew which interpreters have one of their own. To be called now
    /// and then between samples, which do not see it if Python has been finalised (up to 3.8) or unloaded and something
    /// else lies there.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn verify(&mut self) -> Result<(), RemoteError> {
        self.gil.verify(&self.target)
    }

    /// The thread that PyThreadState `state` belongs to.
    fn resolve(&mut self, state: u64, switch_number: Option<u64>) -> Result<Holder, RemoteError> {
        if let (Some(known), Some(switch_number)) = (self.known, switch_number)
            && (known.state, known.switch_number) == (state, switch_number)
        {
            return Ok(known.holder);
        }
        let holder = match self.ids.of(&self.target, state, self.gil.thread)? {
            Some(tid) => Holder::Thread(tid),
            None => Holder::Unknown,
        };
        // What could not be told may be told the next time.
        self.known = switch_number.filter(|_| holder != Holder::Unknown).map(|switch_number| Known {
            state,
            switch_number,
            holder,
        });
        Ok(holder)
    }

    /// If the GIL is held, it must be by a thread of the process: that proves the offsets.
    fn expect_a_holder(&mut self) -> Result<(), RemoteError> {
        /// A holder can't be told at the moment it changes, nor in a forked child that has not run yet, whose memory has its
        /// parent's ids.
        const PATIENCE: Duration = Duration::from_secs(1);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.sample()?.holder != Holder::Unknown {
                return Ok(());
            }
            sleep(Duration::from_micros(100));
        }
        self.verify()?;
        let found = "expected that a thread of the process has the GIL, found one that is none".to_owned();
        Err(self.gil.layout(&self.target, found))
    }
}

impl fmt::Debug for RemoteGil {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RemoteGil").field("pid", &self.pid()).field("gil", &self.gil).finish_non_exhaustive()
    }
}
