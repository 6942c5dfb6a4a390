//! Renders a run as one table with notes, and warns about disturbances.

use crate::document::Document;
use crate::row::{Figure, Row, Unit, Wanted};
use busy_lab::results::TOO_LOADED_PERCENT;
use busy_lab::show;
use busy_lab::units::{duration, per_second};
use comfy_table::{CellAlignment, ColumnConstraint, Table};
use std::fmt::Write;

/// Renders the table and its notes. With `before`, the table shows whether each figure agrees with that run.
pub fn render(document: &Document, before: Option<&Document>) -> String {
    let mut text = format!("{}\n", table(document, before));
    for row in &document.results {
        for reason in row.missing.values() {
            writeln!(text, "  {}, {}, {}: absent: {reason}", row.group, row.what, row.case).unwrap();
        }
    }
    let python = document.python.as_ref().map_or(String::new(), |python| format!(" {python}."));
    let [observer, measured] = document.pinned_to;
    let took = document.took_s;
    writeln!(
        text,
        "\nEvery figure is the median over the rounds of one run, in which busy and the peer took turns; min and max are\n\
         over the same rounds. Targets are for information: missing one is not a failure.\n\
         Measured on core {measured}, observed from core {observer}, in {took:.0} s.\n\
         {}{python}",
        document.host.title()
    )
    .unwrap();
    text
}

fn table(document: &Document, before: Option<&Document>) -> Table {
    let mut table = show::table(["", "ours", "peer's", "ratio", "min - max", "target", "", "before"]);
    let mut heading = String::new();
    for row in &document.results {
        let peer = row.peer.as_ref().map_or(String::new(), |peer| format!("\n: {peer}"));
        let row_heading = format!("{}{peer}", row.what);
        if row_heading != heading {
            table.add_row([&row_heading]);
            heading = row_heading;
        }
        let side = |values: &[f64]| row.overall(values).map_or("-".into(), |value| number(value, row.unit));
        table.add_row([
            format!("  {}", row.case),
            side(&row.ours),
            side(&row.theirs),
            ratio(row),
            spread(row),
            row.wanted.map_or(String::new(), |wanted| bound(wanted, row)),
            verdict(row).into(),
            before.map_or("", |before| agreement(before.agrees_with(row))).into(),
        ]);
    }
    for index in 1..=5 {
        table.column_mut(index).expect("eight columns").set_cell_alignment(CellAlignment::Right);
    }
    if before.is_none() {
        table.column_mut(7).expect("eight columns").set_constraint(ColumnConstraint::Hidden);
    }
    table
}

fn agreement(agrees: Option<bool>) -> &'static str {
    match agrees {
        Some(true) => "agrees",
        Some(false) => "differs",
        None => "-",
    }
}

fn verdict(row: &Row) -> &'static str {
    match (row.found, row.met) {
        (None, _) => "absent",
        (_, Some(true)) => "met",
        (_, Some(false)) => "missed",
        (_, None) => "",
    }
}

fn ratio(row: &Row) -> String {
    match (row.figure, row.found) {
        (Figure::Ratio, Some(found)) => plain(found.median),
        _ => String::new(),
    }
}

fn spread(row: &Row) -> String {
    row.found.map_or(String::new(), |found| match row.figure {
        Figure::Ratio => format!("{} - {}", plain(found.min), plain(found.max)),
        _ => format!("{} - {}", number(found.min, row.unit), number(found.max, row.unit)),
    })
}

fn bound(wanted: Wanted, row: &Row) -> String {
    let shown = |bound| if row.figure == Figure::Ratio { plain(bound) } else { number(bound, row.unit) };
    match wanted {
        Wanted::AtMost(bound) => format!("<= {}", shown(bound)),
        Wanted::AtLeast(bound) => format!(">= {}", shown(bound)),
    }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns => duration(value / 1e9),
        Unit::Us => duration(value / 1e6),
        Unit::Ms => duration(value / 1e3),
        Unit::PerSecond => format!("{}/s", per_second(value)),
        Unit::Points => plain(value),
        Unit::Percent => format!("{} %", plain(value)),
        Unit::Count => format!("{value:.0}"),
    }
}

