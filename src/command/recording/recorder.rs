//! Collects the logs of the recorded processes into the file of the recording.

use super::bounded_file::BoundedFile;
use super::log::Log;
use super::unrecorded::{Found, Unrecorded};
use super::usage::CoreUsage;
use super::watcher::{GoingOn, Watched};
use crate::trace::{Block, Cores, Ending, HEAD, Process, ProcessEnd, Recording, Stacks, Stall, Start, ThreadRecord};
use busy_core::clock::monotonic_ns;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::num::NonZero;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time between two readings of all figures, in nanoseconds: how much of them is lost if the recorder is killed.
const ALL_NS: u64 = 1_000_000_000;
/// The time between two readings of the CPU times, in nanoseconds.
const USAGE_NS: u64 = 100_000_000;
/// The time between two looks for Pythons that are not recorded, in nanoseconds.
const UNRECORDED_NS: u64 = 500_000_000;

/// The Python stacks that are read, beside those of the holders in stalls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sampled {
    /// How often per second those of the threads that hold a GIL are read; None for never.
    pub holders: Option<NonZero<u32>>,
    /// Whether those of the threads that wait in a stall are read.
    pub waiters: bool,
}

/// What collects the logs.
pub struct Recorder {
    folder: PathBuf,
    logs: Vec<Log>,
    /// The names of the logs that were opened.
    known: BTreeSet<OsString>,
    processes: u32,
    start_ns: u64,
    next_all_ns: u64,
    next_usage_ns: u64,
    next_unrecorded_ns: u64,
    unrecorded: Unrecorded,
    /// The time between two samples of the holders; None without them.
    sample_ns: Option<u64>,
    next_sample_ns: u64,
    cores: CoreUsage,
    /// The file of the recording, if it is kept.
    file: Option<BoundedFile>,
    watched: Watched,
    stacks: Stacks,
    /// The content of the blocks so far, without the events: its size depends on the number of threads only.
    recording: Recording,
    /// The reason why the file ends too early.
    broken: Option<io::Error>,
    /// The reason why the file could not be kept short.
    too_long: Option<io::Error>,
}

/// What a recorder leaves.
pub struct Ended {
    /// The content of the recording.
    pub recording: Recording,
    /// The reason why the file ends too early, if it does.
    pub broken: Option<io::Error>,
    /// The reason why the file could not be kept short, if it was tried.
    pub too_long: Option<io::Error>,
}

impl Recorder {
    /// Begins a recording of the processes that have their logs in `folder`, with the stacks of `sampled`,
    /// in `file` if it is to be kept, which is emptied.
    pub fn begin(mut file: Option<BoundedFile>, folder: &Path, start: Start, sampled: Sampled) -> Self {
        let start_ns = start.monotonic_ns;
        let broken = file.as_mut().and_then(|file| file.empty().and_then(|()| file.append(&HEAD)).err());
        let mut recorder = Self {
            folder: folder.to_path_buf(),
            logs: Vec::new(),
            known: BTreeSet::new(),
            processes: 0,
            start_ns,
            next_all_ns: start_ns + ALL_NS,
            next_usage_ns: start_ns,
            next_unrecorded_ns: start_ns + UNRECORDED_NS,
            unrecorded: Unrecorded::default(),
            sample_ns: sampled.holders.map(|rate| 1_000_000_000 / u64::from(rate.get())),
            next_sample_ns: start_ns,
            cores: CoreUsage::default(),
            file,
            watched: Watched { threshold_ns: start.stall_ns, waiters: sampled.waiters },
            stacks: Stacks::default(),
            recording: Recording::new(false),
            broken,
            too_long: None,
        };
        recorder.write(vec![Block::Start(start)]);
        recorder
    }

