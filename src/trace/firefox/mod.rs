//! A recording as a profile for the Firefox Profiler: the states of the threads as markers with the names that CPython's own
//! profiler gives them (profiling.sampling, Lib/profiling/sampling/gecko_collector.py), and the stalls with their stacks. Each
//! stall is a sample as well, whose weight is the time lost.

mod markers;

use super::lane::State;
use super::recording::{ProcessRecord, Recording};
use super::stall::Stall;
use super::timeline::{Timeline, cause_name, missing, process_name, stall_name, timelines, waiters};
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, MarkerTiming, ProcessHandle, Profile,
    ReferenceTimestamp, SamplingInterval, StackHandle, StringHandle, ThreadHandle, Timestamp, WeightType,
};
use markers::{GilState, Stalled, Waiting};
use std::collections::HashMap;
use std::io::{self, Write};

/// The states, with their names and colors.
const STATES: [(State, &str, CategoryColor); 4] = [
    (State::Holds, "Has GIL", CategoryColor::Green),
    (State::Waits, "Waiting for GIL", CategoryColor::Orange),
    (State::Released, "No GIL", CategoryColor::Gray),
    (State::Unknown, "Unknown: events are missing or merged", CategoryColor::Yellow),
];

/// Writes the recording, which must have its events, as a profile in JSON. The profile is built in memory first.
///
/// # Errors
/// Those of `to`.
pub fn firefox(recording: &Recording, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    serde_json::to_writer(to, &profile(recording)).map_err(io::Error::from)
}

fn profile(recording: &Recording) -> Profile {
    let start = recording.start.as_ref();
    let command = start.map_or_else(String::new, |start| start.command.join(" "));
    // A text that is no time can only come from a file that was not written by busy.
    let started = start.and_then(|start| start.started_at.parse::<jiff::Timestamp>().ok()).unwrap_or_default();
    let reference = ReferenceTimestamp::from_millis_since_unix_epoch(started.as_nanosecond() as f64 / 1e6);
    let interval = SamplingInterval::from_nanos(start.map_or(1, |start| start.stall_ns));
    let mut profile = Profile::new(&format!("busy record: {command}"), reference, interval);
    profile.set_os_name("Linux");
    // The frames are texts: there are no addresses to look up.
    profile.set_symbolicated(true);
    let states = STATES.map(|(_, name, color)| (profile.intern_string(name), profile.add_category(name, color)));
    let stall = profile.add_category("Stall", CategoryColor::Red);
    let mut export = Export { recording, profile, states, stall };
    let mut worst: Option<(u64, ThreadHandle)> = None;
    for process in recording.processes.values() {
        let handle = export.process(process);
        for timeline in timelines(recording, process) {
            let threads = export.threads(process, handle, &timeline);
            for stall in &timeline.stalls {
                let Some(thread) = threads.get(&stall.holder) else { continue };
                export.stall(process, *thread, stall);
                if worst.is_none_or(|(lost, _)| stall.lost_ns > lost) {
                    worst = Some((stall.lost_ns, *thread));
                }
            }
        }
    }
    if let Some((_, thread)) = worst {
        export.profile.add_initial_selected_thread(thread);
    }
    export.profile
}

struct Export<'a> {
    recording: &'a Recording,
    profile: Profile,
    /// The names and categories, in the order of [`STATES`].
    states: [(StringHandle, CategoryHandle); 4],
    stall: CategoryHandle,
}

