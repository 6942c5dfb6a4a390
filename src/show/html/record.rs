//! A recording as a section of the page.

use super::recorded::{Recorded, all_stalls};
use super::{flame, lanes, svg};
use crate::results::{Host, RecordResult, RecordedProcess, RecordedStall, RecordedThread};
use crate::show::record::load;
use crate::show::sampled;
use crate::show::signal;
use crate::show::stalls::{self, calls, meaning};
use crate::show::waits::short_waits;
use crate::trace::{Node, Picture, ProcessRecord, Recording, held_by, held_by_samples, recorded_stall};
use crate::units::duration;
use askama::Template;

/// The number of threads in the table.
const THREADS: usize = 200;
/// The number of calls.
const CALLS: usize = 20;
/// The number of processes with a flame graph.
const FLAMES: usize = 20;
/// The number of frames of a stack.
const FRAMES: usize = 16;
/// The number of stalls in the table, if there is no picture.
const STALLS: usize = 200;

/// The section.
#[derive(Template)]
#[template(path = "record.html")]
pub(super) struct RecordSection {
    command: String,
    summary: String,
    /// A warning, if other programs used the CPUs.
    load: String,
    missing: Vec<(String, String)>,
    facts: Vec<(&'static str, String)>,
    picture: Option<PictureSection>,
    /// The flame graph of each process of which stacks were read, with its title.
    flames: Vec<(String, String)>,
    flames_note: &'static str,
    calls: Vec<CallRow>,
    sampled_calls: Vec<SampledCallRow>,
    stalls: Vec<StallRow>,
    stalls_note: String,
    /// How much of the waiting was in no stall, and by whose many holds.
    short_waits: String,
    threads: Vec<ThreadRow>,
    threads_note: String,
}

struct PictureSection {
    note: String,
    svg: String,
    alternative: String,
    data: String,
}

struct CallRow {
    /// The innermost frame outside of libraries, if it is another one.
    from: String,
    lost: String,
    stalls: usize,
    frame: String,
    meaning: String,
}

struct SampledCallRow {
    from: String,
    lost: String,
    held: String,
    samples: u64,
    frame: String,
}

struct StallRow {
    at: String,
    lost: String,
    held: String,
    holder: String,
    waiters: String,
    cause: String,
    call: String,
    frames: Vec<String>,
    /// Of the threads that waited, by their names.
    waiter_stacks: Vec<(String, Vec<String>)>,
}

struct ThreadRow {
    process: String,
    name: String,
    held: String,
    waited: String,
    cpu: String,
    longest_hold: String,
    longest_wait: String,
    acquires: String,
    mean_hold: String,
}

impl RecordSection {
    /// Returns the HTML.
    pub(super) fn html(recorded: &Recorded<'_>) -> String {
        Self::new(recorded).render().expect("writing to a string")
    }

