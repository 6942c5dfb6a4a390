//! Samples the GIL of a process at a steady rate, in a thread of its own, and sums up what it saw.

use super::error::RemoteError;
use super::ledger::Ledger;
use super::window::Window;
use super::{RemoteGil, Sample};
use busy_core::clock::monotonic_ns;
use busy_core::cpu::current_thread;
use busy_core::pace::Pace;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// How often a [`Recorder`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Who has the GIL: so many times a second, each at a random moment of its 1/`hz` seconds, so that what the process
    /// does in steps of its own is met at all its moments alike.
    pub hz: NonZero<u32>,
    /// How each thread stands to it: so many times a second at the most. Looks at very many threads are further apart,
    /// so that they take a twentieth of the time.
    pub states_hz: NonZero<u32>,
}

impl Default for Rates {
    /// 5000 and 100.
    fn default() -> Self {
        Self { hz: NonZero::new(5000).expect("not 0"), states_hz: NonZero::new(100).expect("not 0") }
    }
}

/// Samples until it is stopped, or dropped, or the process ends.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    /// None once it was joined.
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
    /// Begins to sample `gil`.
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

    /// What was seen so far. The difference of two windows ([`Window::since`]) is what was seen in between.
    pub fn window(&self) -> Window {
        self.shared.window().clone()
    }

    /// Ends it, and returns all that was seen.
    pub fn stop(mut self) -> Window {
        self.join();
        self.window()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic has been reported by its thread, and what it had summed up stands.
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
    let mut ledger = Ledger::default();
    let between_looks_ns = 1_000_000_000 / u64::from(rates.states_hz.get());
    let longest_ns = 10_000_000_000 / u64::from(rates.hz.get());
    let mut next_look_ns = 0;
    while pace.wait(|| !shared.stop.load(Ordering::Relaxed)) {
        let outcome = gil.sample().and_then(|sample| {
            let mut window = shared.window();
            window.add(sample, longest_ns);
            window.missed = pace.missed();
            drop(window);
            if sample.at_ns >= next_look_ns {
                look(&mut gil, &mut ledger, sample, shared)?;
                next_look_ns = sample.at_ns + between_looks_ns.max((monotonic_ns() - sample.at_ns) * 20);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            shared.window().ended = Some(Arc::new(error));
            return;
        }
    }
}

/// Looks at the threads just after `sample`.
fn look(gil: &mut RemoteGil, ledger: &mut Ledger, sample: Sample, shared: &Shared) -> Result<(), RemoteError> {
    gil.verify()?;
    let states = gil.states_at(sample)?;
    let mut window = shared.window();
    ledger.add(&mut window, sample.at_ns, &states);
    window.cost = current_thread();
    if window.other_gils != gil.other_gils() {
        window.other_gils = gil.other_gils().to_vec();
    }
    Ok(())
}
