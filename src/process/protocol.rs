//! The messages between lab, supervisor and reaper: one line each. Specs and events are JSON; the one order is a plain word.

use super::event::Event;
use std::io::{self, BufRead, Write};
use std::iter::once;

/// The order to close the program's stdin.
pub const CLOSE_STDIN: &str = "close-stdin";

/// An order from the process above, after the spec.
pub enum Order {
    /// [`CLOSE_STDIN`].
    CloseStdin,
    /// End everything: the process above is gone, or has closed its pipe.
    End,
}

/// Yields the orders from `above` as they arrive; the last one is [`Order::End`].
pub fn orders(above: impl BufRead) -> impl Iterator<Item = Order> {
    let lines = above.lines().map_while(Result::ok);
    lines.map_while(|line| (line == CLOSE_STDIN).then_some(Order::CloseStdin)).chain(once(Order::End))
}

/// Yields the events from `below` as they arrive, until it is gone or sends something that is not an event.
pub fn events(below: impl BufRead) -> impl Iterator<Item = Event> {
    below.lines().map_while(Result::ok).map_while(|line| serde_json::from_str(&line).ok())
}

/// Sends an event to the process above.
///
/// # Errors
/// The process is gone.
pub fn send(above: &mut impl Write, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_string(event).expect("events are plain data");
    line.push('\n');
    above.write_all(line.as_bytes())?;
    above.flush()
}
