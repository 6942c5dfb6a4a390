//! The file of a recording, which stays below a limit: once it is longer, another thread writes a shorter one beside it, in
//! which old events are merged (`trace::shorten`). That one gets what was appended meanwhile, and takes the place of the first.

use crate::results::NewFile;
use crate::trace::{Block, Blocks, HEAD, Plan, ProcessRecord, Recording, Stall, shorten};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The length from which on the file is shortened, in bytes.
const LIMIT: u64 = 64 << 20;
/// The newest blocks, of so many bytes, stay as they are.
const KEPT: u64 = LIMIT / 2;
/// The length of the merged parts at first, and at most. It doubles if the merged part has more than a quarter of the limit.
const STEP_NS: u64 = 1_000_000_000;
const LONGEST_STEP_NS: u64 = STEP_NS << 12;

/// The file of a recording.
pub struct BoundedFile {
    file: File,
    path: PathBuf,
    length: u64,
    /// False if the file can't be shortened.
    is_bounded: bool,
    /// The length from which on it is shortened next: later, if the last time did not help much.
    next: u64,
    /// The time at some lengths of the file, in order.
    marks: VecDeque<(u64, u64)>,
    /// Where the events of each GIL are merged so far.
    cuts: BTreeMap<(u32, u32), u64>,
    step_ns: u64,
    shortening: Option<Shortening>,
}

/// A shorter file that is being written.
struct Shortening {
    /// The part of the file that it contains.
    length: u64,
    cuts: BTreeMap<(u32, u32), u64>,
    is_cancelled: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<NewFile>>,
}

impl BoundedFile {
    /// Opens the file, or creates it. Its content is kept until [`BoundedFile::empty`].
    ///
    /// # Errors
    /// Those of open(2); and if another recorder writes to the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A pipe that was opened for reading as well would never break.
        let is_file = fs::metadata(path).map_or(true, |earlier| earlier.is_file());
        let file = OpenOptions::new().read(is_file).write(true).create(true).truncate(false).open(path)?;
        if is_file {
            lock(&file)?;
        }
        Ok(Self {
            file,
            path: path.to_path_buf(),
            length: 0,
            is_bounded: is_file,
            next: LIMIT,
            marks: VecDeque::new(),
            cuts: BTreeMap::new(),
            step_ns: STEP_NS,
            shortening: None,
        })
    }

    /// Removes what the file contains.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    pub fn empty(&mut self) -> io::Result<()> {
        // A pipe or a device contains nothing.
        if self.is_bounded { self.file.set_len(0) } else { Ok(()) }
    }

    /// Returns the file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Appends some bytes.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Shortens the file if it is too long. `recording` is the content of its blocks, up to `now_ns`. Call it some times per minute.
    ///
    /// # Errors
    /// The reason why it can't be shortened, once. It stays as it is then, and grows.
    pub fn keep_short(&mut self, now_ns: u64, recording: &Recording) -> io::Result<()> {
        if !self.is_bounded {
            return Ok(());
        }
        self.marks.push_back((self.length, now_ns));
        let done = match self.shortening.take_if(|shortening| shortening.thread.is_finished()) {
            Some(shortening) => self.replace(shortening),
            None if self.shortening.is_none() && self.length > self.next => self.begin(recording),
            None => Ok(()),
        };
        if done.is_err() {
            self.is_bounded = false;
        }
        done
    }

    /// Starts the thread that writes the shorter file.
    fn begin(&mut self, recording: &Recording) -> io::Result<()> {
        let kept = self.length - KEPT;
        let old_ns = self.marks.iter().find(|(length, _)| *length >= kept).map_or(0, |(_, at_ns)| *at_ns);
        let mut cuts = recording.stalls.settled(gils(recording), old_ns);
        for (gil, cut) in &mut cuts {
            *cut = self.cuts.get(gil).map_or(*cut, |earlier| (*cut).max(*earlier));
        }
        let is_old = |stall: &&Stall| {
            let holder = recording.processes.get(&stall.process).and_then(|one| one.threads.get(&stall.holder));
            let cut = holder.and_then(|holder| cuts.get(&(stall.process, holder.thread.gil)));
            cut.is_some_and(|cut| stall.at_ns < *cut)
        };
        let stalls = recording.stalls.found().iter().filter(is_old).cloned().collect();
        let plan = Plan { old_ns, cuts: cuts.clone(), stalls, step_ns: self.step_ns };
        let old = Part { file: self.file.try_clone()?, from: HEAD.len() as u64, to: self.length };
        let (path, is_cancelled) = (self.path.clone(), Arc::new(AtomicBool::new(false)));
        let cancelled = Arc::clone(&is_cancelled);
        let thread = std::thread::Builder::new()
            .name("busy shorten".into())
            .spawn(move || write(&path, old, &plan, &cancelled))?;
        self.shortening = Some(Shortening { length: self.length, cuts, is_cancelled, thread });
        Ok(())
    }

    /// Puts the shorter file in the place of this one.
    fn replace(&mut self, done: Shortening) -> io::Result<()> {
        let panicked = |_| io::Error::other("the thread that shortens it has panicked");
        let shorter = done.thread.join().map_err(panicked)??;
        // The user may have moved or removed the file, or made a link to it.
        let (own, named) = (self.file.metadata()?, fs::metadata(&self.path)?);
        if (own.dev(), own.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::other("another file has its name"));
        }
        if own.nlink() > 1 {
            return Err(io::Error::other("it has several names"));
        }
        let mut rest = Part { file: self.file.try_clone()?, from: done.length, to: self.length };
        shorter.append_by(|to| io::copy(&mut rest, to).map(drop))?;
        self.file = shorter.into_named()?;
        lock(&self.file)?;
        let (before, now) = (self.length, self.file.metadata()?.len());
        let shorter_by = before.saturating_sub(now);
        self.length = now;
        self.cuts = done.cuts;
        // The lengths of what came after the merged part; those before are not needed any more.
        self.marks.iter_mut().for_each(|(length, _)| *length = length.saturating_sub(shorter_by));
        self.marks.retain(|(length, _)| *length > 0);
        self.next = LIMIT.max(2 * now);
        if now > KEPT + LIMIT / 4 && shorter_by > 0 {
            self.step_ns = (2 * self.step_ns).min(LONGEST_STEP_NS);
        }
        Ok(())
    }

    /// Gives up a shorter file that is being written, and begins no other.
    pub fn stop_shortening(&mut self) {
        self.is_bounded = false;
        // On a file system without unnamed files, an unfinished one would stay.
        if let Some(shortening) = self.shortening.take() {
            shortening.is_cancelled.store(true, Ordering::Relaxed);
            drop(shortening.thread.join());
        }
    }
}

