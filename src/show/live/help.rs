//! The help of the screen.

use super::state::{Meter, State};
use super::view::View;
use crate::show::one_line;
use crate::units::duration;
use ratatui::style::Style;
use ratatui::text::Line;

/// Returns the lines.
pub(super) fn help(state: &State, view: &View) -> Vec<Line<'static>> {
    let bold = |text: &'static str| Line::styled(text, Style::new().bold());
    let mut lines = vec![bold("Keys")];
    lines.extend(
        [
            "  c h w s n          sort by cpu, held, waits, stall, name",
            "  up, down, PgUp, PgDn, Home, End    scroll",
            "  space              pause the screen; the measuring goes on",
            "  ?                  this help",
        ]
        .map(Line::raw),
    );
    match &view.output {
        Some(output) => {
            lines.extend(
                [
                    "  q                  end the program (SIGTERM) and leave, once q confirms it",
                    "  Ctrl-C             interrupt the program (SIGINT)",
                    "  Ctrl-Z             stop the program and this screen, until `fg`",
                ]
                .map(Line::raw),
            );
            lines.push(Line::raw(one_line(&format!("  output             goes {output}"))));
        }
        None => lines.push(Line::raw("  q, Ctrl-C          leave; the process goes on")),
    }
    lines.push(bold("Columns"));
    lines.extend(
        [
            "  cpu, held, waits   percent of the last second: used a core, held the GIL,",
            "                     waited for the GIL; - if it has not used the GIL",
        ]
        .map(Line::raw),
    );
    match state.meter {
        Meter::Exact => {
            let threshold = duration(state.threshold_s);
            lines.extend([
                Line::raw(format!(
                    "  stall              the longest hold of the last 10 s that it waited for, {threshold}"
                )),
                Line::raw("                     or longer, and the call that held; + if it still waits"),
                Line::raw("The meter sees each acquire, release and wait: times are exact."),
            ]);
        }
        Meter::Samples(hz) => lines.extend([
            Line::raw("  last seen holding  the call in which it was seen with the GIL"),
            Line::raw(format!("{hz} samples a second: shares are estimates, and a hold between two samples is")),
            Line::raw("missed. So no stalls are shown; `busy top -- CMD` shows them."),
        ]),
    }
    lines
}
