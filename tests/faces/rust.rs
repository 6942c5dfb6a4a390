//! The Rust face: busy-core, called in this process.

use crate::table::{Case, Reply};
use busy_core::clock::monotonic_ns;
use busy_core::cpu::own_thread;
use busy_core::load::Load;
use busy_core::{Waited, busy_wait, busy_wait_cancellable, busy_wait_tsc, busy_wait_whole_seconds};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, SystemTime};

/// The outcome of a call.
struct Outcome {
    completed: bool,
    elapsed: Duration,
    count: u64,
}

impl From<Waited> for Outcome {
    fn from(Waited { count, elapsed, completed }: Waited) -> Self {
        Self { completed, elapsed, count }
    }
}

pub fn reply(case: &Case) -> Reply {
    let length: u64 = case.ns.parse().unwrap();
    let in_seconds = matches!(case.call.as_str(), "seconds" | "time");
    let requested = if in_seconds { Duration::from_secs(length) } else { Duration::from_nanos(length) };
    let flag = AtomicBool::new(case.cancel == "before");
    let before = monotonic_ns();
    let outcome = match case.cancel.as_str() {
        "during" => cancelled_during(&flag, || call(&case.call, requested, &flag)),
        _ => call(&case.call, requested, &flag),
    };
    let took = Duration::from_nanos(monotonic_ns() - before);
    // The talk's loop does not report its duration.
    let reported = if case.call == "time" { took } else { outcome.elapsed };
    let elapsed = match reported {
        reported if reported > took => "impossible",
        reported if reported < requested => "early",
        _ => "passed",
    };
    let status = if outcome.completed { "ok" } else { "cancelled" };
    let count = if outcome.count > 0 { "some" } else { "none" };
    Reply::parse(&format!("{} {status} {elapsed} {count}", case.name))
}

fn call(call: &str, requested: Duration, flag: &AtomicBool) -> Outcome {
    let go_on = || !flag.load(Ordering::Relaxed);
    match call {
        "wait" => busy_wait_cancellable(requested, flag).into(),
        "tsc" => busy_wait_tsc(requested, go_on).expect("cases() leaves out unsupported clocks").into(),
        "seconds" => busy_wait(requested).into(),
        "time" => {
            let time = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
            Outcome { completed: true, elapsed: requested, count: busy_wait_whole_seconds(requested.as_secs(), time) }
        }
        "load" => {
            let load = Load { threads: 1, share: 0.5, period: Duration::from_millis(10), duration: requested };
            let achieved = load.run(go_on).unwrap();
            let cpu = achieved.threads.iter().map(|thread| thread.cpu.as_nanos() as u64).sum();
            Outcome { completed: achieved.completed, elapsed: achieved.elapsed, count: cpu }
        }
        other => panic!("no such call: {other}"),
    }
}

/// Runs `wait`, and sets `flag` once the wait has used a millisecond of CPU time.
fn cancelled_during<T>(flag: &AtomicBool, wait: impl FnOnce() -> T) -> T {
    let this_thread = fs::read_link("/proc/thread-self").unwrap();
    let tid = this_thread.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let start = own_thread(tid).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            while own_thread(tid).unwrap() < start + Duration::from_millis(1) {
                sleep(Duration::from_micros(100));
            }
            flag.store(true, Ordering::Relaxed);
        });
        wait()
    })
}