    /// Returns what becomes readable when a process ends.
    pub fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.logs.iter().filter_map(Log::pidfd)
    }

    /// Returns true if a process has ended since the last collection.
    pub fn has_ended_process(&self) -> bool {
        let mut pidfds: Vec<_> = self.pidfds().map(|pidfd| PollFd::from_borrowed_fd(pidfd, PollFlags::IN)).collect();
        poll(&mut pidfds, Some(&Timespec::default())).is_ok_and(|ended| ended > 0)
    }

    /// Collects what has happened since the last call.
    pub fn collect(&mut self) {
        let mut blocks = Vec::new();
        self.find_new(&mut blocks);
        let now = monotonic_ns();
        let all = now >= self.next_all_ns;
        if all {
            self.next_all_ns = now + ALL_NS;
        }
        let usage = now >= self.next_usage_ns;
        if usage {
            self.next_usage_ns = now + USAGE_NS;
            let busy = if self.file.is_some() { self.cores.read() } else { None };
            let at_ns = now.saturating_sub(self.start_ns);
            blocks.extend(busy.map(|busy| Block::Cores(Cores { at_ns, busy })));
        }
        for mut log in std::mem::take(&mut self.logs) {
            // Asked first: what a process wrote before its end is read then.
            if let Some(how) = log.ending() {
                log.end(how, now, &mut self.stacks, &mut blocks);
            } else if log.drain(all, &mut blocks).is_err() {
                log.end(Ending::Running, now, &mut self.stacks, &mut blocks);
            } else {
                if all {
                    log.refresh_names(&mut blocks);
                }
                if usage {
                    // Only a recording that is kept needs them.
                    if self.file.is_some() {
                        log.usage(&mut blocks);
                    }
                    log.name_threads(&mut blocks);
                }
                self.logs.push(log);
            }
        }
        // Only a recording that is kept names them.
        if self.file.is_some() && now >= self.next_unrecorded_ns {
            self.name_unrecorded(false, &mut blocks);
            // With thousands of threads it takes long, and meanwhile no events are read.
            let took = monotonic_ns().saturating_sub(now);
            self.next_unrecorded_ns = now + UNRECORDED_NS.max(50 * took);
        }
        self.write(blocks);
        if let Some(file) = self.file.as_mut().filter(|_| all && self.broken.is_none()) {
            let failed = file.keep_short(now.saturating_sub(self.start_ns), &self.recording).err();
            self.too_long = failed.or(self.too_long.take());
        }
    }

    /// Appends the Pythons below this process that have ended without a log; at the end, also those that run.
    fn name_unrecorded(&mut self, is_end: bool, blocks: &mut Vec<Block>) {
        let at_ns = monotonic_ns().saturating_sub(self.start_ns);
        let recorded = self.recording.processes.values().map(|process| process.process.pid);
        let unread = self.unknown().into_iter().map(|name| numbers(&name)[0] as u32);
        let known: BTreeSet<u32> = recorded.chain(unread).collect();
        let has_log = |pid: u32| known.contains(&pid);
        let mut found = self.unrecorded.look(&self.folder, has_log);
        if is_end {
            found.extend(std::mem::take(&mut self.unrecorded).finish(has_log));
        }
        for found in found {
            blocks.extend(not_recorded(self.processes, &found, at_ns));
            self.processes += 1;
        }
    }

    /// Collects what has happened since the last call, with the figures of all threads.
    pub fn collect_all(&mut self) {
        self.next_all_ns = 0;
        self.collect();
    }

    /// Returns what is known so far.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Returns the processes that run, by their numbers, each with the reason if it is not recorded.
    pub fn running(&self) -> impl Iterator<Item = (u32, Option<String>)> {
        self.logs.iter().map(|log| (log.number(), log.reason()))
    }

    /// Returns the holds that go on and for which another thread has waited for half of a stall's length.
    pub fn going_on(&self) -> impl Iterator<Item = GoingOn> {
        self.logs.iter().flat_map(Log::going_on)
    }

    /// Returns the stalls that were found since the last call, and forgets them.
    pub fn take_stalls(&mut self) -> Vec<Stall> {
        self.recording.stalls.take()
    }

    /// Forgets the processes and the threads that have ended, so that a program that starts many does not fill the memory.
    /// Passes each thread of a running process on to `forgotten`, with the number of the process.
    pub fn forget_ended(&mut self, mut forgotten: impl FnMut(u32, &ThreadRecord)) {
        let logs = &self.logs;
        self.recording.processes.retain(|number, process| {
            let Some(log) = logs.iter().find(|log| log.number() == *number) else { return false };
            let ended = process.threads.extract_if(.., |row, _| !log.has_row(*row));
            ended.for_each(|(_, thread)| forgotten(*number, &thread));
            true
        });
    }

    /// Looks at the threads that wait, and reads the stack of the thread that they wait for if they have waited for long.
    /// Returns true if any thread waits.
    pub fn look(&mut self) -> bool {
        let mut blocks = Vec::new();
        let mut any = false;
        for log in &mut self.logs {
            any |= log.look(&mut self.stacks, &mut blocks);
        }
        let now = monotonic_ns();
        if let Some(step) = self.sample_ns.filter(|_| now >= self.next_sample_ns) {
            // After a delay, no samples are made up.
            self.next_sample_ns = (self.next_sample_ns + step).max(now);
            self.logs.iter_mut().for_each(|log| log.sample_holders(&mut self.stacks, &mut blocks));
        }
        self.write(blocks);
        any
    }

    /// Ends the recording, with the machine and the last block.
    pub fn end(mut self, machine: Option<Block>, end: impl FnOnce(u64) -> Block) -> Ended {
        if let Some(file) = &mut self.file {
            file.stop_shortening();
        }
        self.collect();
        let (now, mut blocks) = (monotonic_ns(), Vec::new());
        if self.file.is_some() {
            self.name_unrecorded(true, &mut blocks);
        }
        for log in std::mem::take(&mut self.logs) {
            log.end(Ending::Running, now, &mut self.stacks, &mut blocks);
        }
        for name in self.unknown() {
            let damage = Log::open(&self.folder.join(&name), 0, 0, self.watched).err();
            let reason = damage.map_or_else(|| NO_HEADER.to_owned(), |damage| damage.to_string());
            self.name_abandoned(&name, &reason, &mut blocks);
        }
        blocks.extend(machine);
        blocks.push(end(now.saturating_sub(self.start_ns)));
        self.write(blocks);
        Ended { recording: self.recording, broken: self.broken, too_long: self.too_long }
    }

    /// Returns the names of the logs that were not opened yet, in the order in which their processes began them.
    fn unknown(&self) -> Vec<OsString> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut names: Vec<OsString> = names.filter(|name| is_log(name) && !self.known.contains(name)).collect();
        names.sort_by_key(|name| numbers(name)[1]);
        names
    }

    fn find_new(&mut self, blocks: &mut Vec<Block>) {
        for name in self.unknown() {
            let number = self.processes;
            match Log::open(&self.folder.join(&name), number, self.start_ns, self.watched) {
                // Its process is still opening it, or was killed before it had.
                Ok(None) if !is_abandoned(&self.folder.join(&name)) => continue,
                Ok(None) => {
                    self.name_abandoned(&name, NO_HEADER, blocks);
                    let _ = fs::remove_file(self.folder.join(&name));
                    continue;
                }
                Ok(Some((log, block))) => {
                    blocks.push(block);
                    self.end_former(log.pid(), blocks);
                    self.logs.push(log);
                }
                // Other processes may end until the next time.
                Err(damage) if damage.is_without_descriptor() => break,
                Err(damage) => {
                    blocks.extend(unreadable(number, 0, &damage.to_string(), monotonic_ns() - self.start_ns));
                }
            }
            self.processes += 1;
            self.known.insert(name);
        }
        // The names of logs that were removed are not used again.
        let open: HashSet<&OsStr> = self.logs.iter().filter_map(|log| log.path().file_name()).collect();
        self.known.retain(|name| open.contains(name.as_os_str()) || self.folder.join(name).exists());
    }

    /// Appends a process whose log can't be read, for this reason.
    fn name_abandoned(&mut self, name: &OsStr, reason: &str, blocks: &mut Vec<Block>) {
        let [pid, _] = numbers(name);
        blocks.extend(unreadable(self.processes, pid as u32, reason, monotonic_ns().saturating_sub(self.start_ns)));
        self.processes += 1;
    }

    /// Ends the log of the process that has executed another Python under the same id.
    fn end_former(&mut self, pid: u32, blocks: &mut Vec<Block>) {
        if let Some(index) = self.logs.iter().position(|log| log.pid() == pid) {
            let how = self.logs[index].ending().unwrap_or(Ending::Executed);
            self.logs.remove(index).end(how, monotonic_ns(), &mut self.stacks, blocks);
        }
    }

    /// Writes the blocks, unless the file can't be written any more: then the figures still count.
    fn write(&mut self, blocks: Vec<Block>) {
        if let Some(file) = self.file.as_mut().filter(|_| self.broken.is_none() && !blocks.is_empty()) {
            let mut bytes = Vec::new();
            blocks.iter().for_each(|block| block.append(&mut bytes));
            self.broken = file.append(&bytes).err();
        }
        blocks.into_iter().for_each(|block| self.recording.apply(block));
    }
}

