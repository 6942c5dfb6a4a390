//! The table of the threads.

use super::call;
use super::state::{Meter, State, Thread};
use super::view::Sort;
use crate::show::one_line;
use crate::units::duration;
use ratatui::layout::Constraint;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row, Table};

/// The width from which on the thread ids, and the calls, are shown.
const WITH_IDS: u16 = 50;
const WITH_CALLS: u16 = 66;
/// The width of an id, of a share and of a length, in columns, and the greatest one of a name beside a call.
const ID: u16 = 7;
const SHARE: u16 = 6;
const LENGTH: u16 = 8;
const NAME: u16 = 20;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Process,
    Id,
    Name,
    Cpu,
    Held,
    Waiting,
    Stall,
    Call,
}

/// Returns the table of `threads`, some of the state's threads, for a screen of that width.
pub(super) fn table<'a>(state: &State, threads: &[Thread], sort: Sort, width: u16) -> Table<'a> {
    let columns = columns(state, width);
    let longest = state.threads.iter().map(|thread| thread.name.len()).max().unwrap_or(0);
    let widths = columns.iter().map(|column| match column {
        Column::Process | Column::Id => Constraint::Length(ID),
        Column::Name if columns.contains(&Column::Call) => {
            Constraint::Length(u16::try_from(longest).unwrap_or(NAME).clamp(6, NAME))
        }
        Column::Name | Column::Call => Constraint::Fill(1),
        Column::Cpu | Column::Held | Column::Waiting => Constraint::Length(SHARE),
        Column::Stall => Constraint::Length(LENGTH),
    });
    let rows = threads.iter().map(|thread| Row::new(columns.iter().map(|column| cell(*column, thread))));
    let header = Row::new(columns.iter().map(|column| head(*column, sort, state.meter)));
    Table::new(rows, widths.collect::<Vec<_>>()).header(header.style(Style::new().bold())).column_spacing(1)
}

fn columns(state: &State, width: u16) -> Vec<Column> {
    let mut columns = vec![Column::Name, Column::Cpu, Column::Held, Column::Waiting];
    if state.meter == Meter::Exact {
        columns.push(Column::Stall);
    }
    if width >= WITH_IDS {
        columns.insert(0, Column::Id);
    }
    if width >= WITH_CALLS {
        columns.push(Column::Call);
        if state.processes.len() > 1 {
            columns.insert(0, Column::Process);
        }
    }
    columns
}

fn head<'a>(column: Column, sort: Sort, meter: Meter) -> Cell<'a> {
    let (text, is_sorted) = match column {
        Column::Process => ("process", false),
        Column::Id => ("tid", false),
        Column::Name => ("thread", sort == Sort::Name),
        Column::Cpu => ("cpu", sort == Sort::Cpu),
        Column::Held => ("held", sort == Sort::Held),
        Column::Waiting => ("waits", sort == Sort::Waiting),
        Column::Stall => ("stall", sort == Sort::Stall),
        Column::Call if meter == Meter::Exact => ("held meanwhile by", false),
        Column::Call => ("last seen holding in", false),
    };
    let line = Line::styled(text, if is_sorted { Style::new().reversed() } else { Style::new() });
    Cell::new(if is_number(column) { line.right_aligned() } else { line })
}

fn cell<'a>(column: Column, thread: &Thread) -> Cell<'a> {
    let (text, style) = match column {
        Column::Process => (thread.pid.to_string(), Style::new()),
        Column::Id => (thread.tid.to_string(), Style::new()),
        Column::Name => (name(thread), Style::new()),
        Column::Cpu => (share(thread.cpu), Style::new()),
        Column::Held => (share(thread.held), Style::new()),
        Column::Waiting => (share(thread.waiting), warning(thread.waiting.is_some_and(|waiting| waiting >= 0.1))),
        Column::Stall => (stall(thread), warning(true)),
        Column::Call => (call(&thread.stack).unwrap_or_default(), Style::new()),
    };
    let text = Text::styled(text, style);
    Cell::new(if is_number(column) { text.right_aligned() } else { text })
}

fn warning(is_one: bool) -> Style {
    if is_one { Style::new().fg(Color::Yellow) } else { Style::new() }
}

fn is_number(column: Column) -> bool {
    matches!(column, Column::Cpu | Column::Held | Column::Waiting | Column::Stall)
}

/// Returns the name of a thread, with its GIL if that is not the main interpreter's.
pub(super) fn name(thread: &Thread) -> String {
    let gil = if thread.gil == 0 { String::new() } else { format!(" (GIL {})", thread.gil) };
    one_line(&format!("{}{gil}", thread.name))
}

/// Returns a share in percent; a dash if there is none.
pub(super) fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), |share| format!("{:.1}", 100.0 * share))
}

/// Returns the longest stall of a thread; with a plus sign if it goes on.
pub(super) fn stall(thread: &Thread) -> String {
    let text = |wait: super::Wait| duration(wait.length_s) + if wait.goes_on { "+" } else { "" };
    thread.stall.map_or_else(String::new, text)
}
