//! The screen.

use super::call;
use super::cores::cores;
use super::help::help;
use super::state::{Meter, Process, Stall, State};
use super::table::table;
use super::view::{Question, View};
use crate::show::one_line;
use crate::show::stalls::NO_STACK;
use crate::units::duration;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// The number of processes that are shown whose figures are missing, with the reason.
const REASONS: usize = 2;
/// The number of stalls below the table, and the height of the screen from which on they are shown.
const STALLS: usize = 3;
const WITH_STALLS: u16 = 16;

/// What a screen has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The number of rows of the table.
    pub rows: usize,
    /// The number of threads above the first row.
    pub scroll: usize,
}

/// Draws the state.
pub fn draw(frame: &mut Frame, state: &State, view: &View) -> Shown {
    let area = frame.area();
    let width = usize::from(area.width);
    let mut top = vec![title(state, view)];
    top.extend(cores(&state.cores, width));
    top.extend(processes(&state.processes));
    let bottom = if area.height >= WITH_STALLS { stalls(state) } else { Vec::new() };
    let heights = [
        Constraint::Length(top.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(bottom.len() as u16),
        Constraint::Length(1),
    ];
    let [above, middle, below, foot] = Layout::vertical(heights).areas(area);
    frame.render_widget(Paragraph::new(top), above);
    let shown = if view.has_help {
        frame.render_widget(Paragraph::new(help(state, view)), middle);
        Shown { rows: 0, scroll: view.scroll }
    } else {
        threads(frame, middle, state, view)
    };
    frame.render_widget(Paragraph::new(bottom), below);
    frame.render_widget(footer(state, view, shown), foot);
    shown
}

fn threads(frame: &mut Frame, area: Rect, state: &State, view: &View) -> Shown {
    let rows = usize::from(area.height.saturating_sub(1));
    let count = state.threads.len();
    let scroll = view.scroll.min(count.saturating_sub(rows));
    let end = (scroll + rows).min(count);
    frame.render_widget(table(state, &state.threads[scroll..end], view.sort, area.width), area);
    Shown { rows: end - scroll, scroll }
}

fn title(state: &State, view: &View) -> Line<'static> {
    let meter = match state.meter {
        Meter::Exact => "exact".to_owned(),
        Meter::Samples(hz) => format!("{hz} samples/s"),
    };
    let mut spans = vec![Span::styled("busy top", Style::new().bold()), Span::raw(format!("  {meter}  "))];
    spans.push(Span::raw(format!("{:.1} s  ", state.elapsed_s)));
    if view.is_paused {
        spans.push(Span::styled(" paused ", Style::new().reversed()));
        spans.push(Span::raw("  "));
    }
    spans.push(Span::raw(one_line(&state.subject)));
    Line::from(spans)
}

fn processes(all: &[Process]) -> Vec<Line<'static>> {
    let metered: Vec<&Process> = all.iter().filter(|process| process.held.is_some()).collect();
    let mut lines = Vec::new();
    match &metered[..] {
        [] if all.is_empty() => lines.push(Line::raw("no Python yet")),
        [] => {}
        [one] => {
            let text =
                format!("GIL held {} of the time, process {}, Python {}", percent(one.held), one.pid, one.version);
            lines.push(Line::raw(one_line(&text)));
        }
        several => {
            let each: Vec<String> =
                several.iter().map(|process| format!("{} in {}", percent(process.held), process.pid)).collect();
            lines.push(Line::raw(one_line(&format!("GIL held {}", each.join(", ")))));
        }
    }
    let reasons = all.iter().filter_map(|process| Some((process.pid, process.reason.as_ref()?)));
    lines.extend(reasons.take(REASONS).map(|(pid, reason)| Line::raw(one_line(&format!("process {pid}: {reason}")))));
    lines
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), |share| format!("{:.1} %", 100.0 * share))
}

fn stalls(state: &State) -> Vec<Line<'static>> {
    let Some(stalls) = &state.stalls else { return Vec::new() };
    let threshold = duration(state.threshold_s);
    let title = format!(
        "{} of {threshold} or more in the last 10 s",
        if stalls.is_empty() { "No stalls" } else { "Worst stalls" }
    );
    let mut lines = vec![Line::styled(title, Style::new().bold())];
    lines.extend(stalls.iter().take(STALLS).map(stall));
    // The table keeps its size when stalls come and go.
    lines.resize(1 + STALLS, Line::default());
    lines
}

fn stall(stall: &Stall) -> Line<'static> {
    let waited = match stall.waiters {
        1 => format!("1 lost {}", duration(stall.lost_s)),
        more => format!("{more} lost {}", duration(stall.lost_s)),
    };
    let held = duration(stall.held_s) + if stall.goes_on { "+" } else { "" };
    let call = call(&stall.stack).unwrap_or_else(|| NO_STACK.into());
    let held = Span::styled(format!("{held:>8} "), Style::new().fg(Color::Yellow));
    Line::from(vec![held, Span::raw(format!("by {}, {waited}: {call}", stall.holder))])
}

fn footer(state: &State, view: &View, shown: Shown) -> Line<'static> {
    let question = view.question.map(|question| match question {
        Question::Terminate => "The program still runs. q again ends it (SIGTERM), any other key goes back.",
        Question::Kill => "Waiting for the program to end. q kills it (SIGKILL), any other key goes back.",
    });
    if let Some(question) = question {
        return Line::styled(question, Style::new().reversed());
    }
    let count = state.threads.len();
    let mut text = String::from("? help  q quit  space pause  sort: c h w s n");
    if shown.rows < count && shown.rows > 0 {
        text += &format!("  threads {}-{} of {count}", shown.scroll + 1, shown.scroll + shown.rows);
    }
    Line::styled(text, Style::new().dim())
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
