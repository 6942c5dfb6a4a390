//! A recorded program: the file of a recording ([`Block`], [`FileError`]), what it says about each process and thread
//! ([`Recording`]), the states of a thread over time ([`lane`]), and the stalls with their causes and stacks ([`Stalls`]). Plain
//! data: no process, no clock.

mod blame;
mod block;
mod cause;
mod chrome;
mod convoy;
#[cfg(test)]
mod example;
mod file;
mod firefox;
mod held_by;
mod holder_sample;
mod lane;
mod leb128;
mod perfetto;
mod picture;
mod recording;
mod result;
mod row;
mod stall;
mod stalls;
mod timeline;
mod usage;

pub use blame::{NewStack, Sample, Sighting, Stacks};
pub use block::{Block, End, Ending, Event, Process, ProcessEnd, Start, Thread, Totals};
pub use busy_gil::log::Kind;
pub use cause::Cause;
pub use chrome::chrome;
pub use file::{FileError, HEAD, blocks};
pub use firefox::firefox;
pub use held_by::{Node, held_by};
pub use holder_sample::HolderSample;
pub use lane::{Lane, State, Stretch, lane};
pub use leb128::put as put_leb128;
pub use perfetto::perfetto;
pub use picture::{CorePicture, FINE, LanePicture, OVERVIEW, Picture, Released, Times, picture};
pub use recording::{ProcessRecord, Recording, ThreadFigures, ThreadRecord};
pub use result::{recorded_stall, result};
pub use stall::Stall;
pub use stalls::Stalls;
pub use usage::{Cores, ThreadUsage, Usage};
