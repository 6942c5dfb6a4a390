//! A program of the user's whose Pythons are metered while it runs: what `busy record` and `busy top` share.
//!
//! ```text
//! program (libbusy_record.so) --logs, in a folder of shared memory (folder.rs)--> recorder.rs --blocks--> trace::Recording
//!   started by program.rs                                            log.rs           '--blocks--> FILE.busy, of a record
//! ```

mod bounded_file;
mod environment;
mod folder;
mod log;
mod program;
mod recorder;
mod running;
mod unrecorded;
mod usage;
mod watcher;

pub use bounded_file::BoundedFile;
pub use program::{Intervals, Program, ProgramError, begin, check_executable, exit_code, not_started};
pub use recorder::{Recorder, Sampled};
pub use watcher::GoingOn;
