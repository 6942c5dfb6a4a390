//! busy_wait_ns() with any arguments. It must return a status that busy.h names for them, write nothing after an error,
//! and never end early.

#![no_main]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../common/mod.rs"]
mod common;

use common::header::*;
use common::options::{Flag, Number, Shape, pointer};
use common::{assert_documented, busy_wait_ns, start};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::ptr::{null, null_mut};
use std::sync::LazyLock;
use std::time::Instant;

/// The longest wait that no flag ends.
const SHORT: u64 = 50_000;

#[derive(Debug, Arbitrary)]
struct Arguments {
    ns: Number,
    /// None stands for NULL.
    options: Option<Fields>,
    has_result: bool,
}

#[derive(Debug, Arbitrary)]
struct Fields {
    shape: Shape,
    flag: Flag,
    clock: u32,
    reserved: u32,
}

impl Arguments {
    fn flag(&self) -> Flag {
        self.options.as_ref().map_or(Flag::None, |fields| fields.flag)
    }

    fn ns(&self) -> u64 {
        if self.flag() == Flag::Set { self.ns.value() } else { self.ns.bounded(SHORT) }
    }

    /// Returns the statuses that busy.h allows for these arguments. If there are several errors, any of them is
    /// allowed.
    fn documented(&self) -> Vec<i32> {
        let mut refusals = Vec::new();
        refusals.extend((!self.has_result).then_some(NULL_POINTER));
        refusals.extend((self.ns() > WAIT_MAX_NS).then_some(OUT_OF_RANGE));
        if let Some(Fields { shape, clock, reserved, .. }) = &self.options {
            refusals.extend(shape.refusal::<Options>());
            if shape.has_fields::<Options>() {
                refusals.extend((![MONOTONIC, TSC].contains(clock) || *reserved != 0).then_some(BAD_OPTION));
                refusals.extend((*clock == TSC && !*HAS_INVARIANT_TSC).then_some(UNSUPPORTED));
            }
        }
        match refusals.is_empty() {
            false => refusals,
            // If the time has passed, a flag that is set does not count.
            true if self.flag() == Flag::Set && self.ns() > 0 => vec![CANCELLED, OK],
            true => vec![OK],
        }
    }
}

/// Whether the kernel reports an invariant counter, by this name (arch/x86/kernel/cpu/common.c).
static HAS_INVARIANT_TSC: LazyLock<bool> = LazyLock::new(|| {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    cpus.split_whitespace().any(|word| word == "nonstop_tsc")
});

fuzz_target!(init: start(), |arguments: Arguments| {
    let ns = arguments.ns();
    let cancel = arguments.flag().cancel();
    let block = arguments.options.as_ref().map(|Fields { shape, clock, reserved, .. }| {
        let (size, cancel) = (shape.size::<Options>(), pointer(&cancel));
        shape.block(Options { size, cancel, clock: *clock, reserved: *reserved })
    });
    let options = block.as_ref().map_or(null(), |block| block.options());
    let mut result = Box::new(UNTOUCHED);
    let place = if arguments.has_result { &raw mut *result } else { null_mut() };

    let before = Instant::now();
    // SAFETY: each pointer is NULL or points to live memory of the stated length.
    let status = unsafe { busy_wait_ns(ns, options, place) };
    let took = before.elapsed().as_nanos() as u64;

    assert_documented(status, &arguments.documented());
    match status {
        OK => assert!(ns <= result.elapsed_ns && result.elapsed_ns <= took, "{ns} {result:?} {took}"),
        CANCELLED => assert!(result.elapsed_ns < ns && result.elapsed_ns <= took, "{ns} {result:?} {took}"),
        _ => assert_eq!(*result, UNTOUCHED, "written after {status}"),
    }
});
