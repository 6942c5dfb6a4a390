//! The threads of one GIL over time: their states, the hand-overs between them, how many of them wait, and the stalls. The
//! exports for other viewers are made from it.

use super::block::Thread;
use super::cause::Cause;
use super::lane::{Lane, State, Stretch};
use super::recording::{ProcessRecord, Recording, ThreadRecord};
use super::stall::Stall;
use std::collections::BTreeSet;
use std::path::Path;

/// One GIL of one process.
pub(super) struct Timeline<'a> {
    /// The index of the GIL.
    pub(super) gil: u32,
    /// The threads that used it, by row.
    pub(super) threads: Vec<ThreadLane<'a>>,
    /// Its stalls, in the order of their starts.
    pub(super) stalls: Vec<&'a Stall>,
}

/// One thread with that GIL.
pub(super) struct ThreadLane<'a> {
    pub(super) record: &'a ThreadRecord,
    /// Its states, from its first event to the end of the thread.
    pub(super) lane: Lane,
}

/// A stretch of a thread, by its index in the thread's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The index of the thread.
    pub(super) thread: usize,
    /// The index of the stretch.
    pub(super) stretch: usize,
}

/// A hold, and the next hold of the same GIL, by another thread that waited for the end of the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HandOver {
    pub(super) giver: Place,
    pub(super) taker: Place,
}

/// Returns the GILs of a process, one at a time: the lanes of all may need too much memory.
pub(super) fn timelines<'a>(
    recording: &'a Recording,
    process: &'a ProcessRecord,
) -> impl Iterator<Item = Timeline<'a>> {
    let gils: BTreeSet<u32> = process.threads.values().map(|record| record.thread.gil).collect();
    gils.into_iter().map(|gil| Timeline::new(recording, process, gil))
}

impl<'a> Timeline<'a> {
    fn new(recording: &'a Recording, process: &'a ProcessRecord, gil: u32) -> Self {
        let end_ns = recording.end_of(process);
        let own = process.threads.values().filter(|record| record.thread.gil == gil);
        // Other viewers know one state at a time.
        let one_state = |mut stretch: Stretch| {
            if let State::Merged(_) = stretch.state {
                stretch.state = State::Unknown;
            }
            stretch
        };
        let lane = |record: &ThreadRecord| record.lane(end_ns).into_iter().map(one_state).collect();
        let threads = own.map(|record| ThreadLane { record, lane: lane(record) });
        let is_own = |stall: &&Stall| {
            let holder = process.threads.get(&stall.holder);
            stall.process == process.process.number && holder.is_some_and(|record| record.thread.gil == gil)
        };
        let mut stalls: Vec<&Stall> = recording.stalls.found().iter().filter(is_own).collect();
        stalls.sort_by_key(|stall| stall.at_ns);
        Self { gil, threads: threads.collect(), stalls }
    }

    /// Returns that stretch.
    pub(super) fn stretch(&self, place: Place) -> Stretch {
        self.threads[place.thread].lane[place.stretch]
    }

    /// Returns the hand-overs, in the order of time. None is assumed where events are missing: another thread may have held
    /// the GIL between.
    pub(super) fn hand_overs(&self) -> Vec<HandOver> {
        let mut holds = self.places(State::Holds);
        holds.sort_by_key(|place| (self.stretch(*place).from_ns, *place));
        let mut unknown: Vec<Stretch> =
            self.places(State::Unknown).into_iter().map(|place| self.stretch(place)).collect();
        unknown.sort_by_key(|stretch| stretch.from_ns);
        // From here on, `to_ns` is the latest end so far.
        let mut latest_ns = 0;
        for stretch in &mut unknown {
            latest_ns = stretch.to_ns.max(latest_ns);
            stretch.to_ns = latest_ns;
        }
        let pairs = holds.windows(2).map(|pair| HandOver { giver: pair[0], taker: pair[1] });
        pairs.filter(|pair| self.is_hand_over(*pair, &unknown)).collect()
    }

    fn is_hand_over(&self, pair: HandOver, unknown: &[Stretch]) -> bool {
        let (before, after) = (self.stretch(pair.giver), self.stretch(pair.taker));
        let wait = pair.taker.stretch.checked_sub(1).map(|stretch| self.stretch(Place { stretch, ..pair.taker }));
        let has_waited = wait.is_some_and(|wait| {
            wait.state == State::Waits && wait.to_ns == after.from_ns && wait.from_ns < before.to_ns
        });
        let is_known = || {
            let until = unknown.partition_point(|stretch| stretch.from_ns < after.from_ns);
            unknown[..until].last().is_none_or(|stretch| stretch.to_ns <= before.to_ns)
        };
        pair.giver.thread != pair.taker.thread && has_waited && is_known()
    }

