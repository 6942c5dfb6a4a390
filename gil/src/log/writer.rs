//! The writer of a log: the sink of the meter of a recorded process.

use super::layout::{
    HEAD_WORDS, HEADER_WORDS, HOLDERS, Kind, MAGIC, RING, SLOT_WORDS, SLOTS, Status, TEXT_WORDS, VERSION, encode,
    header, holder, ring_at, slot, total_at,
};
use super::mapping::{Mapping, inside_hook, thread_name};
use crate::exact::{Event, GILS, Row, Sink, Total, base, clock_is_tsc};
use crate::refusal::Refusal;
use busy_core::cpu::{current_thread, own_thread};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Writes a log for this process, and in a forked child another one.
pub struct Writer {
    /// Header and slots.
    head: Mapping<HEAD_WORDS>,
    /// The base of the ticks.
    base: AtomicU64,
    rings: [Ring; SLOTS],
    /// The folder of the recording and the text of Py_GetVersion.
    about: OnceLock<(PathBuf, String)>,
    /// The file in the folder, which is opened again for each ring: a program may close all its descriptors.
    number: AtomicU64,
    /// True in a forked child until its first event. Most children execute another program, and need no log.
    is_child: AtomicBool,
}

type Head = [AtomicU64; HEAD_WORDS];
type Slot = [AtomicU64; SLOT_WORDS];

/// The ring of a slot.
struct Ring {
    events: Mapping<RING>,
    /// The number of events up to which there is room for certain.
    limit: AtomicU64,
}

/// Returns the slots.
#[inline]
fn slots(head: &Head) -> &[Slot] {
    head[HEADER_WORDS..].as_chunks().0
}

impl Writer {
    /// Returns a writer that writes nothing yet.
    pub const fn new() -> Self {
        Self {
            head: Mapping::new(),
            base: AtomicU64::new(0),
            rings: [const { Ring { events: Mapping::new(), limit: AtomicU64::new(0) } }; SLOTS],
            about: OnceLock::new(),
            number: AtomicU64::new(0),
            is_child: AtomicBool::new(false),
        }
    }

    /// Opens a log in `folder` for this process, whose Python reports `version`.
    ///
    /// # Errors
    /// The folder is gone, since the recording has ended; or the file system is full.
    pub fn open(&self, folder: &Path, version: &str) -> io::Result<()> {
        _ = self.about.set((folder.to_path_buf(), version.to_owned()));
        self.open_file()
    }

    /// Returns true if the log of this process was opened, or will be with its first event.
    pub fn is_open(&self) -> bool {
        self.head.words().is_some() || self.is_child.load(Relaxed)
    }

    /// Leaves the log of the parent, if the program has forked before the meter was started: `forked` was not called then.
    /// The caller is the only thread that uses the log.
    pub fn leave_parents(&self) {
        if self.head.words().is_some() && self.words_of_this_process().is_none() {
            self.forked();
        }
    }

    fn words_of_this_process(&self) -> Option<&Head> {
        self.head.words().filter(|words| words[header::PID].load(Relaxed) == u64::from(std::process::id()))
    }

    fn open_file(&self) -> io::Result<()> {
        let (_, version) = self.about.get().ok_or(io::ErrorKind::NotFound)?;
        let opened = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
        self.number.store(opened, Relaxed);
        self.head.map(&self.file(true)?, 0)?;
        let words = self.head.words().ok_or(io::ErrorKind::NotFound)?;
        let reading = base();
        let ticks = if clock_is_tsc() { reading.ticks } else { reading.ns };
        self.base.store(ticks, Relaxed);
        for (place, value) in [
            (header::VERSION, VERSION),
            (header::STATUS, Status::Waiting as u64),
            (header::PID, u64::from(std::process::id())),
            (header::PARENT, u64::from(std::os::unix::process::parent_id())),
            (header::OPENED, opened),
            (header::IS_TSC, u64::from(clock_is_tsc())),
            (header::BASE_TICKS, ticks),
            (header::BASE_NS, reading.ns),
        ] {
            words[place].store(value, Relaxed);
        }
        let executable = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        write_text(&words[header::EXECUTABLE..], &executable.to_string_lossy());
        write_text(&words[header::PYTHON..], version);
        // Last: a reader waits for it.
        words[header::MAGIC].store(MAGIC, Release);
        Ok(())
    }

    /// Opens the file of the log.
    fn file(&self, is_new: bool) -> io::Result<File> {
        let (folder, _) = self.about.get().ok_or(io::ErrorKind::NotFound)?;
        // A process id is used again, and exec keeps it.
        let path = folder.join(format!("{}-{}.log", std::process::id(), self.number.load(Relaxed)));
        OpenOptions::new().read(true).write(true).create_new(is_new).mode(0o600).open(path)
    }

