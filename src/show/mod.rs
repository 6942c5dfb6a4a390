//! Results as text for a terminal: tables, and the explanations below them.

mod check;
mod figures;
pub mod html;
pub mod live;
mod matrix;
mod record;
mod run;
mod sampled;
mod stalls;
mod waits;

pub use check::checks;
pub use record::{NO_PYTHON, record};
pub use run::{run, warnings};

use crate::results::{Host, Interpreter, Labels, path_text};
use anstyle::Style;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};
use nix::sys::signal::Signal;
use textwrap::{WordSeparator, WordSplitter};

/// The style of a line's subject.
const BOLD: Style = Style::new().bold();
/// Lines around and below the header, but none between rows.
const LINES: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
/// The largest text width, in columns: longer lines are hard to read.
const WIDEST: usize = 110;

/// The text width if stdout is no terminal and COLUMNS is not set, in columns.
const PIPED: usize = 100;
/// The smallest text width, in columns: nothing is readable in less.
const NARROWEST: usize = 40;

/// Returns the text width, in columns: that of stdout's terminal, or else COLUMNS.
fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout());
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = terminal.map(|(terminal_size::Width(columns), _)| usize::from(columns)).or_else(variable);
    columns.unwrap_or(PIPED).clamp(NARROWEST, WIDEST)
}

/// Returns the number of a signal, and its name if it has one.
pub fn signal(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("signal {number} ({signal})"),
        Err(_) => format!("signal {number}"),
    }
}

/// Returns an empty table that fits the text width: if it is too wide, its cells are wrapped.
pub fn table(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_header(header.into_iter().map(Into::into));
    let columns = u16::try_from(width()).expect("at most WIDEST");
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    table
}

/// Returns text that may come from outside, with its control characters shown and not obeyed: an escape sequence that a statement,
/// an exception or a file's name contains would otherwise change the terminal. Line feeds stay, a tab becomes a blank.
pub fn visible(text: &str) -> String {
    // Beside control characters, those that reverse the order of what is shown (Unicode's Bidi_Control).
    let is_bidi = |letter| matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => shown.push('\n'),
            '\t' => shown.push(' '),
            '\0'..='\x1f' | '\x7f' => shown.push_str(&format!("\\x{:02x}", u32::from(letter))),
            // XML may have neither of these two.
            '\u{fffe}' | '\u{ffff}' => shown.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ if letter.is_control() || is_bidi(letter) => shown.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => shown.push(letter),
        }
    }
    shown
}

/// Returns text from outside as one line, with its control characters shown and not obeyed.
pub fn one_line(text: &str) -> String {
    visible(text).replace('\n', " ")
}

/// Wraps a paragraph.
pub fn wrapped(text: &str) -> String {
    textwrap::fill(text, at_blanks())
}

/// Returns options that wrap at blanks only: a hyphen or a slash may belong to an option or a path.
fn at_blanks() -> textwrap::Options<'static> {
    textwrap::Options::new(width()).word_splitter(WordSplitter::NoHyphenation).word_separator(WordSeparator::AsciiSpace)
}

/// Returns a line for each machine of the results, after one for the interpreter if there is only one.
fn foot<'a>(places: impl Iterator<Item = (&'a Host, &'a Interpreter)> + Clone) -> String {
    let mut text = String::new();
    let labels = Labels::new(places.clone());
    let interpreters = places.clone().map(|(_, interpreter)| interpreter);
    if let (Some(one), true) = (interpreters.clone().find(|one| !one.is_unknown()), labels.is_single()) {
        let launched = if one.path == one.command || one.path.as_os_str().is_empty() {
            String::new()
        } else {
            format!(", which runs {}", path_text(&one.path))
        };
        let line = format!("{}: {}{launched}", one.title(), path_text(&one.command));
        text = format!("{}\n", wrapped(&visible(&line)));
    }
    let titles = labels.host_titles(places.map(|(host, _)| host));
    text + &titles.iter().map(|title| wrapped(&visible(title))).collect::<Vec<_>>().join("\n")
}

/// Wraps a line; what does not fit into it is indented.
fn indented_after_first(line: &str) -> String {
    textwrap::fill(line, at_blanks().subsequent_indent("  "))
}

/// Wraps a line of explanation below a table.
fn indented(line: &str) -> String {
    textwrap::fill(line, at_blanks().initial_indent("  ").subsequent_indent("    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_all_else_is_left() {
        for (text, shown) in [
            ("caf\u{e9} \u{1f980} a\nb", "caf\u{e9} \u{1f980} a\nb"),
            ("a\tb", "a b"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\rb\x08\x7f\0", "a\\x0db\\x08\\x7f\\x00"),
            ("\u{9b}31m", "\\u009b31m"),
            ("\u{202e}txt.exe", "\\u202etxt.exe"),
            ("\u{ffff}", "\\uffff"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }
}
