//! What the target busy_gil consists of: the calls with their arguments (steps.rs), the thread that makes them and
//! knows what must follow (run.rs, reads.rs, stalls.rs), the objects that report stalls (object.rs), the checks of what is
//! written (readings.rs), and the Python of the process (python.rs).

mod documented;
pub mod header;
mod memory;
mod object;
pub mod python;
mod readings;
mod reads;
pub mod run;
pub mod stalls;
pub mod steps;
