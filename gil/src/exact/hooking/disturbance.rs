//! Another tool that redirects the same calls while the meter runs. Its hook may call ours or not, and the meter can't
//! distinguish the two, so the figures of that session are refused.

use super::got::{Span, object_at};
use crate::refusal::Refusal;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The entries that lead to the hooks while the meter runs, by the addresses of the entry and of the hook; 0 if unused.
/// There are at most two entries for each of five functions.
static WATCHED: [[AtomicUsize; 2]; 16] = [const { [const { AtomicUsize::new(0) }; 2] }; 16];
/// The address to which an overwritten entry led; 0 if none was overwritten in this session.
static INTRUDER: AtomicUsize = AtomicUsize::new(0);
/// The code of the object whose calls are redirected.
static TEXT: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Begins a session in which the calls from `text` go through `entries`, each of which leads to its hook.
pub(super) fn begin(text: Span, entries: impl Iterator<Item = (usize, usize)>) {
    end();
    let (start, end) = text.bounds();
    TEXT[0].store(start, Ordering::Relaxed);
    TEXT[1].store(end, Ordering::Relaxed);
    for ([place, hook], (entry, leads_to)) in WATCHED.iter().zip(entries) {
        hook.store(leads_to, Ordering::Relaxed);
        place.store(entry, Ordering::Release);
    }
}

/// Ends the session.
pub(super) fn end() {
    WATCHED.iter().for_each(|[place, _]| place.store(0, Ordering::Release));
    INTRUDER.store(0, Ordering::Relaxed);
}

/// Records that the hook was called from `address`, which is not in CPython unless another tool passes the calls on.
#[inline]
pub(super) fn check_caller(address: usize) {
    let is_inside = TEXT[0].load(Ordering::Relaxed) <= address && address < TEXT[1].load(Ordering::Relaxed);
    if !is_inside {
        INTRUDER.store(address, Ordering::Relaxed);
    }
}

/// Returns why the figures of this session are not certain, if that is so. The session must not end meanwhile: otherwise
/// a restored entry would be taken for an overwritten one. Takes no lock and needs no GIL.
pub(crate) fn found() -> Option<Disturbance> {
    for [place, hook] in &WATCHED {
        let place = place.load(Ordering::Acquire);
        if place == 0 {
            continue;
        }
        // SAFETY: an entry of CPython's table, which stays mapped even if the program closes CPython: by dlsym(3), this
        // library depends on it since the meter's start (glibc, elf/dl-sym.c, DL_LOOKUP_ADD_DEPENDENCY).
        let leads_to = unsafe { AtomicUsize::from_ptr(place as *mut usize) }.load(Ordering::Relaxed);
        if leads_to != hook.load(Ordering::Relaxed) {
            INTRUDER.store(leads_to, Ordering::Relaxed);
        }
    }
    let intruder = INTRUDER.load(Ordering::Relaxed);
    (intruder != 0).then_some(Disturbance(intruder))
}

/// Another tool has redirected the same calls since the stopped meter was started.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance(usize);

impl From<Disturbance> for Refusal {
    /// Asks the dynamic linker for the tool's file. It may wait for a library that is being loaded.
    fn from(Disturbance(intruder): Disturbance) -> Self {
        Self::Overwritten(object_at(intruder).unwrap_or_else(|| "unknown code".into()))
    }
}
