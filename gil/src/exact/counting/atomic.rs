//! The atomics of the accounts. The tests under loom (gil/tests/loom.rs) compile some of these modules with loom's.

pub(super) use std::sync::atomic::*;
use std::time::Duration;

/// Waits a moment for another thread, which may have lost its CPU if there were many tries.
pub(super) fn wait_a_moment(tries: u32) {
    match tries {
        0..200 => std::hint::spin_loop(),
        _ => std::thread::sleep(Duration::from_micros(20)),
    }
}
