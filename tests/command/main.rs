//! The command as its users run it: its output, its exit codes, and the processes and files that it leaves.

mod blame;
mod check;
mod exports;
mod harness;
mod hostile;
mod inherited;
mod install;
mod interpreters;
mod kills;
mod late_worker;
mod load;
mod namespaces;
mod record;
mod recorded_processes;
mod report;
mod run;
mod sampled;
mod self_reported;
mod terminal;
mod termination;
mod top;
mod usage;
mod wheel;
