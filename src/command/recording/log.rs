//! The log of one process, from its appearance to the end of the process, as blocks of the recording.

use super::running::Running;
use super::usage::ProcessUsage;
use super::watcher::{At, GoingOn, Watched, Watcher};
use crate::trace::{Block, Ending, Event, Process, ProcessEnd, Stacks, Thread, Totals};
use busy_core::clock::monotonic_ns;
use busy_gil::log::{Batch, Damaged, Header, Kind, Reader, Status};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// The log of one process.
pub struct Log {
    reader: Reader,
    path: PathBuf,
    number: u32,
    /// The start of the recording on CLOCK_MONOTONIC.
    start_ns: u64,
    header: Header,
    process: Running,
    /// The threads that are known, by row.
    threads: BTreeMap<u64, Thread>,
    /// For how many calls of `refresh_names` each of them was known.
    ages: BTreeMap<u64, u32>,
    watcher: Watcher,
    usage: ProcessUsage,
}

impl Log {
    /// Opens the log at `path` as that of process `number`. Returns None if the process is still opening it.
    ///
    /// # Errors
    /// It is damaged.
    pub fn open(path: &Path, number: u32, start_ns: u64, watched: Watched) -> Result<Option<(Self, Block)>, Damaged> {
        let Some(reader) = Reader::open(path)? else { return Ok(None) };
        let header = reader.header()?;
        let process = Running::open(header.pid, &header.executable);
        let block = Block::Process(Process {
            number,
            pid: header.pid,
            parent: header.parent,
            executable: header.executable.clone(),
            python: header.python.clone(),
        });
        let path = path.to_path_buf();
        let watcher = Watcher::new(header.pid, number, start_ns, watched);
        let (threads, ages, usage) =
            (BTreeMap::new(), BTreeMap::new(), ProcessUsage::new(header.pid, number, start_ns));
        Ok(Some((Self { reader, path, number, start_ns, header, process, threads, ages, watcher, usage }, block)))
    }

