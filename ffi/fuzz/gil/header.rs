//! The declarations of busy_gil.h, written by hand like those of busy.h (ffi/tests/common/header.rs).

use std::ffi::c_char;

pub const GIL_NOT_HELD: i32 = 12;

pub const HOLDS: u32 = 1;
pub const WAITS: u32 = 2;
pub const ENDED: u32 = 4;
pub const NEW: u32 = 8;
pub const BUCKETS: usize = 26;
pub const WAITERS: usize = 8;

/// busy_gil_totals.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Totals {
    pub size: usize,
    pub gil: u32,
    pub window: u32,
    pub gils: u32,
    pub metered: u32,
    pub interpreter: i64,
    pub at_ns: u64,
    pub metered_ns: u64,
    pub held_ns: u64,
    pub waited_ns: u64,
    pub acquisitions: u64,
    pub voluntary_releases: u64,
    pub forced_drops: u64,
    pub longest_hold_ns: u64,
    pub longest_wait_ns: u64,
    pub session: u64,
    pub unlisted_gils: u64,
    pub unlisted_threads: u64,
}

/// busy_gil_thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub id: u64,
    pub tid: u32,
    pub state: u32,
    pub held_ns: u64,
    pub waited_ns: u64,
    pub acquisitions: u64,
    pub waits: u64,
    pub voluntary_releases: u64,
    pub forced_drops: u64,
    pub longest_hold_ns: u64,
    pub longest_wait_ns: u64,
}

/// busy_gil_histograms.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Histograms {
    pub size: usize,
    pub gil: u32,
    pub window: u32,
    pub holds: [u64; BUCKETS],
    pub waits: [u64; BUCKETS],
}

/// busy_gil_counters.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    pub size: usize,
    pub gil: u32,
    pub gils: u32,
    pub metered: u32,
    pub waiting: u32,
    pub interpreter: i64,
    pub session: u64,
    pub at_ns: u64,
    pub metered_ns: u64,
    pub held_ns: u64,
    pub waited_ns: u64,
    pub acquisitions: u64,
    pub forced_drops: u64,
    pub has_histograms: u64,
    pub holds: [u64; BUCKETS],
    pub waits: [u64; BUCKETS],
}

/// busy_gil_stall.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    pub size: usize,
    pub interpreter: i64,
    pub id: u64,
    pub at_ns: u64,
    pub held_ns: u64,
    pub missed: u64,
    pub tid: u32,
    pub waiting: u32,
    pub has_stack: u32,
    pub listed: u32,
    pub waiter_tids: [u32; WAITERS],
    pub waiter_ns: [u64; WAITERS],
}

/// busy_gil_stalls.
#[repr(C)]
pub struct Stalls {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub fn busy_gil_start() -> i32;
    pub fn busy_gil_stop() -> i32;
    pub fn busy_gil_snapshot(totals: *mut Totals, threads: *mut Row, capacity: usize, needed: *mut usize) -> i32;
    pub fn busy_gil_own_thread(thread: *mut Row) -> i32;
    pub fn busy_gil_histograms_keep() -> i32;
    pub fn busy_gil_histograms_read(histograms: *mut Histograms) -> i32;
    pub fn busy_gil_window_open(number: *mut u32) -> i32;
    pub fn busy_gil_window_close(number: u32) -> i32;
    pub fn busy_gil_reason(text: *mut c_char, capacity: usize) -> usize;
    pub fn busy_gil_counters_read(counters: *mut Counters) -> i32;
    pub fn busy_gil_stalls_open(threshold_ns: u64, stalls: *mut *mut Stalls) -> i32;
    pub fn busy_gil_stalls_next(
        stalls: *mut Stalls,
        timeout_ns: u64,
        stall: *mut Stall,
        text: *mut c_char,
        capacity: usize,
    ) -> i32;
    pub fn busy_gil_stalls_stop(stalls: *mut Stalls) -> i32;
    pub fn busy_gil_stalls_close(stalls: *mut Stalls) -> i32;
}
