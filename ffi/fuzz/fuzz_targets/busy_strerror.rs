//! busy_strerror() with any status, and the two version functions. Every text must be static and terminated.

#![no_main]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../common/mod.rs"]
mod common;

use common::header::{OK, TIMED_OUT};
use common::{busy_abi_version, busy_strerror, busy_version, start};
use libfuzzer_sys::fuzz_target;
use std::ffi::CStr;

/// A status that no version can have, since statuses are numbered from 0.
const NONE: i32 = i32::MIN;

fuzz_target!(init: start(), |status: i32| {
    let text = common::text(status);
    assert!(text.len() > 5 && text.is_ascii() && !text.ends_with('.'), "{text:?}");
    let is_known = (OK..=TIMED_OUT).contains(&status);
    assert_eq!(text != common::text(NONE), is_known, "status {status}: {text:?}");
    assert!((OK..=TIMED_OUT).all(|other| other == status || common::text(other) != text), "status {status}: {text:?}");
    // SAFETY: the function accepts any number.
    assert_eq!(unsafe { busy_strerror(status) }.cast(), text.as_ptr(), "the text of {status} has moved");

    // SAFETY: both take no arguments. If the text is not terminated, AddressSanitizer detects the read.
    let (abi, version) = unsafe { (busy_abi_version(), CStr::from_ptr(busy_version())) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    assert!(abi >> 16 >= 1, "{abi:#x}");
});