    /// Returns the path of the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.header.pid
    }

    /// Returns what becomes readable when the process ends, if anything does.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.process.pidfd()
    }

    /// Returns how the recording of the process has ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        // Before the header, which is complete then.
        let ending = self.process.ending();
        let header = self.reader.header().ok();
        match ending {
            // The new program has written it, if it has the library.
            _ if header.as_ref().is_some_and(|header| header.executed) => Some(Ending::Executed),
            Some(Ending::Abrupt) if header.is_some_and(|header| header.ended_ns.is_some()) => Some(Ending::Exited),
            ending => ending,
        }
    }

    /// Returns the number of the process in the recording.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns true if the thread of that row has not ended.
    pub fn has_row(&self, row: u64) -> bool {
        self.threads.contains_key(&row)
    }

    /// Returns the reason why the running process is not recorded, if it is not.
    pub fn reason(&self) -> Option<String> {
        reason(&self.reader.header().ok()?, Ending::Running)
    }

    /// Returns the holds that go on and for which another thread has waited for long.
    pub fn going_on(&self) -> impl Iterator<Item = GoingOn> {
        self.watcher.going_on()
    }

    /// Looks at the threads that wait. Returns true if any does.
    pub fn look(&mut self, stacks: &mut Stacks, blocks: &mut Vec<Block>) -> bool {
        let at = At { log: &self.reader, threads: &self.threads };
        self.watcher.look(at, monotonic_ns(), stacks, blocks)
    }

    /// Appends samples of what holds its GILs now.
    pub fn sample_holders(&mut self, stacks: &mut Stacks, blocks: &mut Vec<Block>) {
        let at = At { log: &self.reader, threads: &self.threads };
        self.watcher.sample_holders(at, stacks, blocks);
    }

    /// Appends what has happened since the last call; the figures of `all` threads, if they are wanted.
    ///
    /// # Errors
    /// The log is damaged.
    pub fn drain(&mut self, all: bool, blocks: &mut Vec<Block>) -> Result<(), Damaged> {
        for batch in self.reader.drain(all)? {
            self.thread(&batch, blocks);
            let (process, row) = (self.number, batch.thread.id);
            if !batch.events.is_empty() {
                let event = |mark: &busy_gil::log::Mark| Event {
                    kind: mark.kind,
                    at: if mark.kind == Kind::Lost { mark.at } else { self.since_start(mark.at) },
                };
                blocks.push(Block::Events { process, row, events: batch.events.iter().map(event).collect() });
            }
            if all || batch.is_last {
                blocks.push(Block::Totals { process, row, totals: self.totals(&batch) });
            }
        }
        Ok(())
    }

    /// Appends the CPU time of the threads since the last call.
    pub fn usage(&mut self, blocks: &mut Vec<Block>) {
        blocks.extend(self.usage.read(self.threads.values().map(|thread| thread.tid)));
    }

    /// Notes the native names that threads have been given since their first event. Each thread's is read after 1, 2, 4, ...
    /// calls.
    pub fn refresh_names(&mut self, blocks: &mut Vec<Block>) {
        for thread in self.threads.values_mut() {
            let age = self.ages.entry(thread.row).or_default();
            *age += 1;
            if !age.is_power_of_two() {
                continue;
            }
            let path = format!("/proc/{}/task/{}/comm", self.header.pid, thread.tid);
            let Ok(name) = fs::read(path) else { continue };
            let name = String::from_utf8_lossy(name.trim_ascii_end());
            if name != thread.name {
                (thread.name, thread.runs) = (name.into_owned(), None);
                blocks.push(Block::Thread(thread.clone()));
            }
        }
    }

    /// Names the threads whose native name is that of the main thread, by the functions that they run.
    pub fn name_threads(&mut self, blocks: &mut Vec<Block>) {
        let main = self.threads.values().find(|thread| thread.tid == self.header.pid).map(|thread| thread.name.clone());
        let is_unnamed = |thread: &&mut Thread| {
            thread.runs.is_none() && thread.tid != self.header.pid && Some(&thread.name) == main.as_ref()
        };
        let mut unnamed: Vec<&mut Thread> = self.threads.values_mut().filter(is_unnamed).collect();
        let tids: Vec<u32> = unnamed.iter().map(|thread| thread.tid).collect();
        for (tid, function) in self.watcher.run_functions(&tids) {
            for thread in unnamed.iter_mut().filter(|thread| thread.tid == tid) {
                thread.runs = Some(function.clone());
                blocks.push(Block::Thread((*thread).clone()));
            }
        }
    }

    fn thread(&mut self, batch: &Batch, blocks: &mut Vec<Block>) {
        let found = &batch.thread;
        let known = self.threads.get(&found.id);
        // The log has the name at the first event, and that at the end.
        let name = known.filter(|_| !batch.is_last).map_or(&found.name, |known| &known.name);
        let thread = Thread {
            process: self.number,
            row: found.id,
            tid: found.tid,
            gil: found.gil,
            name: name.clone(),
            runs: known.filter(|known| known.name == *name).and_then(|known| known.runs.clone()),
            ended_ns: batch.is_last.then(|| self.since_start(monotonic_ns())),
        };
        if self.threads.get(&found.id) != Some(&thread) {
            self.threads.insert(found.id, thread.clone());
            blocks.push(Block::Thread(thread));
        }
        if batch.is_last {
            self.threads.remove(&found.id);
            self.ages.remove(&found.id);
        }
    }

    fn totals(&self, batch: &Batch) -> Totals {
        let found = &batch.totals;
        Totals {
            held_ns: found.held_ns,
            waited_ns: found.waited_ns,
            acquisitions: found.acquisitions,
            voluntary_releases: found.voluntary_releases,
            forced_drops: found.forced_drops,
            waits: found.waits,
            longest_hold_ns: found.longest_hold_ns,
            longest_wait_ns: found.longest_wait_ns,
            lost: found.lost,
            holds_since_ns: found.holds_since_ns.map(|since| self.since_start(since)),
            waits_since_ns: found.waits_since_ns.map(|since| self.since_start(since)),
            cpu_ns: found.cpu_ns,
        }
    }

    /// Appends the rest, and the end of the process, which was noticed at `now_ns`. Removes the log.
    pub fn end(mut self, how: Ending, now_ns: u64, stacks: &mut Stacks, blocks: &mut Vec<Block>) {
        self.watcher.end(&self.reader, now_ns, stacks, blocks);
        let rest = self.drain(true, blocks);
        let header = self.reader.header().unwrap_or_else(|_| self.header.clone());
        let damage = rest.err().map(|damage| damage.to_string());
        blocks.push(Block::ProcessEnd(ProcessEnd {
            number: self.number,
            started_ns: header.began_ns.map(|began| self.since_start(began)),
            at_ns: self.since_start(header.ended_ns.filter(|_| how == Ending::Exited).unwrap_or(now_ns)),
            how,
            unlisted: header.unlisted,
            reason: damage.or_else(|| reason(&header, how)),
            no_stacks: self.watcher.reason(),
        }));
        // A process that goes on keeps its log until it ends, and nobody reads it.
        let _ = fs::remove_file(&self.path);
    }

    fn since_start(&self, ns: u64) -> u64 {
        ns.saturating_sub(self.start_ns)
    }
}

/// Returns the reason why a process is not recorded, or no longer.
fn reason(header: &Header, how: Ending) -> Option<String> {
    match header.status {
        Status::Waiting if how == Ending::Running => Some("its Python has not run any code yet".to_owned()),
        Status::Waiting => Some("its Python ended before it ran any code in its main thread".to_owned()),
        _ => Some(header.reason.clone()).filter(|reason| !reason.is_empty()),
    }
}
