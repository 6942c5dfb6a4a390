//! The GILs of this process: the one under which the meter was started, in nearly all programs the main interpreter's,
//! and those of interpreters with their own GIL.

use super::super::clock;
use super::super::memory;
use super::super::python::{self, InterpreterId, symbol};
use super::capacity;
use super::gil::Gil;
use super::interpreters::Interpreters;
use super::slots::{OPEN, Slots};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed};

/// The size of the hash table: four times the number of GILs.
const PLACES: usize = 4096;
/// The number of places among which the hash of a GIL leaves the choice: two cache lines. If all GILs exist, a bucket has
/// four of them on average. A search looks at the whole bucket, so a GIL that leaves need not mark its place, and a search
/// takes as long after thousands of interpreters as before.
const BUCKET: usize = 16;
/// The distance from `cond` to `switch_cond` in `struct _gil_runtime_state` (3.7 on, glibc on x86-64). Calibration
/// checks it.
pub(crate) const SWITCH_COND: usize = 88;
/// The distance from `cond` to `mutex`: the size of a pthread_cond_t.
const MUTEX: usize = 48;
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
    /// True if the GILs are structs with `last_holder`, and no semaphores.
    are_structs: AtomicBool,
    unlisted: AtomicU64,
    interpreters: Interpreters,
    /// The conds of the GILs that did not fit into the table, by hash. A place may be taken by another GIL later.
    unlisted_conds: [AtomicUsize; PLACES],
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
            are_structs: AtomicBool::new(false),
            unlisted: AtomicU64::new(0),
            interpreters: Interpreters::new(),
            unlisted_conds: [const { AtomicUsize::new(0) }; PLACES],
        }
    }

    /// Returns GIL 0, the one under which the meter was started.
    #[inline]
    pub(crate) fn first(&self) -> &Gil {
        &self.table[0]
    }

    /// Returns the entries of the table that were ever used: the GILs of this session and of earlier ones.
    pub(crate) fn all(&self) -> &[Gil] {
        &self.table[..self.used.load(Ordering::Acquire).min(capacity::GILS)]
    }

    /// Returns the GIL with that number, unless it has left the table.
    pub(super) fn by_id(&self, id: u64) -> Option<&Gil> {
        let gil = &self.table[(id % capacity::GILS as u64) as usize];
        (gil.id() == id).then_some(gil)
    }

    /// Returns the number of GILs that did not fit into the table.
    pub(crate) fn unlisted(&self) -> u64 {
        self.unlisted.load(Relaxed)
    }

    /// Makes the GIL at `address` GIL 0, stores the offset and the function that lead to the other GILs, and empties the
    /// rest of the table: while no calls are redirected, GILs are created and destroyed unnoticed.
    pub(crate) fn calibrated(
        &self,
        address: usize,
        interpreter: i64,
        to_cond: Option<usize>,
        id_of: Option<InterpreterId>,
    ) {
        self.interpreter_id.store(id_of.map_or(0, |function| function as usize), Relaxed);
        self.to_cond.store(to_cond.unwrap_or(0), Relaxed);
        self.by_cond.iter().chain(&self.unlisted_conds).for_each(|place| place.store(0, Relaxed));
        self.all().iter().skip(1).for_each(Gil::free);
        self.first().place(0, address, interpreter);
        self.used.fetch_max(1, Ordering::Release);
        learn_end_of_main();
        if let Some(to_cond) = to_cond {
            self.interpreters.find();
            self.interpreters.learn(address.wrapping_sub(to_cond));
        }
    }

    /// Records whether the GILs are structs (`struct _gil_runtime_state`), as calibration has found.
    pub(crate) fn are_structs(&self, are_structs: bool) {
        self.are_structs.store(are_structs, Relaxed);
    }

    /// Returns `interval`, in microseconds, and `last_holder`, a PyThreadState, of the GIL with this id, which the calling
    /// thread holds; zeros if they are unknown.
    #[inline]
    pub(crate) fn holder_words(&self, id: u64) -> [u64; 2] {
        let Some(gil) = self.by_id(id) else { return [0; 2] };
        let cond = gil.address();
        if cond == 0 || !self.are_structs.load(Relaxed) {
            return [0; 2];
        }
        // SAFETY: the struct exists while the GIL is held. Calibration has checked where `last_holder` is; `interval` is
        // the word before it (Include/internal/pycore_gil.h), and only the holder writes `last_holder`.
        let words = unsafe { &*((cond - LAST_HOLDER - 8) as *const [AtomicU64; 2]) };
        words.each_ref().map(|word| word.load(Relaxed))
    }

    /// Returns the PyThreadState of the thread that holds `gil`, or has held it last. Any thread may call it.
    pub(crate) fn thread_state(&self, gil: &Gil) -> Option<u64> {
        let cond = gil.address();
        if cond == 0 || !self.are_structs.load(Relaxed) {
            return None;
        }
        let [state] = memory::words::<1>(cond - LAST_HOLDER)?;
        Some(state as u64).filter(|state| *state != 0)
    }

    /// Returns the GIL to which a signalled cond belongs, and the meaning of the signal.
    #[inline]
    pub(crate) fn by_cond(&self, address: usize) -> Option<(&Gil, Meaning)> {
        let first = self.first();
        match address.wrapping_sub(first.address()) {
            0 => Some((first, Meaning::Release)),
            SWITCH_COND => Some((first, Meaning::Acquire)),
            _ if self.to_cond.load(Relaxed) == 0 => None,
            _ => self.other_by_cond(address),
        }
    }

    /// Returns the GIL to which a mutex belongs.
    pub(crate) fn by_mutex(&self, address: usize) -> Option<&Gil> {
        let cond = address.wrapping_sub(MUTEX);
        if self.first().is_at(cond) { Some(self.first()) } else { self.find(cond) }
    }

    #[inline(never)]
    fn other_by_cond(&self, address: usize) -> Option<(&Gil, Meaning)> {
        if let Some(gil) = self.find(address) {
            return Some((gil, Meaning::Release));
        }
        let cond = address.wrapping_sub(SWITCH_COND);
        self.find(cond).or_else(|| self.discover(cond)).map(|gil| (gil, Meaning::Acquire))
    }

    /// Records that the GIL whose `cond` is at `address` is being destroyed. Returns false if there is none.
    pub(crate) fn destroyed(&self, address: usize, open: &Slots, now: u64) -> bool {
        let calibrated = Some(self.first()).filter(|gil| gil.is_at(address));
        let Some(gil) = calibrated.or_else(|| self.find(address)) else {
            _ = self.unlisted_conds[start(address)].compare_exchange(address, 0, Relaxed, Relaxed);
            return false;
        };
        self.end(gil, open, now);
        true
    }

    /// Records that a GIL is being created at the address of `gil`: the main GIL again, or that of another interpreter.
    pub(crate) fn created_anew(&self, gil: &Gil, open: &Slots, session: u64, now: u64) {
        if !gil.is_main() {
            return self.end(gil, open, now);
        }
        if gil.ended().is_some() {
            learn_end_of_main();
        }
        gil.created_anew(open, session, now);
    }

    /// Records the end of the GILs whose interpreters have ended.
    pub(super) fn find_ended(&self, open: &Slots, now: u64) {
        // Before the list of interpreters is read: a GIL that comes later belongs to one that may not be on it yet.
        let known = self.own_gils();
        if known.is_empty() {
            return;
        }
        // Twice, since the list may change while it is read.
        let Some(lists) = self.interpreters.living().zip(self.interpreters.living()) else { return };
        self.end_missing(&known, [&lists.0, &lists.1], open, now);
    }

    /// Returns the GILs of living interpreters other than the main one, each with its number and its interpreter.
    fn own_gils(&self) -> Vec<(u64, usize)> {
        let interpreter = |gil: &Gil| gil.address().wrapping_sub(self.to_cond.load(Relaxed));
        self.living().filter(|gil| !gil.is_main()).map(|gil| (gil.id(), interpreter(gil))).collect()
    }

    /// Records the end of those of the `known` GILs whose interpreter is on neither list, or has left its address to an
    /// interpreter that shares the main one's GIL.
    fn end_missing(&self, known: &[(u64, usize)], lists: [&[usize]; 2], open: &Slots, now: u64) {
        for (id, interpreter) in known {
            let is_listed = lists.into_iter().any(|list| list.contains(interpreter));
            let has_ended = !is_listed || self.has_own_gil(*interpreter) == Some(false);
            // It may have been destroyed meanwhile, and its entry of the table may be that of another GIL.
            if let Some(gil) = self.by_id(*id).filter(|gil| has_ended && gil.ended().is_none()) {
                self.end(gil, open, now);
            }
        }
    }

    /// Returns the GILs that have not ended.
    fn living(&self) -> impl Iterator<Item = &Gil> {
        self.all().iter().filter(|gil| gil.address() != 0 && gil.id() != 0 && gil.ended().is_none())
    }

    /// Records the end of `gil`. Searches still find the main interpreter's.
    fn end(&self, gil: &Gil, open: &Slots, now: u64) {
        let cond = gil.address();
        gil.destroyed(open, now);
        if !gil.is_main() {
            self.forget(cond, gil);
        }
    }

    /// Frees the entries of the GILs that were destroyed before the oldest of the open windows was opened, except for GIL 0
    /// and the main interpreter's.
    pub(super) fn free_destroyed(&self, oldest: Option<u64>) {
        for gil in self.all().iter().skip(1).filter(|gil| !gil.is_main()) {
            if gil.id() != 0 && gil.ended().is_some_and(|ended| oldest.is_none_or(|oldest| ended <= oldest)) {
                gil.free();
            }
        }
    }

    /// Frees the place of `gil`, which was at `cond`, if it has one.
    fn forget(&self, cond: usize, gil: &Gil) {
        let number = gil.index() as usize + 1;
        let place = self.bucket(cond).iter().find(|place| place.load(Relaxed) == number);
        place.inspect(|place| place.store(0, Ordering::Release));
    }

    fn bucket(&self, cond: usize) -> &[AtomicUsize] {
        let first = start(cond) / BUCKET * BUCKET;
        &self.by_cond[first..first + BUCKET]
    }

    fn find(&self, cond: usize) -> Option<&Gil> {
        let numbers = self.bucket(cond).iter().map(|place| place.load(Ordering::Acquire));
        let mut gils = numbers.filter(|number| *number != 0).map(|number| &self.table[number - 1]);
        gils.find(|gil| gil.is_at(cond))
    }

    /// Adds a GIL that is not in the table yet, if `cond` belongs to one: then a thread state of the interpreter at the
    /// corresponding address holds it.
    #[cold]
    fn discover(&self, cond: usize) -> Option<&Gil> {
        let interpreter = cond.wrapping_sub(self.to_cond.load(Relaxed));
        if self.unlisted_conds[start(cond)].load(Relaxed) == cond {
            return None;
        }
        let [holder, locked] = memory::words::<2>(cond.wrapping_sub(LAST_HOLDER))?;
        if holder == 0 || locked as u32 != 1 || memory::words::<1>(holder + INTERP)? != [interpreter] {
            return None;
        }
        self.enter(cond, interpreter)
    }

    /// Adds the GIL of `interpreter` if it has its own. It counts as not metered until its first event.
    pub(crate) fn enter_own_gil(&self, interpreter: usize, session: u64) {
        let cond = self.cond_of(interpreter);
        if self.has_own_gil(interpreter) == Some(true)
            && self.find(cond).is_none()
            && !self.first().is_at(cond)
            && let Some(gil) = self.enter(cond, interpreter)
        {
            gil.belong_to(session);
        }
    }

    /// Returns true if the interpreter has its own GIL. `locked` is -1 if the GIL was not created (`_gil_initialize`). None
    /// if it can't be read.
    fn has_own_gil(&self, interpreter: usize) -> Option<bool> {
        let [_, locked] = memory::words::<2>(self.cond_of(interpreter).wrapping_sub(LAST_HOLDER))?;
        Some(matches!(locked as u32, 0 | 1))
    }

    /// Returns the address of the `cond` of the interpreter's own GIL.
    fn cond_of(&self, interpreter: usize) -> usize {
        interpreter.wrapping_add(self.to_cond.load(Relaxed))
    }

    fn enter(&self, cond: usize, interpreter: usize) -> Option<&Gil> {
        let Some(index) = self.take_entry() else { return self.unlist(cond) };
        let function = self.interpreter_id.load(Relaxed);
        let id = if function == 0 {
            0
        } else {
            // SAFETY: PyInterpreterState_GetID reads a field of an interpreter that is alive: one of its threads is
            // running this code, or it was on the list of interpreters a moment ago.
            unsafe { std::mem::transmute::<usize, InterpreterId>(function)(interpreter) }
        };
        let gil = &self.table[index];
        gil.place(index, cond, id);
        self.interpreters.learn(interpreter);
        let take = |place: &AtomicUsize| place.compare_exchange(0, index + 1, Ordering::AcqRel, Relaxed).is_ok();
        if self.bucket(cond).iter().any(take) {
            return Some(gil);
        }
        gil.free();
        self.unlist(cond)
    }

    /// Counts a GIL for which there is no room, once.
    fn unlist(&self, cond: usize) -> Option<&Gil> {
        if self.unlisted_conds[start(cond)].swap(cond, Relaxed) != cond {
            self.unlisted.fetch_add(1, Relaxed);
        }
        None
    }

    /// Takes an entry that is free again, or one that was never used.
    fn take_entry(&self) -> Option<usize> {
        let used = self.all().len();
        if let Some(index) = (1..used).find(|index| self.table[*index].take()) {
            return Some(index);
        }
        let index =
            self.used.fetch_update(Ordering::AcqRel, Relaxed, |used| (used < capacity::GILS).then_some(used + 1));
        index.ok().filter(|index| self.table[*index].take())
    }

    /// Adds a GIL.
    #[cfg(test)]
    pub(super) fn add(&self, address: usize) -> &Gil {
        let index = self.take_entry().unwrap();
        self.table[index].place(index, address, index as i64);
        &self.table[index]
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

/// True if [`main_ended`] is registered.
static LEARNS_END: AtomicBool = AtomicBool::new(false);

/// Makes sure that [`main_ended`] runs. 2.7's GIL outlives Py_Finalize: nothing destroys it or creates it again.
fn learn_end_of_main() {
    if symbol(c"PyInterpreterState_Main").is_some() && !LEARNS_END.swap(true, Relaxed) {
        python::at_exit(main_ended);
    }
}

/// Runs at the end of Py_FinalizeEx, which does not release the GIL before 3.12.
unsafe extern "C" fn main_ended() {
    LEARNS_END.store(false, Relaxed);
    let now = clock::ticks();
    GILS.living().for_each(|gil| GILS.end(gil, &OPEN, now));
}

/// Returns the first place for the GIL whose `cond` is at that address.
fn start(cond: usize) -> usize {
    (cond >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52
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
    fn a_gil_that_was_created_after_the_list_was_read_has_not_ended() {
        let (gils, open) = (with_own_gils(), Slots::new());
        let interpreters: [_; 3] = std::array::from_fn(|_| Interpreter::new(1));
        gils.enter_own_gil(interpreters[0].address(), 1);
        let known = gils.own_gils();
        gils.enter_own_gil(interpreters[1].address(), 1);
        gils.end_missing(&known, [&[], &[]], &open, 1000);
        let ended = || gils.all()[1..].iter().map(|gil| gil.ended().is_some()).collect::<Vec<_>>();
        assert_eq!(ended(), [true, false]);
        // Another GIL has the entry of the one that has ended.
        gils.free_destroyed(None);
        gils.enter_own_gil(interpreters[2].address(), 1);
        gils.end_missing(&known, [&[], &[]], &open, 2000);
        assert_eq!(ended(), [false, false]);
        let listed: Vec<usize> = interpreters.iter().map(Interpreter::address).collect();
        gils.end_missing(&gils.own_gils(), [&[], &listed], &open, 3000);
        assert_eq!(ended(), [false, false]);
    }

    #[test]
    fn gils_beyond_the_capacity_are_counted() {
        let gils = with_own_gils();
        let interpreters: Vec<_> = (0..capacity::GILS + 2).map(|_| Interpreter::new(1)).collect();
        interpreters.iter().for_each(|interpreter| gils.enter_own_gil(interpreter.address(), 1));
        assert_eq!((gils.all().len(), gils.unlisted()), (capacity::GILS, 3));
        assert!(interpreters[..capacity::GILS - 1].iter().all(|interpreter| gils.find(interpreter.cond()).is_some()));
    }

    #[test]
    fn a_gil_without_room_is_counted_once_however_often_it_is_acquired() {
        let gils = with_own_gils();
        let interpreters: Vec<_> = (0..capacity::GILS + 1).map(|_| Interpreter::new(1)).collect();
        for _ in 0..100 {
            interpreters.iter().for_each(|one| _ = gils.by_cond(one.cond() + SWITCH_COND));
        }
        assert_eq!(gils.unlisted(), 2);
    }

    #[test]
    fn a_destroyed_gil_leaves_the_table_when_no_window_needs_it() {
        let (gils, open) = (with_own_gils(), Slots::new());
        let interpreters = [(); 3].map(|()| Interpreter::new(1));
        interpreters.iter().for_each(|interpreter| gils.enter_own_gil(interpreter.address(), 1));
        let second = gils.all()[2].id();
        gils.destroyed(interpreters[1].cond(), &open, 200);
        assert!(gils.find(interpreters[1].cond()).is_none() && gils.find(interpreters[2].cond()).is_some());
        gils.free_destroyed(Some(100));
        assert!(gils.by_id(second).is_some(), "a window that was opened at 100 needs it");
        gils.free_destroyed(Some(200));
        assert!(gils.by_id(second).is_none());
        // Its entry and its place are used again.
        gils.enter_own_gil(interpreters[1].address(), 1);
        assert_eq!((gils.all().len(), gils.unlisted()), (4, 0));
        assert!(gils.find(interpreters[1].cond()).is_some_and(|gil| gil.index() == 2 && gil.id() > second));
        for _ in 0..5 * PLACES as u64 {
            gils.destroyed(interpreters[1].cond(), &open, 300);
            gils.free_destroyed(None);
            gils.enter_own_gil(interpreters[1].address(), 1);
        }
        assert_eq!((gils.all().len(), gils.unlisted()), (4, 0));
    }

    #[test]
    fn gil_0_may_be_that_of_an_interpreter_which_ends_before_the_main_one() {
        unsafe extern "C" fn id_of_main(_interpreter: usize) -> i64 {
            0
        }
        let (gils, open) = (with_own_gils(), Slots::new());
        let [own, main] = [(); 2].map(|()| Interpreter::new(1));
        gils.calibrated(own.cond(), 3, Some(TO_COND), Some(id_of_main));
        gils.enter_own_gil(main.address(), 1);
        assert!(gils.destroyed(own.cond(), &open, 200) && gils.destroyed(main.cond(), &open, 300));
        gils.free_destroyed(None);
        assert_eq!(gils.first().ended(), Some(200));
        assert_eq!(meaning(gils, main.cond()), Some((1, Meaning::Release)), "it may be created again");
        // Another interpreter at the same address has another GIL.
        assert_eq!(meaning(gils, own.cond() + SWITCH_COND), Some((2, Meaning::Acquire)));
    }

    #[test]
    fn a_search_takes_as_long_after_thousands_of_interpreters() {
        let (gils, open) = (with_own_gils(), Slots::new());
        let interpreters: Vec<_> = (0..PLACES).map(|_| Interpreter::new(1)).collect();
        for interpreter in &interpreters {
            gils.enter_own_gil(interpreter.address(), 1);
            assert!(gils.destroyed(interpreter.cond(), &open, 100));
            gils.free_destroyed(None);
        }
        assert_eq!((gils.all().len(), gils.unlisted()), (2, 0));
        assert!(gils.by_cond.iter().all(|place| place.load(Relaxed) == 0), "a search would look at what they left");
    }

    #[test]
    fn a_gil_without_room_in_its_bucket_is_counted() {
        let gils = with_own_gils();
        let interpreters: Vec<_> = (0..100 * PLACES / BUCKET).map(|_| Interpreter::new(1)).collect();
        let first = gils.bucket(interpreters[0].cond()).as_ptr();
        let same: Vec<_> = interpreters.iter().filter(|one| gils.bucket(one.cond()).as_ptr() == first).collect();
        let entered = same.iter().filter(|one| gils.by_cond(one.cond() + SWITCH_COND).is_some()).count();
        assert!(same.len() > BUCKET && entered == BUCKET, "{} of {}", entered, same.len());
        assert_eq!(gils.unlisted() as usize, same.len() - BUCKET);
        assert!(gils.find(same[0].cond()).is_some());
    }
}
