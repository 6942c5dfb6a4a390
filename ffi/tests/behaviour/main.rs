//! The promises of busy.h and busy_gil.h, function by function. The tests open libbusy.so at run time, as programs do.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../../src/abi.rs"]
mod abi;
#[path = "../common/mod.rs"]
mod common;
mod crowds;
mod gil;
#[path = "../common/header.rs"]
mod header;
#[cfg(target_arch = "x86_64")]
mod interrupted;
mod library;
mod load;
mod options;
mod seccomp;

use header::*;
use library::*;
use std::env;
use std::ffi::{CStr, c_int};
use std::io::Write;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// The length of waits that a flag ends: far longer than that takes, in nanoseconds.
const LONG: u64 = 60_000_000_000;
/// The length of waits that must be refused, in nanoseconds. If one is not refused, the test still ends.
const SHORT: u64 = 1000;

/// Runs `wait` in a thread and calls `interrupt` with that thread once it is well inside the wait. That is when its CPU
/// time has grown by a millisecond, since it spends CPU time on nothing else.
fn during<T: Send>(wait: impl FnOnce() -> T + Send, interrupt: impl FnOnce(libc::pthread_t)) -> T {
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            // SAFETY: both only return the id of the calling thread.
            let (tid, thread) = unsafe { (libc::gettid() as u32, libc::pthread_self()) };
            send.send((tid, thread, busy().cpu_ns(0).unwrap())).unwrap();
            wait()
        });
        let (tid, thread, at_start) = receive.recv().unwrap();
        until("the waiting thread uses CPU time", || busy().cpu_ns(tid).unwrap() >= at_start + 1_000_000);
        interrupt(thread);
        waiter.join().unwrap()
    })
}

/// Returns once `done` returns true. On a machine under load this may take long.
fn until(condition: &str, mut done: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < give_up, "still not true: {condition}");
        sleep(Duration::from_micros(100));
    }
}

#[test]
fn the_versions_are_those_of_this_source() {
    // SAFETY: both take no arguments, and by the header the text is never NULL.
    let (abi_version, version) = unsafe { ((busy().abi_version)(), CStr::from_ptr((busy().version)())) };
    assert_eq!(abi_version, abi::BUSY_ABI_MAJOR << 16 | abi::BUSY_ABI_MINOR);
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_status_has_a_text_and_unknown_ones_too() {
    let mut known: Vec<_> = (OK..=TIMED_OUT).map(|status| busy().text(status)).collect();
    let unknown = busy().text(TIMED_OUT + 1);
    for status in [-1, 1000, i32::MIN, i32::MAX] {
        assert_eq!(busy().text(status), unknown);
    }
    known.push(unknown);
    for text in &known {
        assert!(text.len() > 5 && text.is_ascii() && !text.ends_with('.'), "{text:?}");
    }
    let all = known.len();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), all, "two statuses have the same text");
}

#[test]
fn null_is_refused() {
    // SAFETY: by the header, they refuse NULL.
    unsafe {
        assert_eq!((busy().wait_ns)(SHORT, null(), null_mut()), NULL_POINTER);
        assert_eq!((busy().cancel_set)(null()), NULL_POINTER);
        assert_eq!((busy().cancel_reset)(null()), NULL_POINTER);
        assert_eq!((busy().thread_cpu_ns)(0, null_mut()), NULL_POINTER);
        assert_eq!((busy().thread_cpu_ns)(u32::MAX, null_mut()), NULL_POINTER);
    }
}

#[test]
fn a_wait_over_the_longest_is_refused() {
    // If a wait began, the flag would end it.
    let cancel = Cancel::new();
    busy().set(&cancel);
    for ns in [WAIT_MAX_NS + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(busy().cancellable(ns, &cancel), (OUT_OF_RANGE, UNTOUCHED));
    }
    assert_eq!(busy().cancellable(WAIT_MAX_NS, &cancel).0, CANCELLED);
}

#[test]
fn a_wait_of_zero_counts_no_polls() {
    let (status, result) = busy().wait(0, null());
    assert_eq!((status, result.count), (OK, 0));
    // If the time has passed, a flag that is set does not count.
    let cancel = Cancel::new();
    busy().set(&cancel);
    assert_eq!(busy().cancellable(0, &cancel).0, OK);
    let status = busy().wait(0, &Options { clock: TSC, ..Options::new(&cancel) }).0;
    assert!([OK, UNSUPPORTED].contains(&status), "{status}");
}

#[test]
fn the_waits_of_whole_seconds_count_polls() {
    let before = Instant::now();
    // SAFETY: they take a number and return a number.
    unsafe {
        assert_eq!((busy().wait)(0), 0);
        assert!((busy().wait)(1) > 0);
        assert!(before.elapsed().as_secs() >= 1);
        assert!((busy().wait_time)(0) > 0);
    }
}

