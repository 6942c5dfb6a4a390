//! The redirected calls: finding and changing them ([`got`], [`read_only`], [`redirections`]), the functions that
//! replace them ([`cond`] for CPython 3, [`semaphore`] for 2.7; [`sets`]), the search for the GIL's cond or semaphore
//! ([`calibrate`], [`stack`]), the first acquire of all ([`first_acquire`]), and other tools that redirect the same
//! calls ([`disturbance`]). This module reports the events to `super::counting`, which does not import it.

pub(super) mod calibrate;
mod cond;
pub(super) mod disturbance;
pub(super) mod first_acquire;
pub(super) mod got;
mod read_only;
pub(super) mod redirections;
pub(super) mod semaphore;
mod sets;
mod stack;
