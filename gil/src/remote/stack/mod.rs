//! Reads the Python stack of a thread of any CPython process, given the address of its PyThreadState: the file, the
//! function and the line of each frame. Supports 2.7 and 3.6 to 3.15 with a GIL, on x86-64 Linux.
//!
//! The process is not stopped, and its memory is not written: CPython's frames, code objects and names are read while
//! the process runs, so any word may be garbage. Every length is bounded, every pointer is checked before it is used,
//! and a stack that contradicts itself is refused as torn.

mod chunk;
mod code;
mod debug_offsets;
mod error;
#[allow(unsafe_code, reason = "process_vm_readv(2), which rustix does not have")]
mod gather;
#[cfg(test)]
mod headers;
mod interpreters;
mod layout;
mod lines;
mod reader;
mod roots;
mod table;
mod text;
mod thread_words;
mod walk;

pub use error::StackError;
pub use interpreters::PythonThread;
pub use reader::{Frame, Stack, StackReader};
