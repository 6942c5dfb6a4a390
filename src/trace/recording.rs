//! The content of a recording, by process and thread.

use super::blame::Stacks;
use super::block::{Block, End, Process, ProcessEnd, Start, Thread, Totals};
use super::event::Event;
use super::file::{Blocks, FileError, HEAD, Rest};
use super::holder_sample::{Counts, HolderSample};
use super::lane::{Lane, lane};
use super::merged::Merged;
use super::stalls::Stalls;
use super::usage::{Cores, Usage};
use crate::results::Host;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// A recording, as far as its blocks are known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recording {
    /// The program; None before the first block.
    pub start: Option<Start>,
    /// The processes, by their numbers.
    pub processes: BTreeMap<u32, ProcessRecord>,
    /// The machine; None if the recorder was killed before the end.
    pub host: Option<Host>,
    /// How busy the cores were, if the events are kept.
    pub cores: Vec<Cores>,
    /// The end of the program; None if the recorder was killed before.
    pub end: Option<End>,
    /// The latest time of any block.
    pub known_until_ns: u64,
    /// What follows the last block: an incomplete one if the recorder was killed, or a damaged one.
    pub rest: Rest,
    /// The stacks of the stalls.
    pub stacks: Stacks,
    /// How often each thread was found with each stack while it held a GIL.
    pub(super) holder_samples: Counts,
    /// The stalls.
    pub stalls: Stalls,
    keeps_events: bool,
}

/// One process.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessRecord {
    /// The process.
    pub process: Process,
    /// Its threads, by row.
    pub threads: BTreeMap<u64, ThreadRecord>,
    /// The CPU time of the threads, if the events are kept.
    pub usage: Vec<Usage>,
    /// Its end; None if the recorder was killed before.
    pub end: Option<ProcessEnd>,
}

/// One thread with one GIL.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRecord {
    /// The thread.
    pub thread: Thread,
    /// Its figures.
    pub totals: Totals,
    /// The time of the figures.
    pub totals_at_ns: u64,
    /// What is left of its old events, in a long recording.
    pub merged: Option<Merged>,
    /// Its events, if they are kept.
    pub events: Vec<Event>,
}

/// The figures of a thread, in which a hold or wait that was going on at the end counts up to there; without an end, to the
/// time of its totals.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ThreadFigures {
    /// The time that it held the GIL, in seconds.
    pub held_s: f64,
    /// The time that it waited for the GIL, in seconds.
    pub waited_s: f64,
    /// The longest hold and wait, in seconds.
    pub longest_hold_s: f64,
    /// See `longest_hold_s`.
    pub longest_wait_s: f64,
    /// The number of acquires.
    pub acquisitions: u64,
}

impl Recording {
    /// Returns a recording without any block, which keeps the events of the blocks to come if `keeps_events`.
    pub fn new(keeps_events: bool) -> Self {
        Self { keeps_events, ..Self::default() }
    }

