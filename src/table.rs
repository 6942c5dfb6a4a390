//! The results as people read them: the talk's figures beside today's, and what each row shows.

use crate::experiments::{self, Experiment, TALK_SECONDS, title};
use crate::host::{Host, TOO_LOADED_PERCENT};
use crate::results::{Case, Document, Outcome, RunResult, Status};
use crate::units::per_second;
use anstyle::Style;
use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle, presets};
use std::fmt::Write;

const BOLD: Style = Style::new().bold();
/// Lines around and below the header, none between rows.
pub const LINES: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
/// Columns that text may fill.
const WIDTH: usize = 110;

/// The whole text, with ANSI styles that the writer may have to strip.
pub fn render(document: &Document) -> String {
    let mut text = String::new();
    for result in &document.results {
        let Some(experiment) = experiments::find(result.experiment) else { continue };
        writeln!(text, "{}", heading(experiment, result)).unwrap();
        if !result.cases.is_empty() {
            writeln!(text, "{}\n", figures(experiment, result)).unwrap();
        }
        text.push_str(&sentences(result));
        text.push('\n');
    }
    text.push_str(&footnotes(document));
    text
}

fn heading(experiment: &Experiment, result: &RunResult) -> String {
    let (name, slides, shows) = (experiment.name, experiment.slides, experiment.shows);
    let interpreter = result.interpreter.title();
    let line = format!("{BOLD}{name}{BOLD:#} (slides {slides}) on {interpreter}, {} s a row: {shows}", result.seconds);
    textwrap::fill(&line, WIDTH)
}

fn figures(experiment: &Experiment, result: &RunResult) -> Table {
    let mut table = Table::new();
    table.load_style(LINES);
    table.set_header(["", "Python/s", "native/s", "CPU %", "user + sys", "talk: Python/s", "native/s", "CPU %"]);
    for index in 1..8 {
        table.column_mut(index).expect("eight columns").set_cell_alignment(CellAlignment::Right);
    }
    for case in &result.cases {
        let talk = experiment.talk_figures(case.case);
        let talk_rate = |count: Option<u64>| rate(count.map(|count| count as f64 / TALK_SECONDS));
        table.add_row(
            [
                title(case.case, case.way),
                rate(Some(case.rate("internal"))),
                rate(native_rate(case)),
                format!("{:.0}", case.cpu_percent),
                format!("{:.0} + {:.0}", case.user_percent, case.system_percent),
                talk_rate(talk.map(|talk| talk.internal)),
                talk_rate(talk.and_then(|talk| talk.native)),
                talk.map_or_else(|| "-".into(), |talk| format!("{:.0}", talk.cpu_percent)),
            ]
            .map(Cell::new),
        );
    }
    table
}

/// Counts a second of the thread that is not Python's.
fn native_rate(case: &Case) -> Option<f64> {
    let native = case.threads.iter().find(|thread| thread.name != "internal")?;
    Some(case.rate(&native.name))
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), per_second)
}

fn sentences(result: &RunResult) -> String {
    let mut text = String::new();
    if let (Status::Skipped | Status::Failed, Some(reason)) = (result.status, &result.reason) {
        let word = if result.status == Status::Failed { "failed" } else { "skipped" };
        writeln!(text, "  {word}: {reason}").unwrap();
    }
    for case in &result.cases {
        let Some(judgement) = &case.judgement else { continue };
        let mark = match judgement.outcome {
            Outcome::AsExpected => "",
            Outcome::Inconclusive => "? ",
            Outcome::Unexpected => "! ",
        };
        let line = format!("{BOLD}{}{BOLD:#}: {mark}{}", title(case.case, case.way), judgement.says);
        writeln!(text, "{}", indented(&line)).unwrap();
    }
    for (what, reason) in result.missing.iter().filter(|(_, reason)| result.reason.as_ref() != Some(reason)) {
        writeln!(text, "{}", indented(&format!("{BOLD}{what}{BOLD:#}: not measured: {reason}"))).unwrap();
    }
    text
}

fn indented(line: &str) -> String {
    textwrap::fill(line, textwrap::Options::new(WIDTH).initial_indent("  ").subsequent_indent("    "))
}

fn footnotes(document: &Document) -> String {
    let Host { cpu, cores, kernel, clocksource, time_reads_per_s, .. } = &document.host;
    let cores = if *cores == 1 { "1 core".into() } else { format!("{cores} cores") };
    let mut notes = format!("{cpu}, {cores}, {kernel}, clock source {clocksource}.\n");
    if let Some(rate) = time_reads_per_s {
        let line = format!(
            "Native counts are polls of CLOCK_MONOTONIC; the talk's were polls of time(2), of which this machine does {:.0} M \
             a second. The talk: CPython 2.7, two cores, 10 s a row.",
            rate / 1e6
        );
        writeln!(notes, "{}", textwrap::fill(&line, WIDTH)).unwrap();
    }
    notes
}

