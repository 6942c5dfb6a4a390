//! The figures of one experiment: a row for each case and interpreter.

use super::{table, visible, width};
use crate::experiments::{Experiment, TALK_SECONDS, title};
use crate::results::{Case, CpuFigures, Labels, RunResult};
use crate::units::per_second;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

/// Returns the metrics of self-reported cases; None if there are none.
pub(super) fn self_reported(experiment: &Experiment, results: &[&RunResult], labels: &Labels) -> Option<Table> {
    let cases = cases(results, |case| case.cpu.is_none());
    if cases.is_empty() {
        return None;
    }
    let mut table = table([""].into_iter().chain(experiment.columns.iter().map(|column| column.title)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, variant) in cases {
        let title = title(name, variant);
        if results.len() > 1 {
            table.add_row([&title]);
        }
        for (result, case) in results.iter().filter_map(|result| Some((result, result.case(name, variant)?))) {
            let metrics =
                experiment.columns.iter().map(|column| case.metrics.get(column.metric).map_or_else(dash, metric));
            table.add_row([first_cell(result, results, labels, &title)].into_iter().chain(metrics));
        }
    }
    keep_words_whole(&mut table, width());
    Some(table)
}

/// Returns the CPU utilization and counts of watched cases; None if there are none. If the full table is too wide, user and
/// system time, which the JSON has, are left out.
pub(super) fn watched(experiment: &Experiment, results: &[&RunResult], labels: &Labels) -> Option<Table> {
    let cases = cases(results, |case| case.cpu.is_some());
    if cases.is_empty() {
        return None;
    }
    let full = watched_table(experiment, results, labels, &cases, false);
    let widest = full.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    Some(if widest <= width() { full } else { watched_table(experiment, results, labels, &cases, true) })
}

fn watched_table(
    experiment: &Experiment,
    results: &[&RunResult],
    labels: &Labels,
    cases: &[(&str, Option<&str>)],
    narrow: bool,
) -> Table {
    let mut table = if narrow {
        table(["", "Python/s", "native/s", "CPU %", "talk:\nPython/s", "\nnative/s", "\nCPU %"])
    } else {
        table(["", "Python/s", "native/s", "CPU %", "user + sys", "talk: Python/s", "native/s", "CPU %"])
    };
    if !narrow {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for &(name, variant) in cases {
        let talk = experiment.talk_figures(name);
        let talk_rate = |count: Option<u64>| rate(count.map(|count| count as f64 / TALK_SECONDS));
        let title = title(name, variant).replace('+', if narrow { "+\n" } else { "+" });
        if results.len() > 1 {
            table.add_row([&title]);
        }
        for (result, case) in results.iter().filter_map(|result| Some((result, result.case(name, variant)?))) {
            let parts = |cpu: &CpuFigures| format!("{:.0} + {:.0}", cpu.user_percent, cpu.system_percent);
            let row = [
                Some(first_cell(result, results, labels, &title)),
                Some(rate(Some(case.rate("internal")))),
                Some(rate(native_rate(case))),
                Some(format!("{:.0}", case.cpu_percent())),
                (!narrow).then(|| case.cpu.as_ref().map_or_else(dash, parts)),
                Some(talk_rate(talk.map(|talk| talk.internal))),
                Some(talk_rate(talk.and_then(|talk| talk.native))),
                Some(talk.map_or_else(dash, |talk| format!("{:.0}", talk.cpu_percent))),
            ];
            table.add_row(row.into_iter().flatten().map(Cell::new));
        }
    }
    if narrow {
        keep_words_whole(&mut table, width());
    }
    table
}

/// Makes each column at least as wide as its longest word if they all fit, so that a narrow terminal breaks no word; if they do
/// not fit, only the column of names.
fn keep_words_whole(table: &mut Table, width: usize) {
    // And a space on either side.
    let needed = |cell: &Cell| cell.content().split_whitespace().map(|word| word.chars().count() as u16 + 2).max();
    let mut widths = vec![0; table.column_count()];
    for row in table.header().into_iter().chain(table.row_iter()) {
        for (column, cell) in row.cell_iter().enumerate() {
            widths[column] = widths[column].max(needed(cell).unwrap_or(0));
        }
    }
    // A separator stands between two columns.
    let all_fit = widths.iter().map(|width| usize::from(*width) + 1).sum::<usize>() <= width + 1;
    for (index, width) in widths.into_iter().enumerate() {
        let least = if all_fit || index == 0 { width } else { 0 };
        let column = table.column_mut(index).expect("one of its columns");
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
}

/// Returns the counts per second of the native thread.
pub(super) fn native_rate(case: &Case) -> Option<f64> {
    let native = case.cpu.as_ref()?.threads.iter().find(|thread| thread.name != "internal")?;
    Some(case.rate(&native.name))
}

pub(super) fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(dash, per_second)
}

/// Returns the cases of all results, each once. Rows are grouped by case, so that versions can be compared.
fn cases<'a>(results: &[&'a RunResult], belongs: fn(&Case) -> bool) -> Vec<(&'a str, Option<&'a str>)> {
    let mut cases = Vec::new();
    for case in results.iter().flat_map(|result| &result.cases).filter(|case| belongs(case)) {
        let key = (&*case.case, case.variant.as_deref());
        if !cases.contains(&key) {
            cases.push(key);
        }
    }
    cases
}

