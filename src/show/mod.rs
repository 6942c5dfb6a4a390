//! Results as people read them in a terminal: tables, and sentences below them.

mod check;
mod figures;
mod matrix;
mod run;

pub use check::checks;
pub use run::{run, warnings};

use anstyle::Style;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};

/// The style of a line's subject.
const BOLD: Style = Style::new().bold();
/// Lines around and below the header, none between rows.
const LINES: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
/// The widest text, in columns: longer lines are hard to read.
const WIDEST: usize = 110;

/// Returns the number of columns that text may fill.
fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout());
    terminal.map_or(WIDEST, |(terminal_size::Width(columns), _)| usize::from(columns).clamp(40, WIDEST))
}

/// Returns an empty table that fits stdout's terminal.
pub fn table(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_header(header.into_iter().map(Into::into));
    if let Some((terminal_size::Width(columns), _)) = terminal_size::terminal_size_of(std::io::stdout()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    table
}

/// Wraps a line of explanation below a table.
fn indented(line: &str) -> String {
    textwrap::fill(line, textwrap::Options::new(width()).initial_indent("  ").subsequent_indent("    "))
}
