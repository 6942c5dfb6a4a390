//! What busy.h promises, function by function, asked of libbusy.so as any program asks it: opened at run time.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../../src/abi.rs"]
mod abi;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/header.rs"]
mod header;
mod library;
mod load;
mod options;

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

/// Far longer than a flag takes to end it.
const LONG: u64 = 60_000_000_000;
/// What a wait that is to be refused asks for: were it not, the test would still end.
const SHORT: u64 = 1000;

/// Runs `wait` in a thread, and `interrupt` with that thread once it is well inside the wait: its CPU time has
/// grown by a millisecond, and there is nothing else in it to spend that on.
fn during<T: Send>(wait: impl FnOnce() -> T + Send, interrupt: impl FnOnce(libc::pthread_t)) -> T {
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            // SAFETY: both only tell who calls.
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

/// Returns once `done`, which a machine under load may take its time for.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < give_up, "still not true: {what}");
        sleep(Duration::from_micros(100));
    }
}

#[test]
fn the_versions_are_those_of_this_source() {
    // SAFETY: both take nothing; the text is never NULL, by the header's word.
    let (version_of_abi, version) = unsafe { ((busy().abi_version)(), CStr::from_ptr((busy().version)())) };
    assert_eq!(version_of_abi, abi::BUSY_ABI_MAJOR << 16 | abi::BUSY_ABI_MINOR);
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_status_has_words_and_unknown_ones_too() {
    let mut known: Vec<_> = (OK..=NO_WINDOWS).map(|status| busy().words(status)).collect();
    let unknown = busy().words(NO_WINDOWS + 1);
    for status in [-1, 1000, i32::MIN, i32::MAX] {
        assert_eq!(busy().words(status), unknown);
    }
    known.push(unknown);
    for words in &known {
        assert!(words.len() > 5 && words.is_ascii() && !words.ends_with('.'), "{words:?}");
    }
    let all = known.len();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), all, "two have the same words");
}

#[test]
fn null_is_refused() {
    // SAFETY: NULL is what the header lets them refuse.
    unsafe {
        assert_eq!((busy().wait_ns)(SHORT, null(), null_mut()), NULL_POINTER);
        assert_eq!((busy().cancel_set)(null()), NULL_POINTER);
        assert_eq!((busy().cancel_reset)(null()), NULL_POINTER);
        assert_eq!((busy().thread_cpu_ns)(0, null_mut()), NULL_POINTER);
        assert_eq!((busy().thread_cpu_ns)(u32::MAX, null_mut()), NULL_POINTER);
    }
}

#[test]
fn a_wait_is_never_longer_than_it_can_count() {
    // Were it to begin, the flag would end it.
    let cancel = Cancel::new();
    busy().set(&cancel);
    for ns in [WAIT_MAX_NS + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(busy().cancellable(ns, &cancel), (OUT_OF_RANGE, UNTOUCHED));
    }
    assert_eq!(busy().cancellable(WAIT_MAX_NS, &cancel).0, CANCELLED);
}

#[test]
fn zero_returns_without_a_count() {
    let (status, result) = busy().wait(0, null());
    assert_eq!((status, result.count), (OK, 0));
    // Time that has passed is stronger than a flag that is set.
    let cancel = Cancel::new();
    busy().set(&cancel);
    assert_eq!(busy().cancellable(0, &cancel).0, OK);
}

#[test]
fn the_whole_second_waits_count() {
    let before = Instant::now();
    // SAFETY: they take a number and return one.
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

/// Lets `handler` take `signal` from now on.
fn install(signal: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: zeros are a valid sigaction; the handler does only what signal-safety(7) allows.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, null_mut()), 0);
    }
}

fn send(signal: c_int, thread: libc::pthread_t) {
    // SAFETY: the scope of during() keeps the thread alive until it was joined.
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
        // A wait inside a wait: safe in a handler, and no state is shared.
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
    // SAFETY: only tells who calls.
    let own = unsafe { libc::gettid() } as u32;
    let before = busy().cpu_ns(0).unwrap();
    assert_eq!(busy().wait(3_000_000, null()).0, OK);
    let (by_id, after) = (busy().cpu_ns(own).unwrap(), busy().cpu_ns(0).unwrap());
    assert!(before < by_id && by_id <= after, "{before} {by_id} {after}");

    // Of a thread that sleeps it stands still, whoever else works.
    let (send, receive) = mpsc::channel();
    let (quit, wait_for_quit) = mpsc::channel::<()>();
    let sleeper = thread::spawn(move || {
        // SAFETY: only tells who calls.
        send.send(unsafe { libc::gettid() } as u32).unwrap();
        let _ = wait_for_quit.recv();
    });
    let tid = receive.recv().unwrap();
    let mut last = 0;
    until("a sleeping thread's CPU time stands still", || {
        assert_eq!(busy().wait(1_000_000, null()).0, OK);
        let before = std::mem::replace(&mut last, busy().cpu_ns(tid).unwrap());
        before == last
    });
    drop(quit);
    sleeper.join().unwrap();
    // join() returns a little before the kernel has forgotten the thread (CLONE_CHILD_CLEARTID, set_tid_address(2)).
    until("an ended thread is refused", || busy().cpu_ns(tid) == Err(NO_SUCH_THREAD));
}

#[test]
fn threads_of_nobody_and_of_others_are_refused() {
    // PID_MAX_LIMIT is 2^22; the rest would spill out of the clock's number, or turn negative.
    for tid in [1 << 22, (1 << 22) + 1, 1 << 29, (1 << 29) + 1, i32::MAX as u32, 1 << 31, u32::MAX] {
        assert_eq!(busy().cpu_ns(tid), Err(NO_SUCH_THREAD), "{tid}");
    }
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let answer = busy().cpu_ns(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(answer, Err(NO_SUCH_THREAD), "another process's");
}

/// Half a million waits on each of four threads, two by each clock, none early by the clock of the one who asked.
#[test]
fn a_million_waits_by_each_clock_and_none_ends_early() {
    let waits = |clock: u32, seed: u64| {
        let options = Options { clock, ..Options::new(null()) };
        if busy().wait(0, &options).0 == UNSUPPORTED {
            return;
        }
        let mut random = seed;
        for _ in 0..500_000 {
            // Knuth's MMIX generator: any spread of lengths will do, as long as a failure can be had again.
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let asked = 1000 + (random >> 33) % 49_001;
            let before = monotonic_ns();
            let (status, result) = busy().wait(asked, &options);
            let took = monotonic_ns() - before;
            assert!(
                status == OK && asked <= result.elapsed_ns && result.elapsed_ns <= took,
                "{asked} {result:?} {took}"
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
    // SAFETY: a place for one time.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) }, 0);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

const IN_CHILD: &str = "BUSY_TEST_IN_CHILD";

/// Runs this file's own `calls_of_every_kind` in a process of its own and looks between its two marks.
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
    // Without the buffer of print!, which a test's own output goes through.
    let mark = |mark: &[u8]| {
        for descriptor in [1, 2] {
            // SAFETY: `mark` is as long as it says.
            assert_eq!(unsafe { libc::write(descriptor, mark.as_ptr().cast(), mark.len()) }, mark.len() as isize);
        }
    };
    std::io::stdout().flush().unwrap();
    mark(b"<<");
    the_versions_are_those_of_this_source();
    every_status_has_words_and_unknown_ones_too();
    null_is_refused();
    a_wait_is_never_longer_than_it_can_count();
    the_whole_second_waits_count();
    another_thread_ends_the_wait();
    threads_of_nobody_and_of_others_are_refused();
    mark(b">>");
}
