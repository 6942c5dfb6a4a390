//! The C library functions that implement CPython's GIL, and the entries through which CPython calls them.

use super::super::memory;
use super::got::{Entry, Object, Span, keep_loaded, object_at};
use super::sets::{self, Next, SETS, hooks};
use super::{cond, disturbance, semaphore};
use crate::refusal::Refusal;
use std::ffi::CStr;

/// A function of the C library, and its replacements.
struct Function {
    name: &'static CStr,
    /// The function that the dynamic linker binds to this name.
    bound: usize,
    /// The function that the hook calls on.
    next: &'static Next,
    hooks: [usize; SETS],
    serves_calibration: bool,
}

/// The addresses that the dynamic linker has bound in this library. A library that was loaded by LD_PRELOAD may define
/// these functions; dlsym(3) and dlvsym(3) follow other rules than the binding of a versioned reference (`check_match`,
/// glibc's elf/dl-lookup.c).
struct Bound([*const (); 10]);

/// Not called by each version: 3.7 never destroys its GIL.
const DESTROY: &CStr = c"pthread_cond_destroy";

// SAFETY: addresses of functions, which no thread writes.
unsafe impl Sync for Bound {}

static BOUND: Bound = Bound([
    libc::pthread_cond_signal as *const (),
    libc::pthread_cond_timedwait as *const (),
    libc::pthread_cond_wait as *const (),
    libc::pthread_cond_init as *const (),
    libc::sem_post as *const (),
    libc::sem_wait as *const (),
    libc::sem_trywait as *const (),
    libc::sem_init as *const (),
    libc::pthread_cond_destroy as *const (),
    libc::pthread_mutex_lock as *const (),
]);

/// Returns the functions of CPython 3's GIL, or of 2.7's.
fn functions(is_semaphore: bool) -> Vec<Function> {
    // Read from the data, and not from this library's own offset table, since that table may be CPython's.
    let bound = std::hint::black_box(&BOUND).0.map(|function| function as usize);
    let row = |name, index: usize, next, hooks, serves_calibration| Function {
        name,
        bound: bound[index],
        next,
        hooks,
        serves_calibration,
    };
    if is_semaphore {
        return vec![
            row(c"sem_post", 4, &semaphore::NEXT_POST, hooks!(semaphore::post), true),
            row(c"sem_wait", 5, &semaphore::NEXT_WAIT, hooks!(semaphore::wait), true),
            row(c"sem_trywait", 6, &semaphore::NEXT_TRYWAIT, hooks!(semaphore::trywait), true),
            row(c"sem_init", 7, &semaphore::NEXT_INIT, hooks!(semaphore::init), false),
        ];
    }
    vec![
        row(c"pthread_cond_signal", 0, &cond::NEXT_SIGNAL, hooks!(cond::signal), true),
        row(c"pthread_cond_timedwait", 1, &cond::NEXT_TIMEDWAIT, hooks!(cond::timedwait), false),
        row(c"pthread_cond_wait", 2, &cond::NEXT_WAIT, hooks!(cond::wait), false),
        row(c"pthread_cond_init", 3, &cond::NEXT_INIT, hooks!(cond::init), false),
        row(DESTROY, 8, &cond::NEXT_DESTROY, hooks!(cond::destroy), false),
        row(c"pthread_mutex_lock", 9, &cond::NEXT_LOCK, hooks!(cond::lock), false),
    ]
}

/// The entries of one object for these functions, which may be redirected.
pub(crate) struct Redirections {
    rows: Vec<Row>,
    set: usize,
    text: Option<Span>,
}

/// An entry, and what is known of it. It owns no memory.
struct Row {
    entry: Entry,
    hooks: [usize; SETS],
    serves_calibration: bool,
    /// The function to which a call through the entry led.
    found: usize,
    bound: usize,
}

impl Redirections {
    /// Returns a value that redirects nothing.
    pub(crate) const fn none() -> Self {
        Self { rows: Vec::new(), set: 0, text: None }
    }

