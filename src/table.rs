//! The results as people read them: the talk's figures beside today's, and what each row shows.

use crate::experiments::{self, Experiment, TALK_SECONDS, title};
use crate::host::{Host, TOO_LOADED_PERCENT};
use crate::results::{Case, Document, Outcome, RunResult, Status};
use crate::units::per_second;
use anstyle::Style;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use std::fmt::Write;

const BOLD: Style = Style::new().bold();
/// Lines around and below the header, none between rows.
const LINES: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
/// The most columns that text fills: longer lines are hard to read.
const WIDEST: usize = 110;

/// Columns that text may fill.
fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout());
    terminal.map_or(WIDEST, |(terminal_size::Width(columns), _)| usize::from(columns).clamp(40, WIDEST))
}

/// An empty table that fits stdout's terminal.
pub fn new<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_header(header);
    if let Some((terminal_size::Width(columns), _)) = terminal_size::terminal_size_of(std::io::stdout()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    table
}

/// The whole text, with ANSI styles that the writer may have to strip: a table for each experiment, over all interpreters.
pub fn render(document: &Document) -> String {
    let mut text = String::new();
    for experiment in experiments::ALL {
        let results: Vec<_> = document.results.iter().filter(|result| result.experiment == experiment.name).collect();
        if results.is_empty() {
            continue;
        }
        writeln!(text, "{}", heading(experiment, &results)).unwrap();
        if results.iter().any(|result| !result.cases.is_empty()) {
            writeln!(text, "{}\n", figures(experiment, &results)).unwrap();
        }
        for result in &results {
            let name = (results.len() > 1).then(|| result.interpreter.name());
            text.push_str(&sentences(result, name.as_deref(), explains(result, &results)));
        }
        text.push('\n');
    }
    text.push_str(&footnotes(document));
    text
}

fn heading(experiment: &Experiment, results: &[&RunResult]) -> String {
    let (name, slides, shows) = (experiment.name, experiment.slides, experiment.shows);
    let on = match results {
        [result] => result.interpreter.title(),
        _ => format!("{} interpreters", results.len()),
    };
    let seconds = results[0].seconds;
    let line = format!("{BOLD}{name}{BOLD:#} (slides {slides}) on {on}, {seconds} s a row: {shows}");
    textwrap::fill(&line, width())
}

/// Interpreters with the same kind of lock show the same: the newest of each kind explains it for all.
fn explains(result: &RunResult, results: &[&RunResult]) -> bool {
    let kind = |result: &RunResult| (result.interpreter.has_old_gil(), result.interpreter.gil);
    let newest = results.iter().rfind(|other| kind(other) == kind(result) && other.status == Status::Ok);
    newest.is_none_or(|newest| std::ptr::eq(*newest, result))
}

fn figures(experiment: &Experiment, results: &[&RunResult]) -> Table {
    let mut table = new(["", "Python/s", "native/s", "CPU %", "user + sys", "talk: Python/s", "native/s", "CPU %"]);
    for index in 1..8 {
        table.column_mut(index).expect("eight columns").set_cell_alignment(CellAlignment::Right);
    }
    // By case, so that the eye compares versions.
    let mut titles: Vec<_> = Vec::new();
    for case in results.iter().flat_map(|result| &result.cases) {
        let key = (case.case, case.way);
        if !titles.contains(&key) {
            titles.push(key);
        }
    }
    for (name, way) in titles {
        let talk = experiment.talk_figures(name);
        let talk_rate = |count: Option<u64>| rate(count.map(|count| count as f64 / TALK_SECONDS));
        for (result, case) in results.iter().filter_map(|result| Some((result, result.case(name, way)?))) {
            let title = title(name, way);
            let title = if results.len() > 1 { format!("{title} {}", result.interpreter.name()) } else { title };
            table.add_row(
                [
                    title,
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

/// What the rows show, for `interpreter` by name where there are several; what was not as expected in any case.
fn sentences(result: &RunResult, interpreter: Option<&str>, explains: bool) -> String {
    let mut text = String::new();
    let about =
        |what: &str| format!("{BOLD}{}{what}{BOLD:#}", interpreter.map_or(String::new(), |name| format!("{name} ")));
    if let (Status::Skipped | Status::Failed, Some(reason)) = (result.status, &result.reason) {
        let word = if result.status == Status::Failed { "failed" } else { "skipped" };
        writeln!(text, "{}", indented(&format!("{}: {reason}", about(word)))).unwrap();
    }
    for case in &result.cases {
        let Some(judgement) = &case.judgement else { continue };
        let mark = match judgement.outcome {
            Outcome::AsExpected if !explains => continue,
            Outcome::AsExpected => "",
            Outcome::Inconclusive => "? ",
            Outcome::Unexpected => "! ",
        };
        let line = format!("{}: {mark}{}", about(&title(case.case, case.way)), judgement.says);
        writeln!(text, "{}", indented(&line)).unwrap();
    }
    for (what, reason) in result.missing.iter().filter(|(_, reason)| result.reason.as_ref() != Some(reason)) {
        writeln!(text, "{}", indented(&format!("{}: not measured: {reason}", about(what)))).unwrap();
    }
    text
}

fn indented(line: &str) -> String {
    textwrap::fill(line, textwrap::Options::new(width()).initial_indent("  ").subsequent_indent("    "))
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
        writeln!(notes, "{}", textwrap::fill(&line, width())).unwrap();
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
    warnings.iter().map(|warning| textwrap::fill(&format!("warning: {warning}"), width())).collect()
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
    use crate::results::{Judgement, SamplerFigures, ThreadFigures};
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
            sampler: SamplerFigures { hz: 10, cost_percent: 0.1, missed: 0 },
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
            free_threaded: false,
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
