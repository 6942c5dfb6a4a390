//! A recorded program: the file of a recording ([`Block`], [`FileError`]), what it says about each process and thread
//! ([`Recording`]), the states of a thread over time ([`lane`]), and the stalls with their causes and stacks ([`Stalls`]). Plain
//! data: no process, no clock.

mod blame;
mod block;
mod cause;
mod convoy;
mod file;
mod lane;
mod numbers;
mod recording;
mod row;
mod stall;
mod stalls;

pub use blame::{NewStack, Sample, Sighting, Stacks};
pub use block::{Block, End, Ending, Event, Process, ProcessEnd, Start, Thread, Totals};
pub use busy_gil::log::Kind;
pub use cause::Cause;
pub use file::{FileError, HEAD, blocks};
pub use lane::{Lane, State, Stretch, lane};
pub use recording::{ProcessRecord, Recording, ThreadFigures, ThreadRecord};
pub use stall::Stall;
pub use stalls::Stalls;
