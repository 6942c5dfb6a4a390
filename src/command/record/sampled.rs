//! `busy record --pid`: samples a running process.

use super::calls::Calls;
use crate::process::{interrupt, parent};
use crate::results::{
    Host, Name, RecordResult, RecordedInterpreter, RecordedProcess, RecordedSamples, RecordedStates, RecordedThread,
    now,
};
use busy_gil::remote::{Rates, Recorder, RemoteError, RemoteGil, StackReader, ThreadWindow, Window};
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The samples per second, and the readings of the states of the threads and of the holder's stack.
const HZ: u32 = 1000;
const STATES_HZ: u32 = 100;
/// The end of a process of which no sample shows how it was.
const UNKNOWN: &str = "unknown";
/// The time between two looks whether the sampling is to end.
const STEP: Duration = Duration::from_millis(20);

/// Samples process `pid` until Ctrl-C, its end, or the end of `duration`. Returns what makes the result, given the host.
///
/// # Errors
/// The reason why the process can't be read, and what to do.
pub fn sample(pid: u32, duration: Option<Duration>) -> Result<impl FnOnce(Host) -> RecordResult, RemoteError> {
    let gil = RemoteGil::attach(pid)?;
    let (started_at, start) = (now(), Instant::now());
    let command = words(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
    let parent = parent(pid);
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let interpreter = RecordedInterpreter {
        version: gil.version().to_owned(),
        implementation: "cpython".into(),
        build: gil.version().to_owned(),
        path: path.to_string_lossy().into_owned(),
    };
    let rates = Rates { hz: NonZero::new(HZ).expect("not 0"), states_hz: NonZero::new(STATES_HZ).expect("not 0") };
    let (recorder, mut calls) = match StackReader::attach(pid) {
        Ok(stacks) => (Recorder::start_with_stacks(gil, stacks, rates)?, Ok(Calls::default())),
        Err(error) => (Recorder::start(gil, rates)?, Err(error.to_string())),
    };
    let mut take = |recorder: &Recorder| {
        if let Ok(calls) = &mut calls {
            recorder.take_holders().iter().for_each(|found| calls.add(found));
        }
    };
    let end = duration.and_then(|duration| start.checked_add(duration));
    let mut left = STEP;
    while !left.is_zero() && !interrupt::requested() && recorder.is_sampling() {
        sleep(left);
        take(&recorder);
        left = end.map_or(STEP, |end| end.saturating_duration_since(Instant::now()).min(STEP));
    }
    take(&recorder);
    let (window, duration_s) = (recorder.stop(), start.elapsed().as_secs_f64());
    // The process is none of the other ones, though it is no descendant of the lab.
    let own_percent = 100.0 * seconds(window.threads.values().map(|thread| thread.cpu_ns).sum()) / duration_s;
    let without_own = move |host: Host| Host {
        others_percent: host.others_percent.map(|others| (others - own_percent).max(0.0)),
        ..host
    };
    Ok(move |host| RecordResult {
        kind: "record".into(),
        started_at,
        host: Some(without_own(host)),
        command,
        sampled: true,
        stall_threshold_s: None,
        duration_s,
        exit_code: None,
        signal: None,
        processes: vec![process(pid, parent, interpreter, &window, calls)],
        missing: BTreeMap::new(),
    })
}

/// Returns the figures of the process. `calls` are those in which its threads held the GIL, or the reason why there are none.
fn process(
    pid: u32,
    parent: u32,
    interpreter: RecordedInterpreter,
    window: &Window,
    calls: Result<Calls, String>,
) -> RecordedProcess {
    let mut threads: Vec<RecordedThread> = window.threads.iter().map(|(tid, sums)| thread(*tid, sums)).collect();
    threads.sort_by(|one, other| (other.held_s + other.waited_s).total_cmp(&(one.held_s + one.waited_s)));
    let why = |what: &str| format!("samples do not show {what}; `busy record -- CMD` does");
    let mut missing: BTreeMap<Name, String> = BTreeMap::from([
        ("longest_hold_s".into(), why("where a hold begins and ends")),
        ("longest_wait_s".into(), why("where a wait begins and ends")),
        ("acquisitions".into(), why("each acquire")),
        ("stalls".into(), why("where a hold begins and ends")),
    ]);
    let calls = calls.map_err(|reason| missing.insert("stack".into(), reason)).ok().map(Calls::into_results);
    let held_share = window.held_share();
    if held_share.is_none() {
        missing.insert("held_share".into(), "it ended before the second sample".into());
    }
    if !window.other_gils.is_empty() {
        let reason = format!("{} interpreters with a GIL of their own are not sampled", window.other_gils.len());
        missing.insert("other_gils".into(), reason);
    }
    let ended = window.ended.as_ref().and_then(|why| end(pid, why));
    if ended == Some(UNKNOWN) {
        let reason = "samples show how a process ends only if one finds its Python finalised";
        missing.insert("ended".into(), reason.into());
    }
    if let Some(why) = window.ended.as_ref().filter(|_| ended.is_none()) {
        missing.insert("samples".into(), format!("the sampling stopped before the end: {why}"));
    }
    RecordedProcess {
        pid,
        parent,
        interpreter,
        ended: ended.unwrap_or("running").into(),
        metered_s: held_share.map(|_| seconds(window.seen_ns())),
        held_share,
        stalls: None,
        more_stalls: None,
        samples: Some(RecordedSamples {
            hz: HZ,
            count: window.samples,
            longest_gap_s: seconds(window.longest_gap_ns),
            unseen_s: seconds(window.unseen_ns),
            held_by_unknown_s: seconds(window.held_by_unknown_ns),
            cost_s: window.cost.as_secs_f64(),
        }),
        calls,
        threads,
        missing,
    }
}

/// Returns how the process has ended, if that is why the sampling has stopped. Python finalises itself some time before a
/// process exits, but mostly for less than the time between two samples. So an end without it may be an exit, a signal or
/// os._exit.
fn end(pid: u32, why: &RemoteError) -> Option<&'static str> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let start = Instant::now();
    let lives = || fs::metadata(format!("/proc/{pid}/exe")).is_ok();
    while matches!(why, RemoteError::NotInitialised { .. }) && lives() && start.elapsed() < PATIENCE {
        sleep(STEP);
    }
    match why {
        RemoteError::Ended { .. } => Some(UNKNOWN),
        RemoteError::NotInitialised { .. } if !lives() => Some("exited"),
        _ => None,
    }
}

fn thread(tid: u32, sums: &ThreadWindow) -> RecordedThread {
    RecordedThread {
        tid,
        name: sums.name.as_ref().to_owned(),
        runs: None,
        gil: 0,
        held_s: seconds(sums.held_ns),
        waited_s: seconds(sums.waiting_ns),
        // Without two readings of its state, nothing is known of these.
        cpu_s: (sums.seen_ns > 0).then(|| seconds(sums.cpu_ns)),
        states: (sums.seen_ns > 0).then(|| RecordedStates {
            seen_s: seconds(sums.seen_ns),
            running_s: seconds(sums.running_ns),
            runnable_s: seconds(sums.runnable_ns),
            sleeping_s: seconds(sums.sleeping_ns),
            unknown_s: seconds(sums.unknown_ns),
        }),
        longest_hold_s: None,
        longest_wait_s: None,
        acquisitions: None,
        lost_events: 0,
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Returns the words of /proc/PID/cmdline.
fn words(line: &[u8]) -> Vec<String> {
    let words = line.strip_suffix(b"\0").unwrap_or(line).split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).filter(|_| !line.is_empty()).collect()
}