/// What spoiled the measurement, if anything did, and what to do about it: wrapped for people.
pub fn warnings(document: &Document) -> Vec<String> {
    let Host { others_percent, cores, .. } = document.host;
    let mut warnings = Vec::new();
    if cores < 2 {
        let two = "Allow it two (taskset, the container's CPU limit).";
        warnings.push(format!(
            "this process may use one core only, so no two threads run at once: 200 % can't be reached. {two}"
        ));
    }
    let at_first = (others_percent > TOO_LOADED_PERCENT).then(|| (others_percent, "before the first row".into()));
    if let Some((others, when)) = worst(document, |case| case.others_percent).or(at_first) {
        warnings.push(format!(
            "other processes used {others:.0} % of a core {when}: threads that should have had a core to themselves may have had \
             to share it, so CPU % and counts come out too low. See who it is (top), end it, and run again."
        ));
    }
    if let Some((steal, when)) = worst(document, |case| case.steal_percent) {
        warnings.push(format!(
            "the hypervisor took {steal:.0} % of a core (steal time) for other machines {when}: run again, or on a machine that \
             is not shared."
        ));
    }
    warnings.iter().map(|warning| textwrap::fill(&format!("warning: {warning}"), WIDTH)).collect()
}

/// The row with the largest such figure, if that is too large.
fn worst(document: &Document, percent: fn(&Case) -> Option<f64>) -> Option<(f64, String)> {
    let cases = document.results.iter().flat_map(|result| &result.cases);
    let figures = cases.filter_map(|case| Some((percent(case)?, format!("during {}", title(case.case, case.way)))));
    figures.filter(|(percent, _)| *percent > TOO_LOADED_PERCENT).max_by(|one, other| one.0.total_cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpreter::Interpreter;
    use crate::results::{Judgement, ThreadFigures};
    use std::collections::BTreeMap;

    fn case(case: &'static str, way: Option<&'static str>, counts: &[(&str, u64)], outcome: Outcome) -> Case {
        let thread = |(name, count): &(&str, u64)| ThreadFigures {
            name: (*name).into(),
            tid: 1,
            count: *count,
            cpu_percent: 99.0,
            waited_for_cpu_percent: 0.0,
            voluntary_switches: 0,
            involuntary_switches: 0,
        };
        Case {
            case,
            way,
            wall_s: 2.0,
            cpu_percent: 99.6,
            user_percent: 98.0,
            system_percent: 1.6,
            threads: counts.iter().map(thread).collect(),
            cores: Vec::new(),
            timeline: Vec::new(),
            others_percent: Some(12.0),
            steal_percent: Some(0.0),
            judgement: Some(Judgement { outcome, says: format!("What {case} shows.") }),
            missing: BTreeMap::new(),
        }
    }

    fn document() -> Document {
        let host = Host {
            cpu: "Some CPU".into(),
            cores: 2,
            kernel: "Linux 6.1".into(),
            machine: "x86_64".into(),
            clocksource: "tsc".into(),
            others_percent: 0.0,
            time_reads_per_s: Some(450e6),
        };
        let interpreter = Interpreter {
            version: "3.11.7".into(),
            implementation: "cpython".into(),
            gil: true,
            path: "/usr/bin/python3".into(),
            build_flags: String::new(),
            version_info: (3, 11),
            include: "/usr/include".into(),
            suffix: ".so".into(),
        };
        let result = |experiment, status, reason: Option<&str>, cases, missing: &[(&str, &str)]| RunResult {
            kind: "run",
            experiment,
            status,
            reason: reason.map(str::to_owned),
            outcome: None,
            interpreter: interpreter.clone(),
            seconds: 2,
            cases,
            missing: missing.iter().map(|(what, why)| ((*what).to_owned(), (*why).to_owned())).collect(),
        };
        let ctypes = vec![
            case("two-internal", None, &[("internal", 9_000_000), ("internal", 9_100_000)], Outcome::AsExpected),
            case("internal+external", None, &[("internal", 17_000_000), ("external", 90_000_000)], Outcome::Unexpected),
        ];
        let extension = vec![case(
            "internal+with_lock",
            Some("c"),
            &[("internal", 7), ("with_lock", 90_000_000)],
            Outcome::Inconclusive,
        )];
        let results = vec![
            result("ctypes", Status::Ok, None, ctypes, &[]),
            result(
                "extension",
                Status::Failed,
                Some("it broke"),
                extension,
                &[("pyo3", "no module"), ("c", "it broke")],
            ),
            result("extension", Status::Skipped, Some("no compiler"), Vec::new(), &[("c", "no compiler")]),
        ];
        Document { schema: 1, began: "2026-11-24T00:00:00Z".into(), host, results }
    }

    #[test]
    fn the_table_shows_the_talk_beside_today_and_says_what_each_row_means() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&document())));
    }

    #[test]
    fn a_spoiled_measurement_is_explained() {
        let mut document = document();
        insta::assert_snapshot!(warnings(&document).join("\n"));
        document.results.clear();
        assert!(warnings(&document).is_empty());
    }
}
