//! Many of everything: loads of the library, threads, forks and signals.

use crate::common::libbusy;
use crate::header::*;
use crate::library::*;
use crate::{during, install, send};
use std::ffi::{CString, c_int};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

/// Waits on one of the clocks. Returns true if the wait was long enough, or the machine lacks the clock.
fn waits(ns: u64, clock: u32) -> bool {
    let (status, result) = busy().wait(ns, &Options { clock, ..Options::new(null()) });
    (status == OK && result.elapsed_ns >= ns) || (status == UNSUPPORTED && clock == TSC)
}

#[test]
fn ten_thousand_loads_of_the_library_leave_nothing() {
    let path = CString::new(libbusy().as_os_str().as_bytes()).unwrap();
    // SAFETY: the library's initialisers are those of this workspace, and the function has the type of the header.
    let load = || unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        let function = libc::dlsym(library, c"busy_abi_version".as_ptr());
        assert!(!library.is_null() && !function.is_null());
        let version = std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> u32>(function)();
        assert_eq!((version >> 16, libc::dlclose(library)), (crate::abi::BUSY_ABI_MAJOR, 0));
    };
    let maps = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains("libbusy")).count()
    };
    load();
    let before = maps();
    (0..10_000).for_each(|_| load());
    assert_eq!(maps(), before);
}

#[test]
fn sixty_four_threads_wait_at_once() {
    scope(|scope| {
        for thread in 0..64 {
            scope
                .spawn(move || assert!((0..20).all(|_| waits(500_000, if thread % 2 == 0 { MONOTONIC } else { TSC }))));
        }
    });
}

#[test]
fn a_child_that_was_forked_during_the_waits_of_other_threads_can_wait() {
    // Loaded before, since the loader's lock would be another thread's in the child.
    busy();
    let ended = AtomicBool::new(false);
    scope(|scope| {
        for clock in [MONOTONIC, TSC, MONOTONIC, TSC] {
            let ended = &ended;
            scope.spawn(move || while !ended.load(Ordering::Relaxed) && waits(50_000, clock) {});
        }
        let mut statuses = Vec::new();
        for _ in 0..100 {
            let mut status = 0;
            // SAFETY: the child calls only functions that a signal handler may call, as this process has threads.
            unsafe {
                let pid = libc::fork();
                if pid == 0 {
                    libc::alarm(10);
                    libc::_exit(i32::from(!(waits(10_000, MONOTONIC) && waits(10_000, TSC))));
                }
                assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            }
            statuses.push(status);
        }
        ended.store(true, Ordering::Relaxed);
        assert!(statuses.iter().all(|status| *status == 0), "with status 14, a wait never returned: {statuses:?}");
    });
}

#[test]
fn a_thousand_signals_per_second_whose_handler_waits_shorten_no_wait() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    static FAILED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: c_int) {
        if !waits(100_000, TSC) {
            FAILED.store(true, Ordering::Relaxed);
        }
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    let signal = libc::SIGRTMIN() + 3;
    install(signal, handler);
    for clock in [MONOTONIC, TSC] {
        let before = HANDLED.load(Ordering::Relaxed);
        let is_long_enough = during(
            || waits(400_000_000, clock),
            |thread| {
                for _ in 0..200 {
                    send(signal, thread);
                    sleep(Duration::from_millis(1));
                }
            },
        );
        assert!(is_long_enough && !FAILED.load(Ordering::Relaxed), "clock {clock}");
        assert!(HANDLED.load(Ordering::Relaxed) - before >= 100, "clock {clock}");
    }
    // SAFETY: the default action comes back, with no handler.
    unsafe { libc::sigaction(signal, &std::mem::zeroed(), null_mut()) };
}