    /// Records that the meter did not start.
    pub fn refuse(&self, refusal: &Refusal) {
        self.end_with(Status::Refused, &refusal.to_string());
    }

    /// Records that the figures may be incomplete.
    pub fn doubt(&self, reason: &Refusal) {
        if self.words_of_this_process().is_some() {
            self.end_with(Status::Stopped, &reason.to_string());
        }
    }

    fn end_with(&self, status: Status, reason: &str) {
        if let Some(words) = self.head.words() {
            write_text(&words[header::REASON..], reason);
            words[header::STATUS].store(status as u64, Release);
        }
    }

    /// Records the end of the process, with the CPU time of each thread that is left.
    pub fn finish(&self) {
        let Some(words) = self.words_of_this_process() else { return };
        for slot in slots(words).iter().take(words[header::USED].load(Acquire) as usize) {
            if slot[slot::STATE].load(Acquire) == slot::LIVE
                && let Ok(cpu) = own_thread(slot[slot::TID].load(Relaxed) as u32)
            {
                slot[slot::CPU].store(cpu.as_nanos() as u64 + 1, Relaxed);
            }
        }
        words[header::ENDED].store(self.now(), Release);
    }

    fn now(&self) -> u64 {
        crate::exact::ticks().saturating_sub(self.base.load(Relaxed)).max(1)
    }

    /// Returns the log's head, and the slot and the ring of `row`, if it has them.
    #[inline]
    fn place_of(&self, row: Row<'_>) -> Option<(&Head, &Slot, &Ring)> {
        let head = self.head.words()?;
        // Neither 0, before its first event, nor NOWHERE is that of a slot.
        let index = (row.mark().load(Relaxed) as usize).wrapping_sub(1);
        Some((head, slots(head).get(index)?, self.rings.get(index)?))
    }

    /// Writes an event of any kind.
    #[inline(never)]
    fn any_event(&self, row: Row<'_>, event: Event, time: u64) {
        let Some(words) = self.head.words().or_else(|| self.open_in_child(event)) else { return };
        let is_first = row.mark().load(Relaxed) == 0;
        if is_first {
            inside_hook(|| self.claim(words, row));
        }
        let Some((words, slot, ring)) = self.place_of(row) else { return };
        let has_waited = slot[total_at(Total::WaitsSince)].load(Relaxed) != 0;
        write_totals(slot, row, Total::ALL);
        // Unless the last event in the ring leaves a wait open, or is unknown.
        if event == Event::Ended && !has_waited && !Self::has_lost(slot) {
            return Self::ends(slot);
        }
        let kind = Kind::of_event(event);
        if is_first {
            self.begin(words, slot, ring, kind, time);
        }
        ring.push(slot, encode(kind, time));
        write_holder(words, kind, row, time);
        if event == Event::Ended {
            Self::ends(slot);
        }
    }

    /// Gives `row` a slot and a ring. If there is none left, the row is counted.
    #[cold]
    #[inline(never)]
    fn claim(&self, words: &Head, row: Row<'_>) {
        row.mark().store(NOWHERE, Relaxed);
        if words[header::STATUS].load(Relaxed) == Status::Stopped as u64 {
            return;
        }
        let claimed = |(_, slot): &(usize, &Slot)| {
            slot[slot::STATE].compare_exchange(slot::FREE, slot::CLAIMED, AcqRel, Relaxed).is_ok()
        };
        let Some((index, slot)) = slots(words).iter().enumerate().find(claimed) else {
            words[header::UNLISTED].fetch_add(1, Relaxed);
            return;
        };
        let ring = &self.rings[index];
        if ring.events.words().is_none()
            && let Err(error) = self.file(false).and_then(|file| ring.events.map(&file, ring_at(index)))
        {
            slot[slot::STATE].store(slot::FREE, Release);
            if [libc::EMFILE, libc::ENFILE].map(Some).contains(&error.raw_os_error()) {
                // The program may close files again, and its later threads are recorded.
                words[header::UNLISTED].fetch_add(1, Relaxed);
                return;
            }
            let what = match error.kind() {
                io::ErrorKind::PermissionDenied => "this process has lost the right to its log, so there is no place",
                io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory | io::ErrorKind::FileTooLarge => "no memory",
                _ => "can't open the log",
            };
            self.end_with(Status::Stopped, &format!("{what} for the events of thread {}: {error}", row.tid()));
            return;
        }
        ring.limit.store(0, Relaxed);
        slot[slot::ID..].iter().for_each(|word| word.store(0, Relaxed));
        for (place, value) in [(slot::ID, row.id()), (slot::TID, u64::from(row.tid())), (slot::GIL, row.gil() as u64)] {
            slot[place].store(value, Relaxed);
        }
        name(slot);
        slot[slot::STATE].store(slot::LIVE, Release);
        words[header::USED].fetch_max(index as u64 + 1, AcqRel);
        row.mark().store(index as u32 + 1, Relaxed);
    }

