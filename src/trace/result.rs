//! The result of a recording: the figures of its processes and threads.

use super::{Ending, ProcessRecord, Recording, Stall, ThreadRecord};
use crate::results::{
    MoreStalls, Name, RecordResult, RecordedInterpreter, RecordedProcess, RecordedStall, RecordedThread,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The maximum number of stalls of a process in the result.
const MOST_STALLS: usize = 10_000;

/// The reason for what the recorder writes at its end only.
const KILLED: &str = "the recorder was killed, or the disk was full, before it could write the end";

/// Returns the result of a recording that has ended, or whose recorder was killed.
pub fn result(recording: &Recording) -> RecordResult {
    let start = recording.start.as_ref();
    let end = recording.end.as_ref();
    RecordResult {
        kind: "record".into(),
        started_at: start.map_or_else(String::new, |start| start.started_at.clone()),
        host: recording.host.clone(),
        command: start.map_or_else(Vec::new, |start| start.command.clone()),
        sampled: false,
        stall_threshold_s: start.map(|start| start.stall_ns as f64 / 1e9),
        duration_s: end.map_or(recording.known_until_ns, |end| end.at_ns) as f64 / 1e9,
        exit_code: end.and_then(|end| end.code),
        signal: end.and_then(|end| end.signal),
        processes: recording.processes.values().map(|process| process_of(recording, process)).collect(),
        missing: recording.host.is_none().then(|| ("host".into(), KILLED.into())).into_iter().collect(),
    }
}

fn process_of(recording: &Recording, process: &ProcessRecord) -> RecordedProcess {
    let mut threads: Vec<RecordedThread> =
        process.threads.values().map(|thread| thread_of(recording, process, thread)).collect();
    let used = |thread: &RecordedThread| thread.held_s + thread.waited_s;
    threads.sort_by(|one, other| used(other).total_cmp(&used(one)));
    let metered_s = process.metered_s(recording.end_of(process));
    let is_complete = process.end.as_ref().is_none_or(|end| end.reason.is_none() && end.unlisted == 0);
    let held: f64 = threads.iter().filter(|thread| thread.gil == 0).map(|thread| thread.held_s).sum();
    let mut missing = missing(process, metered_s.is_some());
    let (stalls, more_stalls) = stalls(recording, process, &mut missing);
    RecordedProcess {
        pid: process.process.pid,
        parent: process.process.parent,
        interpreter: interpreter(process),
        ended: ending(process),
        metered_s,
        // Any thread that is missing may have held the GIL.
        held_share: metered_s.filter(|_| is_complete).map(|metered| (held / metered).min(1.0)),
        stalls: Some(stalls),
        more_stalls,
        samples: None,
        threads,
        missing,
    }
}

fn thread_of(recording: &Recording, process: &ProcessRecord, thread: &ThreadRecord) -> RecordedThread {
    let figures = recording.figures(process, thread);
    RecordedThread {
        tid: thread.thread.tid,
        name: thread.thread.name.clone(),
        runs: thread.thread.runs.clone(),
        gil: thread.thread.gil,
        held_s: figures.held_s,
        waited_s: figures.waited_s,
        cpu_s: thread.totals.cpu_ns.map(|ns| ns as f64 / 1e9),
        states: None,
        longest_hold_s: Some(figures.longest_hold_s),
        longest_wait_s: Some(figures.longest_wait_s),
        acquisitions: Some(figures.acquisitions),
        lost_events: thread.totals.lost,
    }
}

/// Returns the worst stalls, and the sums of the others.
fn stalls(
    recording: &Recording,
    process: &ProcessRecord,
    missing: &mut BTreeMap<Name, String>,
) -> (Vec<RecordedStall>, Option<MoreStalls>) {
    let number = process.process.number;
    let mut stalls: Vec<&Stall> = recording.stalls.found().iter().filter(|stall| stall.process == number).collect();
    stalls.sort_by_key(|stall| (Reverse(stall.lost_ns), stall.at_ns));
    let more = stalls.split_off(stalls.len().min(MOST_STALLS));
    let lost_s = more.iter().map(|stall| stall.lost_ns).sum::<u64>() as f64 / 1e9;
    let more = (!more.is_empty()).then_some(MoreStalls { count: more.len() as u64, lost_s });
    if let Some(reason) = process.end.as_ref().and_then(|end| end.no_stacks.as_ref()) {
        missing.insert("stack".into(), reason.clone());
    }
    (stalls.into_iter().filter_map(|stall| recorded_stall(recording, stall)).collect(), more)
}

/// Returns a stall with the ids of its threads and the frames of its stack; None if its process is unknown.
pub fn recorded_stall(recording: &Recording, stall: &Stall) -> Option<RecordedStall> {
    let process = recording.processes.get(&stall.process)?;
    let tid = |row: &u64| process.threads.get(row).map_or(0, |thread| thread.thread.tid);
    let seconds = |ns: u64| ns as f64 / 1e9;
    let frames = |stack: u32| recording.stacks.frames(stack).into_iter().map(str::to_owned).collect();
    Some(RecordedStall {
        at_s: seconds(stall.at_ns),
        length_s: seconds(stall.end_ns.saturating_sub(stall.at_ns)),
        held_s: seconds(stall.held_ns),
        holder: tid(&stall.holder),
        waiters: stall.waiters.iter().map(tid).collect(),
        waiter_stacks: stall.waiter_stacks.iter().map(|(row, stack)| (tid(row), frames(*stack))).collect(),
        lost_s: seconds(stall.lost_ns),
        stack: stall.stack.map_or_else(Vec::new, frames),
        cause: stall.cause.map(|cause| cause.name().into()),
    })
}

fn interpreter(process: &ProcessRecord) -> RecordedInterpreter {
    let build = process.process.python.clone();
    RecordedInterpreter {
        version: build.split_whitespace().next().unwrap_or_default().to_owned(),
        implementation: "cpython".into(),
        build,
        path: process.process.executable.clone(),
    }
}

fn ending(process: &ProcessRecord) -> Name {
    match process.end.as_ref().map_or(Ending::Running, |end| end.how) {
        Ending::Exited => "exited",
        Ending::Abrupt => "abrupt",
        Ending::Executed => "executed",
        Ending::Running => "running",
    }
    .into()
}

fn missing(process: &ProcessRecord, is_metered: bool) -> BTreeMap<Name, String> {
    let mut missing = BTreeMap::new();
    let Some(end) = &process.end else { return missing };
    if !is_metered {
        let reason =
            end.reason.clone().unwrap_or_else(|| "it ended before it released its GIL for the first time".into());
        missing.insert("held_share".into(), reason);
    } else if let Some(reason) = &end.reason {
        missing.insert("held_share".into(), format!("the recording is incomplete: {reason}"));
    } else if let Some(threads) = end.unlisted_threads() {
        missing.insert("held_share".into(), threads);
    }
    if process.threads.values().any(|thread| thread.totals.cpu_ns.is_none()) {
        let why = match end.how {
            Ending::Exited => "a thread's clock could not be read at the end of its process",
            Ending::Abrupt => "the process was killed, or called os._exit, before it could read its threads' clocks",
            Ending::Executed => "the process executed another program before it could read its threads' clocks",
            Ending::Running => "the process was still running at the end of the recording",
        };
        missing.insert("cpu_s".into(), why.into());
    }
    missing
}
