//! busy_thread_cpu_ns() with any thread id. It must return the CPU time of the threads of this process, and of no
//! others.

#![no_main]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../common/mod.rs"]
mod common;

use common::header::{NO_SUCH_THREAD, NULL_POINTER, OK};
use common::{assert_documented, busy_thread_cpu_ns, start};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::mpsc::channel;

#[derive(Debug, Arbitrary)]
enum Thread {
    Caller,
    Own,
    /// A live thread that sleeps.
    Sleeper,
    /// Ids near the process id, which any process may have.
    Near(i8),
    /// Ids that would become the calling thread's if the clock id lost their upper bits.
    High(u8),
    Any(u32),
}

#[derive(Debug, Arbitrary)]
struct Arguments {
    thread: Thread,
    has_place: bool,
}

fn gettid() -> u32 {
    // SAFETY: gettid(2) only returns the id of the calling thread.
    unsafe { libc::gettid() as u32 }
}

/// Returns the id of a thread that sleeps forever.
fn sleeper() -> u32 {
    static SLEEPER: OnceLock<u32> = OnceLock::new();
    *SLEEPER.get_or_init(|| {
        let (send, receive) = channel();
        std::thread::spawn(move || {
            send.send(gettid()).unwrap();
            loop {
                std::thread::park();
            }
        });
        receive.recv().unwrap()
    })
}

const UNTOUCHED: u64 = 0xa5a5_a5a5_a5a5_a5a5;

fuzz_target!(init: start(), |arguments: Arguments| {
    let tid = match arguments.thread {
        Thread::Caller => 0,
        Thread::Own => gettid(),
        Thread::Sleeper => sleeper(),
        Thread::Near(distance) => std::process::id().wrapping_add_signed(distance.into()),
        Thread::High(bits) => gettid() | u32::from(bits) << 24,
        Thread::Any(tid) => tid,
    };
    let mut ns = Box::new(UNTOUCHED);
    let place = if arguments.has_place { &raw mut *ns } else { null_mut() };
    // SAFETY: `place` is NULL or has space for one number.
    let status = unsafe { busy_thread_cpu_ns(tid, place) };

    // The kernel's list decides. No thread of this process starts or ends meanwhile.
    let is_ours = tid == 0 || Path::new("/proc/self/task").join(tid.to_string()).exists();
    let documented = if !arguments.has_place {
        NULL_POINTER
    } else if is_ours {
        OK
    } else {
        NO_SUCH_THREAD
    };
    assert_documented(status, &[documented]);
    if status == OK {
        assert_ne!(*ns, UNTOUCHED);
    } else {
        assert_eq!(*ns, UNTOUCHED, "written after {status}");
    }
});
