//! The figures of a program that this command has started, by the exact meter.

use super::error::TopError;
use super::lately::{Key, Lately};
use super::output::ProgramOutput;
use super::source::Source;
use super::usage::{Usage, Used};
use super::window::Window;
use crate::command::output::note;
use crate::command::recording::{GoingOn, Intervals, Program, ProgramError, Sampled, begin, exit_code};
use crate::process::Foreground;
use crate::show::live::{Meter, Process, Stall, State, Thread, Wait};
use crate::show::{NO_PYTHON, signal};
use crate::trace::{ProcessRecord, ThreadRecord};
use crate::units::duration;
use busy_core::clock::monotonic_ns;
use rustix::process::Signal;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// The time between two readings of the events, from which the stalls are found. A screen reads them at each refresh. The
/// other figures do not need them.
const COLLECT: Duration = Duration::from_millis(120);
/// The bounds of the time between two looks at the threads that wait.
const LOOKS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(10)];
/// The number of stalls that are shown.
const STALLS: usize = 3;

/// A program, and its figures of late.
pub struct Exact {
    program: Program,
    subject: String,
    started: Instant,
    start_ns: u64,
    threshold: Duration,
    usage: Usage,
    used: Used,
    window: Window<Snapshot>,
    lately: Lately,
    /// How long the threads that have ended held the main GIL of each process, by its number.
    gone_ns: HashMap<u32, u64>,
    /// True once a Python was seen.
    has_seen: bool,
    status: Option<ExitStatus>,
}

/// What the meter knows at one moment.
#[derive(Default)]
struct Snapshot {
    /// How long each thread has held its GIL, and waited for it.
    threads: HashMap<Key, [u64; 2]>,
    /// How long the main GIL of each process was held, by the number of the process.
    held: HashMap<u32, u64>,
}

