//! The statuses that busy_gil.h documents for a call, the reason for one, and the interval that a call describes.

use super::header::busy_gil_reason;
use super::memory::Array;
use crate::common::assert_documented;
use crate::common::header::OK;
use std::ffi::c_char;

/// The statuses that the header documents for a call's arguments.
#[derive(Default)]
pub struct Documented {
    /// Those that refuse the arguments. If there is one, the call must not return BUSY_OK.
    refusals: Vec<i32>,
    /// Those that depend on other threads.
    possible: Vec<i32>,
}

impl Documented {
    /// Adds a status with which the call must fail, or may fail if `is_sure` is None.
    pub fn refuse(mut self, is_sure: impl Into<Option<bool>>, status: i32) -> Self {
        match is_sure.into() {
            Some(true) => self.refusals.push(status),
            Some(false) => {}
            None => self.possible.push(status),
        }
        self
    }

    pub fn check(mut self, status: i32) {
        if self.refusals.is_empty() {
            self.possible.push(OK);
        }
        assert_documented(status, &[self.refusals, self.possible].concat());
    }
}

/// An interval: a window, or the session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interval {
    /// 0 for the session.
    pub number: u32,
    /// The times before and after the call with which it began.
    pub began: (u64, u64),
    /// The numbers of acquires and releases of each GIL before it.
    pub acquired: [u64; 2],
    pub released: [u64; 2],
    /// If histograms are kept for the interval: the number of releases of each GIL before the histograms.
    pub kept: Option<[u64; 2]>,
}

/// Returns the reason for the latest refusal.
pub fn reason() -> String {
    let text = Array::new::<c_char>(4096, false);
    // SAFETY: the pointer has space for so many bytes.
    let needed = unsafe { busy_gil_reason(text.pointer(), 4096) };
    String::from_utf8_lossy(&text.read::<u8>(needed)).trim_end_matches('\0').into()
}
