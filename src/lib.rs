//! The lab and the command `busy`: finds interpreters, runs the talk's experiments and users' statements on them in supervised
//! child processes, measures, and shows the results. It stands above libbusy and the Python module, which know nothing of it.
//!
//! Each module imports only those below it in this list, and the leaves [`results`], [`units`] and [`paths`].

pub mod command;
pub mod show;

pub mod experiments;

pub mod trace;

pub mod measure;

pub mod provision;

pub mod interpreter;

pub mod process;

pub mod paths;
pub mod results;
pub mod units;
