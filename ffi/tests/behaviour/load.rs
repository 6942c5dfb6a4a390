//! busy_load(): the achieved load, and the options that it refuses.

use crate::header::*;
use crate::library::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

/// A result that no call writes by chance.
const UNTOUCHED: LoadResult = LoadResult { elapsed_ns: 0xa5a5, cpu_ns: 0x5a5a, share: -7.0 };

fn load(options: &LoadOptions) -> (i32, LoadResult) {
    let mut result = UNTOUCHED;
    // SAFETY: `options` and `result` outlive the call.
    let status = unsafe { (busy().load)(options, &mut result) };
    (status, result)
}

#[test]
fn the_load_has_the_requested_size_or_less_if_no_core_is_free() {
    let options = LoadOptions { share: 0.25, threads: 2, duration_ns: 400_000_000, ..LoadOptions::new() };
    let before = Instant::now();
    let (status, result) = load(&options);
    assert_eq!(status, OK);
    assert!(result.elapsed_ns >= 400_000_000 && before.elapsed().as_nanos() as u64 >= result.elapsed_ns);
    assert!((0.02..0.26).contains(&result.share), "{result:?}");
    let share = result.cpu_ns as f64 / (2.0 * result.elapsed_ns as f64);
    assert!((share - result.share).abs() < 0.05, "{result:?}");
}

#[test]
fn the_flag_ends_the_load() {
    let cancel = Cancel::new();
    let options = LoadOptions { cancel: &cancel, duration_ns: 60_000_000_000, ..LoadOptions::new() };
    busy().set(&cancel);
    assert_eq!(load(&options).0, CANCELLED);
    busy().reset(&cancel);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            busy().set(&cancel);
        });
        let (status, result) = load(&options);
        assert_eq!(status, CANCELLED);
        assert!(result.elapsed_ns >= 30_000_000, "{result:?}");
    });
}

/// A thread that is cancelled in the middle of Rust code would abort the process.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_is_cancelled_during_a_load_completes_it() {
    extern "C" fn start(_: *mut c_void) -> *mut c_void {
        let (status, _) = load(&LoadOptions { duration_ns: 300_000_000, ..LoadOptions::new() });
        std::ptr::without_provenance_mut(status as usize)
    }
    let (mut thread, mut returned) = (0, std::ptr::without_provenance_mut(7));
    // SAFETY: `start` ignores its argument; the thread is joined once, and exists until then.
    unsafe {
        assert_eq!(libc::pthread_create(&mut thread, null(), start, null_mut()), 0);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(libc::pthread_cancel(thread), 0);
        assert_eq!(libc::pthread_join(thread, &mut returned), 0);
    }
    assert_eq!(returned.addr(), OK as usize);
}

#[test]
fn a_load_of_zero_duration_ends_at_once_even_if_its_flag_is_set() {
    let cancel = Cancel::new();
    busy().set(&cancel);
    let options = LoadOptions { cancel: &cancel, duration_ns: 0, threads: 3, ..LoadOptions::new() };
    let (status, result) = load(&options);
    assert_eq!(status, OK);
    assert!(result.elapsed_ns > 0 && result.share.is_finite() && result.share >= 0.0, "{result:?}");
}

#[test]
fn the_ends_of_each_range_are_allowed() {
    let valid = LoadOptions { duration_ns: 1_000_000, ..LoadOptions::new() };
    for options in [
        LoadOptions { share: 0.0, ..valid },
        LoadOptions { share: 1.0, ..valid },
        LoadOptions { period_ns: 1, ..valid },
        LoadOptions { period_ns: WAIT_MAX_NS, ..valid },
        LoadOptions { threads: 4096, duration_ns: 0, ..valid },
    ] {
        assert_eq!(load(&options).0, OK, "{options:?}");
    }
    let cancel = Cancel::new();
    busy().set(&cancel);
    assert_eq!(load(&LoadOptions { cancel: &cancel, duration_ns: WAIT_MAX_NS, ..valid }).0, CANCELLED);
}

#[test]
fn invalid_options_are_refused_and_nothing_is_written() {
    let valid = LoadOptions::new();
    for (options, status) in [
        (LoadOptions { share: -0.1, ..valid }, BAD_OPTION),
        (LoadOptions { share: 1.5, ..valid }, BAD_OPTION),
        (LoadOptions { share: f64::NAN, ..valid }, BAD_OPTION),
        (LoadOptions { threads: 0, ..valid }, BAD_OPTION),
        (LoadOptions { threads: 4097, ..valid }, BAD_OPTION),
        (LoadOptions { threads: u32::MAX, ..valid }, BAD_OPTION),
        (LoadOptions { period_ns: 0, ..valid }, BAD_OPTION),
        (LoadOptions { reserved: 1, ..valid }, BAD_OPTION),
        (LoadOptions { period_ns: u64::MAX, ..valid }, OUT_OF_RANGE),
        (LoadOptions { duration_ns: u64::MAX, ..valid }, OUT_OF_RANGE),
        (LoadOptions { size: 0, ..valid }, BAD_SIZE),
        (LoadOptions { size: valid.size - 1, ..valid }, BAD_SIZE),
        (LoadOptions { size: usize::MAX, ..valid }, BAD_SIZE),
    ] {
        assert_eq!(load(&options), (status, UNTOUCHED));
    }
    let mut result = UNTOUCHED;
    // SAFETY: the function must refuse NULL.
    unsafe {
        assert_eq!((busy().load)(null(), &mut result), NULL_POINTER);
        assert_eq!((busy().load)(&valid, null_mut()), NULL_POINTER);
    }
    assert_eq!(result, UNTOUCHED);
}