impl Export<'_> {
    fn process(&mut self, record: &ProcessRecord) -> ProcessHandle {
        let missing = missing(record).map_or_else(String::new, |missing| format!(": {missing}"));
        let name = process_name(record) + &missing;
        let first = record.first_event_ns();
        let process = self.profile.add_process(&name, record.process.pid, at(first.unwrap_or(0)));
        self.profile.set_process_end_time(process, at(self.recording.end_of(record)));
        process
    }

    /// Adds the threads of a GIL with their states. Returns them by row.
    fn threads(
        &mut self,
        record: &ProcessRecord,
        process: ProcessHandle,
        timeline: &Timeline<'_>,
    ) -> HashMap<u64, ThreadHandle> {
        let mut threads = HashMap::new();
        for thread in &timeline.threads {
            let own = &thread.record.thread;
            let begin = thread.lane.first().map_or(0, |first| first.from_ns);
            let is_main = own.tid == record.process.pid && own.gil == 0;
            let handle = self.profile.add_thread(process, own.tid, at(begin), is_main);
            self.profile.set_thread_name(handle, &format!("{} {}", own.tid, timeline.thread_name(own)));
            self.profile.set_thread_show_markers_in_timeline(handle, true);
            self.profile.set_thread_samples_weight_type(handle, WeightType::TracingMs);
            // By default, a thread without CPU samples is hidden.
            self.profile.add_initial_visible_thread(handle);
            for stretch in &thread.lane {
                let index = STATES.iter().position(|(state, ..)| *state == stretch.state).expect("all states");
                let (name, category) = self.states[index];
                let timing = MarkerTiming::Interval(at(stretch.from_ns), at(stretch.to_ns));
                self.profile.add_marker(handle, timing, GilState { name, category });
            }
            threads.insert(own.row, handle);
        }
        self.waiting(timeline, &threads);
        threads
    }

    /// Draws the number of threads that wait below the GIL's first thread: the profiler has no counters of its own kind.
    fn waiting(&mut self, timeline: &Timeline<'_>, threads: &HashMap<u64, ThreadHandle>) {
        let first = timeline.threads.first().and_then(|first| threads.get(&first.record.thread.row));
        let Some(thread) = first else { return };
        let name = self.profile.intern_string(&timeline.name("Threads that wait"));
        for pair in timeline.waiting().windows(2) {
            let ((from, count), (to, _)) = (pair[0], pair[1]);
            if count > 0 {
                self.profile.add_marker(*thread, MarkerTiming::Interval(at(from), at(to)), Waiting { name, count });
            }
        }
    }

    fn stall(&mut self, process: &ProcessRecord, thread: ThreadHandle, stall: &Stall) {
        let tids: Vec<String> = waiters(process, stall).iter().map(u32::to_string).collect();
        let marker = Stalled {
            name: self.profile.intern_string("Stall"),
            category: self.stall,
            call: self.profile.intern_string(&stall_name(self.recording, stall)),
            cause: self.profile.intern_string(cause_name(stall)),
            waiters: self.profile.intern_string(&tids.join(", ")),
            held_ns: stall.held_ns,
            lost_ns: stall.lost_ns,
        };
        let timing = MarkerTiming::Interval(at(stall.at_ns), at(stall.end_ns));
        let marker = self.profile.add_marker(thread, timing, marker);
        let Some(stack) = stall.stack.and_then(|stack| self.stack(thread, stack)) else { return };
        self.profile.set_marker_stack(thread, marker, Some(stack));
        let lost_ms = i32::try_from((stall.lost_ns + 500_000) / 1_000_000).unwrap_or(i32::MAX);
        self.profile.add_sample(thread, at(stall.at_ns), Some(stack), CpuDelta::ZERO, lost_ms);
    }

    fn stack(&mut self, thread: ThreadHandle, stack: u32) -> Option<StackHandle> {
        let mut frames = Vec::new();
        // The outermost frame first.
        for frame in self.recording.stacks.frames(stack).into_iter().rev() {
            let frame = Frame::Label(self.profile.intern_string(frame));
            frames.push(FrameInfo { frame, category_pair: self.stall.into(), flags: FrameFlags::empty() });
        }
        self.profile.intern_stack_frames(thread, frames.into_iter())
    }
}

fn at(ns: u64) -> Timestamp {
    Timestamp::from_nanos_since_reference(ns)
}

#[cfg(test)]
mod tests;
