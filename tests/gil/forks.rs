//! Forks while other threads start, stop, open and read.

use crate::common::printed;
use crate::prefix::Prefix;
use crate::{compiled, metered, script};

#[test]
fn a_child_forked_during_another_threads_start_can_start_the_meter() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "fork_in_start.py")), "started in each child\n", "{}", python.name);
    }
}

#[test]
fn a_child_forked_during_another_threads_stop_is_metered_as_often_as_it_has_starts() {
    let prefix = Prefix::new();
    let library = compiled(&prefix, "fork_in_stop.c", "fork_in_stop.so", &["-pthread", "-D_POSIX_C_SOURCE=200809L"]);
    for python in metered((2, 7)) {
        let mut command = script(python, "fork_in_stop.py");
        assert_eq!(printed(command.arg(&library)), "stopped\n", "{}", python.name);
    }
}

#[test]
fn a_fork_handler_may_wait_for_a_holder_that_reads() {
    let prefix = Prefix::new();
    let library = compiled(&prefix, "fork_handler.c", "fork_handler.so", &["-pthread", "-D_POSIX_C_SOURCE=200809L"]);
    for python in metered((2, 7)) {
        let mut command = script(python, "fork_handler.py");
        assert_eq!(printed(command.arg(&library)), "forked\n", "{}", python.name);
    }
}

#[test]
fn a_child_that_was_forked_by_c_is_metered() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "c_fork.py")), "metered\n", "{}", python.name);
    }
}

#[test]
fn a_forked_child_begins_anew_with_its_own_windows() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "fork_windows.py")), "forked\n", "{}", python.name);
    }
}
