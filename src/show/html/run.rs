//! Experiments as a section of the page: the talk's figures beside today's, the matrix, and the CPU time over time.

use super::places::Places;
use crate::experiments::{self, Experiment, TALK_SECONDS, title};
use crate::results::{Case, Outcome, RunResult, Status};
use crate::show::figures::{dash, metric, native_rate, rate};
use crate::show::matrix::{LEGEND, cell};
use askama::Template;

/// The width of a bar for 200 % of a core.
const BAR: f64 = 120.0;
/// The sizes of the picture of CPU time, in its units.
const LABEL: f64 = 160.0;
/// See [`LABEL`].
const WIDTH: f64 = 960.0;
/// See [`LABEL`].
const LANE: usize = 24;

/// The section.
#[derive(Template)]
#[template(path = "run.html")]
pub(super) struct RunSection {
    columns: Vec<String>,
    matrix: Vec<MatrixRow>,
    legend: &'static str,
    experiments: Vec<ExperimentSection>,
    facts: Vec<(String, String)>,
}

struct MatrixRow {
    name: &'static str,
    cells: Vec<MatrixCell>,
}

struct MatrixCell {
    text: String,
    class: &'static str,
}

struct ExperimentSection {
    name: &'static str,
    shows: &'static str,
    today: &'static str,
    watched: Vec<WatchedRow>,
    titles: Vec<&'static str>,
    reported: Vec<ReportedRow>,
    missing: Vec<(String, String)>,
    timelines: Vec<Timeline>,
}

struct WatchedRow {
    case: String,
    on: String,
    bar: String,
    talk_bar: String,
    cpu: String,
    talk_cpu: String,
    internal: String,
    talk_internal: String,
    native: String,
    talk_native: String,
    class: &'static str,
    mark: &'static str,
    summary: String,
}

struct ReportedRow {
    case: String,
    on: String,
    metrics: Vec<String>,
    class: &'static str,
    mark: &'static str,
    summary: String,
}

struct Timeline {
    title: String,
    height: usize,
    lanes: Vec<TimelineLane>,
}

struct TimelineLane {
    text: usize,
    label: String,
    class: &'static str,
    path: String,
}

