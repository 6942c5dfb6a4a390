//! Makes the talk's call (slide 13) unchanged on every Python found: `busy_wait` of libbusy, with ctypes.

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
# The only clock of 2.7 drops fractions of a microsecond.
assert after - before > 1 - 2e-6, after - before
print("nothing else was printed")
"#;

#[test]
fn the_talks_call_works_unchanged() {
    let library = libbusy();
    // All run at once: a wait takes the same time by the clock, even if it shares the CPU.
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
