//! A recording as a Perfetto trace (protobuf): a track for each thread with its states, flows from a hold to the next one, the
//! stalls with their stacks, and how many threads wait for each GIL.

mod message;
mod packets;

use super::block::Start;
use super::lane::State;
use super::recording::{ProcessRecord, Recording};
use super::stall::Stall;
use super::timeline::{Place, ThreadLane, Timeline, cause_name, missing, process_name, stall_name, timelines, waiters};
use message::{
    CounterDescriptor, DebugAnnotation, EventType, ProcessDescriptor, ThreadDescriptor, TrackDescriptor, TrackEvent,
};
use packets::Packets;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

/// The names of the states, by their numbers among the interned names.
const NAMES: [(u64, &str); 4] =
    [(1, "holds the GIL"), (2, "waits for the GIL"), (3, "released"), (4, "unknown: events are missing or merged")];
/// The categories.
const GIL: (u64, &str) = (1, "gil");
const STALL: (u64, &str) = (2, "stall");

/// Writes the recording, which must have its events, as a Perfetto trace.
///
/// # Errors
/// Those of `to`.
pub fn perfetto(recording: &Recording, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let Some(start) = &recording.start else { return Ok(()) };
    let mut export = Export { packets: Packets::new(to, start.monotonic_ns), recording, tracks: 0, flows: 0 };
    export.head(start)?;
    for process in recording.processes.values() {
        let track = export.process(process)?;
        let mut tracks = ThreadTracks::new();
        for timeline in timelines(recording, process) {
            export.threads(process, &timeline, &mut tracks)?;
            export.stalls(process, &timeline, track)?;
            export.waiting(&timeline, track)?;
        }
    }
    export.cores()
}

/// The tracks of the threads of a process, by thread id: the names of each thread, and their tracks.
type ThreadTracks = HashMap<u32, Vec<(String, u64)>>;

struct Export<'a, W: ?Sized> {
    packets: Packets<'a, W>,
    recording: &'a Recording,
    /// The numbers of the tracks and flows so far.
    tracks: u64,
    flows: u64,
}

impl<'a, W: Write + ?Sized> Export<'a, W> {
    fn head(&mut self, start: &Start) -> io::Result<()> {
        // A text that is no time can only come from a file that was not written by busy.
        let realtime = start.started_at.parse::<jiff::Timestamp>().ok();
        let realtime_ns = realtime.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        self.packets.head(realtime_ns, &[GIL, STALL], &NAMES)
    }

    fn track(&mut self, descriptor: TrackDescriptor) -> io::Result<u64> {
        self.tracks += 1;
        self.packets.track(TrackDescriptor { uuid: Some(self.tracks), ..descriptor })?;
        Ok(self.tracks)
    }

    fn process(&mut self, process: &ProcessRecord) -> io::Result<u64> {
        let descriptor = ProcessDescriptor {
            pid: Some(process.process.pid as i32),
            process_name: Some(process_name(process)),
            process_labels: missing(process).into_iter().collect(),
        };
        self.track(TrackDescriptor { process: Some(descriptor), ..TrackDescriptor::default() })
    }

    /// Returns the track of a thread. The viewer has one thread for a thread id, so what has another name, since it is about
    /// another GIL or since the id was used again, is a track below that of the thread.
    fn thread(&mut self, pid: u32, tid: u32, name: String, tracks: &mut ThreadTracks) -> io::Result<u64> {
        let known = tracks.entry(tid).or_default();
        if let Some((_, track)) = known.iter().find(|(other, _)| *other == name) {
            return Ok(*track);
        }
        let track = match known.first() {
            Some((_, parent)) => self.track(named(&name, *parent))?,
            None => {
                let (pid, tid, thread_name) = (Some(pid as i32), Some(tid.into()), Some(name.clone()));
                let thread = Some(ThreadDescriptor { pid, tid, thread_name });
                self.track(TrackDescriptor { thread, ..TrackDescriptor::default() })?
            }
        };
        known.push((name, track));
        Ok(track)
    }

    fn threads(
        &mut self,
        process: &ProcessRecord,
        timeline: &Timeline<'a>,
        tracks: &mut ThreadTracks,
    ) -> io::Result<()> {
        // Each flow goes from one place to another.
        let mut links: Vec<(Place, u64, bool)> = Vec::new();
        for hand_over in timeline.hand_overs() {
            self.flows += 1;
            links.extend([(hand_over.giver, self.flows, true), (hand_over.taker, self.flows, false)]);
        }
        links.sort_unstable();
        let mut links = links.into_iter().peekable();
        let by_hold: BTreeMap<(u64, u64), &Stall> =
            timeline.stalls.iter().map(|stall| ((stall.holder, stall.at_ns), *stall)).collect();
        for (index, ThreadLane { record, lane }) in timeline.threads.iter().enumerate() {
            let name = timeline.thread_name(&record.thread);
            let track = self.thread(process.process.pid, record.thread.tid, name, tracks)?;
            for (number, stretch) in lane.iter().enumerate() {
                let place = Place { thread: index, stretch: number };
                let mut event = TrackEvent { name_iid: Some(number_of(stretch.state)), ..begin(track, GIL.0) };
                while let Some((_, flow, gives)) = links.next_if(|(next, ..)| *next == place) {
                    if gives { &mut event.flow_ids } else { &mut event.terminating_flow_ids }.push(flow);
                }
                let stall = by_hold.get(&(record.thread.row, stretch.from_ns));
                if let Some(stall) = stall.filter(|stall| stall.end_ns == stretch.to_ns) {
                    event.debug_annotations = self.details(process, stall)?;
                }
                self.packets.slice(event, stretch.from_ns, stretch.to_ns)?;
            }
        }
        Ok(())
    }

