//! What a PyThreadState shows of the thread's stack.

use super::super::error::RemoteError;
use super::super::target::Target;
use super::layout::{Layout, word};

/// The words of a PyThreadState.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ThreadWords {
    pub interpreter: u64,
    /// The innermost frame, or 0.
    pub frame: u64,
    /// The frame that was the innermost one when the thread entered the eval loop in which it is now, in 3.11 and 3.12.
    pub entry: u64,
    /// The current chunk of its data stack and the end of the frames in it, from 3.11 on.
    pub chunk: u64,
    pub top: u64,
}

impl ThreadWords {
    /// Reads the PyThreadState at `state`. Returns `None` if it is not mapped.
    pub fn read(target: &Target, layout: &Layout, state: u64) -> Result<Option<Self>, RemoteError> {
        /// Large enough for the table's versions; the debug offsets of later ones are checked against it.
        const MOST: usize = 1024;
        let thread = &layout.thread;
        let last = thread.top().unwrap_or(0).max(thread.frame).max(thread.interpreter);
        let mut memory = [0; MOST];
        let Some(memory) = memory.get_mut(..last as usize + 8) else { return Ok(None) };
        if !target.read(state, memory)? {
            return Ok(None);
        }
        let word = |offset: u64| word(memory, offset);
        let (interpreter, chunk, top) =
            (word(thread.interpreter), thread.chunk.map_or(0, word), thread.top().map_or(0, word));
        let (frame, entry) = match (word(thread.frame), thread.cframe) {
            (cframe, Some(current)) if cframe != 0 => cframes(target, cframe, current)?,
            (frame, _) => (frame, 0),
        };
        Ok(Some(Self { interpreter, frame, entry, chunk, top }))
    }

    /// Returns true if the thread has neither called nor returned since.
    pub fn is_unchanged(&self, target: &Target, layout: &Layout, state: u64) -> Result<bool, RemoteError> {
        Ok(Self::read(target, layout, state)?.is_some_and(|now| now == *self))
    }
}

/// Returns the frame of the _PyCFrame at `cframe`, and that of the one before it, in 3.11 and 3.12. The field is at
/// `current`, and the pointer to the one before it follows.
fn cframes(target: &Target, cframe: u64, current: u64) -> Result<(u64, u64), RemoteError> {
    let mut fields = [0; 16];
    if !target.read(cframe.wrapping_add(current), &mut fields)? {
        return Ok((0, 0));
    }
    let entry = match word(&fields, 8) {
        0 => 0,
        previous => target.word(previous.wrapping_add(current))?.unwrap_or(0),
    };
    Ok((word(&fields, 0), entry))
}
