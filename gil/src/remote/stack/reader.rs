//! Reads the stacks of the threads of one process.

use super::super::error::RemoteError;
use super::super::locate::State;
use super::super::offsets::ThreadOffsets;
use super::super::place::Gil;
use super::super::target::Target;
use super::super::tid::ThreadIds;
use super::chunk::Chunks;
use super::code::Codes;
use super::debug_offsets::{self, WORDS};
use super::error::StackError;
use super::interpreters::{self, Interpreter, PythonThread};
use super::layout::Layout;
use super::roots::Roots;
use super::table;
use super::thread_words::ThreadWords;
use super::walk::{MOST_FRAMES, RawFrame, Walked, are_unchanged, walk};
use std::fmt;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The name of the file as the code object has it, for example `<string>`. If it has more than 4096 characters, `…`
    /// replaces the rest. A byte that is not UTF-8 is shown as in a traceback, for example `\udcff`.
    pub file: Arc<str>,
    /// The name of the function: `co_qualname`, for example `Class.method`; up to 3.10 `co_name`, for example `method`.
    pub function: Arc<str>,
    /// The line that is executed. `None` if the instruction has no line: the compiler inserted it, or it is the first
    /// one of a module, for which Python itself reports line 0.
    pub line: Option<u32>,
}

/// The Python stack of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stack {
    /// The frames, the innermost first. Native functions have none. Empty while the thread runs no Python code.
    pub frames: Vec<Frame>,
    /// The number of outer frames that are left out, since a stack has at most [`StackReader::MOST_FRAMES`]. At most
    /// 65,536 frames are followed.
    pub cut: usize,
    /// The thread has called a function or returned from one while its stack was read, so lines and outer frames may be
    /// those of another moment; or it was just calling one. If false, all frames were the same when they were read a
    /// second time. A sampler that drops stacks which moved sees too little of short functions.
    pub moved: bool,
}

/// A stack that does not contradict itself.
struct Attempt {
    stack: Stack,
    root: u64,
    /// Its outermost frame is the thread's.
    is_complete: bool,
}

/// Reads the Python stacks of one process, which may be the calling one. Keeps the code objects that it has read.
pub struct StackReader {
    target: Target,
    version: String,
    layout: Layout,
    state: State,
    offsets: ThreadOffsets,
    ids: ThreadIds,
    /// The interpreters when a thread of an unknown one was last met.
    interpreters: Vec<Interpreter>,
    codes: Codes,
    chunks: Chunks,
    frames: Vec<RawFrame>,
    roots: Roots,
    /// Reused by each check.
    addresses: Vec<u64>,
    memory: Vec<u8>,
}

impl StackReader {
    /// The maximum number of frames of a [`Stack`].
    pub const MOST_FRAMES: usize = MOST_FRAMES;

    /// Finds CPython in process `pid`, and verifies that its stacks can be read, which may take up to a second.
    ///
    /// # Errors
    /// The reason why stacks can't be read, and what to do.
    pub fn attach(pid: u32) -> Result<Self, StackError> {
        let target = Target::open(pid)?;
        let gil = Gil::find(&target)?;
        let layout = layout(&target, &gil)?;
        let mut reader = Self {
            ids: ThreadIds::new(&target)?,
            layout,
            state: gil.located.state,
            offsets: gil.thread,
            interpreters: Vec::new(),
            codes: Codes::new(gil.located.variables.clone()),
            chunks: Chunks::default(),
            frames: Vec::new(),
            roots: Roots::default(),
            addresses: Vec::new(),
            memory: Vec::new(),
            version: gil.version.text,
            target,
        };
        reader.verify()?;
        Ok(reader)
    }

    /// Returns the id of the process.
    pub fn pid(&self) -> u32 {
        self.target.pid
    }

    /// Returns CPython's version, for example `3.11.7`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the threads that have a PyThreadState, in no particular order. If the list changes while it is read,
    /// some may be missing.
    ///
    /// # Errors
    /// NoHolder up to 3.6; Process if the process has ended.
    pub fn threads(&mut self) -> Result<Vec<PythonThread>, StackError> {
        self.find_interpreters()?;
        if self.interpreters.is_empty() && matches!(self.state, State::CurrentThread(_)) {
            return Err(StackError::NoHolder { pid: self.target.pid });
        }
        let mut found = Vec::new();
        for interpreter in &self.interpreters {
            let (target, layout) = (&self.target, &self.layout);
            found.extend(interpreters::threads(target, layout, *interpreter, &mut self.ids, self.offsets)?);
        }
        Ok(found)
    }

