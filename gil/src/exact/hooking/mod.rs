//! The redirected calls: finding and changing them ([`got`], [`redirections`]), the functions that stand in for them
//! ([`cond`] for CPython 3, [`semaphore`] for 2.7), and learning which cond or semaphore is the GIL's ([`calibrate`],
//! [`stack`]). It reports the events to `super::counting`, which does not know of it.

pub(super) mod calibrate;
mod cond;
pub(super) mod got;
pub(super) mod redirections;
pub(super) mod semaphore;
mod stack;
