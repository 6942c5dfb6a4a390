//! Runs the unit tests of the only module that needs no Python, since the library itself cannot be linked into a test.

#[path = "../src/nanoseconds.rs"]
#[allow(dead_code, reason = "used by its own tests only")]
mod nanoseconds;