impl RunSection {
    /// Returns the HTML of these results, of which there is at least one.
    pub(super) fn html(results: &[&RunResult]) -> String {
        let places = Places::new(results.iter().map(|result| (&result.host, &result.interpreter)));
        let mut columns: Vec<String> = Vec::new();
        for result in results {
            let name = places.of(&result.host, &result.interpreter);
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        let shown = experiments::ALL
            .iter()
            .filter(|experiment| results.iter().any(|result| result.experiment == experiment.name));
        let shown: Vec<&Experiment> = shown.copied().collect();
        let is_matrix = columns.len() > 1 || shown.len() > 1;
        let matrix =
            shown.iter().filter(|_| is_matrix).map(|experiment| matrix_row(experiment, results, &columns, &places));
        let mut seconds: Vec<u32> = results.iter().map(|result| result.seconds).collect();
        seconds.sort_unstable();
        seconds.dedup();
        let seconds: Vec<String> = seconds.iter().map(u32::to_string).collect();
        let section = Self {
            matrix: matrix.collect(),
            legend: LEGEND,
            experiments: shown.iter().map(|experiment| experiment_section(experiment, results, &places)).collect(),
            facts: places.facts(
                results.iter().map(|result| result.started_at.as_str()),
                &format!("{} s a case", seconds.join(" or ")),
            ),
            columns,
        };
        section.render().expect("writing to a string")
    }
}

fn matrix_row(experiment: &Experiment, results: &[&RunResult], columns: &[String], places: &Places) -> MatrixRow {
    let of = |column: &String| {
        let is_it = |result: &&&RunResult| {
            result.experiment == experiment.name && places.of(&result.host, &result.interpreter) == *column
        };
        let found = results.iter().rfind(is_it);
        found.map_or(MatrixCell { text: String::new(), class: "" }, |result| MatrixCell {
            text: cell(result),
            class: match (result.status, result.outcome) {
                (Status::Failed, _) | (_, Some(Outcome::Unexpected)) => "bad",
                (_, Some(Outcome::AsExpected)) => "good",
                _ => "open",
            },
        })
    };
    MatrixRow { name: experiment.name, cells: columns.iter().map(of).collect() }
}

fn experiment_section(experiment: &'static Experiment, all: &[&RunResult], places: &Places) -> ExperimentSection {
    let results: Vec<&RunResult> = all.iter().copied().filter(|result| result.experiment == experiment.name).collect();
    let (mut watched, mut reported, mut missing, mut timelines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for result in &results {
        let on = places.of(&result.host, &result.interpreter);
        for case in &result.cases {
            if case.cpu.is_some() {
                watched.push(watched_row(experiment, case, on.clone()));
                timelines.extend(timeline(case, &on));
            } else {
                reported.push(reported_row(experiment, case, on.clone()));
            }
        }
        let reason = result.reason.iter().map(|reason| (on.clone(), reason.clone()));
        let own = result.missing.iter().map(|(what, reason)| (format!("{on}, {what}"), reason.clone()));
        missing.extend(reason.chain(own));
    }
    missing.dedup_by(|one, other| one.1 == other.1);
    ExperimentSection {
        name: experiment.name,
        shows: experiment.shows,
        today: experiment.today,
        watched,
        titles: experiment.columns.iter().map(|column| column.title).collect(),
        reported,
        missing,
        timelines,
    }
}

/// Returns what a case shows: its class, its mark and its summary.
fn shows(case: &Case) -> (&'static str, &'static str, String) {
    let Some(judgement) = &case.judgement else { return ("", "", String::new()) };
    let (class, mark) = match judgement.outcome {
        Outcome::AsExpected => ("good", ""),
        Outcome::Inconclusive => ("open", "Inconclusive: "),
        Outcome::Unexpected => ("bad", "Not as expected: "),
    };
    (class, mark, judgement.summary.clone())
}

fn watched_row(experiment: &Experiment, case: &Case, on: String) -> WatchedRow {
    let talk = experiment.talk_figures(&case.case);
    let talk_rate = |count: Option<u64>| rate(count.map(|count| count as f64 / TALK_SECONDS));
    let percent = |percent: Option<f64>| percent.map_or_else(dash, |percent| format!("{percent:.0}"));
    let bar = |percent: Option<f64>| format!("{:.1}", BAR * (percent.unwrap_or(0.0) / 200.0).clamp(0.0, 1.0));
    let (cpu, talk_cpu) = (Some(case.cpu_percent()), talk.map(|talk| talk.cpu_percent));
    let (class, mark, summary) = shows(case);
    WatchedRow {
        case: title(&case.case, case.variant.as_deref()),
        on,
        bar: bar(cpu),
        talk_bar: bar(talk_cpu),
        cpu: percent(cpu),
        talk_cpu: percent(talk_cpu),
        internal: rate(Some(case.rate("internal"))),
        talk_internal: talk_rate(talk.map(|talk| talk.internal)),
        native: rate(native_rate(case)),
        talk_native: talk_rate(talk.and_then(|talk| talk.native)),
        class,
        mark,
        summary,
    }
}

fn reported_row(experiment: &Experiment, case: &Case, on: String) -> ReportedRow {
    let metrics = experiment.columns.iter().map(|column| case.metrics.get(column.metric).map_or_else(dash, metric));
    let (class, mark, summary) = shows(case);
    ReportedRow {
        case: title(&case.case, case.variant.as_deref()),
        on,
        metrics: metrics.collect(),
        class,
        mark,
        summary,
    }
}

/// Returns the utilization of each thread and core over time; None if it was not sampled.
fn timeline(case: &Case, on: &str) -> Option<Timeline> {
    let cpu = case.cpu.as_ref().filter(|cpu| cpu.timeline.len() > 1)?;
    let end = cpu.timeline.last()?.t_s.max(f64::MIN_POSITIVE);
    let mut lanes = Vec::new();
    for (index, thread) in cpu.threads.iter().enumerate() {
        let points = cpu.timeline.iter().filter_map(|step| Some((step.t_s / end, *step.threads.get(index)?)));
        lanes.push((format!("{} {}", thread.name, thread.tid), "holds", points.collect::<Vec<_>>()));
    }
    for (index, core) in cpu.cores.iter().enumerate() {
        let points = cpu.timeline.iter().filter_map(|step| Some((step.t_s / end, *step.cores.as_ref()?.get(index)?)));
        lanes.push((format!("core {}", core.core), "unknown", points.collect()));
    }
    let height = lanes.len() * LANE;
    let lanes = lanes.into_iter().enumerate().map(|(index, (label, class, points))| TimelineLane {
        text: index * LANE + LANE - 8,
        label,
        class,
        path: steps(&points, (index + 1) * LANE - 2),
    });
    let title = format!("{} on {on}, {:.1} s", title(&case.case, case.variant.as_deref()), case.wall_s);
    Some(Timeline { title, height, lanes: lanes.collect() })
}

/// Returns a filled path of steps above `bottom`; each point is the end of its step, as a share of the width, and a
/// percentage.
fn steps(points: &[(f64, f64)], bottom: usize) -> String {
    let mut path = format!("M{LABEL:.0} {bottom}");
    for (end, percent) in points {
        let height = (LANE - 4) as f64 * (percent / 100.0).clamp(0.0, 1.0);
        path += &format!("V{:.1}H{:.1}", bottom as f64 - height, LABEL + (WIDTH - LABEL) * end);
    }
    path + &format!("V{bottom}Z")
}