    /// Returns true if the ring has events that it could not take.
    fn has_lost(slot: &Slot) -> bool {
        slot[slot::LOST].load(Relaxed) != slot[slot::MARKED].load(Relaxed)
    }

    /// Ends the row in the slot.
    #[cold]
    fn ends(slot: &Slot) {
        inside_hook(|| {
            name(slot);
            slot[slot::CPU].store(current_thread().as_nanos() as u64 + 1, Relaxed);
        });
        slot[slot::STATE].store(slot::ENDED, Release);
    }

    /// Begins with the first event of a row. If it ends a hold whose start was not reported, that start comes first.
    #[cold]
    fn begin(&self, words: &Head, slot: &Slot, ring: &Ring, kind: Kind, time: u64) {
        let mut start = time;
        if kind.ends_hold() {
            start = time.saturating_sub(slot[total_at(Total::Held)].load(Relaxed));
            ring.push(slot, encode(Kind::Acquired, start));
        }
        if words[header::STATUS].load(Relaxed) == Status::Waiting as u64 {
            words[header::BEGAN].store(start.max(1), Relaxed);
            words[header::STATUS].store(Status::Recording as u64, Release);
        }
    }

    /// Opens the log of a forked child at its first event.
    #[cold]
    #[inline(never)]
    fn open_in_child(&self, event: Event) -> Option<&Head> {
        // The forking thread's hold goes on. Its start is written with its end.
        if !self.is_child.load(Relaxed) || event == Event::Holds {
            return None;
        }
        inside_hook(|| {
            self.is_child.store(false, Relaxed);
            // If this fails, the recording has ended, or the file system is full: then the child is not recorded.
            _ = self.open_file();
        });
        self.head.words()
    }
}

/// The mark of a row without a slot.
const NOWHERE: u32 = u32::MAX;

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writer").field("about", &self.about).finish_non_exhaustive()
    }
}

impl Sink for Writer {
    fn event(&self, row: Row<'_>, event: Event, ticks: u64) {
        // The base is that of the process, which a forked child inherits.
        let time = ticks.saturating_sub(self.base.load(Relaxed));
        // Nearly all events are these two. The figures that they don't write are as the row's last event has left them.
        if let Some((head, slot, ring)) = self.place_of(row) {
            match event {
                Event::Acquired if slot[total_at(Total::WaitsSince)].load(Relaxed) == 0 => {
                    write_totals(slot, row, [Total::HoldsSince, Total::Acquisitions]);
                    ring.push(slot, encode(Kind::Acquired, time));
                    return write_holder(head, Kind::Acquired, row, time);
                }
                Event::Released => {
                    let changed = [Total::HoldsSince, Total::Held, Total::VoluntaryReleases, Total::LongestHold];
                    write_totals(slot, row, changed);
                    ring.push(slot, encode(Kind::Released, time));
                    return write_holder(head, Kind::Released, row, time);
                }
                _ => {}
            }
        }
        self.any_event(row, event, time);
    }

    fn has_forked(&self, gil: usize, ticks: u64) {
        let Some(head) = self.head.words() else { return };
        let Some(words) = holder_in(head, gil) else { return };
        let sequence = words[holder::SEQUENCE].load(Relaxed);
        let is_first = words[holder::FORKED_IN].swap(0, AcqRel) != sequence;
        let before = if is_first { 0 } else { words[holder::FORKED].load(Relaxed) };
        words[holder::FORKED].store(before + ticks, Relaxed);
        words[holder::FORKED_IN].store(sequence, Release);
        inside_hook(|| wait_for_reader(&head[header::HOLDS_FORKS]));
    }

    fn forked(&self) {
        // SAFETY: nobody else uses the log. The child's only thread is inside fork(2), or its Python has not started, so
        // its rows have no slots yet.
        #[allow(unsafe_code, reason = "the parent's log is not the child's")]
        unsafe {
            self.head.unmap();
            self.rings.iter().for_each(|ring| ring.events.unmap());
        }
        self.is_child.store(true, Relaxed);
    }
}