    fn new(recorded: &Recorded<'_>) -> Self {
        let result = recorded.result;
        let picture = recorded.picture.as_ref().zip(recorded.recording);
        let picture = picture.map(|(picture, recording)| PictureSection {
            note: note(picture, recording),
            svg: svg::element(picture, recorded),
            alternative: format!("Timeline of {}", recorded.summary()),
            data: lanes::data(picture, recording),
        });
        let (stalls, stalls_note) = stall_rows(recorded);
        let (threads, threads_note) = thread_rows(result);
        Self {
            command: result.command.join(" "),
            summary: recorded.summary(),
            load: load(result).unwrap_or_default(),
            missing: missing(result),
            facts: facts(result),
            picture,
            flames: flames(recorded),
            flames_note: if result.sampled { "as samples of the holder show it" } else { "which is exact" },
            calls: call_rows(result),
            sampled_calls: sampled_call_rows(result),
            stalls,
            stalls_note,
            short_waits: short_waits(result),
            threads,
            threads_note,
        }
    }
}

/// Returns what the picture shows exactly, and where it shows shares.
fn note(picture: &Picture, recording: &Recording) -> String {
    let exact = picture.lanes.iter().filter(|lane| lane.overview.is_empty()).count();
    let length = (picture.to_ns - picture.from_ns) as f64 / 1e9;
    let bucket = |count: usize| duration(length / count as f64);
    let mut note = String::new();
    if exact == picture.lanes.len() {
        note += "All events are exact.";
    } else {
        note += &format!(
            "{exact} of {} lanes are exact. The others have too many events for a page: they are exact around stalls, \
             unless too many events are there too, and elsewhere a column shows the shares of the states in {}; {} for the busiest threads.",
            picture.lanes.len(),
            bucket(crate::trace::OVERVIEW),
            bucket(crate::trace::FINE),
        );
    }
    if picture.left_out > 0 {
        note += &format!(" {} more threads, which used the GIL less, have no lane.", picture.left_out);
    }
    if let Some(until_ns) = recording.merged_until_ns().filter(|until| *until > picture.from_ns) {
        note += &format!(
            " The recording was long, so its events before {:.1} s were merged: only shares are known of that time.",
            until_ns as f64 / 1e9
        );
    }
    if picture.lanes.iter().any(|lane| !lane.released.is_empty()) {
        note += " What a thread did while released follows from its CPU time, read some ten times per second.";
    }
    if picture.from_ns > 0 || picture.to_ns < recording.known_until_ns {
        let seconds = |ns: u64| ns as f64 / 1e9;
        note += &format!(
            " The picture is from {:.3} s to {:.3} s; the tables are those of the whole recording.",
            seconds(picture.from_ns),
            seconds(picture.to_ns)
        );
    }
    note
}

fn mean_hold(thread: &RecordedThread) -> Option<f64> {
    let count = thread.acquisitions.filter(|count| *count > 0)?;
    Some(thread.held_s / count as f64)
}

fn missing(result: &RecordResult) -> Vec<(String, String)> {
    // The keys of the JSON (docs/results.md), in words.
    let words = |key: &str| match key {
        "cpu_s" => "CPU times".to_owned(),
        "held_share" => "times of holds and waits".to_owned(),
        "host" => "machine".to_owned(),
        "stack" => "stacks".to_owned(),
        "ended" => "how it ended".to_owned(),
        key => key.replace('_', " "),
    };
    let own = result.missing.iter().map(|(key, reason)| (format!("Missing: {}", words(key)), reason.clone()));
    let of_processes = result.processes.iter().flat_map(|process| {
        let what = |key| format!("Missing of process {}: {}", process.pid, words(key));
        process.missing.iter().map(move |(key, reason)| (what(key), reason.clone()))
    });
    own.chain(of_processes).take(20).collect()
}

fn facts(result: &RecordResult) -> Vec<(&'static str, String)> {
    let mut facts = vec![("command", result.command.join(" ")), ("started", result.started_at.clone())];
    let ended = match (result.exit_code, result.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => signal(number),
        (None, None) => "unknown".into(),
    };
    facts.push(("end", ended));
    if let Some(host) = &result.host {
        facts.push(("machine", Host::title(host)));
        if let Some(others) = host.others_percent {
            facts.push(("other processes", format!("{others:.1} % of a core during the recording")));
        }
    }
    for process in &result.processes {
        let interpreter = &process.interpreter;
        facts.push(("process", format!("{}: {}, {}", process.pid, interpreter.path, interpreter.build)));
    }
    facts.truncate(60);
    facts
}

fn flames(recorded: &Recorded<'_>) -> Vec<(String, String)> {
    let of_recording = recorded.recording.into_iter().flat_map(|recording| {
        recording.processes.values().map(move |process| (process.process.pid, held_by(recording, process)))
    });
    let sampled = recorded.result.processes.iter().filter(|process| process.calls.is_some());
    let of_samples = sampled.map(|process| (process.pid, held_by_samples(process)));
    let flame = |(pid, root): (u32, Node)| {
        let title = format!("Process {pid}: the GIL was held for {}", duration(root.held_s));
        Some((title, flame::svg(&root))).filter(|(_, svg)| !svg.is_empty())
    };
    of_recording.chain(of_samples).filter_map(flame).take(FLAMES).collect()
}

fn sampled_call_rows(result: &RecordResult) -> Vec<SampledCallRow> {
    let row = |call: sampled::SampledCall<'_>| SampledCallRow {
        from: call.caller.unwrap_or_default().to_owned(),
        lost: duration(call.lost_s),
        held: duration(call.held_s),
        samples: call.samples,
        frame: call.frame.to_owned(),
    };
    sampled::calls(result).into_iter().take(CALLS).map(row).collect()
}

fn call_rows(result: &RecordResult) -> Vec<CallRow> {
    let all: Vec<&RecordedStall> = all_stalls(result).collect();
    let row = |call: stalls::Call<'_>| CallRow {
        from: call.caller.unwrap_or_default().to_owned(),
        lost: duration(call.lost_s),
        stalls: call.stalls.len(),
        frame: call.frame.to_owned(),
        meaning: meaning(&call),
    };
    calls(&all).into_iter().take(CALLS).map(row).collect()
}

