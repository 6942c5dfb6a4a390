//! The GILs of this process: the main GIL, under which the meter was started, and those of interpreters with their own
//! GIL.

use super::super::memory;
use super::super::python::InterpreterId;
use super::capacity;
use super::gil::Gil;
use super::single_writer::add;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed};

/// The size of the hash table: four times the number of GILs, so that searches stay short.
const PLACES: usize = 4096;
/// The distance from `cond` to `switch_cond` in `struct _gil_runtime_state` (3.7 on, glibc on x86-64). Calibration
/// checks it.
pub(crate) const SWITCH_COND: usize = 88;
/// The distance from `last_holder` to `cond`; `locked` is between them. Calibration checks it.
pub(crate) const LAST_HOLDER: usize = 24;
/// The offset of `interp` in a PyThreadState. Calibration checks it.
pub(crate) const INTERP: usize = 16;

/// The GILs of this process.
pub(crate) static GILS: Gils = Gils::new();

/// A table of GILs. GIL 0 is the calibrated one.
pub(crate) struct Gils {
    table: [Gil; capacity::GILS],
    used: AtomicUsize,
    /// Indexes into the table, plus 1, by hash of `cond`. GIL 0 is not in it.
    by_cond: [AtomicUsize; PLACES],
    /// The offset, in a PyInterpreterState, of the `cond` of its own GIL; 0 if it is unknown or if all interpreters
    /// share one GIL.
    to_cond: AtomicUsize,
    /// The address of `PyInterpreterState_GetID`, or 0.
    interpreter_id: AtomicUsize,
    unlisted: AtomicU64,
}

/// The meaning of a signalled cond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Release,
    Acquire,
}

impl Gils {
    const fn new() -> Self {
        Self {
            table: [const { Gil::new() }; capacity::GILS],
            used: AtomicUsize::new(0),
            by_cond: [const { AtomicUsize::new(0) }; PLACES],
            to_cond: AtomicUsize::new(0),
            interpreter_id: AtomicUsize::new(0),
            unlisted: AtomicU64::new(0),
        }
    }

    /// Returns GIL 0, the calibrated one.
    #[inline]
    pub(crate) fn main(&self) -> &Gil {
        &self.table[0]
    }

    /// Returns the GILs that were found in this session or an earlier one.
    pub(crate) fn all(&self) -> &[Gil] {
        &self.table[..self.used.load(Ordering::Acquire).min(capacity::GILS)]
    }

    /// Returns the number of GILs that did not fit into the table.
    pub(crate) fn unlisted(&self) -> u64 {
        self.unlisted.load(Relaxed)
    }

    /// Makes the GIL at `address` GIL 0, stores the offset and the function that lead to the other GILs, and resets all
    /// GILs.
    pub(crate) fn calibrated(
        &self,
        address: usize,
        interpreter: i64,
        to_cond: Option<usize>,
        id_of: Option<InterpreterId>,
    ) {
        self.interpreter_id.store(id_of.map_or(0, |function| function as usize), Relaxed);
        self.to_cond.store(to_cond.unwrap_or(0), Relaxed);
        self.main().place(0, address, interpreter);
        self.used.fetch_max(1, Ordering::Release);
        self.all().iter().for_each(Gil::reset);
    }

    /// Returns the GIL to which a signalled cond belongs, and the meaning of the signal.
    #[inline]
    pub(crate) fn by_cond(&self, address: usize) -> Option<(&Gil, Meaning)> {
        let main = self.main();
        match address.wrapping_sub(main.address()) {
            0 => Some((main, Meaning::Release)),
            SWITCH_COND => Some((main, Meaning::Acquire)),
            _ if self.to_cond.load(Relaxed) == 0 => None,
            _ => self.other_by_cond(address),
        }
    }

    #[inline(never)]
    fn other_by_cond(&self, address: usize) -> Option<(&Gil, Meaning)> {
        if let Some(gil) = self.find(address) {
            return Some((gil, Meaning::Release));
        }
        let cond = address.wrapping_sub(SWITCH_COND);
        self.find(cond).or_else(|| self.discover(cond)).map(|gil| (gil, Meaning::Acquire))
    }

