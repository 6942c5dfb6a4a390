//! The functions of busy_gil.h in any order, with any arguments, with and without the GIL, first in one thread and then in
//! several at once. Without Python, they must refuse.

#![no_main]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../gil/mod.rs"]
mod gil;

use common::assert_documented;
use common::header::{BAD_OPTION, GIL_OFF, OK};
use gil::header::{busy_gil_stop, busy_gil_window_close};
use gil::run::{Budget, Others, Run};
use gil::stalls::{NEXT, lasting};
use gil::steps::{Sequence, Step, mostly, rarely};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::sync::Barrier;
use std::thread;

#[derive(Debug, Arbitrary)]
struct Sequences {
    /// Whether an object of busy_gil_stalls_open() may learn to read stacks.
    #[arbitrary(with = rarely)]
    prepares: bool,
    alone: Sequence<32>,
    /// Whether the meter runs during all of `at_once`.
    #[arbitrary(with = mostly)]
    keeps_on: bool,
    at_once: [Sequence<16>; 3],
}

fn start() {
    common::start();
    lasting();
}

fuzz_target!(init: start(), |sequences: Sequences| {
    let Sequences { prepares, alone, keeps_on, at_once } = sequences;
    let budget = Budget { sessions: 2.into(), readers: usize::from(prepares).into() };
    let mut main = Run::new(Others::None, 0, &[], &budget);
    alone.steps().for_each(|step| main.take(step));
    if keeps_on && main.starts == 0 {
        main.take(&Step::Acquire { other: false });
        main.take(&Step::Start);
    }
    main.take(&Step::Release);

    let others = if keeps_on && main.starts > 0 { Others::KeepTheMeterOn } else { Others::StartAndStop };
    let shared = std::mem::take(&mut main.objects);
    let barrier = Barrier::new(at_once.len());
    let run = |sequence: &Sequence<16>| {
        let mut run = Run::new(others, main.session_gil, &shared, &budget);
        barrier.wait();
        sequence.steps().for_each(|step| run.take(step));
        run.starts
    };
    let starts = thread::scope(|scope| {
        let threads: Vec<_> = at_once.iter().map(|sequence| scope.spawn(|| run(sequence))).collect();
        // The scope itself does not wait until the threads have freed their memory, which then looks like a leak.
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i64>()
    });
    if main.starts + starts > 0 {
        Run::new(Others::KeepTheMeterOn, 0, &[], &budget).next_stall(&NEXT);
    }
    drop(shared);

    // The meter has as many starts as were not undone.
    for _ in 0..main.starts + starts {
        // SAFETY: the function has no arguments.
        assert_documented(unsafe { busy_gil_stop() }, &[OK]);
    }
    // SAFETY: as above.
    assert_documented(unsafe { busy_gil_stop() }, &[GIL_OFF]);
    // SAFETY: the function takes any number.
    assert_documented(unsafe { busy_gil_window_close(1) }, &[BAD_OPTION]);
});
