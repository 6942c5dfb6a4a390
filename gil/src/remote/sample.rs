//! The holder of the GIL at one moment.

/// The holder of the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// No thread holds it.
    None,
    /// The thread with this id, as gettid(2) returns it.
    Thread(u32),
    /// A thread that could not be identified: it was acquiring or releasing the GIL at that moment, or has ended.
    Unknown,
}

impl Holder {
    /// Returns true if a thread holds it.
    pub fn is_held(self) -> bool {
        self != Self::None
    }
}

/// One sample of the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The time of the sample, in nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The holder at that time.
    pub holder: Holder,
}
