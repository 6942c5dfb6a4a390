//! The command as its users run it: what it prints, its exit codes, and what it leaves behind.

mod bounds;
mod harness;
mod hostile;
mod inherited;
mod interpreters;
mod load;
mod run;
mod told;
mod usage;
