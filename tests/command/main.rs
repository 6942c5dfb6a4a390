//! The command as its users run it: what it prints, its exit codes, and what it leaves behind.

mod bounds;
mod cell;
mod check;
mod harness;
mod hostile;
mod inherited;
mod interpreters;
mod kills;
mod load;
mod processes;
mod run;
mod told;
mod usage;
