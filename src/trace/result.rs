//! The result of a recording: the figures of its processes and threads.

use super::{Ending, ProcessRecord, Recording, Stall, ThreadRecord};
use crate::results::{
    MoreStalls, Name, RecordResult, RecordedInterpreter, RecordedProcess, RecordedStall, RecordedThread,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The maximum number of stalls of a process in the result.
const MOST_STALLS: usize = 10_000;

/// The reason for what the recorder writes at its end only, if the file is not damaged.
pub const KILLED: &str = "the recorder was killed, or the disk was full, or the file was cut off: its end is missing";

/// Returns the reason why what the recorder writes at the end of a process, or at its own end, is not known.
fn cut_off(recording: &Recording) -> String {
    recording.rest.damaged_at.map_or(KILLED, |_| "the file is damaged before the place where it stands").into()
}

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
        missing: [
            recording.host.is_none().then(|| ("host".into(), cut_off(recording))),
            recording.rest.damage().map(|damage| ("events".into(), format!("the file is {damage}"))),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn process_of(recording: &Recording, process: &ProcessRecord) -> RecordedProcess {
    let figures_end = recording.figures_end(process);
    // Without figures, the threads would seem to have used no GIL.
    let known = figures_end.iter().flat_map(|_| process.threads.values());
    let mut threads: Vec<RecordedThread> = known.map(|thread| thread_of(recording, process, thread)).collect();
    let used = |thread: &RecordedThread| thread.held_s + thread.waited_s;
    threads.sort_by(|one, other| used(other).total_cmp(&used(one)));
    let metered_s = figures_end.and_then(|end_ns| process.metered_s(end_ns));
    let is_complete = process.end.as_ref().is_none_or(|end| end.reason.is_none() && end.unlisted == 0);
    let held: f64 = threads.iter().filter(|thread| thread.gil == 0).map(|thread| thread.held_s).sum();
    let mut missing = missing(recording, process, metered_s.is_some());
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
        calls: None,
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

fn missing(recording: &Recording, process: &ProcessRecord, is_metered: bool) -> BTreeMap<Name, String> {
    let mut missing = BTreeMap::new();
    let Some(end) = &process.end else {
        if recording.figures_end(process).is_none() {
            missing.insert("threads".into(), cut_off(recording));
        }
        if !is_metered {
            missing.insert("held_share".into(), cut_off(recording));
        }
        if process.threads.values().any(|thread| thread.totals.cpu_ns.is_none()) {
            missing.insert("cpu_s".into(), cut_off(recording));
        }
        return missing;
    };
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

#[cfg(test)]
mod tests {
    use super::super::{Block, Event, Kind, Process, Thread, Totals};
    use super::*;

    const MS: u64 = 1_000_000;

    /// Returns a recording without its end: one thread, which acquires the GIL at 100 ms and holds it at 1100 ms, and events
    /// of another process up to 1900 ms.
    fn killed(has_figures: bool) -> Recording {
        let mut recording = Recording::new(true);
        let mut apply = |block: Block| recording.apply(block);
        for number in 0..2 {
            let (executable, python) = ("python3".into(), "3.13.0".into());
            apply(Block::Process(Process { number, pid: number + 1, parent: 0, executable, python }));
            let (tid, name) = (number + 1, "work".into());
            apply(Block::Thread(Thread { process: number, row: 1, tid, gil: 0, name, runs: None, ended_ns: None }));
        }
        let events =
            |times: &[(Kind, u64)]| times.iter().map(|(kind, at)| Event { kind: *kind, at: at * MS }).collect();
        let own = events(&[(Kind::Acquired, 100), (Kind::Released, 600), (Kind::Acquired, 1100)]);
        apply(Block::Events { process: 0, row: 1, events: own });
        if has_figures {
            let totals =
                Totals { held_ns: 500 * MS, holds_since_ns: Some(1100 * MS), acquisitions: 2, ..Totals::default() };
            apply(Block::Totals { process: 0, row: 1, totals });
        }
        apply(Block::Events { process: 1, row: 1, events: events(&[(Kind::Acquired, 1900)]) });
        recording
    }

    #[test]
    fn a_process_whose_recorder_was_killed_is_metered_up_to_its_last_figures() {
        let result = result(&killed(true));
        let process = &result.processes[0];
        assert_eq!((process.metered_s, process.held_share, process.threads[0].held_s), (Some(1.0), Some(0.5), 0.5));
        assert_eq!(process.missing.keys().collect::<Vec<_>>(), ["cpu_s"]);
    }

    #[test]
    fn without_figures_there_are_reasons_and_no_zeros() {
        let mut recording = killed(false);
        let reasons = |recording: &Recording| {
            let result = result(recording);
            let process = &result.processes[0];
            assert_eq!((process.metered_s, process.held_share, process.threads.len()), (None, None, 0));
            ["threads", "held_share", "cpu_s"].map(|key| process.missing[key].clone())
        };
        assert!(reasons(&recording).iter().all(|reason| reason.contains("the recorder was killed")));
        recording.rest = crate::trace::Rest { bytes: 7, damaged_at: Some(9000) };
        assert!(reasons(&recording).iter().all(|reason| reason.contains("the file is damaged")));
        assert_eq!(
            result(&recording).missing["events"],
            "the file is damaged at byte 9000: 7 bytes after it are not shown"
        );
    }
}
