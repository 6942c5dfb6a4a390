//! The joining of holds, waits and stacks.

use super::super::blame::Sample;
use super::super::cause::Cause;
use super::*;
use busy_gil::log::Kind;

const MS: u64 = 1_000_000;

/// The events of some threads of one process, in milliseconds, with 10 ms as the threshold. They arrive every 100 ms.
fn found(threads: &[(u64, &[(Kind, u64)])], sightings: &[Sighting]) -> Vec<Stall> {
    let mut stalls = Stalls::default();
    stalls.set_threshold(10 * MS);
    let mut rest: Vec<_> = threads.iter().map(|(row, events)| (*row, *events)).collect();
    for arrival in (100..).step_by(100).take_while(|arrival| *arrival <= 100_000) {
        for (row, events) in &mut rest {
            let is_later = |(kind, at): &(Kind, u64)| *kind != Kind::Lost && *at > arrival;
            let (now, later) = events.split_at(events.iter().position(is_later).unwrap_or(events.len()));
            *events = later;
            if now.is_empty() {
                continue;
            }
            let event = |(kind, at): &(Kind, u64)| Event { kind: *kind, at: at * MS };
            stalls.events(&thread(*row), &now.iter().map(event).collect::<Vec<_>>());
        }
    }
    sightings.iter().for_each(|sighting| stalls.sighting(sighting.clone()));
    stalls.end(1, 100_000 * MS);
    stalls.found().to_vec()
}

fn thread(row: u64) -> Thread {
    Thread { process: 1, row, tid: 100 + row as u32, gil: 0, name: String::new(), runs: None, ended_ns: None }
}

/// What was seen of a hold of row 1.
fn seen(at: &[(u64, u32)], run_delay_ms: Option<u64>) -> Sighting {
    Sighting {
        process: 1,
        gil: 0,
        tid: 101,
        interval_ns: Some(5 * MS),
        run_delay_ns: run_delay_ms.map(|delay| delay * MS),
        forked_ns: 0,
        samples: at.iter().map(|(at, stack)| Sample { at_ns: at * MS, stack: *stack }).collect(),
        waiters: BTreeMap::new(),
    }
}

#[test]
fn a_hold_that_others_wait_for_is_one_stall() {
    let holder: &[_] = &[(Kind::Acquired, 100), (Kind::Dropped, 150)];
    let first: &[_] = &[(Kind::WaitBegan, 105), (Kind::Acquired, 150), (Kind::Released, 151)];
    // It waited before, and gets the GIL later only: what counts is the part inside the hold.
    let second: &[_] = &[(Kind::WaitBegan, 90), (Kind::Acquired, 151), (Kind::Released, 152)];
    // A thread that does not wait for this hold is not part of it.
    let waited = Sighting { waiters: [(2, 4), (9, 5)].into(), ..seen(&[(110, 7), (120, 7)], Some(0)) };
    let sightings = [seen(&[(95, 3)], Some(0)), waited];
    let stalls = found(&[(1, holder), (2, first), (3, second)], &sightings);
    let expected = Stall {
        process: 1,
        at_ns: 100 * MS,
        end_ns: 150 * MS,
        held_ns: 50 * MS,
        holder: 1,
        waiters: vec![2, 3],
        waiter_stacks: [(2, 4)].into(),
        lost_ns: 95 * MS,
        stack: Some(7),
        cause: Some(Cause::NativeCall),
    };
    assert_eq!(stalls, [expected]);
}

#[test]
fn a_reading_that_comes_late_loses_no_stall() {
    let event = |(kind, at): &(Kind, u64)| Event { kind: *kind, at: at * MS };
    let mut stalls = Stalls::default();
    stalls.set_threshold(10 * MS);
    // Two readings, two seconds apart. Each brings the events of one thread after those of the other.
    for from in [0, 2000] {
        let holder = [(Kind::Acquired, 100), (Kind::Dropped, 150), (Kind::Acquired, 1900), (Kind::Released, 1901)];
        let waiter = [(Kind::WaitBegan, 105), (Kind::Acquired, 150), (Kind::Released, 151)];
        for (row, events) in [(1, &holder[..]), (2, &waiter)] {
            let later = events.iter().map(|(kind, at)| event(&(*kind, at + from)));
            stalls.events(&thread(row), &later.collect::<Vec<_>>());
        }
    }
    stalls.end(1, 100_000 * MS);
    assert_eq!(stalls.found().iter().map(|stall| stall.at_ns / MS).collect::<Vec<_>>(), [100, 2100]);
}

