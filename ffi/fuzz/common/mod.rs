//! Shared by the fuzz targets: the functions of libbusy, linked as in a C program, and a start that checks the
//! sanitizer.

#![allow(dead_code, reason = "each target uses a part of it")]

#[path = "../../tests/common/header.rs"]
pub mod header;
pub mod options;

// Links the functions that are declared below.
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

    /// A function of AddressSanitizer (sanitizer/asan_interface.h). Without AddressSanitizer, no target can be linked.
    fn __asan_address_is_poisoned(address: *const c_void) -> c_int;
}

/// Prepares a target; each target calls it first.
pub fn start() {
    // libbusy silences panics. Here each panic is a finding, even one that libbusy would catch.
    std::panic::set_hook(Box::new(|panic| {
        // Only the first panic aborts: the abort of a second thread could end the process before the input is written.
        static FIRST: Mutex<()> = Mutex::new(());
        std::mem::forget(FIRST.lock());
        eprintln!("{panic}");
        std::process::abort();
    }));
    let block = Box::new(0u64);
    let end = (&raw const *block).wrapping_add(1);
    // SAFETY: the function accepts any address.
    assert_ne!(unsafe { __asan_address_is_poisoned(end.cast()) }, 0, "AddressSanitizer does not check the heap");
}

/// Fails unless `status` is one of the statuses that busy.h names for the arguments.
pub fn assert_documented(status: i32, documented: &[i32]) {
    assert!(
        documented.contains(&status),
        "busy.h names {documented:?} for these arguments, found {status}: {}",
        text(status)
    );
}

/// Returns the text of busy_strerror().
pub fn text(status: i32) -> &'static str {
    // SAFETY: the function accepts any number.
    let text = unsafe { busy_strerror(status) };
    assert!(!text.is_null(), "no text for {status}");
    // SAFETY: by the header, the text is static and terminated. If it is not, AddressSanitizer detects the read.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap()
}
