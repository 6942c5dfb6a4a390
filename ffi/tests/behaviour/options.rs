//! The options of busy_wait_ns(): accepted and refused options, and the choice of the clock.

use crate::header::*;
use crate::library::*;
use crate::{LONG, SHORT};
use std::ptr::{null, null_mut};
use std::time::Instant;

#[test]
fn default_options_equal_no_options() {
    let options = Options::new(null());
    let (status, result) = busy().wait(1_000_000, &options);
    assert_eq!(status, OK);
    assert!(result.count > 0 && result.elapsed_ns >= 1_000_000, "{result:?}");
}

#[test]
fn sizes_that_no_version_has_are_refused() {
    let mut options = Options::new(null());
    for size in [0, 1, 8, size_of::<Options>() - 1, 4097, usize::MAX / 2, usize::MAX] {
        options.size = size;
        assert_eq!(busy().wait(SHORT, &options), (BAD_SIZE, UNTOUCHED), "size {size}");
    }
}

/// The struct of an older or broken caller may end where its size ends, so a refusal must not read further.
#[test]
fn nothing_is_read_beyond_the_size() {
    // SAFETY: sysconf(3) only returns a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    // SAFETY: the two pages are new. The second becomes inaccessible, so a read beyond the first ends the process.
    let end = unsafe {
        let pages = libc::mmap(
            null_mut(),
            2 * page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(pages, libc::MAP_FAILED);
        let end = pages.cast::<u8>().add(page);
        assert_eq!(libc::mprotect(end.cast(), page, libc::PROT_NONE), 0);
        end
    };
    for (length, size, status) in [(8, 0, BAD_SIZE), (8, 8, BAD_SIZE), (8, 4097, BAD_SIZE), (24, 24, OK), (64, 64, OK)]
    {
        // SAFETY: the `length` bytes before the end belong to this test, are aligned, and have space for a size.
        let options = unsafe {
            let start = end.sub(length);
            start.write_bytes(0, length);
            start.cast::<usize>().write(size);
            start.cast::<Options>()
        };
        assert_eq!(busy().wait(1000, options).0, status, "size {size}");
    }
}

#[test]
fn options_of_a_newer_header_are_accepted_if_unknown_fields_are_zero() {
    const UNKNOWN: usize = 4096 - size_of::<Options>();
    #[repr(C)]
    struct Newer {
        known: Options,
        unknown: [u8; UNKNOWN],
    }
    let cancel = Cancel::new();
    let mut newer = Newer { known: Options::new(&cancel), unknown: [0; UNKNOWN] };
    for size in [25, 32, 4095, 4096] {
        newer.known.size = size;
        let last = size - size_of::<Options>() - 1;

        busy().reset(&cancel);
        let options = (&raw const newer).cast();
        assert_eq!(busy().wait(1000, options).0, OK, "size {size}");
        busy().set(&cancel);
        assert_eq!(busy().wait(LONG, options).0, CANCELLED, "size {size}");

        busy().reset(&cancel);
        for place in [0, last / 2, last] {
            newer.unknown[place] = 1;
            let refused = busy().wait(SHORT, (&raw const newer).cast());
            assert_eq!(refused, (BAD_SIZE, UNTOUCHED), "byte {place} of {size}");
            newer.unknown[place] = 0;
        }
        // The byte behind the struct does not belong to it.
        if last + 1 < newer.unknown.len() {
            newer.unknown[last + 1] = 1;
            assert_eq!(busy().wait(SHORT, (&raw const newer).cast()).0, OK, "size {size}");
            newer.unknown[last + 1] = 0;
        }
    }
}

#[test]
fn invalid_field_values_are_refused() {
    for (clock, reserved) in [(2, 0), (u32::MAX, 0), (MONOTONIC, 1), (TSC, 1)] {
        let options = Options { clock, reserved, ..Options::new(null()) };
        assert_eq!(busy().wait(SHORT, &options), (BAD_OPTION, UNTOUCHED), "clock {clock}, reserved {reserved}");
    }
}

#[test]
fn a_wait_on_the_time_stamp_counter_is_never_early_and_can_be_cancelled() {
    let cancel = Cancel::new();
    let options = Options { clock: TSC, ..Options::new(&cancel) };
    for round in 0..100_000u64 {
        let ns = 1_000 + round * 7_919 % 20_000;
        let before = Instant::now();
        let (status, result) = busy().wait(ns, &options);
        let took = before.elapsed();
        if status == UNSUPPORTED {
            return;
        }
        assert_eq!(status, OK);
        assert!(took.as_nanos() >= u128::from(ns), "{ns} ns took {took:?}");
        assert!(result.elapsed_ns >= ns && result.count > 0, "{ns} ns: {result:?}");
    }
    busy().set(&cancel);
    assert_eq!(busy().wait(LONG, &options).0, CANCELLED);
}
