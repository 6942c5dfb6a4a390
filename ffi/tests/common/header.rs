//! busy.h, written down once more by hand, and a libbusy.so that answers to it.

use super::common::libbusy;
use std::ffi::{CStr, c_char, c_uint};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

pub const OK: i32 = 0;
pub const CANCELLED: i32 = 1;
pub const NULL_POINTER: i32 = 2;
pub const OUT_OF_RANGE: i32 = 3;
pub const BAD_SIZE: i32 = 4;
pub const NO_SUCH_THREAD: i32 = 5;
pub const UNSUPPORTED: i32 = 6;
pub const BAD_OPTION: i32 = 8;
pub const NO_THREADS: i32 = 9;
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
    /// BUSY_WAIT_OPTIONS_INIT, with a flag or NULL.
    pub fn new(cancel: *const Cancel) -> Self {
        Self { size: size_of::<Self>(), cancel, clock: MONOTONIC, reserved: 0 }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
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

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitResult {
    pub count: u64,
    pub elapsed_ns: u64,
}

/// What no call writes by chance: found again after a refusal, nothing was written.
pub const UNTOUCHED: WaitResult = WaitResult { count: 0xa5a5_a5a5_a5a5_a5a5, elapsed_ns: 0x5a5a_5a5a_5a5a_5a5a };

/// The functions, and calls of them that need no unsafe.
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
}

pub fn busy() -> &'static Busy {
    static BUSY: OnceLock<Busy> = OnceLock::new();
    BUSY.get_or_init(|| {
        // SAFETY: its initialisers are ours.
        let library = Box::leak(Box::new(unsafe { libloading::Library::new(libbusy()) }.unwrap()));
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field that it goes to has the type that busy.h declares.
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
        }
    })
}

impl Busy {
    /// busy_wait_ns, with its status and what it left in an untouched result.
    pub fn wait(&self, ns: u64, options: *const Options) -> (i32, WaitResult) {
        let mut result = UNTOUCHED;
        // SAFETY: the tests pass NULL, options that outlive the call, or such as it must refuse by their size.
        let status = unsafe { (self.wait_ns)(ns, options, &mut result) };
        (status, result)
    }

    pub fn cancellable(&self, ns: u64, cancel: &Cancel) -> (i32, WaitResult) {
        self.wait(ns, &Options::new(cancel))
    }

    pub fn set(&self, cancel: &Cancel) {
        // SAFETY: a live flag.
        assert_eq!(unsafe { (self.cancel_set)(cancel) }, OK);
    }

    pub fn reset(&self, cancel: &Cancel) {
        // SAFETY: a live flag.
        assert_eq!(unsafe { (self.cancel_reset)(cancel) }, OK);
    }

    pub fn cpu_ns(&self, tid: u32) -> Result<u64, i32> {
        let mut ns = u64::MAX;
        // SAFETY: a place for one number.
        let status = unsafe { (self.thread_cpu_ns)(tid, &mut ns) };
        if status == OK {
            return Ok(ns);
        }
        assert_eq!(ns, u64::MAX, "written after a refusal");
        Err(status)
    }

    pub fn words(&self, status: i32) -> &'static str {
        // SAFETY: never NULL and never freed, by the header's word.
        unsafe { CStr::from_ptr((self.strerror)(status)) }.to_str().unwrap()
    }
}
