//! The trace, decoded again by the same messages.

use super::super::example::{FRAMES, MS, START_NS, example};
use super::message::{TracePacket, TrackDescriptor};
use super::*;
use prost::Message;
use std::collections::BTreeMap;

/// A trace; a reader sees it as one message.
#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packets: Vec<TracePacket>,
}

/// A slice: its track's name, its own name, start and end in milliseconds, the flows that begin and end at it, its details.
#[derive(Debug, PartialEq)]
struct Slice {
    track: u64,
    name: String,
    from: u64,
    to: u64,
    out: Vec<u64>,
    into: Vec<u64>,
    details: Vec<DebugAnnotation>,
}

struct Decoded {
    tracks: BTreeMap<u64, TrackDescriptor>,
    slices: Vec<Slice>,
    counters: Vec<(u64, u64, f64)>,
    texts: BTreeMap<u64, String>,
}

fn decoded(recording: &Recording) -> Decoded {
    let mut bytes = Vec::new();
    perfetto(recording, &mut bytes).unwrap();
    let packets = Trace::decode(&bytes[..]).unwrap().packets;
    assert_eq!(packets[0].clock_snapshot.as_ref().unwrap().clocks.len(), 2);
    assert_eq!(packets[1].sequence_flags, Some(3));
    let mut found = Decoded { tracks: BTreeMap::new(), slices: vec![], counters: vec![], texts: BTreeMap::new() };
    let mut names = BTreeMap::new();
    for packet in packets {
        assert_eq!(packet.trusted_packet_sequence_id, Some(1));
        if let Some(data) = packet.interned_data {
            names.extend(data.event_names.into_iter().map(|one| (one.iid.unwrap(), one.name.unwrap())));
            let texts = data.debug_annotation_string_values.into_iter();
            found.texts.extend(texts.map(|one| (one.iid.unwrap(), String::from_utf8(one.str.unwrap()).unwrap())));
        }
        if let Some(track) = packet.track_descriptor {
            assert!(track.parent_uuid.is_none_or(|parent| found.tracks.contains_key(&parent)));
            assert!(found.tracks.insert(track.uuid.unwrap(), track).is_none());
        }
        let Some(event) = packet.track_event else { continue };
        let (track, at) = (event.track_uuid.unwrap(), (packet.timestamp.unwrap() - START_NS) / MS);
        assert!(found.tracks.contains_key(&track) && packet.sequence_flags == Some(2));
        match event.r#type() {
            EventType::SliceBegin => found.slices.push(Slice {
                track,
                name: event.name.unwrap_or_else(|| names[&event.name_iid.unwrap()].clone()),
                from: at,
                to: 0,
                out: event.flow_ids,
                into: event.terminating_flow_ids,
                details: event.debug_annotations,
            }),
            EventType::SliceEnd => {
                let last = found.slices.last_mut().unwrap();
                assert_eq!((last.track, last.to), (track, 0), "a slice ends before the next one of its track begins");
                last.to = at;
            }
            EventType::Counter => found.counters.push((
                track,
                at,
                event.counter_value.map_or_else(|| event.double_counter_value.unwrap(), |value| value as f64),
            )),
            EventType::Unspecified => panic!("an event without a type"),
        }
    }
    found
}

#[test]
fn the_slices_are_the_lanes_of_the_threads() {
    let recording = example();
    let found = decoded(&recording);
    let mut lanes = Vec::new();
    for process in recording.processes.values() {
        for timeline in timelines(&recording, process) {
            for thread in &timeline.threads {
                let name = |state| NAMES.iter().find(|(iid, _)| *iid == number_of(state)).unwrap().1;
                let pid = process.process.pid as i32;
                lanes.extend(thread.lane.iter().map(|one| {
                    (
                        pid,
                        timeline.thread_name(&thread.record.thread),
                        name(one.state),
                        one.from_ns / MS,
                        one.to_ns / MS,
                    )
                }));
            }
        }
    }
    let of_threads = found.slices.iter().filter_map(|slice| {
        let track = &found.tracks[&slice.track];
        // A second GIL of a thread lies below it.
        let thread = track.thread.clone().or_else(|| found.tracks[&track.parent_uuid?].thread.clone())?;
        let name = track.name.clone().unwrap_or_else(|| thread.thread_name.unwrap());
        Some((thread.pid.unwrap(), name, slice.name.as_str(), slice.from, slice.to))
    });
    assert_eq!(of_threads.collect::<Vec<_>>(), lanes);
    let tids = found.tracks.values().filter_map(|track| track.thread.as_ref()?.tid).collect::<Vec<_>>();
    assert_eq!(tids, [7, 8, 9, 7]);
    assert!(lanes.len() == 17 && lanes.iter().any(|lane| lane.1.ends_with("(GIL 1)")), "{lanes:?}");
    assert!(lanes.contains(&(7, "consume".into(), "unknown: events are missing or merged", 159, 205)), "{lanes:?}");
    // The second process of the same id has tracks of its own.
    let processes = found.tracks.values().filter_map(|track| track.process.as_ref());
    let labels: Vec<&[String]> = processes.map(|process| &process.process_labels[..]).collect();
    assert_eq!(labels, [&["3 events are missing".to_owned()][..], &[]]);
}

