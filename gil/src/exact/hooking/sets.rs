//! The sets of hooks, and what each hook calls on.
//!
//! A hook calls the function that stood in the entry when the entry was redirected: the C library's, or the hook of
//! another tool. Such a tool may have saved one of our hooks in turn, and may call it long after the meter has stopped.
//! So a hook calls on the same function for ever. If the entry leads to another function when the meter is started
//! again, that function may call the old hook, and the old hook must not call that function. Then the meter uses
//! another set of hooks, and the old ones only pass the calls on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The number of sets. Set 0 calls on what the dynamic linker binds, so no call ever returns to it.
pub(super) const SETS: usize = 8;

/// The functions that one hook calls on, by set; 0 if the set has not been used.
pub(super) struct Next([AtomicUsize; SETS]);

impl Next {
    pub(super) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; SETS])
    }

    #[inline]
    pub(super) fn of(&self, set: usize) -> usize {
        self.0[set].load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, set: usize, function: usize) {
        self.0[set].store(function, Ordering::Relaxed);
    }
}

/// The addresses of a hook, by set.
macro_rules! hooks {
    ($hook:path) => {{
        use $hook as hook;
        [
            hook::<0> as *const () as usize,
            hook::<1> as *const () as usize,
            hook::<2> as *const () as usize,
            hook::<3> as *const () as usize,
            hook::<4> as *const () as usize,
            hook::<5> as *const () as usize,
            hook::<6> as *const () as usize,
            hook::<7> as *const () as usize,
        ]
    }};
}
pub(super) use hooks;

const NONE: usize = usize::MAX;

/// The set whose hooks record the events; NONE if the meter is stopped or is being started.
static METERING: AtomicUsize = AtomicUsize::new(NONE);
/// The set of the latest start, whose hooks serve calibration.
static LATEST: AtomicUsize = AtomicUsize::new(NONE);
/// The sets whose hooks another tool had overwritten when the meter was stopped. It may call them.
static SAVED_BY_OTHERS: [AtomicBool; SETS] = [const { AtomicBool::new(false) }; SETS];

/// Returns true if the hooks of `set` record events.
#[inline]
pub(super) fn is_metering(set: usize) -> bool {
    METERING.load(Ordering::Relaxed) == set
}

/// Returns true if the hooks of `set` serve calibration.
pub(super) fn is_latest(set: usize) -> bool {
    LATEST.load(Ordering::Relaxed) == set
}

/// Chooses the set for entries in which `functions` stand, each with the variable of its hook and with the function
/// that the dynamic linker binds. Returns None if none is left.
pub(super) fn choose(functions: &[(&Next, usize, usize)]) -> Option<usize> {
    let is_bound = functions.iter().all(|(_, function, bound)| function == bound);
    let has = |set: usize, unused: bool| {
        functions.iter().all(|(next, function, _)| next.of(set) == if unused { 0 } else { *function })
    };
    let known = (1..SETS).find(|set| !SAVED_BY_OTHERS[*set].load(Ordering::Relaxed) && has(*set, false));
    if is_bound {
        // No tool is left in the entries.
        (0..SETS).for_each(not_saved);
    }
    let set = if is_bound { 0 } else { known.or_else(|| (1..SETS).find(|set| has(*set, true)))? };
    functions.iter().for_each(|(next, function, _)| next.set(set, *function));
    LATEST.store(set, Ordering::Relaxed);
    Some(set)
}

/// Makes the hooks of `set` record events.
pub(super) fn begin(set: usize) {
    METERING.store(set, Ordering::Release);
}

/// Makes the hooks only pass the calls on.
pub(super) fn end() {
    METERING.store(NONE, Ordering::Release);
}

/// Records that another tool may have saved the hooks of `set`.
pub(super) fn saved_by_others(set: usize) {
    SAVED_BY_OTHERS[set].store(true, Ordering::Relaxed);
}

/// Records that the tool which had saved a hook of `set` has put it back.
pub(super) fn not_saved(set: usize) {
    SAVED_BY_OTHERS[set].store(false, Ordering::Relaxed);
}