    /// Returns how many threads wait, from each time on at which that changes.
    pub(super) fn waiting(&self) -> Vec<(u64, u32)> {
        let waits = self.places(State::Waits).into_iter().map(|place| self.stretch(place));
        let mut edges: Vec<(u64, i32)> = waits.flat_map(|wait| [(wait.from_ns, 1), (wait.to_ns, -1)]).collect();
        edges.sort_unstable();
        let (mut waiting, mut found) = (0, Vec::<(u64, u32)>::new());
        for edges in edges.chunk_by(|one, other| one.0 == other.0) {
            let before = waiting;
            waiting += edges.iter().map(|(_, change)| change).sum::<i32>();
            if waiting != before {
                found.push((edges[0].0, waiting.unsigned_abs()));
            }
        }
        found
    }

    /// Returns the stalls in rows, in each of which none overlaps the next: many short holds may lie beside a long one.
    pub(super) fn stall_rows(&self) -> Vec<Vec<&'a Stall>> {
        let mut rows: Vec<Vec<&Stall>> = Vec::new();
        for stall in &self.stalls {
            let is_free = |row: &&mut Vec<&Stall>| row.last().is_none_or(|last| last.end_ns <= stall.at_ns);
            match rows.iter_mut().find(is_free) {
                Some(row) => row.push(stall),
                None => rows.push(vec![stall]),
            }
        }
        rows
    }

    /// Returns the places of all stretches in that state.
    fn places(&self, state: State) -> Vec<Place> {
        let lanes = self.threads.iter().enumerate();
        let all = lanes.flat_map(|(thread, ThreadLane { lane, .. })| {
            let own = lane.iter().enumerate().filter(|(_, stretch)| stretch.state == state);
            own.map(move |(stretch, _)| Place { thread, stretch })
        });
        all.collect()
    }

    /// Returns the name of a thread.
    pub(super) fn thread_name(&self, thread: &Thread) -> String {
        self.name(thread.title())
    }

    /// Returns `name`, with the GIL if it is not the main interpreter's.
    pub(super) fn name(&self, name: &str) -> String {
        if self.gil == 0 { name.to_owned() } else { format!("{name} (GIL {})", self.gil) }
    }
}

/// Returns the name of a process: that of its executable, and the version of its Python.
pub(super) fn process_name(record: &ProcessRecord) -> String {
    let file = Path::new(&record.process.executable).file_name().unwrap_or_default().to_string_lossy();
    match (file.as_ref(), record.process.python.split_whitespace().next()) {
        ("", _) => format!("process {}", record.process.pid),
        (file, Some(version)) => format!("{file} (CPython {version})"),
        (file, None) => file.to_owned(),
    }
}

/// Returns what is missing in the recording of a process.
pub(super) fn missing(record: &ProcessRecord) -> Option<String> {
    let mut parts = Vec::new();
    match &record.end {
        None => parts.push("the recorder was killed before the process ended".to_owned()),
        Some(end) => {
            parts.extend(end.reason.as_ref().map(|reason| format!("not recorded, or not to its end: {reason}")));
            parts.extend(end.unlisted_threads());
            parts.extend(end.no_stacks.as_ref().map(|reason| format!("no stacks: {reason}")));
        }
    }
    let lost: u64 = record.threads.values().map(|thread| thread.totals.lost).sum();
    if lost > 0 {
        parts.push(format!("{lost} events are missing"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns a short name for a stall: the innermost frame without its folder, or else the cause. Many short holds have many
/// frames.
pub(super) fn stall_name(recording: &Recording, stall: &Stall) -> String {
    let frames = stall.stack.map(|stack| recording.stacks.frames(stack)).unwrap_or_default();
    let frame = frames.first().map(|frame| frame.rsplit('/').next().unwrap_or(frame));
    match (stall.cause, frame) {
        (Some(Cause::ManyShortHolds), _) | (_, None) => cause_name(stall).to_owned(),
        (_, Some(frame)) => frame.to_owned(),
    }
}

/// Returns the cause of a stall in words.
pub(super) fn cause_name(stall: &Stall) -> &'static str {
    stall.cause.map_or("cause uncertain", Cause::name)
}

/// Returns the thread ids of the threads that waited in a stall.
pub(super) fn waiters(process: &ProcessRecord, stall: &Stall) -> Vec<u32> {
    stall.waiters.iter().filter_map(|row| process.threads.get(row)).map(|record| record.thread.tid).collect()
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
