//! The blocks of a recording, and their bytes. docs/record.md describes the format.

use super::blame::{NewStack, Sighting};
use super::event::Event;
use super::holder_sample::HolderSample;
use super::leb128::{put, take};
use super::merged::Merged;
use super::stall::Stall;
use super::usage::{Cores, Usage};
use crate::results::Host;
use busy_gil::log::Kind;
use serde::{Deserialize, Serialize};

/// What the recorder has learnt, in the order in which it did. Times are in nanoseconds since the start of the recording.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// The first block.
    Start(Start),
    /// A Python has begun, or a recorded process was forked.
    Process(Process),
    /// A thread has used a GIL for the first time.
    Thread(Thread),
    /// The next events of a thread.
    Events {
        /// The process, by its number.
        process: u32,
        /// The thread, by its row.
        row: u64,
        /// The events, in order.
        events: Vec<Event>,
    },
    /// What is left of the old events of a thread, in a long recording. It comes before its events.
    Merged(Merged),
    /// A stall whose events were merged.
    Stall(Stall),
    /// The figures of a thread so far.
    Totals {
        /// The process, by its number.
        process: u32,
        /// The thread, by its row.
        row: u64,
        /// The figures.
        totals: Totals,
    },
    /// A stack that was not met before. They are numbered from 0 on, in their order.
    Stack(NewStack),
    /// What was seen of a hold that others waited for.
    Sighting(Sighting),
    /// A regular sample of what held a GIL.
    HolderSample(HolderSample),
    /// The CPU time of a process's threads.
    Usage(Usage),
    /// How busy the cores were.
    Cores(Cores),
    /// The machine, with its load during the recording.
    Host(Host),
    /// A process has ended, or its recording has.
    ProcessEnd(ProcessEnd),
    /// The last block.
    End(End),
}

/// The program, and the start of its recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The release of busy.
    pub busy: String,
    /// The start, RFC 3339.
    pub started_at: String,
    /// The start, in nanoseconds on CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The length from which on a wait is a stall, in nanoseconds.
    pub stall_ns: u64,
}

/// A recorded process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its number in this recording. Process ids are used again.
    pub number: u32,
    /// The process id.
    pub pid: u32,
    /// That of its parent.
    pub parent: u32,
    /// The executable.
    pub executable: String,
    /// The text of Py_GetVersion.
    pub python: String,
}

/// A thread with a GIL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// The number of its process.
    pub process: u32,
    /// The number of the row. The system may use a thread id again, and a thread may use several GILs.
    pub row: u64,
    /// The native thread id.
    pub tid: u32,
    /// The index of the GIL; 0 is the main interpreter's.
    pub gil: u32,
    /// The native name.
    pub name: String,
    /// The function that it runs, if its native name is only that of the process, as before CPython 3.14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    /// The time at which its end was noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ns: Option<u64>,
}

/// The figures of a thread. Its current hold and wait are not part of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "as in busy_gil::log::Totals")]
pub struct Totals {
    pub held_ns: u64,
    pub waited_ns: u64,
    pub acquisitions: u64,
    pub voluntary_releases: u64,
    pub forced_drops: u64,
    pub waits: u64,
    pub longest_hold_ns: u64,
    pub longest_wait_ns: u64,
    pub lost: u64,
    pub holds_since_ns: Option<u64>,
    pub waits_since_ns: Option<u64>,
    pub cpu_ns: Option<u64>,
}

/// How the recording of a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The process came to its end by itself.
    Exited,
    /// It ended without running its exit handlers: by a signal, or by os._exit, as the workers of multiprocessing do.
    Abrupt,
    /// It has executed another program.
    Executed,
    /// The recording ended before the process.
    Running,
}

/// The end of a process, or of its recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// The number of the process.
    pub number: u32,
    /// The start of the metering; absent if it never began.
    pub started_ns: Option<u64>,
    /// The end.
    pub at_ns: u64,
    /// What ended it.
    pub how: Ending,
    /// The number of threads that are not recorded, for lack of room in the log or of a free descriptor.
    pub unlisted: u64,
    /// The reason why it was not recorded, or not to its end.
    pub reason: Option<String>,
    /// The reason why its stacks could not be read.
    pub no_stacks: Option<String>,
}

impl ProcessEnd {
    /// Returns the reason why some threads are missing, if any are.
    pub fn unlisted_threads(&self) -> Option<String> {
        let threads = match self.unlisted {
            0 => return None,
            1 => "1 thread is".to_owned(),
            more => format!("{more} threads are"),
        };
        Some(format!("{threads} not recorded: the log had no room for more, or the process no free descriptor"))
    }
}

/// The end of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The end.
    pub at_ns: u64,
    /// The program's exit code; absent if a signal has ended it.
    pub code: Option<i32>,
    /// The signal that has ended it.
    pub signal: Option<i32>,
}

impl Thread {
    /// Returns the name for people.
    pub fn title(&self) -> &str {
        self.runs.as_deref().unwrap_or(&self.name)
    }
}

