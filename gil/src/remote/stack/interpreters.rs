//! The interpreters of a process and their threads.

use super::super::locate::State;
use super::super::offsets::ThreadOffsets;
use super::super::target::Target;
use super::super::tid::ThreadIds;
use super::error::StackError;
use super::layout::Layout;

/// A thread that has a PyThreadState.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PythonThread {
    /// The thread's id, as gettid(2) returns it.
    pub tid: u32,
    /// The address of its PyThreadState. A thread that enters several interpreters has several.
    pub state: u64,
    /// The id of its interpreter: 0 for the main one, which is the only one up to 3.6 here.
    pub interpreter: i64,
}

/// An interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interpreter {
    pub address: u64,
    id: i64,
}

/// Returns the interpreters. Up to 3.6 there is one, which is found only while a thread holds the GIL.
pub(super) fn interpreters(target: &Target, layout: &Layout, state: State) -> Result<Vec<Interpreter>, StackError> {
    /// The list may change while it is walked.
    const MOST: usize = 4096;
    let mut found = Vec::new();
    match (state, layout.interpreter.head, layout.interpreter.id) {
        (State::Runtime(runtime), Some(head), Some(id)) => {
            let mut address = target.word(runtime.wrapping_add(head))?.unwrap_or(0);
            while address != 0 && found.len() < MOST {
                let Some(id) = target.word(address.wrapping_add(id))? else { break };
                found.push(Interpreter { address, id: id as i64 });
                address = target.word(address.wrapping_add(layout.interpreter.next))?.unwrap_or(0);
            }
        }
        (State::CurrentThread(current), ..) => {
            let thread = target.word(current)?.unwrap_or(0);
            if thread != 0 {
                let address = target.word(thread.wrapping_add(layout.thread.interpreter))?.unwrap_or(0);
                found.push(Interpreter { address, id: 0 });
            }
        }
        _ => {}
    }
    Ok(found)
}

/// The maximum number of threads that are listed. A list that changes while it is walked could lead in circles.
const MOST_THREADS: usize = 1 << 16;

/// Returns the threads of `interpreter`. Those that end meanwhile are left out.
pub(super) fn threads(
    target: &Target,
    layout: &Layout,
    interpreter: Interpreter,
    ids: &mut ThreadIds,
    offsets: ThreadOffsets,
) -> Result<Vec<PythonThread>, StackError> {
    let mut found = Vec::new();
    let mut state = target.word(interpreter.address.wrapping_add(layout.interpreter.threads))?.unwrap_or(0);
    for _ in 0..MOST_THREADS {
        // The state of an ended thread is no longer this interpreter's, and neither is the rest of its list.
        let owner = target.word(state.wrapping_add(layout.thread.interpreter))?;
        if state == 0 || owner != Some(interpreter.address) {
            break;
        }
        if let Some(tid) = ids.of(target, state, offsets)? {
            found.push(PythonThread { tid, state, interpreter: interpreter.id });
        }
        state = target.word(state.wrapping_add(layout.thread.next))?.unwrap_or(0);
    }
    Ok(found)
}

/// Returns the interpreter at `address` if its list of threads has the PyThreadState at `state`. For 2.7 and 3.6, whose
/// interpreters can't be listed while no thread holds the GIL.
pub(super) fn interpreter_of(
    target: &Target,
    layout: &Layout,
    address: u64,
    state: u64,
) -> Result<Option<Interpreter>, StackError> {
    let mut other = target.word(address.wrapping_add(layout.interpreter.threads))?.unwrap_or(0);
    for _ in 0..MOST_THREADS {
        if other == state {
            return Ok(Some(Interpreter { address, id: 0 }));
        }
        if other == 0 {
            break;
        }
        other = target.word(other.wrapping_add(layout.thread.next))?.unwrap_or(0);
    }
    Ok(None)
}