#[test]
fn the_flows_are_the_hand_overs() {
    let found = decoded(&example());
    let end = |flow: u64, ends: fn(&Slice) -> &Vec<u64>| {
        let mut at = found.slices.iter().filter(|slice| ends(slice).contains(&flow));
        let slice = at.next().unwrap();
        assert!(at.next().is_none() && slice.name == "holds the GIL", "{slice:?}");
        slice.from
    };
    let flows: Vec<_> = (1..=2).map(|flow| (end(flow, |slice| &slice.out), end(flow, |slice| &slice.into))).collect();
    assert_eq!(flows, [(100, 150), (150, 159)]);
    assert_eq!(found.slices.iter().map(|slice| slice.out.len() + slice.into.len()).sum::<usize>(), 4);
}

#[test]
fn a_stall_has_its_stack_and_its_cost() {
    let recording = example();
    let found = decoded(&recording);
    let is_stall = |slice: &&Slice| found.tracks[&slice.track].name.as_deref() == Some("stalls");
    let stalls: Vec<&Slice> = found.slices.iter().filter(is_stall).collect();
    let [stall] = stalls[..] else { panic!("{stalls:?}") };
    assert_eq!((stall.name.as_str(), stall.from, stall.to), ("encoder.py:261 iterencode", 100, 150));
    let detail = |key: &str| stall.details.iter().find(|one| one.name.as_deref() == Some(key)).unwrap();
    assert_eq!(detail("cause").string_value.as_deref(), Some("native call"));
    assert_eq!((detail("lost_s").double_value, detail("held_s").double_value), (Some(0.095), Some(0.05)));
    let numbers = |key: &str| detail(key).array_values.iter().filter_map(|one| one.uint_value).collect::<Vec<_>>();
    assert_eq!((detail("holder").uint_value, numbers("waiters")), (Some(7), vec![8, 9]));
    let frames = detail("stack").array_values.iter().map(|one| found.texts[&one.string_value_iid.unwrap()].as_str());
    assert_eq!(frames.collect::<Vec<_>>(), FRAMES);
    // The hold has the same details.
    let blamed: Vec<_> = found.slices.iter().filter(|slice| slice.details == stall.details).collect();
    assert_eq!(blamed.len(), 2);
    assert_eq!(blamed.iter().filter(|slice| slice.name == "holds the GIL" && slice.from == 100).count(), 1);
}

#[test]
fn the_counter_of_each_gil_has_the_threads_that_wait() {
    let recording = example();
    let found = decoded(&recording);
    let counters = found.tracks.values().filter(|track| track.counter.is_some());
    let names = counters.map(|track| {
        let unit = track.counter.as_ref().unwrap().unit_name.as_deref().unwrap();
        (track.name.as_deref().unwrap(), unit)
    });
    let expected = [
        ("threads that wait", "threads"),
        ("threads that wait", "threads"),
        ("threads that wait (GIL 1)", "threads"),
        ("core 3", "%"),
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let values: Vec<(u64, f64)> = found.counters.iter().map(|(_, at, value)| (*at, *value)).collect();
    let waiting = [(100, 1.0), (105, 2.0), (150, 1.0), (159, 0.0), (300, 1.0), (400, 0.0)];
    // The core was busy from 50 to 150 ms, and half of the time up to 250 ms.
    assert_eq!(values, [&waiting[..], &[(50, 100.0), (150, 49.5)]].concat());
}
