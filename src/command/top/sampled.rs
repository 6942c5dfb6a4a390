//! The figures of a running process, by samples.

use super::error::TopError;
use super::source::Source;
use super::usage::{Usage, Used};
use super::window::Window;
use crate::process::interrupt;
use crate::show::live::{Meter, Process, State, Thread};
use crate::trace::stack_lines;
use busy_gil::remote::{self, HolderStack, Rates, Recorder, RemoteError, RemoteGil, StackReader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::collections::HashMap;
use std::num::NonZero;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The samples per second, and the readings of the states of the threads.
const HZ: u32 = 150;
const STATES_HZ: u32 = 10;
/// How long the call is shown in which a thread was seen holding the GIL.
const LATE: Duration = Duration::from_secs(10);

/// A process, and its figures of late.
pub struct Sampled {
    recorder: Recorder,
    pid: u32,
    version: String,
    started: Instant,
    window: Window<remote::Window>,
    used: Used,
    calls: Calls,
    /// The reason why stacks can't be read.
    no_stacks: Option<String>,
    ended: Option<Arc<RemoteError>>,
}

impl Sampled {
    /// Begins to sample process `pid`.
    ///
    /// # Errors
    /// The reason why it can't be read, and what to do.
    pub fn attach(pid: u32) -> Result<Self, RemoteError> {
        let gil = RemoteGil::attach(pid)?;
        let version = gil.version().to_owned();
        let rates = Rates { hz: NonZero::new(HZ).expect("not 0"), states_hz: NonZero::new(STATES_HZ).expect("not 0") };
        let (recorder, no_stacks) = match StackReader::attach(pid) {
            Ok(stacks) => (Recorder::start_with_stacks(gil, stacks, rates)?, None),
            Err(error) => (Recorder::start(gil, rates)?, Some(format!("no stacks: {error}"))),
        };
        Ok(Self {
            recorder,
            pid,
            version,
            started: Instant::now(),
            window: Window::default(),
            used: Used::default(),
            calls: Calls::default(),
            no_stacks,
            ended: None,
        })
    }

    fn threads(&self, since: &remote::Window) -> Vec<Thread> {
        let threads = since.threads.iter().filter(|(_, thread)| !thread.has_ended);
        let row = |(tid, sums): (&u32, &remote::ThreadWindow)| Thread {
            pid: self.pid,
            tid: *tid,
            stack: self.calls.last_seen(*tid),
            ..shares(sums, since.seen_ns())
        };
        threads.map(row).collect()
    }
}

impl Source for Sampled {
    fn wait(&mut self, until: Instant, keys: Option<BorrowedFd<'_>>) -> Result<Option<ExitCode>, TopError> {
        let time = until.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let mut watched: Vec<PollFd> = keys.iter().map(|keys| PollFd::from_borrowed_fd(*keys, PollFlags::IN)).collect();
        match poll(&mut watched, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(TopError::System(error.into())),
        }
        Ok(interrupt::requested().then(|| ExitCode::from(interrupt::exit_code().unwrap_or(0))))
    }

    fn state(&mut self) -> Result<State, TopError> {
        let now = Instant::now();
        let sums = self.recorder.window();
        self.recorder.forget_ended();
        self.ended = sums.ended.clone();
        self.calls.add(now, self.recorder.take_holders());
        self.window.add(now, sums);
        // The samples have the CPU time of the threads.
        self.used.read(now, &mut Usage::default(), &[])?;
        let since = self.window.span().map(|(before, now, _)| now.since(before));
        Ok(State {
            meter: Meter::Samples(HZ),
            subject: format!("process {}", self.pid),
            elapsed_s: self.started.elapsed().as_secs_f64(),
            cores: self.used.cores(),
            processes: vec![Process {
                pid: self.pid,
                version: self.version.clone(),
                held: since.as_ref().and_then(remote::Window::held_share),
                reason: self.no_stacks.clone(),
            }],
            threads: since.map_or_else(Vec::new, |since| self.threads(&since)),
            stalls: None,
            threshold_s: 0.0,
        })
    }

    fn end(&self) -> Option<TopError> {
        self.ended.clone().map(TopError::Ended)
    }

    fn send(&self, _: Signal) -> bool {
        false
    }
}

/// Returns a thread with its name and its shares of the observed time, in which the holder was read for `holder_ns`.
fn shares(sums: &remote::ThreadWindow, holder_ns: u64) -> Thread {
    // The holder is read far more often than the states of the threads. Without two readings of its state, nothing is
    // known.
    let share = |ns: u64, of_ns: u64| (sums.seen_ns > 0 && of_ns > 0).then(|| (ns as f64 / of_ns as f64).min(1.0));
    let held = share(sums.held_ns, holder_ns);
    Thread {
        name: sums.name.as_ref().to_owned(),
        cpu: (sums.seen_ns > 0).then(|| sums.cpu_ns as f64 / sums.seen_ns as f64),
        held,
        waiting: share(sums.waiting_ns, sums.seen_ns).zip(held).map(|(waiting, held)| waiting.min(1.0 - held)),
        ..Thread::default()
    }
}

/// The calls in which threads were last seen holding the GIL.
#[derive(Default)]
struct Calls {
    seen: HashMap<u32, (Rc<[String]>, Instant)>,
}

impl Calls {
    fn last_seen(&self, tid: u32) -> Rc<[String]> {
        self.seen.get(&tid).map(|(stack, _)| stack.clone()).unwrap_or_default()
    }

    fn add(&mut self, now: Instant, holders: Vec<HolderStack>) {
        self.seen.retain(|_, (_, at)| now.duration_since(*at) < LATE);
        for HolderStack { tid, stack, .. } in holders {
            if let Some(stack) = stack {
                self.seen.insert(tid, (stack_lines(&stack).collect(), now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_thread_are_at_most_the_time_for_which_it_was_seen() {
        let of = |seen_ns, held_ns, waiting_ns| {
            let mut sums = remote::ThreadWindow::default();
            (sums.seen_ns, sums.held_ns, sums.waiting_ns) = (seen_ns, held_ns, waiting_ns);
            let thread = shares(&sums, 1000);
            (thread.held, thread.waiting)
        };
        assert_eq!(of(0, 500, 0), (None, None), "its state was read once");
        assert_eq!(of(800, 250, 400), (Some(0.25), Some(0.5)));
        assert_eq!(of(800, 250, 800), (Some(0.25), Some(0.75)), "its states are read less often than the holder");
        assert_eq!(of(800, 1010, 10), (Some(1.0), Some(0.0)), "the last sample may come after the last reading");
    }
}