impl Block {
    /// Returns the byte that identifies the kind of block, and its content.
    pub(super) fn encode(&self) -> (u8, Vec<u8>) {
        let json = |kind: u8, value: Result<Vec<u8>, serde_json::Error>| (kind, value.expect("plain data"));
        match self {
            Self::Start(start) => json(b'S', serde_json::to_vec(start)),
            Self::Process(process) => json(b'P', serde_json::to_vec(process)),
            Self::Thread(thread) => json(b'T', serde_json::to_vec(thread)),
            Self::ProcessEnd(end) => json(b'X', serde_json::to_vec(end)),
            Self::End(end) => json(b'Z', serde_json::to_vec(end)),
            Self::Events { process, row, events } => (b'E', encode_events(*process, *row, events)),
            Self::Merged(merged) => (b'A', merged.encode()),
            Self::Stall(stall) => (b'L', stall.encode()),
            Self::Stack(stack) => (b'K', stack.encode()),
            Self::Sighting(sighting) => (b'H', sighting.encode()),
            Self::HolderSample(sample) => (b'G', sample.encode()),
            Self::Usage(usage) => (b'U', usage.encode()),
            Self::Cores(cores) => (b'C', cores.encode()),
            Self::Host(host) => json(b'M', serde_json::to_vec(host)),
            Self::Totals { process, row, totals } => {
                let mut bytes = Vec::with_capacity(64);
                [u64::from(*process), *row].iter().chain(&totals.numbers()).for_each(|number| put(&mut bytes, *number));
                (b'F', bytes)
            }
        }
    }

    /// Returns the block of that kind with that content; None if there is no such block.
    pub(super) fn decode(kind: u8, content: &[u8]) -> Option<Self> {
        Some(match kind {
            b'S' => Self::Start(serde_json::from_slice(content).ok()?),
            b'P' => Self::Process(serde_json::from_slice(content).ok()?),
            b'T' => Self::Thread(serde_json::from_slice(content).ok()?),
            b'X' => Self::ProcessEnd(serde_json::from_slice(content).ok()?),
            b'Z' => Self::End(serde_json::from_slice(content).ok()?),
            b'E' => decode_events(content)?,
            b'A' => Self::Merged(Merged::decode(content)?),
            b'L' => Self::Stall(Stall::decode(content)?),
            b'K' => Self::Stack(NewStack::decode(content)?),
            b'H' => Self::Sighting(Sighting::decode(content)?),
            b'G' => Self::HolderSample(HolderSample::decode(content)?),
            b'U' => Self::Usage(Usage::decode(content)?),
            b'C' => Self::Cores(Cores::decode(content)?),
            b'M' => Self::Host(serde_json::from_slice(content).ok()?),
            b'F' => {
                let mut rest = content;
                let mut number = || take(&mut rest);
                let (process, row) = (u32::try_from(number()?).ok()?, number()?);
                let mut numbers = [0; Totals::NUMBERS];
                for place in &mut numbers {
                    *place = number()?;
                }
                Self::Totals { process, row, totals: Totals::of(numbers) }
            }
            _ => return None,
        })
    }
}

impl Totals {
    const NUMBERS: usize = 12;

    fn numbers(&self) -> [u64; Self::NUMBERS] {
        let plus_one = |value: Option<u64>| value.map_or(0, |value| value.saturating_add(1));
        [
            self.held_ns,
            self.waited_ns,
            self.acquisitions,
            self.voluntary_releases,
            self.forced_drops,
            self.waits,
            self.longest_hold_ns,
            self.longest_wait_ns,
            self.lost,
            plus_one(self.holds_since_ns),
            plus_one(self.waits_since_ns),
            plus_one(self.cpu_ns),
        ]
    }

    fn of(numbers: [u64; Self::NUMBERS]) -> Self {
        let [
            held_ns,
            waited_ns,
            acquisitions,
            voluntary_releases,
            forced_drops,
            waits,
            longest_hold_ns,
            longest_wait_ns,
            lost,
            holds,
            waits_since,
            cpu,
        ] = numbers;
        Self {
            held_ns,
            waited_ns,
            acquisitions,
            voluntary_releases,
            forced_drops,
            waits,
            longest_hold_ns,
            longest_wait_ns,
            lost,
            holds_since_ns: holds.checked_sub(1),
            waits_since_ns: waits_since.checked_sub(1),
            cpu_ns: cpu.checked_sub(1),
        }
    }
}

/// Each event is `(time since the event before << 3) | kind`; the time of a lost one is the number of missing events.
fn encode_events(process: u32, row: u64, events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + 4 * events.len());
    [u64::from(process), row, events.len() as u64].iter().for_each(|number| put(&mut bytes, *number));
    let mut before = 0;
    for event in events {
        let value = if event.kind == Kind::Lost {
            event.at
        } else {
            // The clock of a thread that moves to another core may be behind by some ticks.
            let since = event.at.saturating_sub(before);
            before += since;
            since
        };
        put(&mut bytes, value << 3 | event.kind as u64);
    }
    bytes
}

fn decode_events(mut content: &[u8]) -> Option<Block> {
    let rest = &mut content;
    let (process, row, count) = (u32::try_from(take(rest)?).ok()?, take(rest)?, take(rest)?);
    let mut events = Vec::new();
    let mut before = 0u64;
    for _ in 0..count {
        let word = take(rest)?;
        let (kind, value) = (Kind::of(word & 7)?, word >> 3);
        if kind != Kind::Lost {
            before = before.checked_add(value)?;
        }
        events.push(Event { kind, at: if kind == Kind::Lost { value } else { before } });
    }
    Some(Block::Events { process, row, events })
}
