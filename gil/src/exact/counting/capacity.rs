//! How many accounts, GILs and windows share one piece of memory, and how many of each there can be.

pub(super) use crate::snapshot::BUCKETS;

/// The maximum number of GILs at a time.
pub(super) const GILS: usize = 1024;
/// The number of accounts in a block. Blocks are added as they are needed.
pub(super) const ACCOUNTS: usize = 1024;
/// The maximum number of blocks. So there are as many accounts as Linux has thread ids (PID_MAX_LIMIT, proc(5)).
pub(super) const BLOCKS: usize = 4096;
/// The maximum number of ended threads that keep an account of their own while windows are open.
pub(super) const RETIRED: usize = 1024;
