//! A recording as trace events in JSON (the format of Chrome's about:tracing), as `viztracer --combine` and Perfetto read it.
//!
//! Times are microseconds on CLOCK_MONOTONIC, as viztracer's are. The tracks have numbers above all thread ids: slices of one
//! thread id must nest, so they would be mixed up with the function calls that viztracer records under the same one.

use super::lane::State;
use super::recording::{ProcessRecord, Recording};
use super::stall::Stall;
use super::timeline::{Timeline, cause_name, missing, process_name, stall_name, timelines, waiters};
use serde_json::{Value, json};
use std::io::{self, Write};

/// The number of the first track: larger than any thread id (PID_MAX_LIMIT, include/linux/threads.h).
const FIRST_TRACK: u64 = (1 << 22) + 1;

/// Writes the recording, which must have its events, as trace events.
///
/// # Errors
/// Those of `to`.
pub fn chrome(recording: &Recording, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let start_ns = recording.start.as_ref().map_or(0, |start| start.monotonic_ns);
    let mut export = Export { recording, to, start_ns, tracks: FIRST_TRACK, flows: 0, is_first: true };
    export.to.write_all(b"{\"traceEvents\":[\n")?;
    for process in recording.processes.values() {
        export.process(process)?;
        for timeline in timelines(recording, process) {
            export.threads(process.process.pid, &timeline)?;
            export.stalls(process, &timeline)?;
            export.waiting(process.process.pid, &timeline)?;
        }
    }
    // The version is viztracer's own, once it has combined the file with others.
    export.to.write_all(b"\n],\"viztracer_metadata\":{\"overflow\":false}}\n")
}

struct Export<'a, W: ?Sized> {
    recording: &'a Recording,
    to: &'a mut W,
    /// The start of the recording on CLOCK_MONOTONIC.
    start_ns: u64,
    /// The number of the next track.
    tracks: u64,
    flows: u64,
    is_first: bool,
}

