//! The words that lab, guard and shim speak: a line each, JSON but for the one order that there is.

use super::Event;
use std::io::{self, BufRead, Write};
use std::iter::once;

/// Asks the next to close the program's stdin.
pub const CLOSE_STDIN: &str = "close-stdin";

/// What the one above says after the spec.
pub enum Order {
    /// [`CLOSE_STDIN`].
    CloseStdin,
    /// It is gone, or wants the end.
    End,
}

/// The orders from `above`, as they come; the last one is the end.
pub fn orders(above: impl BufRead) -> impl Iterator<Item = Order> {
    let lines = above.lines().map_while(Result::ok);
    lines.map_while(|line| (line == CLOSE_STDIN).then_some(Order::CloseStdin)).chain(once(Order::End))
}

/// The events from `below`, as they come, until it is gone or says something else.
pub fn events(below: impl BufRead) -> impl Iterator<Item = Event> {
    below.lines().map_while(Result::ok).map_while(|line| serde_json::from_str(&line).ok())
}

/// Tells the one above.
///
/// # Errors
/// It has gone.
pub fn tell(above: &mut impl Write, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_string(event).expect("events are plain data");
    line.push('\n');
    above.write_all(line.as_bytes())?;
    above.flush()
}
