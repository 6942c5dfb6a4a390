//! The row of cores, each with its load.

use super::state::Core;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

/// The width of a bar, in columns, and that of a core with and without it: `12 ██████████ 100 %`.
const BAR: usize = 10;
const WITH_BAR: usize = 4 + BAR + 7;
const WITHOUT: usize = 4 + 7;
/// The number of lines that the cores may take, with bars and without.
const LINES: [usize; 2] = [2, 3];

/// Returns the lines for a screen of that width. Cores that don't fit are counted at the end.
pub(super) fn cores(cores: &[Core], width: usize) -> Vec<Line<'static>> {
    let columns = |cell: usize| (width / cell).max(1);
    let lines = |cell: usize| cores.len().div_ceil(columns(cell));
    let has_bars = lines(WITH_BAR) <= LINES[0];
    let columns = columns(if has_bars { WITH_BAR } else { WITHOUT });
    let room = columns * LINES[usize::from(!has_bars)];
    let shown = if cores.len() > room { room - 1 } else { cores.len() };
    let mut rows: Vec<Line> = Vec::new();
    for (index, core) in cores[..shown].iter().enumerate() {
        if index % columns == 0 {
            rows.push(Line::default());
        }
        rows.last_mut().expect("just pushed").spans.extend(cell(*core, has_bars));
    }
    if let Some(last) = rows.last_mut().filter(|_| shown < cores.len()) {
        last.push_span(format!(" +{} cores", cores.len() - shown));
    }
    rows
}

fn cell(core: Core, has_bar: bool) -> Vec<Span<'static>> {
    let percent = format!("{:>4.0} % ", 100.0 * core.busy.clamp(0.0, 1.0));
    let number = Span::raw(format!("{:>3} ", core.number));
    if !has_bar {
        return vec![number, Span::raw(percent)];
    }
    // In eighths of a column.
    let eighths = (core.busy.clamp(0.0, 1.0) * 8.0 * BAR as f64).round() as usize;
    let mut bar = "\u{2588}".repeat(eighths / 8);
    bar.extend(char::from_u32(0x2590 - (eighths % 8) as u32).filter(|_| !eighths.is_multiple_of(8)));
    let rest = BAR - bar.chars().count();
    let style = Style::new().fg(if core.busy > 0.9 { Color::Yellow } else { Color::Green });
    vec![number, Span::styled(bar, style), Span::styled("\u{b7}".repeat(rest), Style::new().dim()), Span::raw(percent)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(count: u32, width: usize) -> Vec<String> {
        let all: Vec<Core> = (0..count).map(|number| Core { number, busy: f64::from(number) / 7.0 }).collect();
        cores(&all, width).iter().map(|line| line.to_string().trim_end().to_owned()).collect()
    }

    #[test]
    fn cores_have_bars_if_there_is_room_and_are_counted_if_there_is_none() {
        assert_eq!(text(2, 80), ["  0 ··········   0 %   1 █▍········  14 %"]);
        assert_eq!(text(6, 63).len(), 2);
        let many = text(64, 80);
        assert_eq!((many.len(), many[0].contains('█')), (3, false));
        assert!(many[2].ends_with(" +44 cores"), "{many:?}");
        assert_eq!(text(2, 5).len(), 2);
        assert_eq!(text(0, 80), [""; 0]);
    }

    #[test]
    fn no_line_is_longer_than_the_screen() {
        for (count, width) in [(2, 80), (64, 80), (256, 200), (7, 40)] {
            assert!(text(count, width).iter().all(|line| line.chars().count() <= width), "{count} {width}");
        }
    }
}