    fn places(&self, cond: usize) -> impl Iterator<Item = &AtomicUsize> {
        let start = (cond >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        (0..PLACES).map(move |step| &self.by_cond[(start + step) % PLACES])
    }

    fn find(&self, cond: usize) -> Option<&Gil> {
        let indexes = self.places(cond).map(|place| place.load(Ordering::Acquire)).take_while(|index| *index != 0);
        indexes.map(|index| &self.table[index - 1]).find(|gil| gil.is_at(cond))
    }

    /// Adds a GIL that is not in the table yet, if `cond` belongs to one: then a thread state of the interpreter at the
    /// corresponding address holds it.
    #[cold]
    fn discover(&self, cond: usize) -> Option<&Gil> {
        let interpreter = cond.wrapping_sub(self.to_cond.load(Relaxed));
        let [holder, locked] = memory::words::<2>(cond.wrapping_sub(LAST_HOLDER))?;
        if holder == 0 || locked as u32 != 1 || memory::words::<1>(holder + INTERP)? != [interpreter] {
            return None;
        }
        self.enter(cond, interpreter)
    }

    /// Adds the GIL of `interpreter` if it has its own. It counts as not metered until its first event.
    pub(crate) fn enter_own_gil(&self, interpreter: usize, session: u64) {
        let cond = interpreter.wrapping_add(self.to_cond.load(Relaxed));
        // `locked` is -1 if the GIL was not created (`_gil_initialize`).
        let is_created =
            memory::words::<2>(cond - LAST_HOLDER).is_some_and(|[_, locked]| matches!(locked as u32, 0 | 1));
        if is_created
            && self.find(cond).is_none()
            && !self.main().is_at(cond)
            && let Some(gil) = self.enter(cond, interpreter)
        {
            gil.belong_to(session);
        }
    }

    fn enter(&self, cond: usize, interpreter: usize) -> Option<&Gil> {
        let index = self.used.load(Relaxed);
        let index = if index < capacity::GILS { self.used.fetch_add(1, Ordering::AcqRel) } else { index };
        if index >= capacity::GILS {
            add(&self.unlisted, 1);
            return None;
        }
        let function = self.interpreter_id.load(Relaxed);
        let id = if function == 0 {
            0
        } else {
            // SAFETY: PyInterpreterState_GetID reads a field of an interpreter that is alive: one of its threads is
            // running this code, or it was on the list of interpreters a moment ago.
            unsafe { std::mem::transmute::<usize, InterpreterId>(function)(interpreter) }
        };
        let gil = &self.table[index];
        gil.place(index as u32, cond, id);
        let is_taken = |place: &&AtomicUsize| place.compare_exchange(0, index + 1, Ordering::AcqRel, Relaxed).is_ok();
        self.places(cond).find(is_taken).map(|_| gil)
    }

    /// Returns a new table in which GIL 0 is at `address`.
    #[cfg(test)]
    pub(super) fn leak(address: usize) -> &'static Self {
        // The table is too large for a test's stack. SAFETY: zeroed memory is an empty table.
        let gils = Box::leak(unsafe { Box::<Self>::new_zeroed().assume_init() });
        gils.calibrated(address, 0, None, None);
        gils
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state of an interpreter, laid out so that its own GIL is recognised: `last_holder`, `locked` and both conds,
    /// and the thread state that holds it.
    struct Interpreter {
        words: Box<[usize; 64]>,
    }

    const TO_COND: usize = 128;

    impl Interpreter {
        fn new(locked: u32) -> Self {
            let mut words = Box::new([0; 64]);
            let start = words.as_ptr() as usize;
            // The thread state is at the beginning.
            words[(TO_COND - LAST_HOLDER) / 8] = start;
            words[(TO_COND - LAST_HOLDER) / 8 + 1] = locked as usize;
            words[INTERP / 8] = start;
            Self { words }
        }

        fn address(&self) -> usize {
            self.words.as_ptr() as usize
        }

        fn cond(&self) -> usize {
            self.address() + TO_COND
        }
    }

    unsafe extern "C" fn id_of(_interpreter: usize) -> i64 {
        77
    }

    fn with_own_gils() -> &'static Gils {
        let gils = Gils::leak(0x1000);
        gils.calibrated(0x1000, 0, Some(TO_COND), Some(id_of));
        gils
    }

    fn meaning(gils: &Gils, address: usize) -> Option<(u32, Meaning)> {
        gils.by_cond(address).map(|(gil, meaning)| (gil.index(), meaning))
    }

    #[test]
    fn each_cond_of_the_calibrated_gil_has_its_meaning() {
        let gils = Gils::leak(0x1000);
        assert_eq!(meaning(gils, 0x1000), Some((0, Meaning::Release)));
        assert_eq!(meaning(gils, 0x1000 + SWITCH_COND), Some((0, Meaning::Acquire)));
        assert_eq!(meaning(gils, 0x1008), None);
    }

    #[test]
    fn an_interpreters_own_gil_is_found_at_its_first_acquire() {
        let (gils, interpreter) = (with_own_gils(), Interpreter::new(1));
        assert_eq!(meaning(gils, interpreter.cond()), None, "a release of an unknown GIL can't be checked");
        assert_eq!(meaning(gils, interpreter.cond() + SWITCH_COND), Some((1, Meaning::Acquire)));
        assert_eq!(meaning(gils, interpreter.cond()), Some((1, Meaning::Release)));
        assert_eq!((gils.all().len(), gils.all()[1].interpreter()), (2, 77));
    }

    #[test]
    fn another_cond_is_not_taken_for_a_gil() {
        let (gils, interpreter) = (with_own_gils(), Interpreter::new(0));
        assert_eq!(meaning(gils, interpreter.cond() + SWITCH_COND), None, "it is not held");
        assert_eq!(meaning(gils, 0x20_0000), None, "nothing is mapped there");
        assert_eq!(gils.all().len(), 1);
    }

    #[test]
    fn an_interpreters_own_gil_is_added_once_if_it_was_created() {
        let gils = with_own_gils();
        let [idle, absent] = [0, u32::MAX].map(Interpreter::new);
        for interpreter in [&idle, &absent, &idle] {
            gils.enter_own_gil(interpreter.address(), 5);
        }
        assert_eq!(gils.all().len(), 2);
        assert_eq!((gils.all()[1].session(), gils.all()[1].metered_since()), (5, 0));
    }

    #[test]
    fn gils_beyond_the_capacity_are_counted() {
        let gils = with_own_gils();
        let interpreters: Vec<_> = (0..capacity::GILS + 2).map(|_| Interpreter::new(1)).collect();
        interpreters.iter().for_each(|interpreter| gils.enter_own_gil(interpreter.address(), 1));
        assert_eq!((gils.all().len(), gils.unlisted()), (capacity::GILS, 3));
        assert!(interpreters[..capacity::GILS - 1].iter().all(|interpreter| gils.find(interpreter.cond()).is_some()));
    }
}
