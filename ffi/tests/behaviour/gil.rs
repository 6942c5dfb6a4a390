//! busy_gil.h where there is no Python: the meter is refused, and the reason is a text. tests/gil of the root package has the
//! tests inside interpreters.

use crate::header::*;
use crate::library::*;
use std::ffi::{CStr, c_char};
use std::ptr::null_mut;

/// Returns what busy_gil_reason() returns and the buffer after the call, which held only `#` before. `capacity` is the
/// one that the function gets.
fn reason(capacity: usize) -> (usize, Vec<u8>) {
    let mut text = vec![b'#'; 1000];
    // SAFETY: the buffer has space for 1000 bytes.
    let needed = unsafe { (busy().gil_reason)(text.as_mut_ptr().cast::<c_char>(), capacity) };
    (needed, text)
}

/// One test, because the reason is that of the process.
#[test]
fn the_reason_is_empty_before_a_refusal_and_cut_to_the_capacity_after_it() {
    let (needed, text) = reason(1000);
    assert_eq!((needed, &text[..2]), (1, &b"\0#"[..]));

    // SAFETY: it takes no arguments.
    assert_eq!(unsafe { (busy().gil_start)() }, GIL_REFUSED);
    let (needed, text) = reason(1000);
    let whole = CStr::from_bytes_until_nul(&text).unwrap().to_bytes_with_nul();
    assert!(whole.len() > 20, "{whole:?}");
    assert_eq!((needed, &text[needed..needed + 1]), (whole.len(), &b"#"[..]));

    for capacity in [1, 2, 8, needed - 1, needed] {
        let (again, text) = reason(capacity);
        assert_eq!(again, needed, "the size of the whole text, whatever the capacity");
        assert_eq!(text[..capacity - 1], whole[..capacity - 1]);
        assert_eq!(text[capacity - 1..capacity + 1], *b"\0#", "the last byte of {capacity} is NUL");
    }
    assert_eq!(reason(0), (needed, vec![b'#'; 1000]));
    for capacity in [0, 1000] {
        // SAFETY: the function writes nothing to NULL.
        assert_eq!(unsafe { (busy().gil_reason)(null_mut(), capacity) }, needed);
    }
}

#[test]
fn a_meter_that_is_off_has_no_starts_no_windows_and_no_totals() {
    let (mut totals, mut number, mut needed) = (GilTotals::new(), 7, 7);
    // SAFETY: the pointers are NULL where the header allows it, and have space for one value elsewhere.
    unsafe {
        assert_eq!((busy().gil_stop)(), GIL_OFF);
        assert_eq!((busy().gil_snapshot)(&mut totals, null_mut(), 0, &mut needed), GIL_OFF);
        assert_eq!((busy().gil_window_open)(&mut number), GIL_OFF);
        assert_eq!((busy().gil_window_close)(1), BAD_OPTION, "the end of a session closes all windows");
        assert_eq!((busy().gil_snapshot)(null_mut(), null_mut(), 0, &mut needed), NULL_POINTER);
        assert_eq!((busy().gil_snapshot)(&mut totals, null_mut(), 1, &mut needed), NULL_POINTER);
        assert_eq!((busy().gil_window_open)(null_mut()), NULL_POINTER);
        assert_eq!((busy().gil_own_thread)(null_mut()), NULL_POINTER);
        let mut own = [7; 10];
        assert_eq!((busy().gil_own_thread)(own.as_mut_ptr()), GIL_OFF);
        assert_eq!(own, [7; 10], "written after an error");
        assert_eq!((busy().gil_histograms_keep)(), GIL_OFF);
        assert_eq!((busy().gil_histograms_read)(null_mut()), NULL_POINTER);
        let mut histograms = GilHistograms::new();
        assert_eq!((busy().gil_histograms_read)(&mut histograms), GIL_OFF);
        histograms.size -= 1;
        assert_eq!((busy().gil_histograms_read)(&mut histograms), BAD_SIZE);
        assert_eq!((busy().gil_counters_read)(null_mut()), NULL_POINTER);
        let mut counters = GilCounters::new();
        assert_eq!((busy().gil_counters_read)(&mut counters), GIL_OFF);
        assert_eq!(counters, GilCounters::new(), "written after an error");
        counters.size -= 1;
        assert_eq!((busy().gil_counters_read)(&mut counters), BAD_SIZE);
    }
    assert_eq!((totals, number, needed), (GilTotals::new(), 7, 7), "written after an error");
}

#[test]
fn a_meter_that_is_off_reports_no_stalls() {
    let (mut stalls, mut stall, mut text) = (7 as *mut std::ffi::c_void, GilStall::new(), [7; 4]);
    // SAFETY: the pointers are NULL, or have space for one value.
    unsafe {
        assert_eq!((busy().gil_stalls_open)(1_000_000, null_mut()), NULL_POINTER);
        assert_eq!((busy().gil_stalls_open)(1_000_000, &mut stalls), GIL_OFF);
        assert_eq!((busy().gil_stalls_open)(999_999, &mut stalls), BAD_OPTION);
        assert_eq!((busy().gil_stalls_next)(null_mut(), 0, &mut stall, text.as_mut_ptr(), text.len()), NULL_POINTER);
        assert_eq!((busy().gil_stalls_stop)(null_mut()), NULL_POINTER);
        assert_eq!((busy().gil_stalls_close)(null_mut()), NULL_POINTER);
    }
    assert_eq!((stalls as usize, stall, text), (7, GilStall::new(), [7; 4]), "written after an error");
}

#[test]
fn totals_of_a_size_that_no_version_has_are_refused() {
    /// Zeros follow, so that only the size is wrong.
    #[repr(C)]
    struct Larger {
        totals: GilTotals,
        zeros: [u8; 4096],
    }
    for (size, status) in [(0, BAD_SIZE), (size_of::<GilTotals>() - 1, BAD_SIZE), (4096, GIL_OFF), (4097, BAD_SIZE)] {
        let mut larger = Larger { totals: GilTotals { size, ..GilTotals::new() }, zeros: [0; 4096] };
        let totals = (&raw mut larger).cast();
        // SAFETY: the totals are at least `size` bytes long.
        assert_eq!(unsafe { (busy().gil_snapshot)(totals, null_mut(), 0, null_mut()) }, status, "size {size}");
        assert_eq!(larger.zeros, [0; 4096]);
    }
}
