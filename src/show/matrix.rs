//! A matrix of experiments by interpreters, and by hosts if there are several: each cell has the most important figure, and a
//! mark that compares it with the talk's.

use super::{BOLD, indented, table, visible, width, wrapped};
use crate::experiments;
use crate::results::{Document, Labels, Outcome, RunResult, Status};
use std::collections::HashSet;
use std::fmt::Write;

/// The meaning of the marks in the cells, below the matrix.
pub(super) const LEGEND: &str = "= as in the talk; >V changed since Python V, as expected; ? inconclusive; ! not as expected. The reasons \
                      for failed and skipped cells are below.";

/// The largest number of experiments that get a table each, with all their figures.
const FEW: usize = 3;

/// Returns true if there are several interpreters, or hosts, and more than a few experiments.
pub(super) fn fits(document: &Document) -> bool {
    let places: HashSet<_> = document.results.iter().map(RunResult::place).collect();
    let experiments: HashSet<_> = document.results.iter().map(|result| &result.experiment).collect();
    places.len() > 1 && experiments.len() > FEW
}

/// Returns the matrix, in as many parts as the terminal's width needs, and the explanations below it.
pub(super) fn render(document: &Document, labels: &Labels) -> String {
    // Of each interpreter on each host, the first result.
    let mut places: Vec<&RunResult> = Vec::new();
    for result in &document.results {
        // What failed without an interpreter is in each column of its host.
        let is_in_others = result.interpreter.is_unknown()
            && document.results.iter().any(|other| is_of_host(other, result) && !other.interpreter.is_unknown());
        if !is_in_others && !places.iter().any(|known| known.place() == result.place()) {
            places.push(result);
        }
    }
    let rows: Vec<_> = experiments::ALL
        .iter()
        .filter(|experiment| document.results.iter().any(|result| result.experiment == experiment.name))
        .collect();
    let mut text = String::new();
    for part in places.chunks(columns(document, labels)) {
        let names = part.iter().map(|result| visible(&labels.of(&result.host, &result.interpreter)));
        let mut table = table([String::new()].into_iter().chain(names));
        for experiment in &rows {
            let of = |column: &RunResult| {
                let is_it = |result: &&RunResult| {
                    let is_of_all = result.interpreter.is_unknown() && is_of_host(result, column);
                    result.experiment == experiment.name && (is_of_all || result.place() == column.place())
                };
                document.results.iter().find(is_it).map_or_else(String::new, cell)
            };
            let cells = part.iter().map(|column| of(column));
            table.add_row([experiment.name.to_owned()].into_iter().chain(cells));
        }
        writeln!(text, "{table}\n").unwrap();
    }
    writeln!(text, "{}\n", wrapped(LEGEND)).unwrap();
    text.push_str(&explanations(document, labels));
    text
}

fn is_of_host(one: &RunResult, other: &RunResult) -> bool {
    one.host.worker == other.host.worker
}

/// Returns the number of columns that fit side by side.
fn columns(document: &Document, labels: &Labels) -> usize {
    let widest = |texts: &mut dyn Iterator<Item = String>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let heads =
        widest(&mut document.results.iter().map(|result| visible(&labels.of(&result.host, &result.interpreter))));
    let cells = widest(&mut document.results.iter().map(cell)).max(heads) + 3;
    let names = widest(&mut document.results.iter().map(|result| result.experiment.to_string())) + 3;
    (width().saturating_sub(names) / cells).max(1)
}

pub(super) fn cell(result: &RunResult) -> String {
    let mark = match (result.status, result.outcome) {
        (Status::Skipped, _) => return "skipped".into(),
        (Status::Failed, _) => return "failed".into(),
        (_, Some(Outcome::Inconclusive)) => "?".into(),
        (_, Some(Outcome::Unexpected)) => "!".into(),
        (_, None) => "-".into(),
        (_, Some(Outcome::AsExpected)) => result.changed_since().map_or("=".into(), |version| format!(">{version}")),
    };
    match &result.headline {
        Some(headline) => format!("{} {mark}", visible(headline)),
        None => mark,
    }
}

/// Returns the changes since the talk, in the words of the newest interpreter; then the reason for each cell that has no figure,
/// or whose figure is not as expected. Each reason appears once, with the interpreters that it concerns.
fn explanations(document: &Document, labels: &Labels) -> String {
    let mut reasons: Vec<(String, String, Vec<String>)> = Vec::new();
    let mut add = |result: &RunResult, what: String, reason: &str| {
        let name = visible(&labels.of(&result.host, &result.interpreter));
        let known = reasons.iter_mut().find(|(known, other, _)| *known == what && other == reason);
        match known {
            Some((.., names)) if !names.contains(&name) => names.push(name),
            Some(_) => {}
            None => reasons.push((what, reason.to_owned(), vec![name])),
        }
    };
    for result in &document.results {
        let word = if result.status == Status::Failed { "failed" } else { "skipped" };
        if let Some(reason) = result.reason.as_deref().filter(|_| result.status != Status::Ok) {
            add(result, format!("{} {word}", result.experiment), reason);
        }
        for case in &result.cases {
            let Some(judgement) = &case.judgement else { continue };
            let mark = match judgement.outcome {
                Outcome::AsExpected => continue,
                Outcome::Inconclusive => "inconclusive",
                Outcome::Unexpected => "not as expected",
            };
            let title = experiments::title(&case.case, case.variant.as_deref());
            add(result, format!("{} {title} {mark}", result.experiment), &judgement.summary);
        }
        for (what, reason) in result.missing.iter().filter(|(_, reason)| Some(*reason) != result.reason.as_ref()) {
            add(result, format!("{} {what} not measured", result.experiment), reason);
        }
    }
    let mut text = String::new();
    for experiment in experiments::ALL {
        let mut changes: Vec<(&str, &str)> = Vec::new();
        let results = document.results.iter().filter(|result| result.experiment == experiment.name);
        // CPython's summaries come last and so take precedence: the changes are named by its versions.
        let (cpython, others): (Vec<_>, Vec<_>) =
            results.partition(|result| result.interpreter.implementation == "cpython");
        let judgements = others.iter().chain(&cpython).flat_map(|result| &result.cases);
        let judgements = judgements.filter_map(|case| case.judgement.as_ref());
        for judgement in judgements.filter(|one| one.outcome == Outcome::AsExpected) {
            let Some(version) = judgement.changed_since.as_deref() else { continue };
            match changes.iter_mut().find(|(known, _)| *known == version) {
                Some((_, summary)) => *summary = &judgement.summary,
                None => changes.push((version, &judgement.summary)),
            }
        }
        for (version, summary) in changes {
            let line = format!("{BOLD}{} >{version}{BOLD:#}: {}", experiment.name, visible(summary));
            writeln!(text, "{}", indented(&line)).unwrap();
        }
    }
    for (what, reason, names) in reasons {
        let line = format!("{BOLD}{}{BOLD:#} on {}: {}", visible(&what), names.join(", "), visible(&reason));
        writeln!(text, "{}", indented(&line)).unwrap();
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
