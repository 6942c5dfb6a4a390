//! A recorded program: the file of a recording ([`Block`], [`FileError`]), its content by process and thread
//! ([`Recording`]), the states of a thread over time ([`Lane`]), and the stalls with their causes and stacks ([`Stalls`]). Plain
//! data: no process, no clock.

mod blame;
mod block;
mod cause;
mod chrome;
mod convoy;
mod event;
#[cfg(test)]
mod example;
mod file;
mod firefox;
mod held_by;
mod holder_sample;
mod lane;
mod leb128;
mod merged;
mod perfetto;
mod picture;
mod recording;
mod result;
mod row;
mod shorten;
mod stack_lines;
mod stall;
mod stalls;
mod timeline;
mod usage;

pub use blame::{NewStack, Sample, Sighting, Stacks};
pub use block::{Block, End, Ending, Process, ProcessEnd, Start, Thread, Totals};
pub use busy_gil::log::Kind;
pub use cause::Cause;
pub use chrome::chrome;
pub use event::Event;
pub use file::{Blocks, FileError, HEAD, Rest};
pub use firefox::firefox;
pub use held_by::{Node, held_by, held_by_samples};
pub use holder_sample::HolderSample;
pub use lane::{Lane, Shares, State, Stretch};
pub use leb128::put as put_leb128;
pub use merged::{Merged, Part};
pub use perfetto::perfetto;
pub use picture::{CorePicture, FINE, LanePicture, OVERVIEW, Picture, Released, Times, picture};
pub use recording::{ProcessRecord, Recording, ThreadFigures, ThreadRecord};
pub use result::{KILLED, recorded_stall, result};
pub use shorten::{Plan, shorten};
pub use stack_lines::stack_lines;
pub use stall::Stall;
pub use stalls::Stalls;
pub use usage::{Cores, ThreadUsage, Usage};