/// Returns a row for each of the worst stalls, in the order of the picture if there is one.
fn stall_rows(recorded: &Recorded<'_>) -> (Vec<StallRow>, String) {
    let result = recorded.result;
    let name = |process: &RecordedProcess, tid: u32| {
        let listed = process.threads.iter().find(|thread| thread.tid == tid).map(RecordedThread::title);
        // A thread without figures is known by its events only.
        let of_process = |one: &&ProcessRecord| one.process.pid == process.pid;
        let processes = recorded.recording.iter().flat_map(|recording| recording.processes.values()).filter(of_process);
        let mut threads = processes.flat_map(|one| one.threads.values()).map(|one| &one.thread);
        let title = listed.or_else(|| threads.find(|thread| thread.tid == tid).map(|thread| thread.title()));
        title.map_or_else(|| tid.to_string(), |title| format!("{title} {tid}"))
    };
    let row = |process: &RecordedProcess, stall: &RecordedStall| StallRow {
        at: format!("{:.4} s", stall.at_s),
        lost: duration(stall.lost_s),
        held: duration(stall.held_s),
        holder: name(process, stall.holder),
        waiters: match stall.waiters.as_slice() {
            [one] => name(process, *one),
            more => format!("{} threads", more.len()),
        },
        cause: stall.cause.as_deref().unwrap_or("uncertain").to_owned(),
        call: stalls::called(stall),
        frames: stall.stack.iter().take(FRAMES).cloned().collect(),
        waiter_stacks: stall
            .waiter_stacks
            .iter()
            .map(|(tid, stack)| (name(process, *tid), stack.iter().take(FRAMES).cloned().collect()))
            .collect(),
    };
    let total = stalls::sums(result).0;
    let rows: Vec<StallRow> = match (&recorded.picture, recorded.recording) {
        (Some(picture), Some(recording)) => {
            let processes: Vec<_> = recording.processes.keys().zip(&result.processes).collect();
            let stall = |index: &usize| {
                let stall = &recording.stalls.found()[*index];
                let (_, process) = processes.iter().find(|(number, _)| **number == stall.process)?;
                Some(row(process, &recorded_stall(recording, stall)?))
            };
            picture.stalls.iter().filter_map(stall).collect()
        }
        _ => {
            let mut all: Vec<_> = result
                .processes
                .iter()
                .flat_map(|process| process.stalls.iter().flatten().map(move |stall| (process, stall)))
                .collect();
            all.sort_by(|(_, one), (_, other)| other.lost_s.total_cmp(&one.lost_s));
            all.into_iter().take(STALLS).map(|(process, stall)| row(process, stall)).collect()
        }
    };
    let Some(threshold) = result.stall_threshold_s.map(duration) else {
        return (rows, "Samples do not show where a hold begins and ends, so no stalls are known.".into());
    };
    let shown =
        if (rows.len() as u64) < total { format!("The worst {} of {total}", rows.len()) } else { "All".to_owned() };
    (rows, format!("{shown} stalls with a wait of {threshold} or more."))
}

fn thread_rows(result: &RecordResult) -> (Vec<ThreadRow>, String) {
    let mut all: Vec<(&RecordedProcess, &RecordedThread)> = result
        .processes
        .iter()
        .flat_map(|process| process.threads.iter().map(move |thread| (process, thread)))
        .collect();
    let used = |thread: &RecordedThread| thread.held_s + thread.waited_s;
    all.sort_by(|(_, one), (_, other)| used(other).total_cmp(&used(one)));
    let share = |process: &RecordedProcess, seconds: f64| {
        let percent = process.metered_s.map(|metered| 100.0 * (seconds / metered).min(1.0));
        percent.map_or_else(|| duration(seconds), |percent| format!("{} ({percent:.1} %)", duration(seconds)))
    };
    let row = |(process, thread): &(&RecordedProcess, &RecordedThread)| ThreadRow {
        process: process.pid.to_string(),
        name: match thread.gil {
            0 => format!("{} {}", thread.title(), thread.tid),
            gil => format!("{} {} (GIL {gil})", thread.title(), thread.tid),
        },
        held: share(process, thread.held_s),
        waited: share(process, thread.waited_s),
        cpu: thread.cpu_s.map_or_else(|| "-".into(), duration),
        longest_hold: thread.longest_hold_s.map_or_else(|| "-".into(), duration),
        longest_wait: thread.longest_wait_s.map_or_else(|| "-".into(), duration),
        acquires: thread.acquisitions.map_or_else(|| "-".into(), |number| number.to_string()),
        mean_hold: mean_hold(thread).map_or_else(|| "-".into(), duration),
    };
    let note = match all.len().saturating_sub(THREADS) {
        0 => String::new(),
        more => format!("{more} more threads are in the recording."),
    };
    (all.iter().take(THREADS).map(row).collect(), note)
}