#[test]
fn a_hold_is_no_stall_if_nobody_waits_for_long() {
    let holder: &[_] = &[(Kind::Acquired, 100), (Kind::Released, 150)];
    let waiter: &[_] = &[(Kind::WaitBegan, 141), (Kind::Acquired, 150), (Kind::Released, 151)];
    assert_eq!(found(&[(1, holder), (2, waiter)], &[]), []);
}

#[test]
fn the_cause_is_named_only_if_it_is_certain() {
    let cause = |waits_since: u64, sighting: Option<Sighting>| {
        let holder: &[_] = &[(Kind::Acquired, 100), (Kind::Dropped, 150)];
        let waiter: &[_] = &[(Kind::WaitBegan, waits_since), (Kind::Acquired, 150), (Kind::Released, 151)];
        let stalls = found(&[(1, holder), (2, waiter)], sighting.as_slice());
        assert_eq!(stalls.len(), 1);
        stalls[0].cause
    };
    assert_eq!(cause(100, Some(seen(&[(110, 1)], Some(2)))), Some(Cause::NativeCall));
    assert_eq!(cause(100, Some(seen(&[(110, 1)], Some(30)))), Some(Cause::OffCpu));
    assert_eq!(cause(100, Some(seen(&[(110, 1)], None))), None, "the run delay is unknown");
    assert_eq!(cause(100, Some(seen(&[(110, 1), (120, 2)], Some(2)))), None, "several calls in one hold");
    assert_eq!(cause(100, None), None, "no stack");
    let forked = |ms: u64| Some(Sighting { forked_ns: ms * MS, ..seen(&[(110, 1)], Some(2)) });
    assert_eq!((cause(100, forked(30)), cause(100, forked(20))), (Some(Cause::Fork), Some(Cause::NativeCall)));
    let slow = |at: &[(u64, u32)]| Sighting { interval_ns: Some(40 * MS), ..seen(at, Some(2)) };
    assert_eq!(cause(110, Some(slow(&[(115, 1), (125, 2)]))), Some(Cause::PythonCode));
    assert_eq!(cause(110, Some(slow(&[(115, 1), (125, 1)]))), None, "it was not requested to drop the GIL twice");
}

#[test]
fn many_short_holds_are_one_stall_while_the_waits_overlap() {
    let fight = |from: u64| {
        (0..4).flat_map(move |turn| [(Kind::Acquired, from + 10 * turn), (Kind::Released, from + 10 * turn + 5)])
    };
    let (one, other): (Vec<_>, Vec<_>) = (fight(100).collect(), fight(105).collect());
    let waiter: &[_] = &[
        (Kind::WaitBegan, 100),
        (Kind::Acquired, 140),
        (Kind::Released, 141),
        (Kind::WaitBegan, 200),
        (Kind::Acquired, 240),
        (Kind::Released, 241),
    ];
    let sighting = seen(&[(111, 4), (121, 5), (131, 5)], Some(0));
    let stalls = found(&[(1, &one), (2, &other), (3, waiter)], &[sighting]);
    // Nobody held the GIL during the second wait: no hold is to blame.
    assert_eq!(stalls.len(), 1, "{stalls:#?}");
    assert_eq!(stalls[0].cause, Some(Cause::ManyShortHolds));
    assert_eq!((stalls[0].at_ns, stalls[0].end_ns), (100 * MS, 140 * MS));
    assert_eq!((stalls[0].lost_ns, stalls[0].waiters.as_slice(), stalls[0].held_ns), (40 * MS, &[3][..], 20 * MS));
}

