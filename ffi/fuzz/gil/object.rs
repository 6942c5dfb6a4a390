//! An object that reports stalls.

use super::header::{Stalls, busy_gil_stalls_close};
use crate::common::assert_documented;
use crate::common::header::OK;
use std::sync::atomic::AtomicBool;

/// An open object of busy_gil_stalls_open(). It is closed when it is dropped.
pub struct Object {
    pub pointer: *mut Stalls,
    pub threshold_ns: u64,
    /// Whether a stop has begun, and whether one has ended.
    pub stops: AtomicBool,
    pub is_stopped: AtomicBool,
    /// Whether it has learned to read stacks, which takes 20 ms here.
    pub is_prepared: AtomicBool,
}

impl Object {
    pub fn new(pointer: *mut Stalls, threshold_ns: u64) -> Self {
        let [stops, is_stopped, is_prepared] = [const { AtomicBool::new(false) }; 3];
        Self { pointer, threshold_ns, stops, is_stopped, is_prepared }
    }
}

// SAFETY: any thread may use the object, by the header.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the object is open, and no thread uses it any more.
        assert_documented(unsafe { busy_gil_stalls_close(self.pointer) }, &[OK]);
    }
}
