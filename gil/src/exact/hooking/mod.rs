//! The redirected calls: finding and changing them ([`got`], [`redirections`]), the functions that replace them
//! ([`cond`] for CPython 3, [`semaphore`] for 2.7), and the search for the GIL's cond or semaphore ([`calibrate`],
//! [`stack`]). This module reports the events to `super::counting`, which does not import it.

pub(super) mod calibrate;
mod cond;
pub(super) mod got;
pub(super) mod redirections;
pub(super) mod semaphore;
mod stack;
