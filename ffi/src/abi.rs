// The version of the C ABI. It is independent of the crate version: docs/abi-policy.md defines when each number grows.
// build.rs reads this file too.

/// The major version of the ABI. It grows when a change could break a program that was built against an older header.
/// It is the N of the soname libbusy.so.N.
pub const BUSY_ABI_MAJOR: u32 = 1;

/// The minor version of the ABI. It grows when a function, a field of a struct with a `size`, a status or another
/// constant is added, and returns to 0 when BUSY_ABI_MAJOR grows.
pub const BUSY_ABI_MINOR: u32 = 1;
