//! How many threads and GILs the meter distinguishes in a process's life.

/// The number of GILs that are metered.
pub(super) const GILS: usize = 1024;
/// The number of accounts of threads. Threads beyond share one account for each GIL, that of thread 0.
pub(super) const THREADS: usize = 65_536;
/// The number of all accounts: those of the threads, then the shared one of each GIL.
pub(super) const ACCOUNTS: usize = THREADS + GILS;
