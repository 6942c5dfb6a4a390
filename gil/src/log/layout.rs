//! The format of a log. All numbers are 64-bit words in the byte order of the machine, which reads the log itself; a word
//! is written and read as a whole.
//!
//! ```text
//! header      HEADER_WORDS words
//! slots       SLOTS x SLOT_WORDS words
//! rings       SLOTS x RING words, each an event; a ring has memory once its slot was used
//! ```
//!
//! An event is `(ticks since the base << 3) | kind`, where the base is a word of the header. Events that found the ring
//! full are counted, and the next event that finds room is preceded by one of kind `Lost` with their number in the place
//! of the time.

use crate::exact::{Event, Total};

/// The first word.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"busy-log");
/// The version of the format. A reader refuses any other.
pub(super) const VERSION: u64 = 5;

/// The number of rows that can exist at one time.
pub(super) const SLOTS: usize = 1024;
/// The number of events in a ring: 256 KiB, which is 0.1 s of 100,000 releases and acquires per second.
pub(super) const RING: usize = 1 << 15;
/// The number of events that a reader finds at most in one ring.
pub const LONGEST_RING: usize = RING;

/// The size of the header, in words.
pub(super) const HEADER_WORDS: usize = 512;
/// The size of a slot, in words: three cache lines, so that no two threads write to the same one.
pub(super) const SLOT_WORDS: usize = 24;
/// The part of the file that is mapped at first, in words: header and slots.
pub(super) const HEAD_WORDS: usize = HEADER_WORDS + SLOTS * SLOT_WORDS;
/// The number of GILs whose holder is in the header.
pub(super) const HOLDERS: usize = 16;
/// The size of a text in the header, in words: the number of its bytes, then the bytes.
pub(super) const TEXT_WORDS: usize = 64;

/// The words of the header.
pub(super) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    /// A [`super::Status`].
    pub(crate) const STATUS: usize = 2;
    pub(crate) const PID: usize = 3;
    pub(crate) const PARENT: usize = 4;
    /// The time at which the log was opened, in nanoseconds since 1970.
    pub(crate) const OPENED: usize = 5;
    /// 1 if ticks are those of the time stamp counter, 0 if they are nanoseconds of CLOCK_MONOTONIC.
    pub(crate) const IS_TSC: usize = 6;
    /// The same moment in ticks and on CLOCK_MONOTONIC.
    pub(crate) const BASE_TICKS: usize = 7;
    pub(crate) const BASE_NS: usize = 8;
    /// The number of slots that were ever used.
    pub(crate) const USED: usize = 9;
    /// The number of rows for which there was no slot.
    pub(crate) const UNLISTED: usize = 10;
    /// The start of the metering in this process, and the end of the process, in ticks; 0 before.
    pub(crate) const BEGAN: usize = 11;
    pub(crate) const ENDED: usize = 12;
    /// 1 once the process has executed another program, which writes it.
    pub(crate) const EXECUTED: usize = 13;
    /// 1 while the reader reads the stack of a holder, which must not go on after a fork meanwhile. The reader writes it.
    pub(crate) const HOLDS_FORKS: usize = 14;
    /// The executable, the text of Py_GetVersion, and the reason why nothing is recorded.
    pub(crate) const EXECUTABLE: usize = 64;
    pub(crate) const PYTHON: usize = EXECUTABLE + super::TEXT_WORDS;
    pub(crate) const REASON: usize = PYTHON + super::TEXT_WORDS;
    /// For each GIL, [`super::holder`]: which thread to blame for the waits of the others.
    pub(crate) const HOLDERS: usize = 384;
}

/// The words about the holder of one GIL.
pub(super) mod holder {
    /// A cache line.
    pub(crate) const WORDS: usize = 8;
    /// Increases at each acquire and release; odd while the GIL is held. A stack that was read while it did not change is
    /// a stack of that hold.
    pub(crate) const SEQUENCE: usize = 0;
    /// The holder's thread id, and the start of its hold in ticks. They are valid while the sequence is odd.
    pub(crate) const TID: usize = 1;
    pub(crate) const SINCE: usize = 2;
    /// The address of the holder's PyThreadState, and the switch interval in microseconds; 0 if unknown, as in 2.7.
    pub(crate) const STATE: usize = 3;
    pub(crate) const INTERVAL: usize = 4;
    /// The sequence in the latest hold in which the holder forked, and how many ticks its forks took.
    pub(crate) const FORKED_IN: usize = 5;
    pub(crate) const FORKED: usize = 6;
}

