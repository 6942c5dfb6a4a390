//! Samples the GIL of a process at a constant average rate, in a separate thread, and sums up the samples.

use super::error::RemoteError;
use super::holder_stack::{self, HolderStack};
use super::remote_gil::RemoteGil;
use super::sample::Sample;
use super::stack::StackReader;
use super::state_times::StateTimes;
use super::threads::State;
use super::window::Window;
use busy_core::clock::monotonic_ns;
use busy_core::cpu::current_thread;
use busy_core::pace::Pace;
use std::io;
use std::mem;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// The sampling rates of a [`Recorder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// The number of times per second that the holder is read. Each sample is taken at a random moment of its interval
    /// of 1/`hz` seconds, so that all phases of a periodic process are sampled equally.
    pub hz: NonZero<u32>,
    /// The maximum number of times per second that the states of the threads are read. If there are very many threads,
    /// the states are read less often, so that reading them takes at most a twentieth of the time.
    pub states_hz: NonZero<u32>,
}

impl Default for Rates {
    /// Returns 5000 samples of the holder and 100 readings of the states per second.
    fn default() -> Self {
        Self { hz: NonZero::new(5000).expect("not 0"), states_hz: NonZero::new(100).expect("not 0") }
    }
}

/// A sampling thread. It runs until it is stopped or dropped, or the process ends.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    /// `None` after it has been joined.
    thread: Option<JoinHandle<()>>,
}

/// The maximum number of readings of the holder that are kept until they are taken.
const MOST_HOLDERS: usize = 1 << 14;

#[derive(Debug, Default)]
struct Shared {
    window: Mutex<Window>,
    holders: Mutex<Vec<HolderStack>>,
    stop: AtomicBool,
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holders(&self) -> MutexGuard<'_, Vec<HolderStack>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Starts sampling `gil`.
    ///
    /// # Errors
    /// System if no thread can be started.
    pub fn start(gil: RemoteGil, rates: Rates) -> Result<Self, RemoteError> {
        Self::start_sampling(gil, None, rates)
    }

    /// Starts sampling `gil` like [`Self::start`], and reads the Python stack of the thread that holds the GIL whenever the
    /// states of the threads are read: see [`Self::take_holders`].
    ///
    /// # Errors
    /// System if no thread can be started.
    pub fn start_with_stacks(gil: RemoteGil, stacks: StackReader, rates: Rates) -> Result<Self, RemoteError> {
        Self::start_sampling(gil, Some(stacks), rates)
    }

    fn start_sampling(gil: RemoteGil, stacks: Option<StackReader>, rates: Rates) -> Result<Self, RemoteError> {
        let pid = gil.pid();
        let shared = Arc::new(Shared::default());
        let thread = Builder::new().name("busy-gil".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || sample_on(Sampled { gil, stacks, times: StateTimes::default(), before: None }, rates, &shared)
        });
        let thread = thread.map_err(|source: io::Error| {
            let doing = "start a thread to sample it".to_owned();
            RemoteError::System { pid, doing, source }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns the sums so far. The difference of two windows ([`Window::since`]) covers the time between them.
    pub fn window(&self) -> Window {
        self.shared.window().clone()
    }

    /// Returns false once sampling has stopped by itself, for example since the process has ended.
    pub fn is_sampling(&self) -> bool {
        self.shared.window().ended.is_none()
    }

    /// Forgets the sums of the threads that had ended when the states were last read, so that a process that starts many
    /// threads does not fill the memory. Windows taken before have them.
    pub fn forget_ended(&self) {
        self.shared.window().threads.retain(|_, thread| !thread.has_ended);
    }

    /// Returns the holders with their stacks that were read since the last call. At most 16,384 are kept; the others are
    /// lost.
    pub fn take_holders(&self) -> Vec<HolderStack> {
        mem::take(&mut *self.shared.holders())
    }

    /// Stops sampling and returns the sums.
    pub fn stop(mut self) -> Window {
        self.join();
        self.window()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread itself has reported its panic, if any, and its sums are valid.
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.join();
    }
}

/// The process, and what is known of it from one reading of the states to the next.
struct Sampled {
    gil: RemoteGil,
    stacks: Option<StackReader>,
    times: StateTimes,
    /// The time of the last reading, and the window's unseen time up to then.
    before: Option<(u64, u64)>,
}

fn sample_on(mut sampled: Sampled, rates: Rates, shared: &Shared) {
    let mut pace = Pace::scattered(rates.hz);
    let states_step_ns = 1_000_000_000 / u64::from(rates.states_hz.get());
    let longest_ns = 10_000_000_000 / u64::from(rates.hz.get());
    let mut next_states_ns = 0;
    while pace.wait(|| !shared.stop.load(Ordering::Relaxed)) {
        let outcome = sampled.gil.sample().and_then(|sample| {
            let mut window = shared.window();
            window.add(sample, longest_ns);
            window.missed = pace.missed();
            drop(window);
            if sample.at_ns >= next_states_ns {
                sampled.read_states(sample, shared)?;
                next_states_ns = sample.at_ns + states_step_ns.max((monotonic_ns() - sample.at_ns) * 20);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            shared.window().ended = Some(Arc::new(error));
            return;
        }
    }
}

impl Sampled {
    /// Reads the states of the threads just after `sample`, and the stack of the holder.
    fn read_states(&mut self, sample: Sample, shared: &Shared) -> Result<(), RemoteError> {
        let Self { gil, stacks, times, before } = self;
        gil.verify()?;
        let states = gil.states_at(sample)?;
        let mut window = shared.window();
        times.add(&mut window, sample.at_ns, &states);
        window.cost = current_thread();
        if window.other_gils != gil.other_gils() {
            window.other_gils = gil.other_gils().to_vec();
        }
        let unseen_ns = window.unseen_ns;
        drop(window);

        let before = before.replace((sample.at_ns, unseen_ns));
        if let (Some(stacks), Some((before_ns, before_unseen_ns))) = (stacks, before) {
            let for_ns = sample.at_ns - before_ns - (unseen_ns - before_unseen_ns);
            let waiting = states.iter().filter(|thread| thread.state == State::Waits).count();
            let holder = holder_stack::read(gil, stacks, sample, waiting, for_ns);
            let mut holders = shared.holders();
            if holders.len() < MOST_HOLDERS {
                holders.extend(holder);
            }
        }
        Ok(())
    }
}