/// The reason why a log can't be read that was begun only.
const NO_HEADER: &str =
    "there was no shared memory for its log (`df /dev/shm` shows what is left), or it was killed at its start";

/// Returns true if the log at `path` was begun over a second ago, by a process that does not exist any more.
fn is_abandoned(path: &Path) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let age =
        fs::metadata(path).and_then(|file| file.modified()).map(|modified| modified.elapsed().unwrap_or_default());
    let [pid, _] = path.file_name().map_or([0, 0], numbers);
    age.is_ok_and(|age| age > PATIENCE) && !Path::new("/proc").join(pid.to_string()).exists()
}

/// Returns true if a file of that name is a log.
fn is_log(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "log")
}

/// Returns the process id and the time that form the name of a log (`file`, gil/src/log/writer.rs).
fn numbers(name: &OsStr) -> [u64; 2] {
    let name = name.to_string_lossy();
    let mut numbers = name.split(['-', '.']).map(|number| number.parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}

/// Returns the blocks of a process whose log can't be read.
fn unreadable(number: u32, pid: u32, reason: &str, at_ns: u64) -> [Block; 2] {
    let (executable, reason) = (PathBuf::new(), reason.to_owned());
    not_recorded(number, &Found { pid, parent: 0, executable, reason }, at_ns)
}

/// Returns the blocks of a process that is not recorded.
fn not_recorded(number: u32, found: &Found, at_ns: u64) -> [Block; 2] {
    let executable = found.executable.to_string_lossy().into_owned();
    let process = Process { number, pid: found.pid, parent: found.parent, executable, python: String::new() };
    let end = ProcessEnd {
        number,
        started_ns: None,
        at_ns,
        how: Ending::Running,
        unlisted: 0,
        reason: Some(found.reason.clone()),
        no_stacks: None,
    };
    [Block::Process(process), Block::ProcessEnd(end)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::recording::begin;
    use std::fs::File;
    use std::time::SystemTime;

    #[test]
    fn a_log_whose_process_was_killed_at_its_start_is_named_once_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (abandoned, young) = (folder.path().join(format!("{}-1.log", child.id())), folder.path().join("1-2.log"));
        let begun = File::create(&abandoned).unwrap();
        File::create(&young).unwrap();
        let start = begin(&["python3".into()], Duration::from_millis(10));
        let mut recorder = Recorder::begin(None, folder.path(), start, Sampled::default());
        recorder.collect();
        assert_eq!(
            (abandoned.exists(), recorder.recording().processes.len()),
            (true, 0),
            "it may be finished any moment"
        );
        begun.set_modified(SystemTime::now() - Duration::from_secs(2)).unwrap();
        recorder.collect();
        recorder.collect();
        let found: Vec<u32> = recorder.recording().processes.values().map(|process| process.process.pid).collect();
        assert_eq!((abandoned.exists(), young.exists(), found), (false, true, vec![child.id()]));
    }
}
