//! A recorded program: the file of a recording ([`Block`], [`FileError`]), what it says about each process and thread
//! ([`Recording`]), and the states of a thread over time ([`lane`]). Plain data: no process, no clock.

mod block;
mod file;
mod lane;
mod recording;

pub use block::{Block, End, Ending, Event, Process, ProcessEnd, Start, Thread, Totals};
pub use busy_gil::log::Kind;
pub use file::{FileError, HEAD, blocks};
pub use lane::{Lane, State, Stretch, lane};
pub use recording::{ProcessRecord, Recording, ThreadFigures, ThreadRecord};