/// Returns the interpreter's label, indented below the title of the case, if there are several; else the title.
fn first_cell(result: &RunResult, results: &[&RunResult], labels: &Labels, title: &str) -> String {
    if results.len() > 1 {
        format!("  {}", visible(&labels.of(&result.host, &result.interpreter)))
    } else {
        title.to_owned()
    }
}

/// Formats a metric: numbers with three digits, lists with commas.
pub(super) fn metric(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => visible(text),
        serde_json::Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        serde_json::Value::Number(number) if number.is_f64() => per_second(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::Null => dash(),
        serde_json::Value::Array(values) => values.iter().map(metric).collect::<Vec<_>>().join(", "),
        other => visible(&other.to_string()),
    }
}

pub(super) fn dash() -> String {
    "-".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments;
    use crate::results::{Host, Interpreter};
    use comfy_table::ContentArrangement;
    use serde_json::json;

    #[test]
    fn a_narrow_table_breaks_no_row_name_within_a_word() {
        let metrics = json!({"threads": 4, "steps_per_s": 1e6, "switches_per_step": 1.0, "waited_s": 4.0, "took_s": 1.0,
            "slice_s": 0.25, "longest_gap_s": 0.252});
        let case =
            |case: &str, variant: &str| json!({"case": case, "variant": variant, "wall_s": 1.0, "metrics": metrics});
        let result: RunResult = serde_json::from_value(json!({
            "kind": "run", "experiment": "generator", "status": "ok", "seconds": 1, "host": Host::example(),
            "cases": [case("in-turn", "generators"), case("beside-computing", "generators"), case("waiting", "threads")],
            "libbusy": "0.1.0", "interpreter": Interpreter::example("3", (3, 11)),
        }))
        .unwrap();
        let labels = Labels::new([(&result.host, &result.interpreter)]);
        let names: &[&str] = &["in-turn", "beside-computing", "(generators)", "(threads)"];
        let (heads, no_heads): (&[&str], &[&str]) = (&["switches", "compute", "longest"], &[]);
        for (width, heads) in [(87, heads), (80, no_heads), (60, no_heads)] {
            let mut table = self_reported(experiments::find("generator").unwrap(), &[&result], &labels).unwrap();
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            keep_words_whole(&mut table, width.into());
            let text = table.to_string();
            for word in names.iter().chain(heads) {
                assert!(text.contains(word), "{word:?} is broken at {width} columns in\n{text}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= width.into()), "{width}: {text}");
        }
    }
}
