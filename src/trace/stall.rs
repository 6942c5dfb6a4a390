//! A stall.

use super::cause::Cause;

/// A wait longer than the threshold, and the hold or holds that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The process, by its number.
    pub process: u32,
    /// The start of the hold; with several holds, of the first wait.
    pub at_ns: u64,
    /// The end of the hold; with several holds, of the last wait.
    pub end_ns: u64,
    /// The length of the hold; with several holds, how long the holder held the GIL meanwhile.
    pub held_ns: u64,
    /// The row of the holder; with several holds, of the one that held the GIL longest.
    pub holder: u64,
    /// The rows that waited, each once.
    pub waiters: Vec<u64>,
    /// How long they waited meanwhile, in all.
    pub lost_ns: u64,
    /// The stack of the holder that was found most often, by its number; None if none was read.
    pub stack: Option<u32>,
    /// The cause, if it is certain.
    pub cause: Option<Cause>,
}