    fn stalls(&mut self, process: &ProcessRecord, timeline: &Timeline<'a>, parent: u64) -> io::Result<()> {
        for row in timeline.stall_rows() {
            let track = self.track(named(&timeline.name("stalls"), parent))?;
            for stall in row {
                let name = Some(stall_name(self.recording, stall));
                let debug_annotations = self.details(process, stall)?;
                let event = TrackEvent { name, debug_annotations, ..begin(track, STALL.0) };
                self.packets.slice(event, stall.at_ns, stall.end_ns)?;
            }
        }
        Ok(())
    }

    fn waiting(&mut self, timeline: &Timeline<'a>, parent: u64) -> io::Result<()> {
        let track = self.counter(&timeline.name("threads that wait"), "threads", Some(parent))?;
        for (at_ns, count) in timeline.waiting() {
            let event = TrackEvent { counter_value: Some(count.into()), ..TrackEvent::default() };
            self.packets.value(track, event, at_ns)?;
        }
        Ok(())
    }

    /// Writes how busy each core was, with all programs of the machine, from the start of each interval on.
    fn cores(&mut self) -> io::Result<()> {
        let mut tracks: BTreeMap<u32, u64> = BTreeMap::new();
        for [before, cores] in self.recording.cores.array_windows::<2>() {
            for (core, busy) in &cores.busy {
                let track = match tracks.get(core) {
                    Some(track) => *track,
                    None => self.counter(&format!("core {core}"), "%", None)?,
                };
                tracks.insert(*core, track);
                let percent = Some(f64::from(*busy) / 10.0);
                let event = TrackEvent { double_counter_value: percent, ..TrackEvent::default() };
                self.packets.value(track, event, before.at_ns)?;
            }
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, unit: &str, parent_uuid: Option<u64>) -> io::Result<u64> {
        let (name, counter) = (Some(name.into()), Some(CounterDescriptor { unit_name: Some(unit.into()) }));
        self.track(TrackDescriptor { name, parent_uuid, counter, ..TrackDescriptor::default() })
    }

    /// Returns what is known about a stall, as details of its slice.
    fn details(&mut self, process: &ProcessRecord, stall: &Stall) -> io::Result<Vec<DebugAnnotation>> {
        let name = |name: &str| DebugAnnotation { name: Some(name.into()), ..DebugAnnotation::default() };
        let seconds = |key: &str, ns: u64| DebugAnnotation { double_value: Some(ns as f64 / 1e9), ..name(key) };
        let number = |value: u32| DebugAnnotation { uint_value: Some(value.into()), ..DebugAnnotation::default() };
        let holder = process.threads.get(&stall.holder).map(|record| record.thread.tid);
        let mut details = vec![
            DebugAnnotation { string_value: Some(cause_name(stall).into()), ..name("cause") },
            seconds("held_s", stall.held_ns),
            seconds("lost_s", stall.lost_ns),
            DebugAnnotation { uint_value: holder.map(u64::from), ..name("holder") },
            DebugAnnotation {
                array_values: waiters(process, stall).into_iter().map(number).collect(),
                ..name("waiters")
            },
        ];
        if let Some(stack) = stall.stack {
            let frames = self.packets.interned(&self.recording.stacks.frames(stack))?;
            let frame = |number: u64| DebugAnnotation { string_value_iid: Some(number), ..DebugAnnotation::default() };
            details.push(DebugAnnotation { array_values: frames.into_iter().map(frame).collect(), ..name("stack") });
        }
        Ok(details)
    }
}

/// Returns the number of the state's name.
fn number_of(state: State) -> u64 {
    let index = match state {
        State::Holds => 0,
        State::Waits => 1,
        State::Released => 2,
        State::Unknown | State::Merged(_) => 3,
    };
    NAMES[index].0
}

fn begin(track: u64, category: u64) -> TrackEvent {
    let (r#type, category_iids) = (Some(EventType::SliceBegin.into()), vec![category]);
    TrackEvent { r#type, category_iids, track_uuid: Some(track), ..TrackEvent::default() }
}

fn named(name: &str, parent: u64) -> TrackDescriptor {
    TrackDescriptor { name: Some(name.into()), parent_uuid: Some(parent), ..TrackDescriptor::default() }
}

#[cfg(test)]
mod tests;
