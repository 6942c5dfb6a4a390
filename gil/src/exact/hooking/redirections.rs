//! The C library functions that implement CPython's GIL, and the entries through which CPython calls them.

use super::super::python::symbol;
use super::got::{Entry, Object};
use super::{calibrate, cond, semaphore};
use crate::refusal::Refusal;
use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A function of the C library, and its replacements.
struct Function {
    name: &'static CStr,
    /// The variable that stores the address of the C library's own function.
    real: &'static AtomicUsize,
    while_calibrating: Option<usize>,
    hook: usize,
}

/// The version of these symbols. Some of the functions have several versions.
const COND_VERSION: &CStr = c"GLIBC_2.3.2";
const SEMAPHORE_VERSION: &CStr = c"GLIBC_2.2.5";

/// Returns the functions of CPython 3's GIL.
fn cond_functions() -> [Function; 4] {
    let row = |name, real, while_calibrating, hook| Function { name, real, while_calibrating, hook };
    [
        row(
            c"pthread_cond_signal",
            &cond::REAL_SIGNAL,
            Some(calibrate::signal as *const () as usize),
            cond::signal as *const () as usize,
        ),
        row(c"pthread_cond_timedwait", &cond::REAL_TIMEDWAIT, None, cond::timedwait as *const () as usize),
        row(c"pthread_cond_wait", &cond::REAL_WAIT, None, cond::wait as *const () as usize),
        row(c"pthread_cond_init", &cond::REAL_INIT, None, cond::init as *const () as usize),
    ]
}

/// Returns the functions of CPython 2.7's GIL.
fn semaphore_functions() -> [Function; 4] {
    let row = |name, real, while_calibrating, hook| Function { name, real, while_calibrating, hook };
    [
        row(
            c"sem_post",
            &semaphore::REAL_POST,
            Some(calibrate::post as *const () as usize),
            semaphore::post as *const () as usize,
        ),
        row(
            c"sem_wait",
            &semaphore::REAL_WAIT,
            Some(calibrate::wait as *const () as usize),
            semaphore::wait as *const () as usize,
        ),
        row(
            c"sem_trywait",
            &semaphore::REAL_TRYWAIT,
            Some(calibrate::trywait as *const () as usize),
            semaphore::trywait as *const () as usize,
        ),
        row(c"sem_init", &semaphore::REAL_INIT, None, semaphore::init as *const () as usize),
    ]
}

/// The entries of one object for these functions, which may be redirected.
pub(crate) struct Redirections {
    rows: Vec<Row>,
    /// The addresses to which [`Self::calibrate`] and [`Self::meter`] redirect.
    ours: Vec<usize>,
}

/// An entry, and the replacements of its function.
struct Row {
    entry: Entry,
    while_calibrating: Option<usize>,
    hook: usize,
}

impl Redirections {
    /// Returns a value that redirects nothing.
    pub(crate) const fn none() -> Self {
        Self { rows: Vec::new(), ours: Vec::new() }
    }

    /// Finds the entries of `object` and the C library's own functions. Does not redirect any entry.
    ///
    /// # Errors
    /// [`Refusal::NoFunction`] or [`Refusal::StaticallyBound`] if one is not found.
    pub(crate) fn find(object: &Object, is_semaphore: bool) -> Result<Self, Refusal> {
        let (functions, version) = match is_semaphore {
            true => (semaphore_functions(), SEMAPHORE_VERSION),
            false => (cond_functions(), COND_VERSION),
        };
        let mut found = Self::none();
        for Function { name, real, while_calibrating, hook } in functions {
            let text = name.to_str().expect("ASCII");
            real.store(versioned(name, version).ok_or(Refusal::NoFunction(text))?, Ordering::Relaxed);
            let entries = object.entries(name);
            if entries.is_empty() {
                return Err(Refusal::StaticallyBound(text, object.name.clone()));
            }
            found.rows.extend(entries.into_iter().map(|entry| Row { entry, while_calibrating, hook }));
            found.ours.extend(while_calibrating.into_iter().chain([hook]));
        }
        Ok(found)
    }

    /// Redirects the entries to the functions of calibration.
    ///
    /// # Errors
    /// [`Refusal::System`]. Then some of the entries may be redirected.
    pub(crate) fn calibrate(&self) -> Result<(), Refusal> {
        let rows = self.rows.iter().filter_map(|row| Some((row, row.while_calibrating?)));
        rows.into_iter().try_for_each(|(row, function)| row.entry.redirect(function))
    }

    /// Redirects the entries to the hooks.
    ///
    /// # Errors
    /// The same as [`Self::calibrate`].
    pub(crate) fn meter(&self) -> Result<(), Refusal> {
        self.rows.iter().try_for_each(|row| row.entry.redirect(row.hook))
    }

    /// Restores the entries and forgets them. Frees no memory, so that a forked child may call it.
    pub(crate) fn restore(&mut self) {
        self.rows.iter().for_each(|row| row.entry.restore(&self.ours));
        self.rows.clear();
        self.ours.clear();
    }
}

/// Returns the address of the function `name` in `version`, or in its default version if `version` does not exist.
fn versioned(name: &'static CStr, version: &'static CStr) -> Option<usize> {
    // SAFETY: a lookup by name and version.
    let address = unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), version.as_ptr()) } as usize;
    if address != 0 { Some(address) } else { symbol(name) }
}
