//! The maximum numbers of threads and GILs during a process's lifetime.

/// The maximum number of GILs that can be metered.
pub(super) const GILS: usize = 1024;
/// The maximum number of accounts of threads. Any further threads share one account per GIL, with thread id 0.
pub(super) const THREADS: usize = 65_536;
/// The number of all accounts: those of the threads, then the shared one of each GIL.
pub(super) const ACCOUNTS: usize = THREADS + GILS;
