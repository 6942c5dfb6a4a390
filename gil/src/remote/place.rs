//! Finds the GIL of a process: CPython's file, its version, its state, and the GIL in it. Later, checks whether the GIL
//! is still there.

use super::error::RemoteError;
use super::locate::{Located, State, locate};
use super::offsets::{self, GilOffsets, InterpreterOffsets, Offsets, Place, ThreadOffsets};
use super::target::Target;
use super::version::Version;
use std::iter::once;
use std::ops::Range;

/// The GIL of the main interpreter.
#[derive(Debug)]
pub(super) struct Gil {
    pub located: Located,
    pub version: Version,
    pub place: Place,
    pub thread: ThreadOffsets,
    pub kind: Kind,
    /// The ids of the interpreters that have another GIL.
    pub others: Vec<i64>,
}

/// The method of reading the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reads it from the struct at `address`.
    Struct { address: u64, fields: GilOffsets },
    /// Reads it from the pointer at `address` to the current thread's state.
    Current { address: u64 },
}

impl Gil {
    pub fn find(target: &Target) -> Result<Self, RemoteError> {
        let located = locate(target)?;
        let not_initialised = || RemoteError::NotInitialised { pid: target.pid, file: located.file.clone() };
        let version = Version::find(target, &located.variables)?.ok_or_else(not_initialised)?;
        let layout = |found| RemoteError::Layout { pid: target.pid, version: version.text.clone(), found };
        let Offsets { place, thread } = match (offsets::by_table(version.major, version.minor), located.state) {
            (Some(offsets), _) => offsets,
            (None, State::Runtime(runtime)) if version.major == 3 && (13..=15).contains(&version.minor) => {
                offsets::read_debug_offsets(target, runtime, version.minor)?.map_err(layout)?
            }
            (None, _) => return Err(RemoteError::Version { pid: target.pid, version: version.text }),
        };
        let (kind, others) = match (place, located.state) {
            (Place::None, State::CurrentThread(address)) => (Kind::Current { address }, Vec::new()),
            (Place::Runtime { gil, head }, State::Runtime(runtime)) => {
                let first = target.word(runtime.wrapping_add(head))?;
                first.filter(|first| *first != 0).ok_or_else(not_initialised)?;
                (Kind::Struct { address: runtime.wrapping_add(gil), fields: GilOffsets::USUAL }, Vec::new())
            }
            (Place::Interpreter(offsets), State::Runtime(runtime)) => {
                let (address, others) = main_gil(target, runtime, offsets)?.ok_or_else(not_initialised)?;
                (Kind::Struct { address, fields: offsets.fields }, others)
            }
            (_, state) => return Err(layout(format!("found {state:x?}, which that version does not have"))),
        };
        Ok(Self { located, version, place, thread, kind, others })
    }

    /// Checks that the GIL is where it was, and reads again which interpreters have their own GIL.
    ///
    /// # Errors
    /// Unloaded or NotInitialised if the GIL is no longer there.
    pub fn verify(&mut self, target: &Target) -> Result<(), RemoteError> {
        if !self.version.is_there(target)? {
            return Err(self.unloaded(target));
        }
        let same = match (self.place, self.located.state) {
            (Place::Runtime { head, .. }, State::Runtime(runtime)) => {
                target.word(runtime.wrapping_add(head))?.is_some_and(|w| w != 0)
            }
            (Place::Interpreter(offsets), State::Runtime(runtime)) => match main_gil(target, runtime, offsets)? {
                Some((address, others)) => {
                    self.others = others;
                    self.kind == Kind::Struct { address, fields: offsets.fields }
                }
                None => false,
            },
            _ => true,
        };
        if same { Ok(()) } else { Err(self.not_initialised(target)) }
    }

    /// Returns the addresses at which threads that wait for the GIL sleep; none if these are unknown.
    pub fn waiting_at(&self, target: &Target) -> Result<Vec<Range<u64>>, RemoteError> {
        Ok(match self.kind {
            Kind::Struct { address, fields } => {
                let start = address.wrapping_add(fields.cond);
                once(start..start.saturating_add(fields.size - fields.cond)).collect()
            }
            // In 3.6 the GIL's conditions and mutexes are static variables (Python/ceval_gil.h); all other locks are
            // not.
            Kind::Current { .. } if self.version.major == 3 => self.located.variables.clone(),
            // In 2.7 the GIL is a semaphore (sem_t) behind a pointer, which is NULL until a second thread starts
            // (Python/ceval.c).
            Kind::Current { .. } => match self.located.interpreter_lock {
                Some(pointer) => {
                    let lock = target.word(pointer)?.unwrap_or(0);
                    once(lock..lock.saturating_add(32)).collect()
                }
                None => Vec::new(),
            },
        })
    }

    pub fn unloaded(&self, target: &Target) -> RemoteError {
        RemoteError::Unloaded { pid: target.pid, file: self.located.file.clone() }
    }

    pub fn not_initialised(&self, target: &Target) -> RemoteError {
        RemoteError::NotInitialised { pid: target.pid, file: self.located.file.clone() }
    }

    pub fn layout(&self, target: &Target, found: String) -> RemoteError {
        RemoteError::Layout { pid: target.pid, version: self.version.text.clone(), found }
    }
}

/// Returns the GIL of the interpreter whose id is 0, and the ids of the interpreters that have another GIL. `None` if
/// there is no such interpreter.
fn main_gil(
    target: &Target,
    runtime: u64,
    offsets: InterpreterOffsets,
) -> Result<Option<(u64, Vec<i64>)>, RemoteError> {
    /// The list may change while it is walked.
    const MOST: usize = 4096;
    let mut found = Vec::new();
    let mut interpreter = target.word(runtime.wrapping_add(offsets.head))?.unwrap_or(0);
    while interpreter != 0 && found.len() < MOST {
        let field = |offset| target.word(interpreter.wrapping_add(offset));
        let (Some(id), Some(gil), Some(next)) = (field(offsets.id)?, field(offsets.gil)?, field(offsets.next)?) else {
            break;
        };
        found.push((id as i64, gil));
        interpreter = next;
    }
    let Some((_, main)) = found.iter().find(|(id, gil)| *id == 0 && *gil != 0) else { return Ok(None) };
    let own = found.iter().filter(|(_, gil)| *gil != 0 && gil != main).map(|(id, _)| *id);
    Ok(Some((*main, own.collect())))
}
