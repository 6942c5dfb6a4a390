//! The calls of busy_gil.h, and their arguments.

use crate::common::options::Shape;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Result, Unstructured};

/// Returns true seven times out of eight. Calls with several wrong arguments show no more than calls with one.
pub fn mostly(input: &mut Unstructured) -> Result<bool> {
    input.ratio(7, 8)
}

pub fn rarely(input: &mut Unstructured) -> Result<bool> {
    input.ratio(1, 8)
}

/// Returns mostly the struct of this version, sometimes one of a newer version, or any other one, or None for NULL.
fn mostly_right(input: &mut Unstructured) -> Result<Option<Shape>> {
    if mostly(input)? {
        Ok(Some(Shape::RIGHT))
    } else if input.arbitrary()? {
        Ok(Some(Shape::newer(input.arbitrary()?)))
    } else {
        input.arbitrary()
    }
}

/// Returns mostly the index 0.
fn mostly_first(input: &mut Unstructured) -> Result<GilIndex> {
    if mostly(input)? { Ok(GilIndex::First) } else { input.arbitrary() }
}

/// Returns mostly the shortest threshold.
fn mostly_shortest(input: &mut Unstructured) -> Result<Threshold> {
    if mostly(input)? { Ok(Threshold::NearLimit(0)) } else { input.arbitrary() }
}

/// One step of a thread.
#[derive(Debug, Arbitrary)]
pub enum Step {
    /// Acquires the GIL of the main interpreter, or that of the other one.
    Acquire {
        other: bool,
    },
    Release,
    AllowThreads,
    RunCode,
    /// Holds the GIL for this many microseconds, or waits for so long without it.
    Spin(u8),
    /// Does so for longer than a millisecond, the shortest threshold of a stall. Only the first one of a thread counts.
    SpinForAStall,
    Start,
    Stop,
    Keep,
    OpenWindow {
        #[arbitrary(with = mostly)]
        has_place: bool,
    },
    CloseWindow(WindowNumber),
    Snapshot(SnapshotArguments),
    OwnThread {
        #[arbitrary(with = mostly)]
        has_place: bool,
    },
    Histograms(StructArguments),
    Counters(StructArguments),
    Reason {
        #[arbitrary(with = mostly)]
        has_text: bool,
        capacity: Capacity,
    },
    OpenStalls {
        #[arbitrary(with = mostly_shortest)]
        threshold: Threshold,
        #[arbitrary(with = mostly)]
        has_place: bool,
    },
    NextStall(NextArguments),
    StopStalls(#[arbitrary(with = StallsChoice::mostly_shared)] StallsChoice),
    /// Closes an object of this thread.
    CloseStalls(#[arbitrary(with = StallsChoice::mostly_shared)] StallsChoice),
}

/// The index of a GIL.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum GilIndex {
    First,
    Second,
    Any(u32),
}

impl GilIndex {
    pub fn value(self) -> u32 {
        match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Any(index) => index,
        }
    }
}

/// The steps of a thread. Most of them need the first ones, so that these are there more often than by chance.
#[derive(Debug, Arbitrary)]
pub struct Sequence<const STEPS: usize> {
    #[arbitrary(with = mostly)]
    acquires: bool,
    /// Whether that is the GIL of the main interpreter.
    #[arbitrary(with = mostly)]
    is_main: bool,
    #[arbitrary(with = mostly)]
    starts: bool,
    keeps: bool,
    opens_window: bool,
    opens_stalls: bool,
    steps: [Option<Step>; STEPS],
}

impl<const STEPS: usize> Sequence<STEPS> {
    /// Returns all steps in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        const OPEN_STALLS: Step = Step::OpenStalls { threshold: Threshold::NearLimit(0), has_place: true };
        let acquire = if self.is_main { &Step::Acquire { other: false } } else { &Step::Acquire { other: true } };
        let first = [
            (self.acquires, acquire),
            (self.starts, &Step::Start),
            (self.keeps, &Step::Keep),
            (self.opens_window, &Step::OpenWindow { has_place: true }),
            (self.opens_stalls, &OPEN_STALLS),
        ];
        first.into_iter().filter(|(is_taken, _)| *is_taken).map(|(_, step)| step).chain(self.steps.iter().flatten())
    }
}

/// The number of a window.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum WindowNumber {
    /// One that this thread has opened, or the session if there is none.
    Open(u8),
    Session,
    /// One that this thread has closed, or that the end of a session has closed.
    Closed(u8),
    Any(u32),
}

impl WindowNumber {
    /// Returns mostly an open window.
    fn mostly_open(input: &mut Unstructured) -> Result<Self> {
        Ok(if input.arbitrary()? { Self::Open(input.arbitrary()?) } else { input.arbitrary()? })
    }
}

/// The length of an array, relative to what the call has to write.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Capacity {
    None,
    Exact,
    OneLess,
    Small(u8),
    More(u8),
}

impl Capacity {
    /// Returns the capacity, if the call has to write `needed` values.
    pub fn value(self, needed: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Exact => needed,
            Self::OneLess => needed.saturating_sub(1),
            Self::Small(capacity) => (capacity % 4).into(),
            Self::More(more) => needed + usize::from(more),
        }
    }
}

/// The threshold of a stall, in nanoseconds.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Threshold {
    NearLimit(i8),
    Any(u64),
}

impl Threshold {
    pub fn value(self) -> u64 {
        match self {
            Self::NearLimit(distance) => 1_000_000_u64.wrapping_add_signed(distance.into()),
            Self::Any(threshold) => threshold,
        }
    }
}

/// Which object of busy_gil_stalls_open().
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum StallsChoice {
    Null,
    /// One that this thread has opened; if there is none, one that all threads use.
    Own(u8),
    /// One that all threads use; if there is none, one that this thread has opened.
    Shared(u8),
    /// The one that is never closed.
    Lasting,
}

impl StallsChoice {
    pub fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns mostly one of the objects that are closed.
    fn mostly_shared(input: &mut Unstructured) -> Result<Self> {
        Ok(if mostly(input)? { Self::Shared(input.arbitrary()?) } else { input.arbitrary()? })
    }

    /// Returns mostly the object that is never closed.
    fn mostly_lasting(input: &mut Unstructured) -> Result<Self> {
        Ok(if mostly(input)? { Self::Lasting } else { input.arbitrary()? })
    }
}

/// The arguments of a function that takes one struct. None stands for NULL.
#[derive(Debug, Arbitrary)]
pub struct StructArguments {
    #[arbitrary(with = mostly_right)]
    pub shape: Option<Shape>,
    #[arbitrary(with = mostly_first)]
    pub gil: GilIndex,
    #[arbitrary(with = WindowNumber::mostly_open)]
    pub window: WindowNumber,
}

#[derive(Debug, Arbitrary)]
pub struct SnapshotArguments {
    pub totals: StructArguments,
    #[arbitrary(with = mostly)]
    pub has_threads: bool,
    pub capacity: Capacity,
    #[arbitrary(with = mostly)]
    pub has_needed: bool,
}

#[derive(Debug, Arbitrary)]
pub struct NextArguments {
    #[arbitrary(with = StallsChoice::mostly_lasting)]
    pub stalls: StallsChoice,
    #[arbitrary(with = mostly_right)]
    pub shape: Option<Shape>,
    /// In microseconds.
    pub timeout: u8,
    #[arbitrary(with = mostly)]
    pub has_text: bool,
    pub capacity: Capacity,
}
