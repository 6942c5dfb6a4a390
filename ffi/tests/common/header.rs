//! The declarations of busy.h, written by hand, so that the tests do not share them with the library.

use std::sync::atomic::AtomicU32;

pub const OK: i32 = 0;
pub const CANCELLED: i32 = 1;
pub const NULL_POINTER: i32 = 2;
pub const OUT_OF_RANGE: i32 = 3;
pub const BAD_SIZE: i32 = 4;
pub const NO_SUCH_THREAD: i32 = 5;
pub const UNSUPPORTED: i32 = 6;
pub const BAD_OPTION: i32 = 8;
pub const GIL_OFF: i32 = 10;
pub const GIL_REFUSED: i32 = 11;
pub const TIMED_OUT: i32 = 14;
pub const MONOTONIC: u32 = 0;
pub const TSC: u32 = 1;
pub const WAIT_MAX_NS: u64 = i64::MAX as u64;

/// busy_cancel.
#[repr(C)]
pub struct Cancel(AtomicU32);

impl Cancel {
    /// BUSY_CANCEL_INIT.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

#[repr(C)]
pub struct Options {
    pub size: usize,
    pub cancel: *const Cancel,
    pub clock: u32,
    pub reserved: u32,
}

impl Options {
    /// BUSY_WAIT_OPTIONS_INIT, with `cancel`.
    pub fn new(cancel: *const Cancel) -> Self {
        Self { size: size_of::<Self>(), cancel, clock: MONOTONIC, reserved: 0 }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    pub size: usize,
    pub cancel: *const Cancel,
    pub share: f64,
    pub period_ns: u64,
    pub duration_ns: u64,
    pub threads: u32,
    pub reserved: u32,
}

impl LoadOptions {
    /// BUSY_LOAD_OPTIONS_INIT.
    pub fn new() -> Self {
        let size = size_of::<Self>();
        let (period_ns, duration_ns) = (10_000_000, 1_000_000_000);
        Self { size, cancel: std::ptr::null(), share: 0.5, period_ns, duration_ns, threads: 1, reserved: 0 }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadResult {
    pub elapsed_ns: u64,
    pub cpu_ns: u64,
    pub share: f64,
}

/// BUSY_GIL_TOTALS_INIT: the size, and zeros for the fields behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GilTotals {
    pub size: usize,
    pub rest: [u64; 15],
}

impl GilTotals {
    pub fn new() -> Self {
        Self { size: size_of::<Self>(), rest: [0; 15] }
    }
}

/// BUSY_GIL_HISTOGRAMS_INIT: the size, and zeros for the fields behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GilHistograms {
    pub size: usize,
    pub rest: [u64; 1 + 2 * 26],
}

impl GilHistograms {
    pub fn new() -> Self {
        Self { size: size_of::<Self>(), rest: [0; 1 + 2 * 26] }
    }
}

/// BUSY_GIL_COUNTERS_INIT: the size, and zeros for the fields behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GilCounters {
    pub size: usize,
    pub rest: [u64; 11 + 2 * 26],
}

impl GilCounters {
    pub fn new() -> Self {
        Self { size: size_of::<Self>(), rest: [0; 11 + 2 * 26] }
    }
}

/// BUSY_GIL_STALL_INIT: the size, and zeros for the fields behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GilStall {
    pub size: usize,
    pub rest: [u64; 7 + 4 + 8],
}

impl GilStall {
    pub fn new() -> Self {
        Self { size: size_of::<Self>(), rest: [0; 7 + 4 + 8] }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitResult {
    pub count: u64,
    pub elapsed_ns: u64,
}

/// A result that no call writes by chance. If it is unchanged after an error, the call has written nothing.
pub const UNTOUCHED: WaitResult = WaitResult { count: 0xa5a5_a5a5_a5a5_a5a5, elapsed_ns: 0x5a5a_5a5a_5a5a_5a5a };
