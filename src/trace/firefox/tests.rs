//! The profile, read again as plain JSON.

use super::super::example::{FRAMES, MS, example};
use super::*;
use serde_json::Value;

fn document() -> Value {
    let mut bytes = Vec::new();
    firefox(&example(), &mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// A marker: its name, start and end in milliseconds, and data.
type Found<'a> = (&'a str, u64, u64, &'a Value);

/// Returns the markers of a thread.
fn markers(thread: &Value) -> Vec<Found<'_>> {
    let markers = &thread["markers"];
    let ms = |value: &Value| value.as_f64().unwrap().round() as u64;
    (0..index(&markers["length"]))
        .map(|at| {
            let name = thread["stringArray"][index(&markers["name"][at])].as_str().unwrap();
            (name, ms(&markers["startTime"][at]), ms(&markers["endTime"][at]), &markers["data"][at])
        })
        .collect()
}

/// Returns the labels of a stack of a thread, the innermost first.
fn labels(thread: &Value, stack: &Value) -> Vec<String> {
    let (mut next, mut found) = (stack, Vec::new());
    while !next.is_null() {
        let frame = index(&thread["stackTable"]["frame"][index(next)]);
        let function = index(&thread["frameTable"]["func"][frame]);
        let name = &thread["stringArray"][index(&thread["funcTable"]["name"][function])];
        found.push(name.as_str().unwrap().to_owned());
        next = &thread["stackTable"]["prefix"][index(next)];
    }
    found
}

#[test]
fn the_markers_are_the_lanes_of_the_threads() {
    let (recording, document) = (example(), document());
    let mut lanes = Vec::new();
    for process in recording.processes.values() {
        for timeline in timelines(&recording, process) {
            for thread in &timeline.threads {
                let name = |state| STATES.iter().find(|(one, ..)| *one == state).unwrap().1;
                let lane = thread.lane.iter().map(|one| (name(one.state), one.from_ns / MS, one.to_ns / MS));
                let name = format!("{} {}", thread.record.thread.tid, timeline.thread_name(&thread.record.thread));
                lanes.push((name, lane.collect::<Vec<_>>()));
            }
        }
    }
    // A process shows its name in place of that of its main thread.
    lanes[0].0 = "python3.13 (CPython 3.13.0): 3 events are missing".into();
    lanes[3].0 = "python3.13 (CPython 3.13.0)".into();
    let states = document["threads"].as_array().unwrap().iter().map(|thread| {
        let own = markers(thread).into_iter().filter(|one| one.3["type"] == "GIL state");
        let name = thread["name"].as_str().unwrap().to_owned();
        (name, own.map(|(name, from, to, _)| (name, from, to)).collect::<Vec<_>>())
    });
    let mut states: Vec<_> = states.collect();
    states.sort();
    lanes.sort();
    assert_eq!(states, lanes);
    let pids: Vec<&Value> = document["threads"].as_array().unwrap().iter().map(|thread| &thread["pid"]).collect();
    assert_eq!(pids, ["7", "7", "7", "7.1", "7.1"]);
    assert_eq!(document["meta"]["startTime"], 1_795_867_200_500.0);
    assert_eq!(document["meta"]["initialVisibleThreads"].as_array().unwrap().len(), 5);
}

#[test]
fn a_stall_has_its_stack_and_weighs_what_was_lost() {
    let document = document();
    let thread = &document["threads"][0];
    let markers = markers(thread);
    let stalls: Vec<&Found<'_>> = markers.iter().filter(|marker| marker.0 == "Stall").collect();
    let [(_, from, to, data)] = stalls[..] else { panic!("{stalls:?}") };
    assert_eq!((*from, *to, &data["held"], &data["lost"]), (100, 150, &50.0.into(), &95.0.into()));
    let text = |key: &str| thread["stringArray"][index(&data[key])].as_str().unwrap();
    assert_eq!((text("call"), text("reason")), ("encoder.py:261 iterencode", "native call"));
    assert_eq!(text("waiters"), "8, 9");
    assert_eq!(labels(thread, &data["cause"]["stack"]), FRAMES);
    let samples = &thread["samples"];
    assert_eq!((&samples["weight"], &samples["weightType"]), (&serde_json::json!([95]), &"tracing-ms".into()));
    assert_eq!(labels(thread, &samples["stack"][0]), FRAMES);
    assert_eq!(document["meta"]["initialSelectedThreads"], serde_json::json!([0]));
}

#[test]
fn the_threads_that_wait_are_a_graph() {
    let document = document();
    let markers = markers(&document["threads"][0]);
    let waiting = markers.iter().filter(|marker| marker.0 == "Threads that wait");
    let counts: Vec<_> = waiting.map(|(_, from, to, data)| (*from, *to, data["threads"].as_f64().unwrap())).collect();
    assert_eq!(counts, [(100, 105, 1.0), (105, 150, 2.0), (150, 159, 1.0), (300, 400, 1.0)]);
    let schemas = document["meta"]["markerSchema"].as_array().unwrap();
    assert!(schemas.iter().any(|schema| schema["graphs"][0]["key"] == "threads"), "{schemas:#?}");
}
