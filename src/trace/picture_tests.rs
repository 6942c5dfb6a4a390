use super::*;
use crate::trace::{Block, Event, Kind, Process, Thread, ThreadUsage, Usage};

const MS: u64 = 1_000_000;

/// Returns a recording of one process whose threads have these events.
fn recording(threads: &[&[(Kind, u64)]]) -> Recording {
    let mut recording = Recording::new(true);
    recording.stalls.set_threshold(10 * MS);
    let (executable, python) = ("python3".into(), "3.11.7".into());
    recording.apply(Block::Process(Process { number: 0, pid: 1, parent: 0, executable, python }));
    for (row, events) in threads.iter().enumerate() {
        let (row, tid) = (row as u64, 100 + row as u32);
        let name = String::new();
        recording.apply(Block::Thread(Thread { process: 0, row, tid, gil: 0, name, runs: None, ended_ns: None }));
        let events = events.iter().map(|(kind, at)| Event { kind: *kind, at: *at }).collect();
        recording.apply(Block::Events { process: 0, row, events });
    }
    recording
}

/// Returns the events of a thread that holds the GIL for 1 us in every 2 us, so many times.
fn hammer(times: u64) -> Vec<(Kind, u64)> {
    (0..times).flat_map(|n| [(Kind::Acquired, n * 2000), (Kind::Released, n * 2000 + 1000)]).collect()
}

#[test]
fn a_lane_with_few_events_is_exact_and_its_times_are_those_of_its_states() {
    let events =
        [(Kind::Acquired, 2 * MS), (Kind::Released, 5 * MS), (Kind::WaitBegan, 7 * MS), (Kind::Acquired, 8 * MS)];
    let mut recording = recording(&[&events]);
    recording.known_until_ns = 10 * MS;
    let picture = picture(&recording, 0, u64::MAX);
    let lane = &picture.lanes[0];
    let expected = Times { holds: 5 * MS, waits: MS, released: 2 * MS, unknown: 0, absent: 2 * MS };
    assert_eq!((picture.to_ns, lane.totals), (10 * MS, expected));
    assert_eq!((lane.exact.len(), lane.exact[0].len()), (1, 4));
    assert!(lane.overview.is_empty() && lane.fine.is_empty() && lane.released.is_empty());
}

#[test]
fn a_part_is_cut_at_both_ends() {
    let mut recording = recording(&[&[(Kind::Acquired, 0), (Kind::Released, 6 * MS)]]);
    recording.known_until_ns = 10 * MS;
    let picture = picture(&recording, 5 * MS, 8 * MS);
    let expected = Times { holds: MS, released: 2 * MS, ..Times::default() };
    assert_eq!((picture.from_ns, picture.to_ns, picture.lanes[0].totals), (5 * MS, 8 * MS, expected));
}

#[test]
fn lanes_with_many_events_have_shares_that_add_up_and_the_busiest_ones_more_of_them() {
    let (many, few) = (hammer(100_000), hammer(10));
    let threads: Vec<&[(Kind, u64)]> = (0..FINE_LANES + 2).map(|_| many.as_slice()).chain([few.as_slice()]).collect();
    let picture = picture(&recording(&threads), 0, u64::MAX);
    let (busiest, rest) = picture.lanes.split_at(FINE_LANES);
    for lane in busiest {
        let sum: u64 = lane.fine.iter().map(|times| times.holds).sum();
        assert_eq!((lane.overview.len(), lane.fine.len(), sum), (OVERVIEW, FINE, lane.totals.holds));
        assert!(
            lane.fine.iter().all(|times| (45..=55).contains(&(times.holds * 100 / times.sum()))),
            "{:?}",
            lane.fine[7]
        );
    }
    assert!(rest[..2].iter().all(|lane| lane.fine.is_empty() && lane.overview.len() == OVERVIEW));
    assert!(rest[2].overview.is_empty() && rest[2].exact[0].len() == 20);
}

#[test]
fn the_surroundings_of_a_stall_are_exact_in_a_lane_of_many_events() {
    let mut holder = hammer(100_000);
    holder.extend([(Kind::Acquired, 300 * MS), (Kind::Released, 350 * MS)]);
    let waiter =
        [(Kind::Acquired, 0), (Kind::Released, 10), (Kind::WaitBegan, 301 * MS), (Kind::Acquired, 350 * MS + 10)];
    let mut recording = recording(&[&holder, &waiter]);
    recording.stalls.end(0, 400 * MS);
    assert_eq!(recording.stalls.found().len(), 1);
    let picture = picture(&recording, 0, u64::MAX);
    let lane = picture.lanes.iter().find(|lane| lane.row == 0).unwrap();
    let hold = Stretch { state: State::Holds, from_ns: 300 * MS, to_ns: 350 * MS };
    assert_eq!((picture.stalls.as_slice(), lane.exact.len()), (&[0][..], 1));
    assert!(lane.exact[0].contains(&hold) && lane.exact[0].len() < 10, "{:?}", lane.exact[0]);
}

#[test]
fn what_a_thread_did_while_released_follows_from_its_cpu_time() {
    let mut recording = recording(&[&[(Kind::Acquired, 0), (Kind::Released, 120 * MS)]]);
    let usage = |at_ms: u64, cpu_ms: u64, delay_ms: u64| {
        let one = ThreadUsage { tid: 100, cpu_ns: cpu_ms * MS, run_delay_ns: delay_ms * MS };
        Block::Usage(Usage { process: 0, at_ns: at_ms * MS, threads: vec![one] })
    };
    // It held the GIL for 20 ms of the second interval, and ran for 60 ms.
    [usage(100, 100, 0), usage(200, 60, 8), usage(300, 0, 0)].into_iter().for_each(|block| recording.apply(block));
    let picture = picture(&recording, 0, u64::MAX);
    let released = &picture.lanes[0].released;
    assert_eq!(released.len(), 3);
    let second = released[1].unwrap();
    assert!(
        released[0].is_none() && (second.ran - 0.5).abs() < 1e-9 && (second.no_cpu - 0.1).abs() < 1e-9,
        "{second:?}"
    );
    assert_eq!(released[2], Some(Released { ran: 0.0, no_cpu: 0.0 }));
}

#[test]
fn of_many_threads_the_busiest_have_lanes() {
    let busy = [(Kind::Acquired, 0), (Kind::Released, 5 * MS)];
    let idle = [(Kind::Acquired, 6 * MS), (Kind::Released, 6 * MS + 1)];
    let threads: Vec<&[(Kind, u64)]> =
        (0..LANES + 7).map(|row| if row == LANES + 6 { &busy[..] } else { &idle }).collect();
    let picture = picture(&recording(&threads), 0, u64::MAX);
    assert_eq!((picture.lanes.len(), picture.left_out, picture.lanes[0].row), (LANES, 7, LANES as u64 + 6));
}
