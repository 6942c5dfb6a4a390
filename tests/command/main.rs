//! The command as its users run it: what it prints, its exit codes, and what it leaves behind.

mod bounds;
mod harness;
mod load;
mod processes;
mod run;
mod usage;
