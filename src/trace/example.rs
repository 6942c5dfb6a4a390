//! A recording for the tests of the exports.

use super::blame::{NewStack, Sample, Sighting};
use super::block::{Block, End, Ending, Process, ProcessEnd, Start, Thread, Totals};
use super::event::Event;
use super::recording::Recording;
use super::usage::Cores;
use busy_gil::log::Kind;
use std::collections::BTreeMap;

pub(super) const MS: u64 = 1_000_000;
/// The start of the recording, on CLOCK_MONOTONIC.
pub(super) const START_NS: u64 = 5_000_000_000_000;
/// The innermost frame comes first.
pub(super) const FRAMES: [&str; 2] = ["/usr/lib/python3.13/json/encoder.py:261 iterencode", "app.py:15 <dump & co>"];

/// Two processes with the same id, the second one with two GILs; times in milliseconds:
///
/// ```text
/// process 0, GIL 0   row 1 (tid 7)   holds 100-150, released 150-200, holds 200-201, ends at 250
///                    row 2 (tid 8)   waits 105-150, holds 150-159, events are missing 159-205, holds 205-210
///                    row 3 (tid 9)   waits 100-159, holds 159-162, waits 300 to the end at 400
/// process 1, GIL 0   row 1 (tid 7)   holds 500-510
///            GIL 1   row 2 (tid 7)   holds 505-520
/// ```
pub(super) fn example() -> Recording {
    let mut recording = Recording::new(true);
    let start = Start {
        busy: "0.1.0".into(),
        started_at: "2026-11-28T12:00:00.5Z".into(),
        monotonic_ns: START_NS,
        command: vec!["python3".into(), "app.py".into()],
        stall_ns: 10 * MS,
    };
    let mut blocks = vec![Block::Start(start), process(0), thread(0, 1, 7, 0), thread(0, 2, 8, 0), thread(0, 3, 9, 0)];
    blocks.push(Block::Stack(NewStack { names: FRAMES.map(str::to_owned).to_vec(), frames: vec![0, 1] }));
    use Kind::{Acquired, Dropped, Lost, Released, WaitBegan};
    blocks.push(events(0, 1, &[(Acquired, 100), (Dropped, 150), (Acquired, 200), (Released, 201)]));
    let second = [(WaitBegan, 105), (Acquired, 150), (Released, 159), (Lost, 3), (Acquired, 205), (Released, 210)];
    blocks.push(events(0, 2, &second));
    blocks.push(events(0, 3, &[(WaitBegan, 100), (Acquired, 159), (Released, 162), (WaitBegan, 300)]));
    blocks.push(ended(thread(0, 1, 7, 0), 250));
    blocks.push(Block::Totals { process: 0, row: 2, totals: Totals { lost: 3, ..Totals::default() } });
    blocks.push(Block::Sighting(Sighting {
        process: 0,
        gil: 0,
        tid: 7,
        interval_ns: Some(5 * MS),
        run_delay_ns: Some(0),
        forked_ns: 0,
        samples: vec![Sample { at_ns: 110 * MS, stack: 0 }],
        waiters: BTreeMap::new(),
    }));
    let cores = |at: u64, busy: u16| Block::Cores(Cores { at_ns: at * MS, busy: vec![(3, busy)] });
    blocks.extend([cores(50, 0), cores(150, 1000), cores(250, 495)]);
    blocks.extend([end(0, Ending::Executed, 400), process(1), thread(1, 1, 7, 0), thread(1, 2, 7, 1)]);
    blocks.push(events(1, 1, &[(Acquired, 500), (Released, 510)]));
    blocks.push(events(1, 2, &[(Acquired, 505), (Released, 520)]));
    blocks.extend([end(1, Ending::Exited, 600), Block::End(End { at_ns: 600 * MS, code: Some(0), signal: None })]);
    blocks.into_iter().for_each(|block| recording.apply(block));
    recording
}

fn process(number: u32) -> Block {
    let (executable, python) = ("/usr/bin/python3.13".into(), "3.13.0 (main) [GCC]".into());
    Block::Process(Process { number, pid: 7, parent: 1, executable, python })
}

fn thread(process: u32, row: u64, tid: u32, gil: u32) -> Block {
    let runs = (row == 2).then(|| "consume".to_owned());
    Block::Thread(Thread { process, row, tid, gil, name: format!("work \"{row}\""), runs, ended_ns: None })
}

fn ended(thread: Block, at: u64) -> Block {
    let Block::Thread(thread) = thread else { unreachable!("a thread") };
    Block::Thread(Thread { ended_ns: Some(at * MS), ..thread })
}

fn events(process: u32, row: u64, events: &[(Kind, u64)]) -> Block {
    let event = |(kind, at): &(Kind, u64)| Event { kind: *kind, at: if *kind == Kind::Lost { *at } else { at * MS } };
    Block::Events { process, row, events: events.iter().map(event).collect() }
}

fn end(number: u32, how: Ending, at: u64) -> Block {
    let (reason, no_stacks) = (None, None);
    Block::ProcessEnd(ProcessEnd { number, started_ns: Some(0), at_ns: at * MS, how, unlisted: 0, reason, no_stacks })
}