    /// Reads the file at `path`, with all events.
    ///
    /// # Errors
    /// It can't be read, or is no recording. A file that was cut off, or is damaged further on, is read up to there.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |error| FileError::Unreadable(path.to_path_buf(), error);
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut head = Vec::new();
        file.by_ref().take(HEAD.len() as u64).read_to_end(&mut head).map_err(unreadable)?;
        if !HEAD.starts_with(&head) {
            return Err(FileError::NoRecording(path.to_path_buf()));
        }
        let (mut blocks, mut recording) = (Blocks::new(file), Self::new(true));
        blocks.by_ref().for_each(|block| recording.apply(block));
        recording.rest = blocks.rest().map_err(unreadable)?;
        if recording.start.is_none() {
            return Err(FileError::Empty(path.to_path_buf()));
        }
        // The recorder may have been killed before.
        for process in recording.processes.values().filter(|process| process.end.is_none()) {
            recording.stalls.end(process.process.number, recording.known_until_ns);
        }
        Ok(recording)
    }

    /// Adds the content of a block. A block about an unknown process or thread is ignored.
    pub fn apply(&mut self, block: Block) {
        let mut known = 0;
        match block {
            Block::Start(start) => {
                self.stalls.set_threshold(start.stall_ns);
                self.start = Some(start);
            }
            Block::Stack(stack) => self.stacks.add(&stack),
            Block::Sighting(sighting) => self.stalls.sighting(sighting),
            Block::Process(process) => {
                let number = process.number;
                let (threads, usage) = (BTreeMap::new(), Vec::new());
                self.processes.insert(number, ProcessRecord { process, threads, usage, end: None });
            }
            Block::Thread(thread) => {
                if let Some(process) = self.processes.get_mut(&thread.process) {
                    // The name may have changed, or the thread has ended.
                    let record = process.threads.entry(thread.row).or_insert_with(|| ThreadRecord {
                        thread: thread.clone(),
                        totals: Totals::default(),
                        totals_at_ns: 0,
                        merged: None,
                        events: Vec::new(),
                    });
                    record.thread = thread;
                }
            }
            Block::Events { process, row, events } => {
                known = events.last().map_or(0, |event| event.at);
                let Some(thread) = self.processes.get_mut(&process).and_then(|process| process.threads.get_mut(&row))
                else {
                    return;
                };
                self.stalls.events(&thread.thread, &events);
                if self.keeps_events {
                    thread.events.extend(events);
                }
            }
            Block::Totals { process, row, totals } => {
                let now = self.known_until_ns;
                if let Some(thread) = self.thread(process, row) {
                    (thread.totals, thread.totals_at_ns) = (totals, now);
                }
            }
            Block::HolderSample(HolderSample { process, gil, tid, at_ns, stack, count }) => {
                known = at_ns;
                *self.holder_samples.entry((process, gil, tid)).or_default().entry(stack).or_default() += count;
            }
            Block::Merged(merged) => {
                known = merged.to_ns().unwrap_or(0);
                let Some(thread) =
                    self.processes.get_mut(&merged.process).and_then(|one| one.threads.get_mut(&merged.row))
                else {
                    return;
                };
                self.stalls.cut(&thread.thread, known);
                thread.merged = Some(merged);
            }
            Block::Stall(stall) => {
                known = stall.end_ns;
                self.stalls.add(stall);
            }
            Block::Usage(usage) => {
                known = usage.at_ns;
                if let Some(process) = self.processes.get_mut(&usage.process).filter(|_| self.keeps_events) {
                    process.usage.push(usage);
                }
            }
            Block::Cores(cores) => {
                known = cores.at_ns;
                if self.keeps_events {
                    self.cores.push(cores);
                }
            }
            Block::Host(host) => self.host = Some(host),
            Block::ProcessEnd(end) => {
                known = end.at_ns;
                self.stalls.end(end.number, end.at_ns);
                if let Some(process) = self.processes.get_mut(&end.number) {
                    process.end = Some(end);
                }
            }
            Block::End(end) => {
                known = end.at_ns;
                self.end = Some(end);
            }
        }
        self.known_until_ns = self.known_until_ns.max(known);
    }

    fn thread(&mut self, process: u32, row: u64) -> Option<&mut ThreadRecord> {
        self.processes.get_mut(&process)?.threads.get_mut(&row)
    }

    /// Returns the time up to which old events were merged, of the thread of which most were; None if none were.
    pub fn merged_until_ns(&self) -> Option<u64> {
        let threads = self.processes.values().flat_map(|process| process.threads.values());
        threads.filter_map(|thread| thread.merged.as_ref()?.to_ns()).max()
    }

    /// Returns the end of what is known about a process.
    pub fn end_of(&self, process: &ProcessRecord) -> u64 {
        process.end.as_ref().map_or(self.known_until_ns, |end| end.at_ns)
    }

    /// Returns the end of the time that the figures of `process` are about. None if the recorder was killed before it had read
    /// any.
    pub fn figures_end(&self, process: &ProcessRecord) -> Option<u64> {
        let read = || process.threads.values().map(|thread| thread.totals_at_ns).max().filter(|at_ns| *at_ns > 0);
        process.end.as_ref().map_or_else(read, |end| Some(end.at_ns))
    }

    /// Returns the figures of a thread of `process`.
    pub fn figures(&self, process: &ProcessRecord, thread: &ThreadRecord) -> ThreadFigures {
        // If the recorder was killed, what went on at the time of the figures may have ended just after it.
        let end = process.end.as_ref().map_or(thread.totals_at_ns, |end| end.at_ns);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let current = |since: Option<u64>| since.map_or(0, |since| end.saturating_sub(since));
        let (totals, hold) = (&thread.totals, current(thread.totals.holds_since_ns));
        let wait = current(totals.waits_since_ns);
        ThreadFigures {
            held_s: seconds(totals.held_ns + hold),
            waited_s: seconds(totals.waited_ns + wait),
            longest_hold_s: seconds(totals.longest_hold_ns.max(hold)),
            longest_wait_s: seconds(totals.longest_wait_ns.max(wait)),
            acquisitions: totals.acquisitions,
        }
    }
}

impl ThreadRecord {
    /// Returns the states of the thread until its end, or until `end_ns`, if that is earlier.
    pub fn lane(&self, end_ns: u64) -> Lane {
        let end_ns = self.thread.ended_ns.map_or(end_ns, |ended| ended.min(end_ns));
        lane(self.merged.iter().flat_map(Merged::lane).collect(), &self.events, end_ns)
    }

    fn first_event_ns(&self) -> Option<u64> {
        let merged = self.merged.as_ref().map(|merged| merged.from_ns);
        merged.or_else(|| self.events.first().map(|event| event.at))
    }
}

impl ProcessRecord {
    /// Returns the time for which the process was metered, in seconds, if it was; its figures end at `end_ns`.
    pub fn metered_s(&self, end_ns: u64) -> Option<f64> {
        let began = self.end.as_ref().map_or_else(|| self.first_event_ns(), |end| end.started_ns)?;
        Some(end_ns.saturating_sub(began) as f64 / 1e9).filter(|seconds| *seconds > 0.0)
    }

    /// Returns the time of the first event of any thread.
    pub fn first_event_ns(&self) -> Option<u64> {
        self.threads.values().filter_map(ThreadRecord::first_event_ns).min()
    }
}