/// Makes this recorder the only one that writes to the file.
fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("another recorder writes to it")),
        // Not every file system has locks.
        _ => Ok(()),
    }
}

/// Returns the GILs of the recording, each with its process.
fn gils(recording: &Recording) -> impl Iterator<Item = (u32, u32)> {
    let of =
        |process: &ProcessRecord| process.threads.values().map(|thread| thread.thread.gil).collect::<BTreeSet<_>>();
    recording.processes.iter().flat_map(move |(number, process)| of(process).into_iter().map(|gil| (*number, gil)))
}

/// Writes a shorter file than `old`, which will have the name `path`.
fn write(path: &Path, old: Part, plan: &Plan, is_cancelled: &AtomicBool) -> io::Result<NewFile> {
    let new = NewFile::open(path).map_err(io::Error::other)?;
    let go_on = || !is_cancelled.load(Ordering::Relaxed);
    let mut blocks = Blocks::new(io::BufReader::with_capacity(1 << 16, old));
    new.append_by(|to| {
        to.write_all(&HEAD)?;
        let mut bytes = Vec::new();
        shorten(blocks.by_ref().take_while(|_| go_on()), plan, |block: &Block| {
            bytes.clear();
            block.append(&mut bytes);
            to.write_all(&bytes)
        })
    })?;
    if !go_on() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    // Whatever can't be read must not be lost.
    if blocks.rest()?.bytes > 0 {
        return Err(io::Error::other("a part of it can't be read"));
    }
    new.sync()?;
    Ok(new)
}

/// A part of a file, whose own position stays where it is.
struct Part {
    file: File,
    from: u64,
    to: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to - self.from).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..length], self.from)?;
        self.from += read as u64;
        Ok(read)
    }
}