impl Exact {
    /// Starts the program. With a screen, it has a process group of its own.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn start(
        words: &[OsString],
        threshold: Duration,
        output: &ProgramOutput,
        has_screen: bool,
    ) -> Result<Self, ProgramError> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        output.connect(&mut command, has_screen).map_err(ProgramError::NotStarted)?;
        let first = begin(words, threshold);
        let (start_ns, subject) = (first.monotonic_ns, first.command.join(" "));
        let [least, most] = LOOKS;
        let idle = (threshold / 2).clamp(least, most);
        let intervals = Intervals { collect: COLLECT, idle, waited_for: (threshold / 5 * 2).clamp(least, most) };
        let start = if has_screen { Foreground::start_apart } else { Foreground::start };
        Ok(Self {
            program: Program::start(&mut command, start, first, None, Sampled::default(), intervals)?,
            subject,
            started: Instant::now(),
            start_ns,
            threshold,
            usage: Usage::default(),
            used: Used::default(),
            window: Window::default(),
            lately: Lately::default(),
            gone_ns: HashMap::new(),
            has_seen: false,
            status: None,
        })
    }

    /// Reports the end of the program, since the screen has disappeared with it.
    pub fn report_end(&self) {
        let Some(status) = self.status else { return };
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("with exit code {code}"),
            (None, number) => format!("by {}", signal(number.unwrap_or_default())),
        };
        note(&format!("busy: the program ended {how} after {}", duration(self.started.elapsed().as_secs_f64())));
    }

    /// Reports if no Python was seen.
    pub fn report_unseen(&mut self) {
        if !self.has_seen && self.program.recorder().recording().processes.is_empty() {
            note(&format!("busy: no CPython was seen: {NO_PYTHON}"));
        }
    }

    fn snapshot(&mut self, now_ns: u64) -> Snapshot {
        let (mut threads, mut held) = (HashMap::new(), HashMap::new());
        for (number, process) in &self.program.recorder().recording().processes {
            let mut sum = self.gone_ns.get(number).copied().unwrap_or(0);
            for thread in process.threads.values() {
                let so_far = so_far(thread, now_ns);
                sum += if thread.thread.gil == 0 { so_far[0] } else { 0 };
                threads.insert(key(process, thread), so_far);
            }
            held.insert(*number, sum);
        }
        Snapshot { threads, held }
    }

    /// Returns the rows of the threads that use a GIL.
    fn metered(&mut self, now_ns: u64, going_on: &[GoingOn]) -> Vec<Thread> {
        let span = self.window.span();
        let mut rows = Vec::new();
        let mut shown: HashSet<(u32, u32)> = HashSet::new();
        for (number, process) in &self.program.recorder().recording().processes {
            for thread in process.threads.values() {
                let key = key(process, thread);
                let share = |index: usize| {
                    let (before, now, seconds) = span?;
                    let before = before.threads.get(&key).map_or(0, |sums| sums[index]);
                    Some((now.threads.get(&key)?[index].saturating_sub(before) as f64 / 1e9 / seconds).min(1.0))
                };
                let (mut stall, mut stack) = self.lately.longest(key).cloned().unzip();
                let hold = going_on.iter().find(|hold| (hold.process, hold.gil) == (*number, thread.thread.gil));
                if let (Some(since_ns), Some(hold)) = (thread.totals.waits_since_ns, hold) {
                    let length_s = waited_for_s(since_ns, hold, now_ns);
                    let is_long = length_s >= self.threshold.as_secs_f64();
                    if is_long && stall.is_none_or(|stall: Wait| stall.length_s < length_s) {
                        (stall, stack) = (Some(Wait { length_s, goes_on: true }), Some(hold.stack.as_slice().into()));
                    }
                }
                rows.push(Thread {
                    pid: key.0,
                    tid: key.1,
                    gil: key.2,
                    name: thread.thread.runs.as_ref().unwrap_or(&thread.thread.name).clone(),
                    cpu: shown.insert((key.0, key.1)).then(|| self.used.share((key.0, key.1))).flatten(),
                    held: share(0),
                    waiting: share(1),
                    stall,
                    stack: stack.unwrap_or_default(),
                });
            }
        }
        rows
    }

    /// Returns the holds that go on and are stalls already.
    fn current_stalls(&mut self, now_ns: u64, going_on: &[GoingOn]) -> Vec<Stall> {
        let threshold_ns = u64::try_from(self.threshold.as_nanos()).unwrap_or(u64::MAX);
        let recording = self.program.recorder().recording();
        let stall = |hold: &GoingOn| {
            let process = recording.processes.get(&hold.process)?;
            let of_gil = process.threads.values().filter(|thread| thread.thread.gil == hold.gil);
            let waits: Vec<u64> = of_gil
                .filter_map(|thread| thread.totals.waits_since_ns)
                .map(|since| now_ns.saturating_sub(since.max(hold.since_ns)))
                .collect();
            let lost_ns: u64 = waits.iter().sum();
            waits.iter().any(|wait| *wait >= threshold_ns).then(|| Stall {
                held_s: now_ns.saturating_sub(hold.since_ns) as f64 / 1e9,
                goes_on: true,
                pid: process.process.pid,
                holder: hold.tid,
                waiters: waits.len(),
                lost_s: lost_ns as f64 / 1e9,
                stack: hold.stack.clone(),
            })
        };
        going_on.iter().filter_map(stall).collect()
    }

    fn processes(&mut self, running: &HashMap<u32, Option<String>>) -> Vec<Process> {
        let span = self.window.span();
        let recording = self.program.recorder().recording();
        let processes = recording.processes.iter().filter(|(number, _)| running.contains_key(number));
        let shown = processes.map(|(number, process)| {
            let reason = running[number].clone();
            let held = || {
                let (before, now, seconds) = span?;
                let before = before.held.get(number).copied().unwrap_or(0);
                Some((now.held.get(number)?.saturating_sub(before) as f64 / 1e9 / seconds).min(1.0))
            };
            Process {
                pid: process.process.pid,
                version: process.process.python.split_whitespace().next().unwrap_or_default().to_owned(),
                held: if reason.is_none() { held() } else { None },
                reason,
            }
        });
        shown.collect()
    }
}

