//! busy_cancel_set() and busy_cancel_reset() in any order, from several threads, while other threads wait on the same
//! flag.

#![no_main]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../common/mod.rs"]
mod common;

use common::header::*;
use common::{assert_documented, busy_cancel_reset, busy_cancel_set, busy_wait_ns, start};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::ptr::null;
use std::thread;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Step {
    Set,
    Reset,
    SetNull,
    ResetNull,
    /// A wait of this many nanoseconds, up to 65 µs.
    Wait(u16),
    WaitOnTheCounter(u16),
}

/// The most steps of one sequence. More steps would only take longer.
const MOST_STEPS: usize = 16;

#[derive(Debug, Arbitrary)]
struct Sequences {
    alone: Vec<Step>,
    at_once: [Vec<Step>; 3],
}

/// Takes one step. `waits` holds the statuses that a wait with time left may return.
fn step(step: Step, cancel: &Cancel, waits: &[i32]) {
    match step {
        // SAFETY: the flag is alive.
        Step::Set => assert_documented(unsafe { busy_cancel_set(cancel) }, &[OK]),
        // SAFETY: the flag is alive.
        Step::Reset => assert_documented(unsafe { busy_cancel_reset(cancel) }, &[OK]),
        // SAFETY: the function must refuse NULL.
        Step::SetNull => assert_documented(unsafe { busy_cancel_set(null()) }, &[NULL_POINTER]),
        // SAFETY: the function must refuse NULL.
        Step::ResetNull => assert_documented(unsafe { busy_cancel_reset(null()) }, &[NULL_POINTER]),
        Step::Wait(ns) => wait(ns.into(), MONOTONIC, cancel, waits),
        Step::WaitOnTheCounter(ns) => wait(ns.into(), TSC, cancel, waits),
    }
}

fn wait(ns: u64, clock: u32, cancel: &Cancel, waits: &[i32]) {
    let mut result = UNTOUCHED;
    // SAFETY: the options, the flag and the result outlive the call.
    let status = unsafe { busy_wait_ns(ns, &Options { clock, ..Options::new(cancel) }, &mut result) };
    if status == UNSUPPORTED && clock == TSC {
        return;
    }
    // A wait whose time has passed was not ended by the flag.
    let has_passed = status == OK && result.elapsed_ns >= ns;
    if !has_passed {
        assert_documented(status, waits);
    }
    assert_eq!(status == OK, result.elapsed_ns >= ns, "{ns} ns: {result:?}");
}

fuzz_target!(init: start(), |sequences: Sequences| {
    let Sequences { alone, at_once } = sequences;
    let cancel = Box::new(Cancel::new());

    let mut is_set = false;
    for one in alone.into_iter().take(MOST_STEPS) {
        step(one, &cancel, if is_set { &[CANCELLED] } else { &[OK] });
        is_set = one == Step::Set || is_set && one != Step::Reset;
    }
    // Only the flag can end this wait.
    if is_set {
        wait(WAIT_MAX_NS, MONOTONIC, &cancel, &[CANCELLED]);
    }

    let may_be_set = is_set || at_once.iter().flatten().any(|step| *step == Step::Set);
    let waits: &[i32] = if may_be_set { &[OK, CANCELLED] } else { &[OK] };
    let run = |steps: &[Step]| steps.iter().take(MOST_STEPS).for_each(|one| step(*one, &cancel, waits));
    thread::scope(|scope| {
        let busy = at_once.iter().filter(|steps| !steps.is_empty());
        let threads: Vec<_> = busy.map(|steps| scope.spawn(|| run(steps))).collect();
        // The scope itself does not wait until the threads have freed their memory, which then looks like a leak.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });

    // The last call decides, regardless of all calls before it.
    step(Step::Set, &cancel, &[]);
    wait(WAIT_MAX_NS, MONOTONIC, &cancel, &[CANCELLED]);
    wait(WAIT_MAX_NS, TSC, &cancel, &[CANCELLED]);
    step(Step::Reset, &cancel, &[]);
    wait(1000, MONOTONIC, &cancel, &[OK]);
});
