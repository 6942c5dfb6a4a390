//! The memory of the meter: bounded, and what happens if there is none.

use crate::common::printed;
use crate::{metered, script};

#[test]
fn a_session_uses_the_memory_of_the_one_before() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "sessions.py")), "bounded\n", "{}", python.name);
    }
}

#[test]
fn without_memory_a_figure_or_a_start_is_refused_and_never_wrong() {
    for python in metered((2, 7)) {
        for what in ["longest_hold", "starting"] {
            assert_eq!(printed(script(python, "no_memory.py").arg(what)), "refused\n", "{}, {what}", python.name);
        }
    }
}
