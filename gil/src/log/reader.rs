//! The reader of a log: the recorder's side. It trusts nothing in the file, which a damaged process may have written.

use super::layout::{
    HEAD_WORDS, HEADER_WORDS, HOLDERS, Kind, MAGIC, RING, SLOT_WORDS, SLOTS, Status, TEXT_WORDS, VERSION, decode,
    header, holder, ring_at, slot, slot_at, total_at,
};
use super::scale::Scale;
use super::totals::{Copies, Totals, totals};
use crate::exact::{Rate, Reading, Total, reading};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The reason why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// The file can't be opened, read or written.
    #[error("can't read the log {0}: {1}; was the folder of the recording removed?")]
    Unreadable(PathBuf, io::Error),
    /// A word has a value that no writer writes.
    #[error(
        "the log {path} is damaged: expected {expected}, found {found}; the process has overwritten its memory, or another release of busy wrote the log"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What a writer writes.
        expected: &'static str,
        /// What stands there.
        found: u64,
    },
}

impl Damaged {
    /// Returns true if the log may be in order, but this process has no descriptor left to open it.
    pub fn is_without_descriptor(&self) -> bool {
        let Self::Unreadable(_, error) = self else { return false };
        [libc::EMFILE, libc::ENFILE].map(Some).contains(&error.raw_os_error())
    }
}

/// Reads the log of one process, and empties its rings.
#[derive(Debug)]
pub struct Reader {
    file: File,
    path: PathBuf,
    base: Reading,
    rate: Rate,
    is_tsc: bool,
    /// For each slot, the row that was read last, and the number of its events that were read.
    read: Vec<(u64, u64)>,
}

/// The content of the header. Times are in nanoseconds on CLOCK_MONOTONIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whether the process is recorded.
    pub status: Status,
    /// The process id.
    pub pid: u32,
    /// The process id of its parent.
    pub parent: u32,
    /// The time at which the log was opened, since 1970.
    pub opened_ns: u64,
    /// The executable.
    pub executable: String,
    /// The text of Py_GetVersion.
    pub python: String,
    /// The reason why the process is not recorded, or no longer; empty if there is none.
    pub reason: String,
    /// The number of threads for which the log had no room.
    pub unlisted: u64,
    /// The start of the metering, and the end of the process.
    pub began_ns: Option<u64>,
    /// The end of the process, if it came to its end by itself.
    pub ended_ns: Option<u64>,
    /// True if the process has executed another program.
    pub executed: bool,
}

/// The thread that holds a GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The number of acquires and releases so far. As long as it stays the same, so does the hold.
    pub sequence: u64,
    /// The native thread id.
    pub tid: u32,
    /// The start of the hold.
    pub since_ns: u64,
    /// The address of its PyThreadState. None in 2.7.
    pub state: Option<u64>,
    /// The switch interval. None in 2.7.
    pub interval_ns: Option<u64>,
}

/// Lets threads come out of fork(2) when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct HeldForks<'a>(&'a Reader);

impl Drop for HeldForks<'_> {
    fn drop(&mut self) {
        _ = self.0.write(header::HOLDS_FORKS, 0);
    }
}

/// A thread that waits for a GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// The number of its row.
    pub row: u64,
    /// The index of the GIL.
    pub gil: u32,
    /// The start of the wait.
    pub since_ns: u64,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What happened.
    pub kind: Kind,
    /// The time on CLOCK_MONOTONIC; the number of missing events if the kind is [`Kind::Lost`].
    pub at: u64,
}

/// A thread with a GIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The number of the row, which is never used again in this process.
    pub id: u64,
    /// The native thread id.
    pub tid: u32,
    /// The index of the GIL.
    pub gil: u32,
    /// The native name.
    pub name: String,
}

/// What has happened in one thread since the last reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The thread.
    pub thread: Thread,
    /// Its figures.
    pub totals: Totals,
    /// Its events, in order.
    pub events: Vec<Mark>,
    /// True if the thread has ended, and this is its last batch.
    pub is_last: bool,
}

