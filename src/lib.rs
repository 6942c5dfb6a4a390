//! The lab: runs the experiments, watches them, and reports.
pub mod loader;