    /// Reads the stack of the thread whose PyThreadState is at `state`. Takes about 5 to 15 µs for ten frames. If the
    /// thread moves meanwhile, up to three more attempts are made.
    ///
    /// # Errors
    /// NoThread if there is no thread state; Torn if the parts of the stack contradict each other in each attempt;
    /// Process if the process has ended or has replaced its program.
    pub fn read(&mut self, state: u64) -> Result<Stack, StackError> {
        const ATTEMPTS: u32 = 4;
        let mut best: Option<Attempt> = None;
        let mut torn = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(state) {
                Ok(attempt) if !attempt.stack.moved => return Ok(attempt.stack),
                // A stack that moved, but is complete, is better than one that may not be.
                Ok(attempt) => best = Some(best.filter(|best| best.is_complete).unwrap_or(attempt)),
                Err(error) if error.is_torn() => torn = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (best, torn) {
            (Some(best), _) => {
                if !best.is_complete {
                    self.roots.learn(state, best.root);
                }
                Ok(best.stack)
            }
            (None, Some(error)) => Err(error),
            (None, None) => unreachable!("each attempt has one of these results"),
        }
    }

    fn attempt(&mut self, state: u64) -> Result<Attempt, StackError> {
        let no_thread = || StackError::NoThread { pid: self.target.pid, state };
        let thread = ThreadWords::read(&self.target, &self.layout, state)?.ok_or_else(no_thread)?;
        if !self.knows(&thread) {
            self.find_interpreters()?;
            if self.interpreters.is_empty() {
                let found = interpreters::interpreter_of(&self.target, &self.layout, thread.interpreter, state)?;
                self.interpreters.extend(found);
            }
            if !self.knows(&thread) {
                return Err(StackError::NoThread { pid: self.target.pid, state });
            }
        }
        let Walked { cut, root, is_before } =
            walk(&self.target, &self.layout, &thread, &mut self.chunks, &mut self.frames)?;
        self.codes.update(&self.target, &self.layout, &self.frames)?;
        let is_complete = self.roots.is_known(state, root) && !self.begins_in_generator();
        let scratch = (&mut self.addresses, &mut self.memory);
        let moved = !is_complete
            || is_before
            || !are_unchanged(&self.target, &self.layout, &self.frames, scratch)?
            || !thread.is_unchanged(&self.target, &self.layout, state)?;
        let frames = self.frames.iter().filter_map(|frame| {
            let code = self.codes.get(frame.code)?;
            let line = code.line(&self.layout, frame.code, *frame)?;
            Some(Frame { file: Arc::clone(&code.file), function: Arc::clone(&code.function), line })
        });
        Ok(Attempt { stack: Stack { frames: frames.collect(), cut, moved }, root, is_complete })
    }

    /// Returns true if the outermost frame is a generator's. The link to its caller is removed while a generator is
    /// suspended, so the frame is very probably no longer executed, although a C program may resume one without a
    /// caller.
    fn begins_in_generator(&self) -> bool {
        let is_generator =
            |frame: &RawFrame| frame.is_generator || self.codes.get(frame.code).is_some_and(|code| code.is_generator);
        self.frames.last().is_some_and(|outermost| outermost.previous == 0 && is_generator(outermost))
    }

    fn knows(&self, thread: &ThreadWords) -> bool {
        self.interpreters.iter().any(|interpreter| interpreter.address == thread.interpreter)
    }

    /// Lists the interpreters again. Up to 3.6, the last known one is kept while no thread holds the GIL.
    fn find_interpreters(&mut self) -> Result<(), StackError> {
        let found = interpreters::interpreters(&self.target, &self.layout, self.state)?;
        if !found.is_empty() || matches!(self.state, State::Runtime(_)) {
            self.interpreters = found;
        }
        Ok(())
    }

    /// Checks that threads point to their interpreter, and that a stack can be read if a thread has one. This confirms
    /// the layout.
    fn verify(&mut self) -> Result<(), StackError> {
        /// The time limit. Threads come and go, and a process that has just started has no frame yet.
        const PATIENCE: Duration = Duration::from_secs(1);
        let start = Instant::now();
        loop {
            let last = match self.threads() {
                // Nothing contradicts the layout. Each stack is checked when it is read.
                Err(StackError::NoHolder { .. }) => return Ok(()),
                Err(error) => return Err(error),
                Ok(threads) => {
                    let mut last = None;
                    for thread in threads {
                        match self.read(thread.state) {
                            Ok(_) => return Ok(()),
                            Err(error @ StackError::Process(_)) => return Err(error),
                            Err(error) => last = Some(error),
                        }
                    }
                    last
                }
            };
            if start.elapsed() >= PATIENCE {
                let expected = "expected a thread with a stack that can be read, found";
                let found = match last {
                    Some(error) => format!("{expected}: {error}"),
                    None => format!("{expected} no thread"),
                };
                let (pid, version) = (self.target.pid, self.version.clone());
                return Err(RemoteError::Layout { pid, version, found }.into());
            }
            sleep(Duration::from_micros(200));
        }
    }

    #[cfg(test)]
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl fmt::Debug for StackReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("StackReader");
        debug.field("pid", &self.pid()).field("version", &self.version).finish_non_exhaustive()
    }
}

/// Returns the layout of CPython in the process.
fn layout(target: &Target, gil: &Gil) -> Result<Layout, StackError> {
    let version = &gil.version;
    if let Some(layout) = table::by_table(version.major, version.minor) {
        return Ok(layout);
    }
    let State::Runtime(runtime) = gil.located.state else {
        return Err(RemoteError::Version { pid: target.pid, version: version.text.clone() }.into());
    };
    let mut bytes = [0; WORDS * 8];
    if !target.read(runtime, &mut bytes)? {
        return Err(gil.unloaded(target).into());
    }
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    // `Gil::find` has checked the cookie and the version. The next word is `free_threaded`.
    if words[2] != 0 {
        return Err(StackError::FreeThreaded { pid: target.pid, version: version.text.clone() });
    }
    debug_offsets::parse(&words, version.minor).map_err(|found| gil.layout(target, found).into())
}