impl Reader {
    /// Opens the log at `path`. Returns None if the process has not finished its beginning yet, or was killed before.
    ///
    /// # Errors
    /// It is no log of this version, or can't be read.
    pub fn open(path: &Path) -> Result<Option<Self>, Damaged> {
        let unreadable = |error| Damaged::Unreadable(path.to_path_buf(), error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(unreadable)?;
        let mut reader = Self {
            file,
            path: path.to_path_buf(),
            base: Reading { ticks: 0, ns: 0 },
            rate: Rate::new(),
            is_tsc: false,
            read: Vec::new(),
        };
        if reader.file.metadata().map_err(unreadable)?.len() < (HEAD_WORDS * 8) as u64 {
            return Ok(None);
        }
        let words = reader.words::<HEADER_WORDS>(0)?;
        match words[header::MAGIC] {
            MAGIC => {}
            0 => return Ok(None),
            found => return Err(reader.damaged("the mark of a log in the first word", found)),
        }
        if words[header::VERSION] != VERSION {
            return Err(reader.damaged("version 5", words[header::VERSION]));
        }
        reader.is_tsc = words[header::IS_TSC] == 1;
        reader.base = Reading { ticks: words[header::BASE_TICKS], ns: words[header::BASE_NS] };
        reader.rate = Rate::since(reader.base);
        reader.read = vec![(0, 0); SLOTS];
        Ok(Some(reader))
    }

    /// Returns the present content of the header.
    ///
    /// # Errors
    /// The log is damaged.
    pub fn header(&self) -> Result<Header, Damaged> {
        let words = self.words::<HEADER_WORDS>(0)?;
        let scale = self.scale();
        let status = Status::of(words[header::STATUS]);
        let number =
            |place: usize, expected| u32::try_from(words[place]).map_err(|_| self.damaged(expected, words[place]));
        let time = |ticks: u64| (ticks != 0).then(|| scale.time(ticks));
        Ok(Header {
            status: status.ok_or_else(|| self.damaged("a status from 1 to 4", words[header::STATUS]))?,
            pid: number(header::PID, "a process id")?,
            parent: number(header::PARENT, "a process id")?,
            opened_ns: words[header::OPENED],
            executable: text(&words[header::EXECUTABLE..]),
            python: text(&words[header::PYTHON..]),
            reason: text(&words[header::REASON..]),
            unlisted: words[header::UNLISTED],
            began_ns: time(words[header::BEGAN]),
            ended_ns: time(words[header::ENDED]),
            executed: words[header::EXECUTED] != 0,
        })
    }

    /// Returns the indices of the GILs that are held now.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn held(&self) -> Result<impl Iterator<Item = usize> + use<>, Damaged> {
        let words = self.words::<{ HOLDERS * holder::WORDS }>(header::HOLDERS)?;
        Ok((0..HOLDERS).filter(move |gil| words[gil * holder::WORDS + holder::SEQUENCE] % 2 == 1))
    }

