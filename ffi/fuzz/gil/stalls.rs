//! The functions that report stalls.

use super::documented::Documented;
use super::header::*;
use super::memory::{Array, Struct, untouched};
use super::object::Object;
use super::python::python;
use super::readings::{check_stall, check_text};
use super::run::{Budget, Others, Run, chosen};
use super::steps::{Capacity, NextArguments, StallsChoice, Step};
use crate::common::assert_documented;
use crate::common::header::*;
use crate::common::options::Shape;
use std::ffi::c_char;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;

/// Shorter thresholds are refused.
const SHORTEST: u64 = 1_000_000;

/// Returns the object that is never closed, if the process has a Python. The first call opens it.
pub fn lasting() -> Option<&'static Object> {
    static LASTING: OnceLock<Option<Object>> = OnceLock::new();
    let open = || {
        python()?;
        let budget = Budget { sessions: 1.into(), readers: 1.into() };
        let mut run = Run::new(Others::None, 0, &[], &budget);
        for step in [Step::Acquire { other: false }, Step::Start, Step::Release] {
            run.take(&step);
        }
        run.open_stalls(SHORTEST, true);
        run.next_stall(&NextArguments { stalls: StallsChoice::Own(0), ..NEXT });
        run.stop();
        run.objects.pop()
    };
    LASTING.get_or_init(open).as_ref()
}

/// The right arguments of busy_gil_stalls_next().
pub const NEXT: NextArguments = NextArguments {
    stalls: StallsChoice::Lasting,
    shape: Some(Shape::RIGHT),
    timeout: 0,
    has_text: true,
    capacity: Capacity::Exact,
};

impl Run<'_> {
    pub fn open_stalls(&mut self, threshold_ns: u64, has_place: bool) {
        let place = Array::new::<*mut Stalls>(1, !has_place);
        // SAFETY: the pointer is NULL or has space for one pointer.
        let status = unsafe { busy_gil_stalls_open(threshold_ns, place.pointer()) };
        let documented = self.documented().refuse(!has_place, NULL_POINTER);
        documented.refuse(threshold_ns < SHORTEST, BAD_OPTION).check(status);
        let Some(pointer) = place.result::<*mut Stalls>(status) else { return };
        self.objects.push(Object::new(pointer, threshold_ns));
    }

    /// Returns the object, or None for NULL.
    fn object(&self, choice: StallsChoice) -> Option<&Object> {
        match choice {
            StallsChoice::Null => None,
            StallsChoice::Own(index) => chosen(&self.objects, index).or_else(|| chosen(self.shared, index)),
            StallsChoice::Shared(index) => chosen(self.shared, index).or_else(|| chosen(&self.objects, index)),
            StallsChoice::Lasting => lasting(),
        }
    }

    pub fn next_stall(&mut self, arguments: &NextArguments) {
        let NextArguments { stalls, shape, timeout, has_text, capacity } = arguments;
        let object = self.object(*stalls);
        // The header requires that the caller does not hold the GIL.
        let is_forbidden = object.is_some() && self.holder.held().is_some();
        if is_forbidden || object.is_none() && !stalls.is_null() {
            return;
        }
        if let Some(object) = object
            && !object.is_prepared.load(SeqCst)
        {
            if !Budget::spend(&self.budget.readers) {
                return;
            }
            object.is_prepared.store(true, SeqCst);
        }
        let size = shape.as_ref().map_or(0, |shape| shape.size::<Stall>());
        // SAFETY: the fields are integers.
        let place = Struct::new(shape.as_ref(), Stall { size, ..unsafe { untouched() } });
        let capacity = capacity.value(200);
        let text = Array::new::<c_char>(capacity, !has_text);
        let was_stopped = object.is_some_and(|object| object.is_stopped.load(SeqCst));

        let pointer = object.map_or(null_mut(), |object| object.pointer);
        let timeout_ns = u64::from(*timeout) * 1000;
        // SAFETY: each pointer is NULL, or points to live memory of the stated length.
        let status = unsafe { busy_gil_stalls_next(pointer, timeout_ns, place.pointer(), text.pointer(), capacity) };
        let is_null = object.is_none() || shape.is_none() || (!has_text && capacity > 0);
        let documented = self.documented().refuse(is_null, NULL_POINTER);
        let documented =
            documented.refuse(shape.as_ref().is_some_and(|shape| shape.refusal::<Stall>().is_some()), BAD_SIZE);
        let stops = object.is_some_and(|object| object.stops.load(SeqCst));
        let documented = if was_stopped { documented } else { documented.refuse(None, TIMED_OUT) };
        let documented = if stops { documented.refuse(None, CANCELLED) } else { documented };
        documented.check(status);

        let written = if status == OK { capacity } else { 0 };
        let stall = place.read::<Stall>(status);
        // The bytes behind the NUL are not written.
        let bytes = text.read::<u8>(written);
        let (Some(stall), Some(object)) = (stall, object) else { return };
        check_stall(&stall, object.threshold_ns);
        if !bytes.is_empty() {
            let line = check_text(&bytes);
            assert!(line.last().is_none_or(|byte| *byte == b'\n'), "a line without an end: {line:?}");
        }
    }

    pub fn stop_stalls(&mut self, choice: StallsChoice) {
        let object = self.object(choice);
        // The lasting object reports stalls to all inputs.
        if matches!(choice, StallsChoice::Lasting) || object.is_none() && !choice.is_null() {
            return;
        }
        if let Some(object) = object {
            object.stops.store(true, SeqCst);
        }
        // SAFETY: the pointer is NULL or that of an open object.
        let status = unsafe { busy_gil_stalls_stop(object.map_or(null_mut(), |object| object.pointer)) };
        Documented::default().refuse(object.is_none(), NULL_POINTER).check(status);
        if let Some(object) = object {
            object.is_stopped.store(true, SeqCst);
        }
    }

    pub fn close_stalls(&mut self, choice: StallsChoice) {
        match choice {
            // SAFETY: the function must refuse NULL.
            StallsChoice::Null => assert_documented(unsafe { busy_gil_stalls_close(null_mut()) }, &[NULL_POINTER]),
            StallsChoice::Lasting => {}
            StallsChoice::Own(index) | StallsChoice::Shared(index) => {
                if let Some(index) = usize::from(index).checked_rem(self.objects.len()) {
                    drop(self.objects.swap_remove(index));
                }
            }
        }
    }
}