impl<W: Write + ?Sized> Export<'_, W> {
    fn event(&mut self, event: &Value) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.to.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *self.to, event).map_err(io::Error::from)
    }

    /// Returns a time in microseconds.
    fn micros(&self, ns: u64) -> f64 {
        self.start_ns.saturating_add(ns) as f64 / 1e3
    }

    fn process(&mut self, process: &ProcessRecord) -> io::Result<()> {
        let pid = process.process.pid;
        self.event(&json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": process_name(process)}}))?;
        match missing(process) {
            Some(labels) => {
                self.event(&json!({"ph": "M", "name": "process_labels", "pid": pid, "args": {"labels": labels}}))
            }
            None => Ok(()),
        }
    }

    fn track(&mut self, pid: u32, name: &str) -> io::Result<u64> {
        let track = self.tracks;
        self.tracks += 1;
        self.event(&json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": track, "args": {"name": name}}))?;
        // Their order is that of their numbers.
        let order = json!({"sort_index": track});
        self.event(&json!({"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": track, "args": order}))?;
        Ok(track)
    }

    fn threads(&mut self, pid: u32, timeline: &Timeline<'_>) -> io::Result<()> {
        let mut tracks = Vec::with_capacity(timeline.threads.len());
        for thread in &timeline.threads {
            let own = &thread.record.thread;
            let track = self.track(pid, &format!("GIL: {} {}", own.tid, timeline.thread_name(own)))?;
            for stretch in &thread.lane {
                let (from, to) = (self.micros(stretch.from_ns), self.micros(stretch.to_ns));
                let name = name_of(stretch.state);
                self.event(&json!({
                    "ph": "X", "cat": "gil", "name": name, "pid": pid, "tid": track, "ts": from,
                    "dur": to - from
                }))?;
            }
            tracks.push(track);
        }
        for pair in timeline.hand_overs() {
            self.flows += 1;
            let (giver, taker) = (timeline.stretch(pair.giver), timeline.stretch(pair.taker));
            // A flow belongs to the slice in which it begins, so it begins just before the end.
            let from = giver.to_ns.saturating_sub(1).min(taker.from_ns).max(giver.from_ns);
            let mut end = |ph: &str, track: u64, at_ns: u64| {
                let ts = self.micros(at_ns);
                self.event(&json!({
                    "ph": ph, "bp": "e", "cat": "gil", "name": "hand-over", "id": self.flows, "pid": pid,
                    "tid": track, "ts": ts
                }))
            };
            end("s", tracks[pair.giver.thread], from)?;
            end("f", tracks[pair.taker.thread], taker.from_ns)?;
        }
        Ok(())
    }

    fn stalls(&mut self, process: &ProcessRecord, timeline: &Timeline<'_>) -> io::Result<()> {
        let pid = process.process.pid;
        for row in timeline.stall_rows() {
            let track = self.track(pid, &timeline.name("stalls"))?;
            for stall in row {
                let (from, to) = (self.micros(stall.at_ns), self.micros(stall.end_ns));
                self.event(&json!({
                    "ph": "X", "cat": "stall", "name": stall_name(self.recording, stall), "pid": pid, "tid": track,
                    "ts": from, "dur": to - from, "args": self.details(process, stall)
                }))?;
            }
        }
        Ok(())
    }

    fn waiting(&mut self, pid: u32, timeline: &Timeline<'_>) -> io::Result<()> {
        // Perfetto joins the names of the counter and of its value.
        let name = timeline.name("threads");
        for (at_ns, count) in timeline.waiting() {
            let ts = self.micros(at_ns);
            self.event(&json!({"ph": "C", "name": name, "pid": pid, "ts": ts, "args": {"that wait": count}}))?;
        }
        Ok(())
    }

    /// Returns what is known about a stall.
    fn details(&self, process: &ProcessRecord, stall: &Stall) -> Value {
        let mut details = json!({
            "cause": cause_name(stall),
            "held_s": stall.held_ns as f64 / 1e9,
            "lost_s": stall.lost_ns as f64 / 1e9,
            "holder": process.threads.get(&stall.holder).map(|record| record.thread.tid),
            "waiters": waiters(process, stall),
        });
        if let Some(stack) = stall.stack {
            details["stack"] = json!(self.recording.stacks.frames(stack));
        }
        details
    }
}

fn name_of(state: State) -> &'static str {
    match state {
        State::Holds => "holds the GIL",
        State::Waits => "waits for the GIL",
        State::Released => "released",
        State::Unknown | State::Merged(_) => "unknown: events are missing or merged",
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{FRAMES, MS, START_NS, example};
    use super::*;

    fn events() -> Vec<Value> {
        let mut bytes = Vec::new();
        chrome(&example(), &mut bytes).unwrap();
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(document["viztracer_metadata"].is_object());
        let Value::Array(events) = document["traceEvents"].take() else { panic!("no list") };
        events
    }

    fn of<'a>(events: &'a [Value], ph: &str) -> impl Iterator<Item = &'a Value> {
        events.iter().filter(move |event| event["ph"] == ph)
    }

    /// Returns a time in milliseconds since the start of the recording.
    fn ms(micros: &Value) -> u64 {
        ((micros.as_f64().unwrap() * 1e3 - START_NS as f64) / MS as f64).round() as u64
    }

    /// Returns the name of each track.
    fn track<'a>(events: &'a [Value], event: &Value) -> &'a str {
        let mut named = of(events, "M").filter(|one| one["name"] == "thread_name" && one["tid"] == event["tid"]);
        let name = named.next().unwrap()["args"]["name"].as_str().unwrap();
        assert!(named.next().is_none(), "each track has one name");
        name
    }

    #[test]
    fn the_slices_are_the_lanes_of_the_threads() {
        let (recording, events) = (example(), events());
        let mut lanes = Vec::new();
        for process in recording.processes.values() {
            for timeline in timelines(&recording, process) {
                for thread in &timeline.threads {
                    let own = &thread.record.thread;
                    let name = format!("GIL: {} {}", own.tid, timeline.thread_name(own));
                    let lane = thread.lane.iter();
                    lanes.extend(lane.map(|one| (name.clone(), name_of(one.state), one.from_ns / MS, one.to_ns / MS)));
                }
            }
        }
        let slices = of(&events, "X").filter(|slice| slice["cat"] == "gil").map(|slice| {
            let from = ms(&slice["ts"]);
            let length = (slice["dur"].as_f64().unwrap() / 1e3).round() as u64;
            (track(&events, slice).to_owned(), slice["name"].as_str().unwrap(), from, from + length)
        });
        assert_eq!(slices.collect::<Vec<_>>(), lanes);
        assert_eq!(lanes.len(), 17);
        assert!(of(&events, "X").all(|slice| slice["tid"].as_u64().unwrap() > 1 << 22 && slice["pid"] == 7));
    }

    #[test]
    fn a_flow_begins_in_the_hold_and_ends_at_the_start_of_the_next_one() {
        let events = events();
        let ends: Vec<_> = of(&events, "s").zip(of(&events, "f")).collect();
        let times: Vec<_> = ends.iter().map(|(from, to)| (ms(&from["ts"]), ms(&to["ts"]))).collect();
        assert_eq!(times, [(150, 150), (159, 159)]);
        for (from, to) in ends {
            assert_eq!((&from["id"], &to["bp"]), (&to["id"], &"e".into()));
            assert!(from["ts"].as_f64() < to["ts"].as_f64());
            for end in [from, to] {
                let at = end["ts"].as_f64().unwrap();
                let around = of(&events, "X").find(|slice| {
                    let (ts, dur) = (slice["ts"].as_f64().unwrap(), slice["dur"].as_f64().unwrap());
                    slice["tid"] == end["tid"] && ts <= at && at < ts + dur
                });
                assert_eq!(around.unwrap()["name"], "holds the GIL");
            }
        }
    }

    #[test]
    fn stalls_counters_and_missing_events_are_named() {
        let events = events();
        let stalls: Vec<&Value> = of(&events, "X").filter(|slice| slice["cat"] == "stall").collect();
        let [stall] = stalls[..] else { panic!("{stalls:?}") };
        assert_eq!((track(&events, stall), &stall["name"]), ("stalls", &"encoder.py:261 iterencode".into()));
        let expected = json!({
            "cause": "native call", "held_s": 0.05, "lost_s": 0.095, "holder": 7, "waiters": [8, 9], "stack": FRAMES
        });
        assert_eq!(stall["args"], expected);
        let waiting: Vec<_> = of(&events, "C").map(|one| (ms(&one["ts"]), one["args"]["that wait"].clone())).collect();
        assert_eq!(waiting, [(100, 1), (105, 2), (150, 1), (159, 0), (300, 1), (400, 0)].map(|(at, n)| (at, n.into())));
        let labels: Vec<&Value> = of(&events, "M").filter(|one| one["name"] == "process_labels").collect();
        assert!(labels.len() == 1 && labels[0]["args"]["labels"] == "3 events are missing", "{labels:?}");
    }
}