#[test]
fn a_wait_behind_a_long_hold_and_short_ones_counts_once() {
    let turns = |from: u64| [(Kind::Acquired, from), (Kind::Released, from + 5)];
    // Row 1 holds for 15 ms, of which row 3 waits for 9; behind it, row 2 holds for 5 ms.
    let long: &[_] = &[(Kind::Acquired, 100), (Kind::Released, 115)];
    let other: &[_] = &[(Kind::WaitBegan, 100), (Kind::Acquired, 115), (Kind::Released, 120)];
    let waiter: &[_] = &[(Kind::WaitBegan, 106), (Kind::Acquired, 120), (Kind::Released, 121)];
    let stalls = found(&[(1, long), (2, other), (3, waiter)], &[]);
    assert_eq!(stalls.iter().map(|stall| (stall.holder, stall.lost_ns)).collect::<Vec<_>>(), [(1, 24 * MS)]);
    // Behind a hold of 12 ms, two threads hold for 5 ms in turn, ten times.
    let first: Vec<_> = [(Kind::Acquired, 100), (Kind::Released, 112)]
        .into_iter()
        .chain((0..5).flat_map(|turn| turns(112 + 10 * turn)))
        .collect();
    let second: Vec<_> = (0..5).flat_map(|turn| turns(117 + 10 * turn)).collect();
    let waiter: &[_] = &[(Kind::WaitBegan, 100), (Kind::Acquired, 162), (Kind::Released, 163)];
    let stalls = found(&[(1, &first), (2, &second), (3, waiter)], &[]);
    let mut lost: Vec<_> = stalls.iter().map(|stall| (stall.at_ns / MS, stall.lost_ns / MS)).collect();
    lost.sort_unstable();
    assert_eq!(lost, [(100, 12), (112, 50)], "{stalls:#?}");
}

#[test]
fn threads_that_fight_for_long_are_a_stall_each_second() {
    // Three threads hold the GIL for 5 ms in turn, and wait for it otherwise.
    let fight = |row: u64| -> Vec<_> {
        (0..400)
            .flat_map(|turn| {
                let at = 15 * turn + 5 * row;
                [(Kind::WaitBegan, at.saturating_sub(10)), (Kind::Acquired, at), (Kind::Dropped, at + 5)]
            })
            .collect()
    };
    let rows: Vec<(u64, Vec<_>)> = (1..4).map(|row| (row, fight(row))).collect();
    let rows: Vec<(u64, &[(Kind, u64)])> = rows.iter().map(|(row, events)| (*row, &events[..])).collect();
    let stalls = found(&rows, &[]);
    let longest = stalls.iter().map(|stall| stall.end_ns - stall.at_ns).max().unwrap();
    assert!((5..=7).contains(&stalls.len()) && longest < 1100 * MS, "{} stalls, {longest} ns", stalls.len());
    let lost: u64 = stalls.iter().map(|stall| stall.lost_ns).sum();
    assert!(lost.abs_diff(12_000 * MS) < 100 * MS, "{lost} ns: two of three threads wait all the time");
}

#[test]
fn a_wait_that_began_before_the_others_belongs_to_the_same_stall() {
    let fight = |from: u64| -> Vec<_> {
        (0..400).flat_map(|turn| [(Kind::Acquired, from + 10 * turn), (Kind::Released, from + 10 * turn + 5)]).collect()
    };
    let (one, other) = (fight(0), fight(5));
    // The waits of row 3 are settled before that of row 4 has ended.
    let short: &[_] = &[
        (Kind::WaitBegan, 100),
        (Kind::Acquired, 120),
        (Kind::Released, 120),
        (Kind::WaitBegan, 1300),
        (Kind::Acquired, 1320),
        (Kind::Released, 1320),
    ];
    let long: &[_] = &[(Kind::WaitBegan, 50), (Kind::Acquired, 2000), (Kind::Released, 2000)];
    for stall in found(&[(1, &one), (2, &other), (3, short), (4, long)], &[]) {
        let most = (stall.end_ns - stall.at_ns) * stall.waiters.len() as u64;
        assert!(stall.lost_ns <= most, "{stall:#?}");
    }
}

#[test]
fn python_code_that_gets_the_gil_back_is_told_from_calls_that_are_longer_or_shorter() {
    // Row 1 drops the GIL on request, row 2 takes it for a moment, and row 3 waits.
    let cause = |length: u64, end: Kind| {
        let turns = 40 / (length + 1);
        let holder: Vec<_> = (0..turns)
            .flat_map(|turn| [(Kind::Acquired, 100 + turn * (length + 1)), (end, 100 + turn * (length + 1) + length)])
            .collect();
        let other: Vec<_> = (0..turns)
            .flat_map(|turn| {
                let at = 100 + turn * (length + 1) + length;
                [(Kind::Acquired, at), (Kind::Released, at + 1)]
            })
            .collect();
        let waiter = [(Kind::WaitBegan, 100), (Kind::Acquired, 100 + turns * (length + 1))];
        found(&[(1, &holder), (2, &other), (3, &waiter)], &[seen(&[(102, 1), (112, 2)], Some(0))])[0].cause
    };
    assert_eq!(cause(5, Kind::Dropped), Some(Cause::PythonCode));
    assert_eq!(cause(5, Kind::Released), Some(Cause::ManyShortHolds), "it waits between");
    assert_eq!(cause(9, Kind::Dropped), Some(Cause::ManyShortHolds), "a native call keeps the GIL for longer");
    assert_eq!(cause(1, Kind::Dropped), Some(Cause::ManyShortHolds), "no switch interval had passed");
}

