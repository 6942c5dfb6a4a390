// The version of the C ABI. Apart from the crate's: docs/abi-policy.md says when which number grows.
// build.rs reads this file too.

/// Grows when a program built against an older header could break; the N of libbusy.so.N.
pub const BUSY_ABI_MAJOR: u32 = 1;

/// Grows when functions, fields or codes are added; 0 again with a new major.
pub const BUSY_ABI_MINOR: u32 = 1;