/// Formats a number with three significant digits, and at most four decimal places.
fn plain(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. | 0.0 => 2,
        0.01.. => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// Returns a warning for each disturbance of the run, with the remedy.
pub fn warnings(document: &Document) -> Vec<String> {
    let mut warnings = Vec::new();
    if document.host.cores < 2 {
        warnings
            .push("warning: this process may use only one core, so the observer disturbs the measured program.".into());
    }
    let others = document.host.others_percent;
    if let Some(others) = others.filter(|percent| *percent > TOO_LOADED_PERCENT) {
        warnings.push(format!("warning: other processes used {others:.0} % of a core before the first row."));
    }
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for row in document.results.iter().filter(|row| row.disturbed > 0) {
        match groups.iter_mut().find(|(group, _)| *group == row.group) {
            Some((_, disturbed)) => *disturbed = (*disturbed).max(row.disturbed),
            None => groups.push((&row.group, row.disturbed)),
        }
    }
    for (group, disturbed) in groups {
        warnings.push(format!(
            "warning: {group}: other processes or the hypervisor used over {TOO_LOADED_PERCENT:.0} % of a core in \
             {disturbed} rounds, even after repetitions: find the processes (top), stop them, and run again."
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Round;

    fn document() -> Document {
        let mut ratio = Row::ratio("a", "overshoot", "C loop", "1 us", Unit::Ns).wanted(Wanted::AtMost(1.1));
        let mut sum = Row::ratio("b", "cancel", "C loop", "late", Unit::Count)
            .with_figure(Figure::Sum)
            .wanted(Wanted::AtMost(0.0));
        let mut absent = Row::ratio("c", "evenness", "stress-ng", "10%", Unit::Points);
        let figures =
            |ours: f64| [("a", vec![ours, 64.0]), ("b", vec![1.0])].map(|(row, values)| (row.to_owned(), values));
        let rounds = [62.0, 64.0, 72.0].map(|ours| Round { figures: figures(ours).into(), ..Round::default() });
        ratio.fill(&rounds, 0);
        sum.fill(&rounds, 2);
        absent.set_missing("it is not installed");
        for (row, group) in [(&mut ratio, "waits"), (&mut sum, "waits"), (&mut absent, "load")] {
            row.group = group.into();
        }
        let host = serde_json::json!({ "cpu": "Some CPU", "cores": 2, "kernel": "Linux 6.1", "machine": "x86_64",
            "topology": { "sockets": 1, "cores": 2, "threads": 2, "siblings": [] }, "clocksource": "tsc", "others_percent": 12.0 });
        Document {
            schema: 1,
            started_at: "2026-11-25T00:00:00Z".into(),
            took_s: 100.0,
            host: serde_json::from_value(host).unwrap(),
            python: Some("CPython 3.11.7".into()),
            pinned_to: [0, 1],
            results: vec![ratio, sum, absent],
        }
    }

    /// Returns the cells of the line that contains `what`.
    fn line(text: &str, what: &str) -> Vec<String> {
        let line = text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in\n{text}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn every_row_shows_both_sides_the_ratio_its_spread_and_the_verdict() {
        let text = render(&document(), None);
        let expected = ["1 us", "64 ns", "64 ns", "1.00", "0.97 - 1.12", "<= 1.10", "met"];
        assert_eq!(line(&text, "1 us"), expected);
        assert_eq!(line(&text, " late"), ["late", "3", "-", "1 - 1", "<= 0", "missed"]);
        assert_eq!(line(&text, " 10%"), ["10%", "-", "-", "absent"]);
        assert!(text.contains("load, evenness, 10%: absent: it is not installed"));
        // The heading appears once, above its rows.
        let above: Vec<_> = text.lines().map(str::trim).skip_while(|line| *line != "overshoot").take(3).collect();
        assert!(above[1] == ": C loop" && above[2].starts_with("1 us"), "{text}");
        assert!(text.contains("Some CPU, 2 CPUs (2 cores, 1 socket), Linux 6.1, clock source tsc. CPython 3.11.7."));
    }

    #[test]
    fn a_run_is_compared_with_the_spread_of_an_earlier_run() {
        let (before, mut now) = (document(), document());
        now.results[0].found.as_mut().unwrap().median = 1.2;
        let text = render(&now, Some(&before));
        assert_eq!(line(&text, "1 us").last().unwrap(), "differs");
        assert_eq!(line(&render(&before, Some(&before)), "1 us").last().unwrap(), "agrees");
        assert_eq!(line(&text, " 10%").last().unwrap(), "-");
    }

    #[test]
    fn a_disturbed_run_causes_warnings() {
        let warnings = warnings(&document());
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[0].contains("12 % of a core")
                && warnings[1].contains("waits: ")
                && warnings[1].contains("2 rounds")
        );
    }
}
