//! The GIL of another process.

use super::error::RemoteError;
use super::place::{Gil, Kind};
use super::sample::{Holder, Sample};
use super::target::Target;
use super::threads::{ThreadState, Threads};
use super::tid::ThreadIds;
use busy_core::clock::monotonic_ns;
use busy_core::cpu::Sampler;
use std::fmt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The GIL of another process, or of the calling one.
pub struct RemoteGil {
    target: Target,
    gil: Gil,
    ids: ThreadIds,
    /// The PyThreadState of the holder in the last sample; 0 if there was none.
    holder_state: u64,
    /// The last holder that was identified.
    known: Option<Known>,
    /// The CPU time of its threads.
    sampler: Sampler,
    threads: Threads,
}

/// A PyThreadState whose thread was identified.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: u64,
    /// The GIL's `switch_number` at that time. As long as it stays the same, no state at another address has held the
    /// GIL.
    switch_number: u64,
    /// What differs if the state was freed, and the next one at its address belongs to another thread. Foreign threads
    /// (PyGILState_Ensure) create and free theirs without any other thread holding the GIL in between.
    identity: Option<u64>,
    holder: Holder,
}

impl RemoteGil {
    /// Finds the GIL of process `pid` and verifies it, which may take up to a second.
    ///
    /// # Errors
    /// The reason why the GIL can't be read, and what to do.
    pub fn attach(pid: u32) -> Result<Self, RemoteError> {
        let target = Target::open(pid)?;
        let gil = Gil::find(&target)?;
        let ids = ThreadIds::new(&target)?;
        let sampler = Sampler::open(pid).map_err(|error| target.failed("read its threads' CPU time", error))?;
        let mut found = Self { target, gil, ids, holder_state: 0, known: None, sampler, threads: Threads::new() };
        found.expect_a_holder()?;
        Ok(found)
    }

    /// Returns the id of the process.
    pub fn pid(&self) -> u32 {
        self.target.pid
    }

    /// Returns CPython's version, for example `3.11.7`.
    pub fn version(&self) -> &str {
        &self.gil.version.text
    }

    /// Returns the program or library that contains CPython, as the process sees it.
    pub fn file(&self) -> &Path {
        &self.gil.located.file
    }

    /// Returns the ids of the interpreters that had their own GIL at the last [`Self::verify`]. These GILs are not
    /// sampled.
    pub fn other_gils(&self) -> &[i64] {
        &self.gil.others
    }

    /// Reads which thread holds the GIL now. Takes about 2 to 8 µs.
    ///
    /// # Errors
    /// Ended, Replaced, Unloaded, NotInitialised or NoGil if the process is now in that state; Layout if the values
    /// read are invalid.
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
                    // The GIL is not created yet, or is destroyed (`create_gil`, `destroy_gil`).
                    -1 => return Err(self.gil.not_initialised(&self.target)),
                    other => {
                        let found = format!("expected locked = 0 or 1 in the GIL, found {other}");
                        return Err(self.gil.layout(&self.target, found));
                    }
                }
                // sys.setswitchinterval accepts up to 2147 s on some builds. A value above one day can't be a switch
                // interval.
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
        self.holder_state = state;
        let holder = if state == 0 { Holder::None } else { self.resolve(state, switch_number)? };
        Ok(Sample { at_ns, holder })
    }

    /// Returns the address of the PyThreadState that held the GIL in the last sample; 0 if no thread held it.
    pub(super) fn holder_state(&self) -> u64 {
        self.holder_state
    }

    /// Reads the state of each live thread now, in the order of their ids. Takes about 5 to 10 µs per thread, so call
    /// it at most a few hundred times per second.
    ///
    /// # Errors
    /// The same as [`Self::sample`].
    pub fn states(&mut self) -> Result<Vec<ThreadState>, RemoteError> {
        self.verify()?;
        let sample = self.sample()?;
        self.states_at(sample)
    }

    /// Returns the same as [`Self::states`], just after `sample` was taken.
    pub(super) fn states_at(&mut self, sample: Sample) -> Result<Vec<ThreadState>, RemoteError> {
        let waiting_at = self.gil.waiting_at(&self.target)?;
        self.threads.states(&self.target, &mut self.sampler, sample, &waiting_at)
    }

    /// Checks that the GIL is where it was, and reads again which interpreters have their own GIL. Call it from time to
    /// time between samples: a sample does not detect that Python was finalised (up to 3.8), or that it was unloaded
    /// and its addresses were reused.
    ///
    /// # Errors
    /// The same as [`Self::sample`].
    pub fn verify(&mut self) -> Result<(), RemoteError> {
        self.gil.verify(&self.target)
    }

    /// Identifies the thread of the PyThreadState at `state`.
    fn resolve(&mut self, state: u64, switch_number: Option<u64>) -> Result<Holder, RemoteError> {
        let Some(switch_number) = switch_number else { return self.identify(state) };
        let identity = ThreadIds::identity(&self.target, state, self.gil.thread)?;
        if let Some(known) = self.known
            && (known.state, known.switch_number, known.identity) == (state, switch_number, identity)
        {
            return Ok(known.holder);
        }
        let holder = self.identify(state)?;
        // An unknown holder may be identified the next time.
        let is_known = holder != Holder::Unknown;
        self.known = is_known.then_some(Known { state, switch_number, identity, holder });
        Ok(holder)
    }

    fn identify(&mut self, state: u64) -> Result<Holder, RemoteError> {
        let tid = self.ids.of(&self.target, state, self.gil.thread)?;
        Ok(tid.map_or(Holder::Unknown, Holder::Thread))
    }

    /// Checks that the holder, if there is one, is a thread of the process. This confirms the offsets.
    fn expect_a_holder(&mut self) -> Result<(), RemoteError> {
        /// The time limit. The holder can't be identified while it changes, or in a forked child that has not run yet,
        /// whose memory still contains the ids of its parent.
        const PATIENCE: Duration = Duration::from_secs(1);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.sample()?.holder != Holder::Unknown {
                return Ok(());
            }
            sleep(Duration::from_micros(100));
        }
        self.verify()?;
        let found = "expected a thread of the process as the GIL's holder, found another one".to_owned();
        Err(self.gil.layout(&self.target, found))
    }
}

impl fmt::Debug for RemoteGil {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RemoteGil").field("pid", &self.pid()).field("gil", &self.gil).finish_non_exhaustive()
    }
}
