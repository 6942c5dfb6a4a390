//! busy_load() with any options. It must return a status that busy.h names for them, write nothing after an error, and
//! otherwise write a plausible result.

#![no_main]
#![allow(unsafe_code, reason = "calls through a C ABI")]

#[path = "../common/mod.rs"]
mod common;

use common::header::*;
use common::options::{Flag, Number, Shape, pointer};
use common::{assert_documented, busy_load, start};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::ptr::{null, null_mut};
use std::time::Instant;

/// The longest load that no flag ends, in nanoseconds.
const SHORT: u64 = 2_000_000;
/// The most threads of a valid load here. With all threads that are allowed, one load would take a second.
const FEW: u32 = 4;
const MOST_THREADS: u32 = 4096;

#[derive(Debug, Arbitrary)]
struct Arguments {
    /// None stands for NULL.
    options: Option<Fields>,
    has_result: bool,
}

#[derive(Debug, Arbitrary)]
struct Fields {
    shape: Shape,
    flag: Flag,
    share: f64,
    period: Number,
    duration: Number,
    threads: u32,
    reserved: u32,
}

impl Fields {
    fn period_ns(&self) -> u64 {
        self.period.value()
    }

    fn duration_ns(&self) -> u64 {
        if self.flag == Flag::Set { self.duration.value() } else { self.duration.bounded(SHORT) }
    }

    fn threads(&self) -> u32 {
        if (1..=MOST_THREADS).contains(&self.threads) { 1 + self.threads % FEW } else { self.threads }
    }

    /// Returns the statuses with which busy_load() may refuse these options, by busy.h.
    fn refusals(&self) -> Vec<i32> {
        let mut refusals: Vec<_> = self.shape.refusal::<LoadOptions>().into_iter().collect();
        if self.shape.has_fields::<LoadOptions>() {
            let is_long = self.period_ns() > WAIT_MAX_NS || self.duration_ns() > WAIT_MAX_NS;
            refusals.extend(is_long.then_some(OUT_OF_RANGE));
            let is_a_share = (0.0..=1.0).contains(&self.share);
            let few = (1..=MOST_THREADS).contains(&self.threads());
            let is_valid = is_a_share && few && self.period_ns() > 0 && self.reserved == 0;
            refusals.extend((!is_valid).then_some(BAD_OPTION));
        }
        refusals
    }
}

fuzz_target!(init: start(), |arguments: Arguments| {
    let Arguments { options: fields, has_result } = arguments;
    let cancel = fields.as_ref().and_then(|fields| fields.flag.cancel());
    let block = fields.as_ref().map(|fields| {
        fields.shape.block(LoadOptions {
            size: fields.shape.size::<LoadOptions>(),
            cancel: pointer(&cancel),
            share: fields.share,
            period_ns: fields.period_ns(),
            duration_ns: fields.duration_ns(),
            threads: fields.threads(),
            reserved: fields.reserved,
        })
    });
    let options = block.as_ref().map_or(null(), |block| block.options());
    // Values that no load writes by chance.
    let untouched = LoadResult { elapsed_ns: 0xa5a5_a5a5_a5a5_a5a5, cpu_ns: 0x5a5a_5a5a_5a5a_5a5a, share: -7.0 };
    let mut result = Box::new(untouched);
    let place = if has_result { &raw mut *result } else { null_mut() };

    let before = Instant::now();
    // SAFETY: each pointer is NULL or points to live memory of the stated length.
    let status = unsafe { busy_load(options, place) };
    let took = before.elapsed().as_nanos() as u64;

    let mut documented = fields.as_ref().map_or(vec![NULL_POINTER], Fields::refusals);
    documented.extend((!has_result).then_some(NULL_POINTER));
    if documented.is_empty() {
        documented.push(OK);
        // If the time has passed, a flag that is set does not count.
        let cancelled = fields.as_ref().is_some_and(|fields| fields.flag == Flag::Set && fields.duration_ns() > 0);
        documented.extend(cancelled.then_some(CANCELLED));
    }
    assert_documented(status, &documented);
    let Some(fields) = fields.filter(|_| [OK, CANCELLED].contains(&status)) else {
        assert_eq!(*result, untouched, "written after {status}");
        return;
    };
    let LoadResult { elapsed_ns, cpu_ns, share } = *result;
    assert!(elapsed_ns <= took, "{elapsed_ns} of {took} ns");
    assert!(status == CANCELLED || elapsed_ns >= fields.duration_ns(), "{fields:?}: {elapsed_ns} ns");
    // The two clocks may differ, and the kernel may count the time of an interrupt, but by no more than this.
    let most = u64::from(fields.threads()) * (elapsed_ns + elapsed_ns / 10 + 10_000_000);
    assert!(cpu_ns <= most, "{cpu_ns} ns of CPU time in {elapsed_ns} ns: {fields:?}");
    assert!(share.is_finite() && share >= 0.0, "{share}");
});
