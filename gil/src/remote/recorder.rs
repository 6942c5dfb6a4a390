//! Samples the GIL of a process at a constant average rate, in a separate thread, and sums up the samples.

use super::error::RemoteError;
use super::remote_gil::RemoteGil;
use super::sample::Sample;
use super::state_times::StateTimes;
use super::window::Window;
use busy_core::clock::monotonic_ns;
use busy_core::cpu::current_thread;
use busy_core::pace::Pace;
use std::io;
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

#[derive(Debug)]
struct Shared {
    window: Mutex<Window>,
    stop: AtomicBool,
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Starts sampling `gil`.
    ///
    /// # Errors
    /// System if no thread can be started.
    pub fn start(gil: RemoteGil, rates: Rates) -> Result<Self, RemoteError> {
        let pid = gil.pid();
        let shared = Arc::new(Shared { window: Mutex::default(), stop: AtomicBool::new(false) });
        let thread = Builder::new().name("busy-gil".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || sample_on(gil, rates, &shared)
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

fn sample_on(mut gil: RemoteGil, rates: Rates, shared: &Shared) {
    let mut pace = Pace::scattered(rates.hz);
    let mut times = StateTimes::default();
    let states_step_ns = 1_000_000_000 / u64::from(rates.states_hz.get());
    let longest_ns = 10_000_000_000 / u64::from(rates.hz.get());
    let mut next_states_ns = 0;
    while pace.wait(|| !shared.stop.load(Ordering::Relaxed)) {
        let outcome = gil.sample().and_then(|sample| {
            let mut window = shared.window();
            window.add(sample, longest_ns);
            window.missed = pace.missed();
            drop(window);
            if sample.at_ns >= next_states_ns {
                read_states(&mut gil, &mut times, sample, shared)?;
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

/// Reads the states of the threads just after `sample`.
fn read_states(
    gil: &mut RemoteGil,
    times: &mut StateTimes,
    sample: Sample,
    shared: &Shared,
) -> Result<(), RemoteError> {
    gil.verify()?;
    let states = gil.states_at(sample)?;
    let mut window = shared.window();
    times.add(&mut window, sample.at_ns, &states);
    window.cost = current_thread();
    if window.other_gils != gil.other_gils() {
        window.other_gils = gil.other_gils().to_vec();
    }
    Ok(())
}
