//! The talk's call (slide 13), unchanged, on every Python found: ctypes on libbusy's `busy_wait`.

#![cfg(target_os = "linux")]

mod common;

use common::{libbusy, printed, pythons};
use std::process::Command;
use std::thread;

const CALL: &str = r#"
import ctypes, sys, time
lib = ctypes.CDLL(sys.argv[1])
lib.busy_wait.argtypes = [ctypes.c_uint]
lib.busy_wait.restype = ctypes.c_void_p
clock = getattr(time, "monotonic", time.time)
before = clock()
n = lib.busy_wait(1)
after = clock()
assert isinstance(n, int) and n > 0, n
# 2.7 has but a clock that drops what is less than a microsecond.
assert after - before > 1 - 2e-6, after - before
print("nothing else was printed")
"#;

#[test]
fn the_talks_call_works_unchanged() {
    let library = libbusy();
    // All at once: a wait is as long by the clock, whoever shares the CPU.
    thread::scope(|scope| {
        for python in pythons() {
            let mut command = Command::new(&python.path);
            command.args(["-c", CALL]).arg(&library);
            scope.spawn(move || {
                assert_eq!(printed(&mut command), "nothing else was printed\n", "{}", python.name);
                eprintln!("{}: as in the talk", python.name);
            });
        }
    });
}