    /// Returns the thread that holds the GIL with that index now, if any does.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn holder(&self, gil: usize) -> Result<Option<Holder>, Damaged> {
        if gil >= HOLDERS {
            return Ok(None);
        }
        let place = header::HOLDERS + gil * holder::WORDS;
        let [before] = self.words::<1>(place + holder::SEQUENCE)?;
        let words = self.words::<{ holder::WORDS }>(place)?;
        let [sequence] = self.words::<1>(place + holder::SEQUENCE)?;
        let is_held = before == sequence && sequence % 2 == 1;
        Ok(is_held.then(|| Holder {
            sequence,
            tid: words[holder::TID] as u32,
            since_ns: self.scale().time(words[holder::SINCE]),
            state: Some(words[holder::STATE]).filter(|state| *state != 0),
            interval_ns: Some(words[holder::INTERVAL]).filter(|us| *us != 0).map(|us| us.saturating_mul(1000)),
        }))
    }

    /// Returns true if the thread of `hold` may have held the GIL with that index again since.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn may_have_held_again(&self, gil: usize, hold: Holder) -> Result<bool, Damaged> {
        if gil >= HOLDERS {
            return Ok(true);
        }
        let place = header::HOLDERS + gil * holder::WORDS;
        let words = self.words::<{ holder::WORDS }>(place)?;
        let [sequence] = self.words::<1>(place + holder::SEQUENCE)?;
        Ok(match sequence.wrapping_sub(hold.sequence) {
            0 | 1 => false,
            // One other hold since.
            2 | 3 => words[holder::TID] as u32 == hold.tid,
            _ => true,
        })
    }

    /// Returns how long the forks in that hold of the GIL with that index took, if no later holder has forked.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn forked_in(&self, gil: usize, hold: Holder) -> Result<u64, Damaged> {
        if gil >= HOLDERS {
            return Ok(0);
        }
        let words = self.words::<{ holder::WORDS }>(header::HOLDERS + gil * holder::WORDS)?;
        let is_its = words[holder::FORKED_IN] == hold.sequence;
        Ok(if is_its { self.scale().ns(words[holder::FORKED]) } else { 0 })
    }

    /// Makes a thread that comes out of fork(2) wait until the value is dropped, for up to 2 ms. A fork keeps others from
    /// reading the memory of the process (dup_mmap in kernel/fork.c has the write lock of mmap), so a stack that is wanted
    /// during a fork can only be read after it, and the thread would be elsewhere by then.
    pub fn hold_forks(&self) -> HeldForks<'_> {
        // Without it, the stack may be missing.
        _ = self.write(header::HOLDS_FORKS, 1);
        HeldForks(self)
    }

    /// Returns the threads that wait now.
    ///
    /// # Errors
    /// The log is damaged, or can't be read.
    pub fn waiters(&self) -> Result<Vec<Waiter>, Damaged> {
        let slots = self.slots()?;
        let scale = self.scale();
        let waiter = |bytes: &[u8]| {
            let at = |place: usize| word(&bytes[place * 8..place * 8 + 8]);
            let since_ns = scale.since(at(total_at(Total::WaitsSince))).filter(|_| at(slot::STATE) == slot::LIVE)?;
            Some(Waiter { row: at(slot::ID), gil: at(slot::GIL) as u32, since_ns })
        };
        Ok(slots.chunks_exact(SLOT_WORDS * 8).filter_map(waiter).collect())
    }

    /// Returns the bytes of the slots that were ever used.
    fn slots(&self) -> Result<Vec<u8>, Damaged> {
        let [used] = self.words::<1>(header::USED)?;
        let Some(used) = usize::try_from(used).ok().filter(|used| *used <= SLOTS) else {
            return Err(self.damaged("at most 1024 slots", used));
        };
        let mut bytes = vec![0; used * SLOT_WORDS * 8];
        self.bytes(slot_at(0) as u64 * 8, &mut bytes)?;
        Ok(bytes)
    }

    /// Returns what has happened since the last call, thread by thread, and makes room in the rings. Threads without an
    /// event since then are left out, unless `all` are wanted.
    ///
    /// # Errors
    /// The log is damaged, or can't be read. What was read before is lost for the next call.
    pub fn drain(&mut self, all: bool) -> Result<Vec<Batch>, Damaged> {
        let (slots, scale) = (self.slots()?, self.scale());
        // One after the other.
        let copies = if all { Some(Copies { totals: self.slots()?, after: self.slots()? }) } else { None };
        let mut batches = Vec::new();
        for (index, bytes) in slots.chunks_exact(SLOT_WORDS * 8).enumerate() {
            let words: Vec<u64> = bytes.chunks(8).map(word).collect();
            batches.extend(self.drain_slot(index, &words, scale, copies.as_ref())?);
        }
        Ok(batches)
    }

    fn drain_slot(
        &mut self,
        index: usize,
        words: &[u64],
        scale: Scale,
        copies: Option<&Copies>,
    ) -> Result<Option<Batch>, Damaged> {
        let state = words[slot::STATE];
        match state {
            slot::FREE | slot::CLAIMED => return Ok(None),
            slot::LIVE | slot::ENDED => {}
            found => return Err(self.damaged("the state of a slot, from 0 to 3", found)),
        }
        let (id, tail) = self.read[index];
        let is_new = id != words[slot::ID];
        let tail = if is_new { 0 } else { tail };
        let head = words[slot::HEAD];
        if head == tail && !is_new && copies.is_none() && state == slot::LIVE {
            return Ok(None);
        }
        if head.checked_sub(tail).is_none_or(|length| length > RING as u64) {
            return Err(self.damaged("at most one ring of events", head));
        }
        let mut events = Vec::with_capacity((head - tail) as usize);
        let start = (tail % RING as u64) as usize;
        let first = ((head - tail) as usize).min(RING - start);
        for (start, length) in [(start, first), (0, (head - tail) as usize - first)] {
            let mut bytes = vec![0; length * 8];
            self.bytes(ring_at(index) + start as u64 * 8, &mut bytes)?;
            for event in bytes.chunks(8).map(word) {
                let (kind, value) = decode(event).ok_or_else(|| self.damaged("the kind of an event", event))?;
                events.push(Mark { kind, at: if kind == Kind::Lost { value } else { scale.time(value) } });
            }
        }
        let found = match copies.and_then(|copies| copies.of(index, words)) {
            Some(found) => found,
            None => self.totals(index)?,
        };
        let totals = totals(found, words, scale);
        if head != tail || is_new {
            self.read[index] = (words[slot::ID], head);
            self.write(slot_at(index) + slot::TAIL, head)?;
        }
        let is_last = state == slot::ENDED;
        if is_last {
            self.write(slot_at(index) + slot::STATE, slot::FREE)?;
        }
        let thread = Thread {
            id: words[slot::ID],
            tid: words[slot::TID] as u32,
            gil: words[slot::GIL] as u32,
            name: name(&words[slot::NAME..slot::NAME + 2]),
        };
        Ok(Some(Batch { thread, totals, events, is_last }))
    }

    /// Returns the words of a slot's totals at one moment. A process that was killed during an event may have left those of half
    /// of it.
    fn totals(&self, index: usize) -> Result<[u64; slot::TOTALS_WORDS], Damaged> {
        const TRIES: usize = 5;
        let mut found = [0; slot::TOTALS_WORDS];
        for _ in 0..TRIES {
            let [before] = self.words::<1>(slot_at(index) + slot::SEQUENCE)?;
            found = self.words::<{ slot::TOTALS_WORDS }>(slot_at(index) + slot::TOTALS)?;
            let [after] = self.words::<1>(slot_at(index) + slot::SEQUENCE)?;
            if before == after && before % 2 == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the scale, averaged from the base to now.
    fn scale(&self) -> Scale {
        let now = reading();
        let base = self.base;
        if self.is_tsc {
            // Until the rate is known, its average since the process began.
            let average = || now.ns.saturating_sub(base.ns) as f64 / now.ticks.saturating_sub(base.ticks).max(1) as f64;
            Scale { base_ticks: base.ticks, now, ns_per_tick: self.rate.ns_per_tick(now).unwrap_or_else(average) }
        } else {
            Scale { base_ticks: base.ticks, now: Reading { ticks: now.ns, ns: now.ns }, ns_per_tick: 1.0 }
        }
    }

    fn words<const N: usize>(&self, place: usize) -> Result<[u64; N], Damaged> {
        let mut bytes = vec![0; N * 8];
        self.bytes(place as u64 * 8, &mut bytes)?;
        Ok(std::array::from_fn(|index| word(&bytes[index * 8..index * 8 + 8])))
    }

    fn bytes(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Damaged> {
        self.file.read_exact_at(bytes, offset).map_err(|error| Damaged::Unreadable(self.path.clone(), error))
    }

    fn write(&self, place: usize, word: u64) -> Result<(), Damaged> {
        let written = self.file.write_all_at(&word.to_le_bytes(), place as u64 * 8);
        written.map_err(|error| Damaged::Unreadable(self.path.clone(), error))
    }

    fn damaged(&self, expected: &'static str, found: u64) -> Damaged {
        Damaged::Content { path: self.path.clone(), expected, found }
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn name(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(words: &[u64]) -> String {
    let length = usize::try_from(words[0]).unwrap_or(usize::MAX).min((TEXT_WORDS - 1) * 8);
    let bytes: Vec<u8> = words[1..TEXT_WORDS].iter().flat_map(|word| word.to_le_bytes()).take(length).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