#[test]
fn a_flag_set_before_ends_the_wait_at_its_first_poll() {
    let cancel = Cancel::new();
    busy().set(&cancel);
    busy().set(&cancel);
    for _ in 0..2 {
        let (status, result) = busy().cancellable(LONG, &cancel);
        assert_eq!((status, result.count), (CANCELLED, 0));
        assert!(result.elapsed_ns < LONG);
    }
}

#[test]
fn another_thread_ends_the_wait() {
    let cancel = Cancel::new();
    let (status, result) = during(|| busy().cancellable(LONG, &cancel), |_| busy().set(&cancel));
    assert_eq!(status, CANCELLED);
    assert!(result.count > 0 && result.elapsed_ns < LONG, "{result:?}");
}

#[test]
fn one_flag_ends_many_waits() {
    let cancel = Cancel::new();
    let wait = || busy().cancellable(LONG, &cancel).0;
    let statuses = during(
        || {
            thread::scope(|scope| {
                let others = [(); 3].map(|()| scope.spawn(wait));
                let own = wait();
                others.into_iter().map(|other| other.join().unwrap()).chain([own]).collect::<Vec<_>>()
            })
        },
        |_| busy().set(&cancel),
    );
    assert_eq!(statuses, [CANCELLED; 4]);
}

#[test]
fn a_reset_flag_lets_waits_run_again() {
    let cancel = Cancel::new();
    busy().set(&cancel);
    assert_eq!(busy().cancellable(LONG, &cancel).0, CANCELLED);
    busy().reset(&cancel);
    let (status, result) = busy().cancellable(1_000_000, &cancel);
    assert_eq!(status, OK);
    assert!(result.elapsed_ns >= 1_000_000, "{result:?}");
}

/// Installs `handler` as the handler of `signal`.
fn install(signal: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: zeros are a valid sigaction; the handler does only what signal-safety(7) allows.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, null_mut()), 0);
    }
}

fn send(signal: c_int, thread: libc::pthread_t) {
    // SAFETY: the scope in during() keeps the thread alive until it is joined.
    assert_eq!(unsafe { libc::pthread_kill(thread, signal) }, 0);
}

#[test]
fn a_signal_handler_ends_the_wait_of_its_own_thread() {
    static CANCEL: Cancel = Cancel::new();
    extern "C" fn handler(_: c_int) {
        busy().set(&CANCEL);
    }
    install(libc::SIGUSR1, handler);
    let wait = || busy().cancellable(LONG, &CANCEL);
    let (status, result) = during(wait, |thread| send(libc::SIGUSR1, thread));
    assert_eq!(status, CANCELLED);
    assert!(result.count > 0, "{result:?}");
}

#[test]
fn a_signal_alone_ends_no_wait() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: c_int) {
        // A wait inside a wait: it is safe in a handler, and the two share no state.
        assert_eq!(busy().wait(10_000, null()).0, OK);
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    install(libc::SIGUSR2, handler);
    let (cancel, returned) = (Cancel::new(), AtomicBool::new(false));
    let wait = || {
        let (status, _) = busy().cancellable(LONG, &cancel);
        returned.store(true, Ordering::Relaxed);
        status
    };
    let signal_then_cancel = |thread| {
        send(libc::SIGUSR2, thread);
        until("the signal was handled", || HANDLED.load(Ordering::Relaxed) == 1);
        sleep(Duration::from_millis(20));
        assert!(!returned.load(Ordering::Relaxed), "the signal ended it");
        busy().set(&cancel);
    };
    assert_eq!(during(wait, signal_then_cancel), CANCELLED);
}

#[test]
fn the_cpu_time_is_the_threads_own() {
    // SAFETY: gettid(2) only returns the id of the calling thread.
    let own = unsafe { libc::gettid() } as u32;
    let before = busy().cpu_ns(0).unwrap();
    assert_eq!(busy().wait(3_000_000, null()).0, OK);
    let (by_id, after) = (busy().cpu_ns(own).unwrap(), busy().cpu_ns(0).unwrap());
    assert!(before < by_id && by_id <= after, "{before} {by_id} {after}");

    // The CPU time of a sleeping thread does not grow while another thread uses the CPU.
    let (send, receive) = mpsc::channel();
    let (quit, wait_for_quit) = mpsc::channel::<()>();
    let sleeper = thread::spawn(move || {
        // SAFETY: gettid(2) only returns the id of the calling thread.
        send.send(unsafe { libc::gettid() } as u32).unwrap();
        let _ = wait_for_quit.recv();
    });
    let tid = receive.recv().unwrap();
    let mut last = 0;
    until("the CPU time of a sleeping thread does not grow", || {
        assert_eq!(busy().wait(1_000_000, null()).0, OK);
        let before = std::mem::replace(&mut last, busy().cpu_ns(tid).unwrap());
        before == last
    });
    drop(quit);
    sleeper.join().unwrap();
    // join() returns a little before the kernel removes the thread (CLONE_CHILD_CLEARTID, set_tid_address(2)).
    until("an ended thread is refused", || busy().cpu_ns(tid) == Err(NO_SUCH_THREAD));
}