    /// Finds the entries of `object` and chooses the hooks. Does not redirect any entry. `is_copy` is called with each
    /// function of another object that stands in an entry, and returns true if it belongs to another copy of busy.
    ///
    /// # Errors
    /// [`Refusal::StaticallyBound`] if an entry is not found, [`Refusal::OtherCopy`] if `is_copy` has returned true,
    /// [`Refusal::TooManyTools`].
    pub(crate) fn find(object: &Object, is_semaphore: bool, is_copy: &dyn Fn(usize) -> bool) -> Result<Self, Refusal> {
        let mut found = Self { rows: Vec::new(), set: 0, text: Some(object.text) };
        let mut nexts = Vec::new();
        for function in functions(is_semaphore) {
            let entries = object.entries(function.name);
            if entries.is_empty() && function.name != DESTROY {
                let name = function.name.to_str().expect("ASCII");
                return Err(Refusal::StaticallyBound(name, object.name.clone()));
            }
            let mut next = function.bound;
            for entry in entries {
                let reached = function.resolve(object, entry.leads_to());
                if reached != function.bound {
                    next = reached;
                }
                found.rows.push(Row {
                    entry,
                    hooks: function.hooks,
                    serves_calibration: function.serves_calibration,
                    found: reached,
                    bound: function.bound,
                });
            }
            nexts.push((function.next, next, function.bound));
        }
        let foreign = nexts.iter().filter(|(_, next, bound)| next != bound).map(|(_, next, _)| *next);
        let foreign: Vec<usize> = foreign.collect();
        if foreign.iter().any(|function| is_copy(*function)) {
            return Err(Refusal::OtherCopy);
        }
        foreign.iter().for_each(|function| keep_loaded(*function));
        found.set = sets::choose(&nexts).ok_or_else(|| {
            Refusal::TooManyTools(foreign.first().and_then(|function| object_at(*function)).unwrap_or_default())
        })?;
        Ok(found)
    }

    /// Redirects the entries of which calibration needs the calls, and binds the others.
    ///
    /// A thread that makes the first call through an entry is in the dynamic linker until that has bound the entry
    /// (`_dl_fixup`, glibc's elf/dl-runtime.c), and so overwrites a hook that is written meanwhile. No thread begins to
    /// bind an entry that is bound here. If a thread began before, it waits for the GIL and holds the GIL's mutex until the
    /// entry is bound (`take_gil`), so the calibration, which takes the GIL, ends after that.
    ///
    /// # Errors
    /// [`Refusal::System`]. Then some of the entries may be redirected.
    pub(crate) fn calibrate(&self) -> Result<(), Refusal> {
        self.rows.iter().try_for_each(|row| match row.serves_calibration {
            true => row.redirect(self.set),
            false if row.entry.leads_to() == row.found => Ok(()),
            false => row.entry.redirect(row.found),
        })
    }

    /// Redirects all entries, and makes the hooks record events.
    ///
    /// # Errors
    /// The same as [`Self::calibrate`].
    pub(crate) fn meter(&self) -> Result<(), Refusal> {
        self.rows.iter().filter(|row| !row.serves_calibration).try_for_each(|row| row.redirect(self.set))?;
        let entries = self.rows.iter().map(|row| (row.entry.place, row.hooks[self.set]));
        disturbance::begin(self.text.unwrap_or_default(), entries);
        sets::begin(self.set);
        Ok(())
    }

    /// Restores the entries that lead to a hook of this library, and forgets them all. Frees no memory, so that a
    /// forked child may call it.
    pub(crate) fn restore(&mut self) {
        sets::end();
        disturbance::end();
        for row in &self.rows {
            let now = row.entry.leads_to();
            if row.hooks.contains(&now) {
                // If this fails, the hook stays and only passes the calls on.
                let _ = row.entry.redirect(row.restored());
            } else if now != row.found {
                sets::saved_by_others(self.set);
            }
        }
        self.rows.clear();
    }
}

impl Function {
    /// Returns the function that a call through an entry reaches if this library is left aside. An entry may lead to one
    /// of our hooks though the meter is stopped: another tool had saved the hook, and has put it back.
    fn resolve(&self, object: &Object, leads_to: usize) -> usize {
        let set = self.hooks.iter().position(|hook| *hook == leads_to);
        set.into_iter().for_each(sets::not_saved);
        let stands = set.map_or(leads_to, |set| self.next.of(set));
        if object.binds_at_first_call(stands) { self.bound } else { stands }
    }
}

impl Row {
    fn redirect(&self, set: usize) -> Result<(), Refusal> {
        self.entry.redirect(self.hooks[set])
    }

    /// Returns the function that stood in the entry, or the C library's if that function is no longer mapped.
    fn restored(&self) -> usize {
        if memory::words::<1>(self.found).is_some() { self.found } else { self.bound }
    }
}
