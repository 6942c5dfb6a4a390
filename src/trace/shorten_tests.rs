//! A shortened recording has the same content as before, except for the details of its old events.

use super::*;
use crate::trace::{Process, Recording, Sample, Sighting, Start, Thread, Totals, picture};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Two threads that hold the GIL in turn for 10 s, for 3 ms each; every second, the first one holds it for 50 ms.
fn example() -> Vec<Block> {
    let mut blocks = vec![
        Block::Start(Start {
            busy: "0.1.0".into(),
            started_at: String::new(),
            monotonic_ns: 0,
            command: Vec::new(),
            stall_ns: 10 * MS,
        }),
        Block::Process(Process { number: 0, pid: 5, parent: 1, executable: String::new(), python: "3.11.7".into() }),
    ];
    for row in [1, 2] {
        let (tid, name) = (row as u32 + 5, "python3".into());
        blocks.push(Block::Thread(Thread { process: 0, row, tid, gil: 0, name, runs: None, ended_ns: None }));
    }
    let mut at = 0;
    let mut next = SECOND;
    while at < 10 * SECOND {
        let long = at >= next;
        next += if long { SECOND } else { 0 };
        let [first, second] = [at + if long { 50 * MS } else { 3 * MS }, at + if long { 53 * MS } else { 6 * MS }];
        let event = |kind, at| Event { kind, at };
        let own = vec![event(Kind::Acquired, at), event(Kind::Released, first), event(Kind::WaitBegan, first)];
        let other = vec![event(Kind::WaitBegan, at), event(Kind::Acquired, first), event(Kind::Released, second)];
        blocks.push(Block::Events { process: 0, row: 1, events: own });
        blocks.push(Block::Events { process: 0, row: 2, events: other });
        if long {
            let samples = vec![Sample { at_ns: at + 10 * MS, stack: 0 }, Sample { at_ns: at + 20 * MS, stack: 0 }];
            let (interval_ns, run_delay_ns, waiters) = (Some(5 * MS), Some(0), [(2, 0)].into());
            let sighting =
                Sighting { process: 0, gil: 0, tid: 6, interval_ns, run_delay_ns, forked_ns: 0, samples, waiters };
            blocks.push(Block::Sighting(sighting));
            let totals = Totals { held_ns: at, ..Totals::default() };
            blocks.push(Block::Totals { process: 0, row: 1, totals });
        }
        let sample = HolderSample { process: 0, gil: 0, tid: 6, at_ns: at, stack: 0, count: 1 };
        blocks.push(Block::HolderSample(sample));
        let threads = vec![ThreadUsage { tid: 6, cpu_ns: MS, run_delay_ns: 7 }];
        blocks.push(Block::Usage(Usage { process: 0, at_ns: at, threads }));
        blocks.push(Block::Cores(Cores { at_ns: at, busy: vec![(0, 500), (1, 40)] }));
        at = second;
    }
    blocks
}

fn recording(blocks: &[Block]) -> Recording {
    let mut recording = Recording::new(true);
    blocks.iter().for_each(|block| recording.apply(block.clone()));
    recording.stalls.end(0, recording.known_until_ns);
    recording
}

/// Shortens the recording up to `old_ns`, or to the start of a stall that spans it, as the recorder does.
fn shortened(blocks: &[Block], old_ns: u64, step_ns: u64) -> Vec<Block> {
    let mut known = Recording::new(false);
    for block in blocks {
        known.apply(block.clone());
    }
    let cut = known.stalls.settled([(0, 0)].into_iter(), old_ns)[&(0, 0)];
    let stalls = known.stalls.found().iter().filter(|stall| stall.at_ns < cut).cloned().collect();
    let plan = Plan { old_ns, cuts: [((0, 0), cut)].into(), stalls, step_ns };
    let mut found = Vec::new();
    shorten(blocks.iter().cloned(), &plan, |block| {
        found.push(block.clone());
        Ok(())
    })
    .unwrap();
    found
}

fn length(blocks: &[Block]) -> usize {
    let mut bytes = Vec::new();
    blocks.iter().for_each(|block| block.append(&mut bytes));
    bytes.len()
}

fn sorted(recording: &Recording) -> Vec<Stall> {
    let mut stalls = recording.stalls.found().to_vec();
    stalls.sort_by_key(|stall| (stall.at_ns, stall.holder));
    stalls
}

#[test]
fn totals_stalls_and_times_stay_and_the_rest_is_shorter() {
    let all = example();
    let whole = recording(&all);
    // The long hold of the sixth second spans this time.
    for old_ns in [3 * SECOND, 6 * SECOND + 20 * MS, 7 * SECOND] {
        let once = shortened(&all, old_ns, SECOND);
        // It is shortened again, with the longer parts of a recording that goes on.
        for blocks in [shortened(&once, old_ns, 2 * SECOND), once] {
            let short = recording(&blocks);
            assert_eq!(sorted(&short), sorted(&whole), "{old_ns}");
            assert!(whole.stalls.found().len() >= 9);
            assert_eq!(short.holder_samples, whole.holder_samples);
            let thread = |recording: &Recording| recording.processes[&0].threads[&1].totals;
            assert_eq!(thread(&short), thread(&whole));
            let sums = |recording: &Recording| -> u64 {
                let usage = recording.processes[&0].usage.iter().flat_map(|usage| &usage.threads);
                usage.map(|thread| thread.cpu_ns + thread.run_delay_ns).sum()
            };
            assert_eq!(sums(&short), sums(&whole));
            assert!(length(&blocks) * 10 < length(&all) * 9, "{} {}", length(&blocks), length(&all));
            for (from, to) in [(0, 10 * SECOND), (2 * SECOND, 4 * SECOND), (8 * SECOND, 9 * SECOND)] {
                let [short, whole] = [&short, &whole].map(|recording| picture(recording, from, to));
                for (one, other) in short.lanes.iter().zip(&whole.lanes) {
                    assert_eq!((one.row, one.process), (other.row, other.process));
                    for (one, other) in [(one.totals.holds, other.totals.holds), (one.totals.waits, other.totals.waits)]
                    {
                        // A share has 16 bits.
                        assert!(one.abs_diff(other) < (to - from) / 10_000, "{from} {one} {other}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_events_after_the_cut_are_the_same() {
    let all = example();
    let cut = 5 * SECOND;
    let after = |blocks: &[Block]| {
        let lane = recording(blocks).processes[&0].threads[&2].lane(10 * SECOND);
        lane.into_iter().filter(|stretch| stretch.from_ns > cut).collect::<Vec<_>>()
    };
    let short = shortened(&all, cut, SECOND);
    assert_eq!(after(&short), after(&all));
    assert!(after(&all).len() > 1000);
}