#[test]
fn unused_ids_and_threads_of_other_processes_are_refused() {
    // PID_MAX_LIMIT is 2^22. The larger ids would overflow the bits of the clock id, or make it negative.
    for tid in [1 << 22, (1 << 22) + 1, 1 << 29, (1 << 29) + 1, i32::MAX as u32, 1 << 31, u32::MAX] {
        assert_eq!(busy().cpu_ns(tid), Err(NO_SUCH_THREAD), "{tid}");
    }
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let result = busy().cpu_ns(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(result, Err(NO_SUCH_THREAD), "a thread of another process");
}

/// A signal handler that calls these functions need not save errno.
#[test]
fn errno_is_kept_by_every_function_that_a_signal_handler_may_call() {
    let cancel = Cancel::new();
    let mut ns = 0;
    // SAFETY: __errno_location(3) returns the calling thread's errno; the functions get what busy.h requires.
    unsafe {
        let errno = libc::__errno_location();
        *errno = 77;
        (busy().abi_version)();
        (busy().version)();
        (busy().strerror)(-1);
        (busy().cancel_set)(null());
        (busy().cancel_set)(&cancel);
        (busy().cancel_reset)(&cancel);
        (busy().wait)(0);
        (busy().wait_time)(0);
        for clock in [MONOTONIC, TSC, 2] {
            busy().wait(SHORT, &Options { clock, ..Options::new(&cancel) });
            assert_eq!(*errno, 77, "clock {clock}");
        }
        assert_eq!((busy().thread_cpu_ns)(0, &mut ns), OK);
        for tid in [1 << 22, u32::MAX] {
            assert_eq!((busy().thread_cpu_ns)(tid, &mut ns), NO_SUCH_THREAD);
            assert_eq!(*errno, 77, "thread {tid}");
        }
    }
}

/// Four threads, two per clock, wait a hundred thousand times each. By the caller's own clock, no wait ends early.
#[test]
fn no_wait_ends_early_on_any_clock() {
    let waits = |clock: u32, seed: u64| {
        let options = Options { clock, ..Options::new(null()) };
        if busy().wait(0, &options).0 == UNSUPPORTED {
            return;
        }
        let mut random = seed;
        for _ in 0..100_000 {
            // Knuth's MMIX generator: any spread of lengths will do, as long as a failure can be reproduced.
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let requested = 1000 + (random >> 33) % 49_001;
            let before = monotonic_ns();
            let (status, result) = busy().wait(requested, &options);
            let took = monotonic_ns() - before;
            assert!(
                status == OK && requested <= result.elapsed_ns && result.elapsed_ns <= took,
                "{requested} {result:?} {took}"
            );
        }
    };
    thread::scope(|scope| {
        for (clock, seed) in [(MONOTONIC, 1), (MONOTONIC, 2), (TSC, 3), (TSC, 4)] {
            scope.spawn(move || waits(clock, seed));
        }
    });
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` has space for one time.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) }, 0);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

const IN_CHILD: &str = "BUSY_TEST_IN_CHILD";

/// Runs `calls_of_every_kind` of this file in a process of its own, and checks the output between its two marks.
#[test]
fn nothing_is_ever_printed() {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "calls_of_every_kind", "--nocapture", "--test-threads=1"]).env(IN_CHILD, "1");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("<<>>"), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "<<>>");
}

#[test]
fn calls_of_every_kind() {
    if env::var_os(IN_CHILD).is_none() {
        return;
    }
    // This bypasses the buffer of print!, which holds the test's own output.
    let mark = |mark: &[u8]| {
        for descriptor in [1, 2] {
            // SAFETY: `mark` has `mark.len()` bytes.
            assert_eq!(unsafe { libc::write(descriptor, mark.as_ptr().cast(), mark.len()) }, mark.len() as isize);
        }
    };
    std::io::stdout().flush().unwrap();
    mark(b"<<");
    the_versions_are_those_of_this_source();
    every_status_has_a_text_and_unknown_ones_too();
    null_is_refused();
    a_wait_over_the_longest_is_refused();
    the_waits_of_whole_seconds_count_polls();
    another_thread_ends_the_wait();
    unused_ids_and_threads_of_other_processes_are_refused();
    mark(b">>");
}
