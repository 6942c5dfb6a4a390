//! How the state is shown.

/// The figure by which the threads are sorted, the largest first; or their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The CPU time.
    Cpu,
    /// The time that they held the GIL.
    #[default]
    Held,
    /// The time that they waited for the GIL.
    Waiting,
    /// The longest recent stall.
    Stall,
    /// The name.
    Name,
}

/// A question that waits for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Is the program, which still runs, to be ended by SIGTERM?
    Terminate,
    /// It was sent SIGTERM, and still runs: is it to be killed?
    Kill,
}

/// How the state is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The order of the threads.
    pub sort: Sort,
    /// The number of threads above the first one on the screen.
    pub scroll: usize,
    /// True if the screen stands still.
    pub is_paused: bool,
    /// True if the help is shown.
    pub has_help: bool,
    /// The question, if there is one.
    pub question: Option<Question>,
    /// The place where the program's output goes, if it is not this terminal. None if no program was started.
    pub output: Option<String>,
}
