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

pub use lines::lines;
pub use order::Order;
pub use screen::{Shown, draw};
pub use state::{Core, Meter, Process, Stall, State, Thread, Wait};
pub use view::{Question, Sort, View};

/// Returns text from outside as one line, with its control characters shown and not obeyed.
fn one_line(text: &str) -> String {
    super::visible(text).replace('\n', " ")
}