/// The words of a slot.
pub(super) mod slot {
    pub(crate) const STATE: usize = 0;
    /// The states. The thread makes a free slot its own, and leaves it when it ends; the reader frees it once it has read
    /// the rest.
    pub(crate) const FREE: u64 = 0;
    pub(crate) const CLAIMED: u64 = 1;
    pub(crate) const LIVE: u64 = 2;
    pub(crate) const ENDED: u64 = 3;
    /// The number of the row, which is never used again.
    pub(crate) const ID: usize = 1;
    pub(crate) const TID: usize = 2;
    pub(crate) const GIL: usize = 3;
    /// The native name, of up to 15 bytes (prctl(2), PR_GET_NAME).
    pub(crate) const NAME: usize = 4;
    /// The CPU time of the thread at its end, in nanoseconds, plus 1; 0 if it is unknown.
    pub(crate) const CPU: usize = 6;
    /// The number of events that were written to the ring. It begins the line that most events write.
    pub(crate) const HEAD: usize = 8;
    /// Odd while the totals are written.
    pub(crate) const SEQUENCE: usize = 9;
    /// The totals of the row's account, in ticks, in the order of [`super::Total`].
    pub(crate) const TOTALS: usize = 10;
    pub(crate) const TOTALS_WORDS: usize = super::Total::ALL.len();
    /// The number of lost events, and of those among them that a `Lost` event has counted.
    pub(crate) const LOST: usize = 20;
    pub(crate) const MARKED: usize = 21;
    /// The number of events that were read. The reader writes it.
    pub(crate) const TAIL: usize = 22;
}

/// Returns the word of a slot that has this figure.
#[inline(always)]
pub(super) fn total_at(total: Total) -> usize {
    slot::TOTALS + total as usize
}

/// Whether a process is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its Python does not run code yet.
    Waiting = 1,
    /// It is recorded.
    Recording = 2,
    /// Its GIL can't be metered.
    Refused = 3,
    /// The recording is incomplete, for the reason in the header.
    Stopped = 4,
}

impl Status {
    pub(super) fn of(word: u64) -> Option<Self> {
        [Self::Waiting, Self::Recording, Self::Refused, Self::Stopped].into_iter().find(|one| *one as u64 == word)
    }
}

/// The content of an event in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The thread holds the GIL from now on. It ends the thread's wait, if any.
    Acquired = 1,
    /// The thread has released the GIL voluntarily.
    Released = 2,
    /// The thread has dropped the GIL on request.
    Dropped = 3,
    /// The thread's hold has ended with the GIL itself.
    HoldEnded = 4,
    /// The thread waits for the GIL, or for the hand-over of the GIL that it has dropped.
    WaitBegan = 5,
    /// Another thread has acquired the GIL that this one has dropped; or this one has ended.
    WaitEnded = 6,
    /// Events are missing here.
    Lost = 7,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Acquired, Self::Released, Self::Dropped, Self::HoldEnded, Self::WaitBegan, Self::WaitEnded, Self::Lost];

    /// Returns the kind with that number.
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == number)
    }

    /// Returns true if a hold ends here.
    pub fn ends_hold(self) -> bool {
        matches!(self, Self::Released | Self::Dropped | Self::HoldEnded)
    }

    /// Returns the kind of an event of the meter.
    pub(super) fn of_event(event: Event) -> Self {
        match event {
            Event::Holds | Event::Acquired => Self::Acquired,
            Event::Released => Self::Released,
            Event::Dropped => Self::Dropped,
            Event::HoldEnded => Self::HoldEnded,
            Event::WaitBegan => Self::WaitBegan,
            // A thread may end while it waits, as in an interpreter that ends (`take_gil`, Python/ceval_gil.c).
            Event::WaitEnded | Event::Ended => Self::WaitEnded,
        }
    }
}

/// Returns the word of an event.
#[inline]
pub(super) fn encode(kind: Kind, value: u64) -> u64 {
    value << 3 | kind as u64
}

/// Returns the kind and the value of a word; None if no writer writes such a word.
pub(super) fn decode(word: u64) -> Option<(Kind, u64)> {
    Some((Kind::of(word & 7)?, word >> 3))
}

/// Returns the first word of a slot.
#[inline]
pub(super) fn slot_at(index: usize) -> usize {
    HEADER_WORDS + index * SLOT_WORDS
}

/// Returns the first byte of a ring.
pub(super) fn ring_at(index: usize) -> u64 {
    ((HEAD_WORDS + index * RING) * 8) as u64
}
