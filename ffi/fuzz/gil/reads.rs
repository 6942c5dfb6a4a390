//! The functions that read figures and texts.

use super::documented::{Documented, Interval};
use super::header::*;
use super::memory::{Array, Struct, untouched};
use super::python::python;
use super::readings::{check_counters, check_row, check_rows, check_totals, gettid, now};
use super::run::{Others, Run};
use super::steps::{Capacity, SnapshotArguments, StructArguments};
use crate::common::assert_documented;
use crate::common::header::*;
use std::ffi::c_char;
use std::ptr::null_mut;

/// The most rows for which there is space. No sequence has so many threads.
const MOST_ROWS: usize = 64;

impl Run<'_> {
    /// Returns the documented statuses of a function that takes the struct `Value`. `interval` is that of the number
    /// `window`.
    fn documented_for<Value>(
        &self,
        arguments: &StructArguments,
        window: u32,
        interval: Option<Interval>,
    ) -> Documented {
        let documented = self.documented();
        let Some(shape) = &arguments.shape else { return documented.refuse(true, NULL_POINTER) };
        let documented = documented.refuse(shape.refusal::<Value>().is_some(), BAD_SIZE);
        if !shape.has_fields::<Value>() {
            return documented;
        }
        let (gils, gil) = (self.gils(), arguments.gil.value());
        let is_missing = (gil < *gils.start() || gil >= *gils.end()).then_some(gil >= *gils.end());
        documented.refuse(is_missing, BAD_OPTION).refuse(self.is_closed(window, interval), BAD_OPTION)
    }

    pub fn own_thread(&mut self, has_place: bool) {
        let place = Array::new::<Row>(1, !has_place);
        // SAFETY: the pointer is NULL or has space for one row.
        let status = unsafe { busy_gil_own_thread(place.pointer()) };
        let is_missing = self.is_alone().then_some(false);
        let documented = self.documented().refuse(!has_place, NULL_POINTER).refuse(is_missing, NO_SUCH_THREAD);
        documented.check(status);
        let Some(row) = place.result::<Row>(status) else { return };
        check_row(&row, 0);
        assert!(row.id > 0 && row.tid == gettid() && row.state & (WAITS | ENDED) == 0, "{row:?}");
        if self.others != Others::StartAndStop {
            assert_eq!(row.state & HOLDS != 0, self.holder.held() == Some(self.session_gil), "{row:?}");
        }
        if self.is_alone() {
            self.assert_counts(&row, &self.session);
        }
    }

    /// Fails unless the row of this thread, which is alone, has its acquires and releases of the GIL of index 0.
    pub fn assert_counts(&self, row: &Row, interval: &Interval) {
        let gil = self.session_gil;
        let expected =
            [self.holder.acquired[gil] - interval.acquired[gil], self.holder.released[gil] - interval.released[gil]];
        assert_eq!([row.acquisitions, row.voluntary_releases], expected, "acquires and releases: {row:?}");
        assert_eq!([row.waits, row.waited_ns, row.forced_drops], [0; 3], "no other thread used the GIL: {row:?}");
    }

    pub fn reason(&self, has_text: bool, capacity: Capacity) {
        // SAFETY: NULL is allowed.
        let needed = unsafe { busy_gil_reason(null_mut(), 0) };
        assert!((1..4096).contains(&needed), "{needed} bytes");
        let read = |capacity, is_null| {
            let text = Array::new::<c_char>(if is_null { 0 } else { capacity }, is_null);
            // SAFETY: the pointer is NULL or has space for `capacity` bytes.
            let found = unsafe { busy_gil_reason(text.pointer(), capacity) };
            assert!(found == needed || !self.is_alone(), "{found} bytes, then {needed}");
            text.read::<u8>(found)
        };
        let whole = read(needed, false);
        let text = read(capacity.value(needed), !has_text);
        let Some((last, cut)) = text.split_last() else { return };
        assert_eq!(*last, 0);
        // Another thread may get another reason meanwhile.
        if self.is_alone() {
            assert!(whole.starts_with(cut) && whole[..needed - 1].iter().all(|byte| *byte != 0));
        }
    }

    pub fn snapshot(&mut self, arguments: &SnapshotArguments) {
        let SnapshotArguments { totals: fields, has_threads, capacity, has_needed } = arguments;
        let (window, interval) = self.window(fields.window);
        let capacity = capacity.value(self.rows(fields.gil.value())).min(MOST_ROWS);
        let threads = Array::new::<Row>(capacity, !has_threads);
        let needed = Array::new::<usize>(1, !has_needed);
        let size = fields.shape.as_ref().map_or(0, |shape| shape.size::<Totals>());
        // SAFETY: the fields are integers.
        let given = Totals { size, gil: fields.gil.value(), window, ..unsafe { untouched() } };
        let place = Struct::new(fields.shape.as_ref(), given);
        let documented = self.documented_for::<Totals>(fields, window, interval);

        let begin = now();
        // SAFETY: each pointer is NULL, or points to live memory of the stated length.
        let status = unsafe { busy_gil_snapshot(place.pointer(), threads.pointer(), capacity, needed.pointer()) };
        documented.refuse(!has_threads && capacity > 0, NULL_POINTER).check(status);
        let is_ok = status == OK;
        let totals = place.read::<Totals>(status);
        let needed = needed.result::<usize>(status);
        let written = if is_ok { needed.unwrap_or(capacity).min(capacity) } else { 0 };
        let mut rows = threads.read::<Row>(written);
        let Some(totals) = totals else { return };
        assert_eq!((totals.size, totals.gil, totals.window), (given.size, given.gil, given.window));
        check_totals(&totals, begin);
        if needed.is_none() {
            // Rows that were not written follow those that were.
            // SAFETY: the fields are integers.
            let untouched: Row = unsafe { untouched() };
            rows.truncate(rows.iter().position(|row| row.id == untouched.id).unwrap_or(rows.len()));
        }
        check_rows(&totals, &rows, needed);
        if let (true, Some(interval), 0) = (self.is_alone(), interval, totals.gil) {
            self.check_alone(&totals, &rows, &interval);
        }
    }

    /// Checks the totals and the rows of the GIL of index 0, which no other thread uses.
    fn check_alone(&self, totals: &Totals, rows: &[Row], interval: &Interval) {
        let Totals { at_ns, metered_ns, .. } = *totals;
        let began = at_ns - metered_ns;
        let (from, to) = interval.began;
        // The same slack as that of times.
        assert!((from - 1_000_000..=to + 1_000_000).contains(&began), "{began}: {interval:?}");
        assert_eq!(totals.interpreter, python().unwrap().interpreter(self.session_gil));
        let [row] = rows else { return assert!(rows.is_empty(), "one thread has several rows: {rows:?}") };
        assert_eq!(row.tid, gettid());
        assert_eq!(row.state & HOLDS != 0, self.holder.held() == Some(self.session_gil), "{row:?}");
        self.assert_counts(row, interval);
    }

    /// Returns the number of rows of the GIL, at this moment. 0 if there is none.
    fn rows(&self, gil: u32) -> usize {
        // SAFETY: the fields are integers.
        let mut totals = Totals { size: size_of::<Totals>(), gil, window: 0, ..unsafe { untouched() } };
        let mut needed = 0;
        // SAFETY: the pointers are NULL or point to live memory.
        let status = unsafe { busy_gil_snapshot(&mut totals, null_mut(), 0, &mut needed) };
        assert_documented(status, &[OK, GIL_OFF, BAD_OPTION]);
        needed
    }

    pub fn histograms(&mut self, arguments: &StructArguments) {
        let (window, interval) = self.window(arguments.window);
        let size = arguments.shape.as_ref().map_or(0, |shape| shape.size::<Histograms>());
        // SAFETY: the fields are integers.
        let given = Histograms { size, gil: arguments.gil.value(), window, ..unsafe { untouched() } };
        let place = Struct::new(arguments.shape.as_ref(), given);
        let documented = self.documented_for::<Histograms>(arguments, window, interval);
        let kept = interval.and_then(|interval| interval.kept);
        let is_off = (kept.is_some() || self.is_alone()).then_some(kept.is_none());

        // SAFETY: the pointer is NULL, or points to live memory of the stated length.
        let status = unsafe { busy_gil_histograms_read(place.pointer()) };
        documented.refuse(is_off, GIL_OFF).check(status);
        let Some(found) = place.read::<Histograms>(status) else { return };
        assert_eq!((found.size, found.gil, found.window), (given.size, given.gil, given.window));
        if let (true, Some(before), 0) = (self.is_alone(), kept, found.gil) {
            let releases = self.holder.released[self.session_gil] - before[self.session_gil];
            let counted = (found.holds.iter().sum::<u64>(), found.waits.iter().sum::<u64>());
            assert_eq!(counted, (releases, 0), "the ended holds and waits: {found:?}");
        }
    }

    pub fn counters(&mut self, arguments: &StructArguments) {
        let size = arguments.shape.as_ref().map_or(0, |shape| shape.size::<Counters>());
        // SAFETY: the fields are integers.
        let given = Counters { size, gil: arguments.gil.value(), ..unsafe { untouched() } };
        let place = Struct::new(arguments.shape.as_ref(), given);
        let documented = self.documented_for::<Counters>(arguments, 0, Some(self.session));

        let begin = now();
        // SAFETY: the pointer is NULL, or points to live memory of the stated length.
        let status = unsafe { busy_gil_counters_read(place.pointer()) };
        documented.check(status);
        let Some(found) = place.read::<Counters>(status) else { return };
        assert_eq!((found.size, found.gil), (given.size, given.gil));
        let gil = usize::from(found.interpreter != 0);
        check_counters(&found, self.counters[gil].as_ref(), begin);
        if found.metered == 1 {
            self.counters[gil] = Some(found);
        }
        if self.is_alone() {
            assert_eq!(found.has_histograms == 1, self.session.kept.is_some(), "{found:?}");
            if found.gil == 0 {
                let acquired = self.holder.acquired[self.session_gil] - self.session.acquired[self.session_gil];
                assert_eq!((found.acquisitions, found.waiting, found.forced_drops), (acquired, 0, 0), "{found:?}");
            }
        }
    }
}