impl Source for Exact {
    fn wait(&mut self, until: Instant, keys: Option<BorrowedFd<'_>>) -> Result<Option<ExitCode>, TopError> {
        self.status = self.program.step(Some(until), keys.as_slice()).map_err(TopError::System)?;
        Ok(self.status.map(exit_code))
    }

    fn state(&mut self) -> Result<State, TopError> {
        let (now, now_ns) = (Instant::now(), monotonic_ns().saturating_sub(self.start_ns));
        self.program.collect_all();
        let recorder = self.program.recorder();
        self.has_seen |= !recorder.recording().processes.is_empty();
        self.lately.add(now, recorder);
        let gone_ns = &mut self.gone_ns;
        recorder.forget_ended(|process, thread| {
            if thread.thread.gil == 0 {
                *gone_ns.entry(process).or_default() += so_far(thread, now_ns)[0];
            }
        });
        let running: HashMap<u32, Option<String>> = recorder.running().collect();
        gone_ns.retain(|process, _| running.contains_key(process));
        let processes = &recorder.recording().processes;
        let pids: Vec<u32> = processes.values().map(|process| process.process.pid).collect();
        let going_on: Vec<GoingOn> = recorder.going_on().collect();

        let snapshot = self.snapshot(now_ns);
        self.window.add(now, snapshot);
        self.used.read(now, &mut self.usage, &pids)?;
        let mut stalls = self.current_stalls(now_ns, &going_on);
        stalls.extend(self.lately.worst(STALLS));
        stalls.truncate(STALLS);
        let mut threads = self.metered(now_ns, &going_on);
        let known: HashSet<(u32, u32)> = threads.iter().map(|thread| (thread.pid, thread.tid)).collect();
        for (pid, tid) in self.used.threads().filter(|thread| !known.contains(thread)) {
            let (name, cpu) = (self.usage.name(pid, tid), self.used.share((pid, tid)));
            threads.push(Thread { pid, tid, name, cpu, ..Thread::default() });
        }
        Ok(State {
            meter: Meter::Exact,
            subject: self.subject.clone(),
            elapsed_s: self.started.elapsed().as_secs_f64(),
            cores: self.used.cores(),
            processes: self.processes(&running),
            threads,
            stalls: Some(stalls),
            threshold_s: self.threshold.as_secs_f64(),
        })
    }

    fn send(&self, signal: Signal) -> bool {
        self.program.foreground().send(signal);
        true
    }
}

fn key(process: &ProcessRecord, thread: &ThreadRecord) -> Key {
    (process.process.pid, thread.thread.tid, thread.thread.gil)
}

/// Returns how long the thread has held its GIL, and waited for it, up to `now_ns`.
fn so_far(thread: &ThreadRecord, now_ns: u64) -> [u64; 2] {
    let current = |since: Option<u64>| since.map_or(0, |since| now_ns.saturating_sub(since));
    let totals = &thread.totals;
    [totals.held_ns + current(totals.holds_since_ns), totals.waited_ns + current(totals.waits_since_ns)]
}

/// Returns for how much of a hold a thread has waited that waits since `since_ns`, which may be before it.
fn waited_for_s(since_ns: u64, hold: &GoingOn, now_ns: u64) -> f64 {
    now_ns.saturating_sub(since_ns.max(hold.since_ns)) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_began_in_an_earlier_hold_counts_from_the_start_of_this_one() {
        let hold = GoingOn { process: 0, gil: 0, tid: 1, since_ns: 500_000_000, stack: Vec::new() };
        assert_eq!(waited_for_s(200_000_000, &hold, 750_000_000), 0.25);
        assert_eq!(waited_for_s(700_000_000, &hold, 750_000_000), 0.05);
    }
}