#[test]
fn a_wait_that_begins_with_the_hand_over_counts_from_there() {
    // Row 2 drops the GIL on request, and waits for the hand-over first.
    let holder: &[_] = &[(Kind::WaitBegan, 90), (Kind::Acquired, 100), (Kind::Released, 130)];
    let waiter: &[_] = &[
        (Kind::Acquired, 80),
        (Kind::Dropped, 99),
        (Kind::WaitBegan, 99),
        (Kind::WaitEnded, 100),
        (Kind::WaitBegan, 100),
        (Kind::Acquired, 130),
        (Kind::Released, 131),
    ];
    let stalls = found(&[(1, holder), (2, waiter)], &[]);
    assert_eq!(stalls.iter().map(|stall| (stall.holder, stall.lost_ns)).collect::<Vec<_>>(), [(1, 30 * MS)]);
}

#[test]
fn a_hold_and_a_wait_that_go_on_at_the_end_are_a_stall() {
    let stalls = found(&[(1, &[(Kind::Acquired, 99_900)]), (2, &[(Kind::WaitBegan, 99_950)])], &[]);
    assert_eq!((stalls.len(), stalls[0].lost_ns, stalls[0].held_ns), (1, 50 * MS, 100 * MS));
}

#[test]
fn what_was_lost_is_not_blamed_on_anybody() {
    let holder: &[_] = &[(Kind::Acquired, 100), (Kind::Lost, 5), (Kind::Released, 150)];
    let waiter: &[_] = &[(Kind::WaitBegan, 100), (Kind::Acquired, 150), (Kind::Released, 151)];
    assert_eq!(found(&[(1, holder), (2, waiter)], &[]), []);
}

#[test]
fn the_memory_does_not_grow_with_the_recording() {
    let mut stalls = Stalls::default();
    stalls.set_threshold(10 * MS);
    for round in 0..2_000u64 {
        let at = round * 50 * MS;
        let event = |kind, after: u64| Event { kind, at: at + after * MS };
        stalls.events(&thread(1), &[event(Kind::Acquired, 0), event(Kind::Dropped, 20)]);
        stalls.events(&thread(2), &[event(Kind::WaitBegan, 5), event(Kind::Acquired, 20), event(Kind::Released, 21)]);
        // A thread that ends leaves nothing behind.
        stalls.events(&thread(10 + round), &[event(Kind::Acquired, 30), event(Kind::Released, 31)]);
    }
    let gil = &stalls.gils[&(1, 0)];
    let waits: usize = gil.rows.values().map(Row::kept).sum();
    assert!(gil.rows.len() < 100 && waits < 500, "{} rows, {waits} holds and waits", gil.rows.len());
    assert!(stalls.found().len() > 1950, "{}", stalls.found().len());
}

#[test]
fn a_wait_whose_beginning_was_merged_may_have_been_for_a_long_hold() {
    let event = |(kind, at): &(Kind, u64)| Event { kind: *kind, at: at * MS };
    for is_cut in [false, true] {
        let mut stalls = Stalls::default();
        stalls.set_threshold(10 * MS);
        if is_cut {
            stalls.cut(&thread(1), 100 * MS);
        }
        let waiter = [(Kind::WaitBegan, 100), (Kind::Acquired, 130), (Kind::Released, 131)];
        stalls.events(&thread(1), &waiter.iter().map(event).collect::<Vec<_>>());
        for row in [2, 3] {
            // Two threads hold the GIL in turn, for 3 ms each.
            let holds = (0..5).flat_map(|turn| {
                let from = 100 + 6 * turn + 3 * (row - 2);
                [(Kind::Acquired, from), (Kind::Released, from + 3)]
            });
            stalls.events(&thread(row), &holds.map(|one| event(&one)).collect::<Vec<_>>());
        }
        stalls.end(1, 1000 * MS);
        assert_eq!(stalls.found().len(), usize::from(!is_cut), "{:?}", stalls.found());
    }
}
