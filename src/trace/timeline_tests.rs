//! The states of the threads of one GIL, and what connects them.

use super::super::example::{MS, example};
use super::*;

#[test]
fn a_hold_is_handed_over_to_the_next_one_that_waited() {
    let recording = example();
    let found: Vec<Timeline<'_>> = timelines(&recording, &recording.processes[&0]).collect();
    assert_eq!(found.len(), 1);
    let place = |thread, stretch| Place { thread, stretch };
    // Row 1 handed it over to row 2, row 2 to row 3. Row 1 did not wait for its second hold, and between that and the second
    // one of row 2, events are missing.
    let expected =
        [HandOver { giver: place(0, 0), taker: place(1, 1) }, HandOver { giver: place(1, 1), taker: place(2, 1) }];
    assert_eq!(found[0].hand_overs(), expected);
}

#[test]
fn no_hand_over_is_assumed_where_events_are_missing() {
    let mut recording = example();
    let mut timeline = timelines(&recording, &recording.processes[&0]).next().unwrap();
    assert_eq!(timeline.hand_overs().len(), 2);
    // Row 1 may have held the GIL between the hold of row 2 and that of row 3.
    timeline.threads[0].lane[1] = Stretch { state: State::Unknown, from_ns: 150 * MS, to_ns: 200 * MS };
    timeline.threads[2].lane[0].to_ns += MS;
    timeline.threads[2].lane[1].from_ns += MS;
    assert_eq!(timeline.hand_overs().len(), 1);
    // Nor is one by a thread that began to wait only after the end of the hold.
    let events = &mut recording.processes.get_mut(&0).unwrap().threads.get_mut(&2).unwrap().events;
    (events[0].at, events[1].at) = (150 * MS, 151 * MS);
    assert_eq!(timelines(&recording, &recording.processes[&0]).next().unwrap().hand_overs().len(), 1);
}

#[test]
fn the_threads_that_wait_are_counted() {
    let recording = example();
    let timeline = timelines(&recording, &recording.processes[&0]).next().unwrap();
    let waiting: Vec<_> = timeline.waiting().iter().map(|(at, count)| (at / MS, *count)).collect();
    assert_eq!(waiting, [(100, 1), (105, 2), (150, 1), (159, 0), (300, 1), (400, 0)]);
    // One begins to wait as the other one ends.
    let mut timeline = timelines(&recording, &recording.processes[&1]).next().unwrap();
    let wait = |from_ns, to_ns| Stretch { state: State::Waits, from_ns, to_ns };
    timeline.threads[0].lane = vec![wait(0, 10), wait(10, 20)];
    assert_eq!(timeline.waiting(), [(0, 1), (20, 0)]);
}

#[test]
fn the_gils_of_a_process_are_kept_apart() {
    let recording = example();
    let found: Vec<Timeline<'_>> = timelines(&recording, &recording.processes[&1]).collect();
    let rows = |timeline: &Timeline<'_>| timeline.threads.iter().map(|one| one.record.thread.row).collect::<Vec<_>>();
    assert_eq!(found.iter().map(rows).collect::<Vec<_>>(), [[1], [2]]);
    assert_eq!(found.iter().map(|timeline| timeline.name("x")).collect::<Vec<_>>(), ["x", "x (GIL 1)"]);
    assert!(found.iter().all(|timeline| timeline.stalls.is_empty() && timeline.hand_overs().is_empty()));
}

#[test]
fn a_lane_ends_with_its_thread() {
    let recording = example();
    let timeline = timelines(&recording, &recording.processes[&0]).next().unwrap();
    let ends: Vec<u64> = timeline.threads.iter().map(|one| one.lane.last().unwrap().to_ns / MS).collect();
    assert_eq!(ends, [250, 400, 400]);
}

#[test]
fn stalls_that_overlap_lie_in_several_rows() {
    let recording = example();
    let mut timeline = timelines(&recording, &recording.processes[&0]).next().unwrap();
    let first = timeline.stalls[0];
    let stall = |at: u64, end: u64| Stall { at_ns: at * MS, end_ns: end * MS, ..first.clone() };
    let (second, third) = (stall(120, 170), stall(150, 160));
    timeline.stalls = vec![first, &second, &third];
    assert_eq!(timeline.stall_rows(), [vec![first, &third], vec![&second]]);
}

#[test]
fn what_is_missing_is_named() {
    let recording = example();
    assert_eq!(missing(&recording.processes[&0]).as_deref(), Some("3 events are missing"));
    assert_eq!(missing(&recording.processes[&1]), None);
    assert_eq!(process_name(&recording.processes[&1]), "python3.13 (CPython 3.13.0)");
}

#[test]
fn a_stall_has_the_name_of_its_innermost_frame() {
    let recording = example();
    let [stall] = recording.stalls.found() else { panic!("{:?}", recording.stalls.found()) };
    assert_eq!(stall_name(&recording, stall), "encoder.py:261 iterencode");
    assert_eq!(waiters(&recording.processes[&0], stall), [8, 9]);
    let other = Stall { stack: None, cause: None, ..stall.clone() };
    assert_eq!(stall_name(&recording, &other), "cause uncertain");
    let other = Stall { cause: Some(Cause::ManyShortHolds), ..stall.clone() };
    assert_eq!(stall_name(&recording, &other), "many short holds");
}
