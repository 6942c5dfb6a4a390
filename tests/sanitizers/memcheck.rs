//! Memcheck, the memory checker of valgrind.

use super::common::{describe, run};
use std::process::Command;
use tempfile::NamedTempFile;

/// Returns whether valgrind is installed, and prints a message if not.
pub fn is_installed() -> bool {
    let found = Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: valgrind is not installed");
    }
    found
}

/// Runs a program to its end, and returns the errors that have libbusy in their stack. Python causes others, in any
/// program: it reads uninitialised memory.
///
/// `command` returns the command, given the words that come before the program.
pub fn memcheck(command: impl FnOnce(&[&str]) -> Command) -> Vec<String> {
    let report = NamedTempFile::new().unwrap();
    let file = format!("--xml-file={}", report.path().display());
    let output = run(&mut command(&["valgrind", "--xml=yes", &file, "--num-callers=40", "--fair-sched=yes"]));
    let report = std::fs::read_to_string(report.path()).unwrap();
    // A crash of the program ends in a signal, and its report may be cut.
    assert!(output.status.success(), "{}\n{}", describe(&output), errors(&report).join("\n"));
    assert!(report.trim_end().ends_with("</valgrindoutput>"), "{report}");
    errors(&report)
}

/// Returns the errors of the report that have libbusy in their stack: the kind, the description, the functions.
fn errors(report: &str) -> Vec<String> {
    let errors = report.split("<error>").skip(1).filter_map(|rest| rest.split("</error>").next());
    let shown = |line: &&str| ["<kind>", "<what>", "<text>", "<fn>"].iter().any(|tag| line.trim().starts_with(tag));
    let errors = errors.filter(|error| error.contains("libbusy.so") && !searches_the_stack(error));
    errors.map(|error| error.lines().filter(shown).collect::<Vec<_>>().join("\n")).collect()
}

/// Returns whether the error is in the search for return addresses on the stack (gil/src/exact/hooking/stack.rs). It
/// compares words of the stack with addresses, whether or not they have been written.
fn searches_the_stack(error: &str) -> bool {
    let own = error.split("<frame>").find(|frame| frame.contains("/gil/src/"));
    error.contains("<kind>Uninit") && own.is_some_and(|frame| frame.contains("<file>stack.rs</file>"))
}
