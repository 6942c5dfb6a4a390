//! The state of a program's threads at one moment.

use std::rc::Rc;

/// How the figures were obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// From every acquire, release and wait.
    Exact,
    /// From so many samples per second.
    Samples(u32),
}

/// All that is shown. Shares are from 0 to 1, over the last second; that of the CPU is of one core.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// How the figures were obtained.
    pub meter: Meter,
    /// The program, or the process.
    pub subject: String,
    /// The time since the start, in seconds.
    pub elapsed_s: f64,
    /// The cores.
    pub cores: Vec<Core>,
    /// The processes with a Python.
    pub processes: Vec<Process>,
    /// The threads of all processes.
    pub threads: Vec<Thread>,
    /// The recent stalls, the worst first. None with samples, which do not show where a hold begins and ends.
    pub stalls: Option<Vec<Stall>>,
    /// The length from which on a wait is a stall, in seconds.
    pub threshold_s: f64,
}

/// A core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Core {
    /// Its number.
    pub number: u32,
    /// The share of the time in which it was used.
    pub busy: f64,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The version of its Python.
    pub version: String,
    /// The share of the time in which any thread held the main interpreter's GIL.
    pub held: Option<f64>,
    /// The reason why figures are missing.
    pub reason: Option<String>,
}

/// A thread, with one GIL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Thread {
    /// The process id.
    pub pid: u32,
    /// The native thread id.
    pub tid: u32,
    /// The index of the GIL, 0 for the main interpreter's.
    pub gil: u32,
    /// The native name.
    pub name: String,
    /// The share of a core that it used. None where the thread has more than one GIL, and this is not the first row.
    pub cpu: Option<f64>,
    /// The share of the time in which it held the GIL. None if it has not used the GIL, or is not metered.
    pub held: Option<f64>,
    /// The share of the time in which it waited for the GIL.
    pub waiting: Option<f64>,
    /// The longest recent stall that it waited for.
    pub stall: Option<Wait>,
    /// The stack of the thread that held the GIL in that stall, the innermost frame first, as `file:line function`. With
    /// samples, the stack of this thread when it was last seen holding the GIL. Empty if none was read.
    pub stack: Rc<[String]>,
}

/// A stall that a thread waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wait {
    /// The length of the hold in seconds; of the wait, if it goes on.
    pub length_s: f64,
    /// True if the thread still waits.
    pub goes_on: bool,
}

/// A stall.
#[derive(Debug, Clone, PartialEq)]
pub struct Stall {
    /// The length of the hold so far, in seconds.
    pub held_s: f64,
    /// True if it still goes on.
    pub goes_on: bool,
    /// The process id, and the native id of the thread that held the GIL.
    pub pid: u32,
    /// See `pid`.
    pub holder: u32,
    /// The number of threads that waited.
    pub waiters: usize,
    /// How long they waited in all, in seconds.
    pub lost_s: f64,
    /// The holder's stack, the innermost frame first, as `file:line function`. Empty if none was read.
    pub stack: Vec<String>,
}

impl Thread {
    /// Returns what distinguishes the row from others.
    pub(super) fn key(&self) -> (u32, u32, u32) {
        (self.pid, self.tid, self.gil)
    }
}
