//! What `busy top` shows: the state of the threads ([`State`]), as a screen of the terminal ([`draw`]) or as lines of text
//! ([`lines`]). Plain data and pure functions.

mod cores;
mod help;
mod lines;
mod order;
mod screen;
mod state;
mod table;
mod view;

use super::one_line;
use super::stalls::{is_library, short};
pub use lines::lines;
pub use order::Order;
pub use screen::{Shown, draw};
pub use state::{Core, Meter, Process, Stall, State, Thread, Wait};
pub use view::{Question, Sort, View};

/// Returns the call in which a thread with `stack` is: the innermost frame outside of the library, which a narrow screen must
/// not cut off, and the innermost one. None without a stack.
fn call(stack: &[String]) -> Option<String> {
    let innermost = stack.first()?;
    Some(one_line(&match stack.iter().find(|frame| !is_library(frame)) {
        Some(own) if own != innermost => format!("{}, in {}", short(own), short(innermost)),
        _ => short(innermost).into(),
    }))
}