impl Ring {
    /// Appends an event, or counts it as lost if the reader is that far behind.
    #[inline]
    fn push(&self, slot: &Slot, event: u64) {
        let head = slot[slot::HEAD].load(Relaxed);
        if head >= self.limit.load(Relaxed) {
            return self.push_at_limit(slot, event);
        }
        self.put(slot, head, event);
    }

    /// Appends an event where the reader has made room meanwhile, if it has.
    #[cold]
    #[inline(never)]
    fn push_at_limit(&self, slot: &Slot, event: u64) {
        let mut head = slot[slot::HEAD].load(Relaxed);
        let limit = slot[slot::TAIL].load(Acquire).saturating_add(RING as u64);
        let lost = slot[slot::LOST].load(Relaxed);
        let unmarked = lost.wrapping_sub(slot[slot::MARKED].load(Relaxed));
        if head.saturating_add(u64::from(unmarked > 0)) >= limit {
            // The next event comes here, too.
            return slot[slot::LOST].store(lost + 1, Relaxed);
        }
        if unmarked > 0
            && let Some(events) = self.events.words()
        {
            events[head as usize % RING].store(encode(Kind::Lost, unmarked), Relaxed);
            slot[slot::MARKED].store(lost, Relaxed);
            // Published with the event that follows.
            head += 1;
        }
        self.limit.store(limit, Relaxed);
        self.put(slot, head, event);
    }

    /// Writes the event with that number.
    #[inline]
    fn put(&self, slot: &Slot, number: u64, event: u64) {
        if let Some(events) = self.events.words() {
            events[number as usize % RING].store(event, Relaxed);
            slot[slot::HEAD].store(number + 1, Release);
        }
    }
}

/// Returns the words about the holder of the GIL with that index, if there is room for it.
#[inline]
fn holder_in(head: &Head, gil: usize) -> Option<&[AtomicU64; holder::WORDS]> {
    head[header::HOLDERS..].as_chunks().0[..HOLDERS].get(gil)
}

/// Waits until the reader has read the stack of this thread, if it does so now.
fn wait_for_reader(holds_forks: &AtomicU64) {
    const STEP: Duration = Duration::from_micros(20);
    const MOST: Duration = Duration::from_millis(2);
    if holds_forks.load(Acquire) == 0 {
        return;
    }
    let began = Instant::now();
    while holds_forks.load(Acquire) != 0 {
        if began.elapsed() > MOST {
            // The recorder may have been killed.
            return holds_forks.store(0, Relaxed);
        }
        sleep(STEP);
    }
}

/// Writes those of the row's figures.
#[inline(always)]
fn write_totals<const N: usize>(slot: &Slot, row: Row<'_>, changed: [Total; N]) {
    let sequence = slot[slot::SEQUENCE].load(Relaxed) | 1;
    slot[slot::SEQUENCE].store(sequence, Relaxed);
    fence(Release);
    changed.iter().for_each(|total| slot[total_at(*total)].store(row.total(*total), Relaxed));
    slot[slot::SEQUENCE].store(sequence.wrapping_add(1), Release);
}

/// Writes what the event changes for the holder of the GIL.
#[inline(always)]
fn write_holder(head: &Head, kind: Kind, row: Row<'_>, time: u64) {
    let Some(words) = holder_in(head, row.gil()) else { return };
    let sequence = words[holder::SEQUENCE].load(Relaxed);
    if kind == Kind::Acquired {
        words[holder::TID].store(u64::from(row.tid()), Relaxed);
        words[holder::SINCE].store(time, Relaxed);
        let [interval, state] = GILS.holder_words(row.gil_id());
        words[holder::STATE].store(state, Relaxed);
        words[holder::INTERVAL].store(interval, Relaxed);
        words[holder::SEQUENCE].store(sequence.wrapping_add(1) | 1, Release);
    } else if kind.ends_hold() {
        words[holder::SEQUENCE].store(sequence.wrapping_add(1) & !1, Release);
    }
}

fn name(slot: &Slot) {
    slot[slot::NAME..].iter().zip(thread_name()).for_each(|(place, word)| place.store(word, Relaxed));
}

/// Writes a text, cut to its room.
fn write_text(words: &[AtomicU64], text: &str) {
    let bytes = &text.as_bytes()[..text.floor_char_boundary((TEXT_WORDS - 1) * 8)];
    words[0].store(bytes.len() as u64, Relaxed);
    for (place, chunk) in words[1..TEXT_WORDS].iter().zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        place.store(u64::from_le_bytes(word), Relaxed);
    }
}
