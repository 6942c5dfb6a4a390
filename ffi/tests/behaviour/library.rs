//! The libbusy.so under test, opened at run time, with the functions of busy.h and busy_gil.h.

use super::common::libbusy;
use super::header::*;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::OnceLock;

/// The functions of the library, and methods that call them without unsafe code.
pub struct Busy {
    pub abi_version: unsafe extern "C" fn() -> u32,
    pub version: unsafe extern "C" fn() -> *const c_char,
    pub strerror: unsafe extern "C" fn(i32) -> *const c_char,
    pub cancel_set: unsafe extern "C" fn(*const Cancel) -> i32,
    pub cancel_reset: unsafe extern "C" fn(*const Cancel) -> i32,
    pub wait: unsafe extern "C" fn(c_uint) -> u64,
    pub wait_time: unsafe extern "C" fn(c_uint) -> u64,
    pub wait_ns: unsafe extern "C" fn(u64, *const Options, *mut WaitResult) -> i32,
    pub load: unsafe extern "C" fn(*const LoadOptions, *mut LoadResult) -> i32,
    pub thread_cpu_ns: unsafe extern "C" fn(u32, *mut u64) -> i32,
    pub gil_start: unsafe extern "C" fn() -> i32,
    pub gil_stop: unsafe extern "C" fn() -> i32,
    pub gil_snapshot: unsafe extern "C" fn(*mut GilTotals, *mut c_void, usize, *mut usize) -> i32,
    pub gil_window_open: unsafe extern "C" fn(*mut u32) -> i32,
    pub gil_window_close: unsafe extern "C" fn(u32) -> i32,
    pub gil_counters_read: unsafe extern "C" fn(*mut GilCounters) -> i32,
    pub gil_stalls_close: unsafe extern "C" fn(*mut c_void) -> i32,
    pub gil_stalls_next: unsafe extern "C" fn(*mut c_void, u64, *mut GilStall, *mut c_char, usize) -> i32,
    pub gil_stalls_open: unsafe extern "C" fn(u64, *mut *mut c_void) -> i32,
    pub gil_stalls_stop: unsafe extern "C" fn(*mut c_void) -> i32,
    pub gil_histograms_keep: unsafe extern "C" fn() -> i32,
    pub gil_histograms_read: unsafe extern "C" fn(*mut GilHistograms) -> i32,
    pub gil_own_thread: unsafe extern "C" fn(*mut u64) -> i32,
    pub gil_reason: unsafe extern "C" fn(*mut c_char, usize) -> usize,
}

pub fn busy() -> &'static Busy {
    static BUSY: OnceLock<Busy> = OnceLock::new();
    BUSY.get_or_init(|| {
        // SAFETY: the library's initialisers are those of this workspace.
        let library = Box::leak(Box::new(unsafe { libloading::Library::new(libbusy()) }.unwrap()));
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field that receives the function has the type that busy.h declares.
                *unsafe { library.get($name) }.unwrap()
            };
        }
        Busy {
            abi_version: function!("busy_abi_version"),
            version: function!("busy_version"),
            strerror: function!("busy_strerror"),
            cancel_set: function!("busy_cancel_set"),
            cancel_reset: function!("busy_cancel_reset"),
            wait: function!("busy_wait"),
            wait_time: function!("busy_wait_time"),
            wait_ns: function!("busy_wait_ns"),
            load: function!("busy_load"),
            thread_cpu_ns: function!("busy_thread_cpu_ns"),
            gil_start: function!("busy_gil_start"),
            gil_stop: function!("busy_gil_stop"),
            gil_snapshot: function!("busy_gil_snapshot"),
            gil_window_open: function!("busy_gil_window_open"),
            gil_window_close: function!("busy_gil_window_close"),
            gil_counters_read: function!("busy_gil_counters_read"),
            gil_stalls_close: function!("busy_gil_stalls_close"),
            gil_stalls_next: function!("busy_gil_stalls_next"),
            gil_stalls_open: function!("busy_gil_stalls_open"),
            gil_stalls_stop: function!("busy_gil_stalls_stop"),
            gil_histograms_keep: function!("busy_gil_histograms_keep"),
            gil_histograms_read: function!("busy_gil_histograms_read"),
            gil_own_thread: function!("busy_gil_own_thread"),
            gil_reason: function!("busy_gil_reason"),
        }
    })
}

impl Busy {
    /// Calls busy_wait_ns() with an untouched result. Returns the status and the result after the call.
    pub fn wait(&self, ns: u64, options: *const Options) -> (i32, WaitResult) {
        let mut result = UNTOUCHED;
        // SAFETY: the tests pass NULL, options that outlive the call, or options that it must refuse by their size.
        let status = unsafe { (self.wait_ns)(ns, options, &mut result) };
        (status, result)
    }

    pub fn cancellable(&self, ns: u64, cancel: &Cancel) -> (i32, WaitResult) {
        self.wait(ns, &Options::new(cancel))
    }

    pub fn set(&self, cancel: &Cancel) {
        // SAFETY: the flag is alive.
        assert_eq!(unsafe { (self.cancel_set)(cancel) }, OK);
    }

    pub fn reset(&self, cancel: &Cancel) {
        // SAFETY: the flag is alive.
        assert_eq!(unsafe { (self.cancel_reset)(cancel) }, OK);
    }

    pub fn cpu_ns(&self, tid: u32) -> Result<u64, i32> {
        let mut ns = u64::MAX;
        // SAFETY: `ns` has space for one number.
        let status = unsafe { (self.thread_cpu_ns)(tid, &mut ns) };
        if status == OK {
            return Ok(ns);
        }
        assert_eq!(ns, u64::MAX, "written after an error");
        Err(status)
    }

    pub fn text(&self, status: i32) -> &'static str {
        // SAFETY: by the header, the text is never NULL and never freed.
        unsafe { CStr::from_ptr((self.strerror)(status)) }.to_str().unwrap()
    }
}
