//! Processes whose stacks can't be read.

use crate::pythons::{Talker, alone, named};
use busy_gil::remote::{RemoteError, StackError, StackReader};
use std::process;

const WAIT: &str = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()";

#[test]
fn a_process_without_cpython_is_refused() {
    let _alone = alone();
    let found = StackReader::attach(process::id());
    assert!(matches!(found, Err(StackError::Process(RemoteError::NotPython { .. }))), "{found:?}");
    let found = StackReader::attach(u32::MAX);
    assert!(matches!(found, Err(StackError::Process(RemoteError::NoProcess { .. }))), "{found:?}");
}

#[test]
fn a_free_threaded_build_is_named() {
    let _alone = alone();
    let Some(python) = named("CPython 3.13t") else { return };
    let found = StackReader::attach(Talker::script(&python, WAIT, &[]).pid());
    assert!(matches!(found, Err(StackError::FreeThreaded { .. })), "{found:?}");
    println!("{}", found.unwrap_err());
}
