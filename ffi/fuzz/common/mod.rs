//! What the fuzz targets share: libbusy's functions as a C program links them, and a start that proves the sanitizer.

#![allow(dead_code, reason = "no target uses all of it")]

#[path = "../../tests/common/header.rs"]
pub mod header;
pub mod options;

// Linked for the functions that it defines.
use busy_instrumented as _;
use header::{Cancel, LoadOptions, LoadResult, Options, WaitResult};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Mutex;

unsafe extern "C" {
    pub fn busy_abi_version() -> u32;
    pub fn busy_version() -> *const c_char;
    pub fn busy_strerror(status: i32) -> *const c_char;
    pub fn busy_cancel_set(cancel: *const Cancel) -> i32;
    pub fn busy_cancel_reset(cancel: *const Cancel) -> i32;
    pub fn busy_wait_ns(ns: u64, options: *const Options, result: *mut WaitResult) -> i32;
    pub fn busy_load(options: *const LoadOptions, result: *mut LoadResult) -> i32;
    pub fn busy_thread_cpu_ns(tid: u32, ns: *mut u64) -> i32;

    /// AddressSanitizer's own (sanitizer/asan_interface.h): without it no target can be linked.
    fn __asan_address_is_poisoned(address: *const c_void) -> c_int;
}

/// Each target's first act.
pub fn start() {
    // libbusy has silenced panics. Here every one is a finding, also such as libbusy itself would catch.
    std::panic::set_hook(Box::new(|panic| {
        // A second thread's abort would end the process before the input of the first is written.
        static FIRST: Mutex<()> = Mutex::new(());
        std::mem::forget(FIRST.lock());
        eprintln!("{panic}");
        std::process::abort();
    }));
    let block = Box::new(0u64);
    let end = (&raw const *block).wrapping_add(1);
    // SAFETY: takes any address.
    assert_ne!(unsafe { __asan_address_is_poisoned(end.cast()) }, 0, "AddressSanitizer does not watch the heap");
}

/// Fails unless `status` is one of those that busy.h names for the arguments.
pub fn assert_documented(status: i32, documented: &[i32]) {
    assert!(
        documented.contains(&status),
        "busy.h names {documented:?} for these arguments, found {status}: {}",
        words(status)
    );
}

/// What busy_strerror() says.
pub fn words(status: i32) -> &'static str {
    // SAFETY: takes any number.
    let words = unsafe { busy_strerror(status) };
    assert!(!words.is_null(), "no words for {status}");
    // SAFETY: static and terminated, by the header's word; AddressSanitizer sees it if not.
    unsafe { CStr::from_ptr(words) }.to_str().unwrap()
}
