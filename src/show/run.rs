//! The results of experiments: the talk's figures beside today's, and what each row shows.

use super::{BOLD, figures, foot, indented, matrix, visible, wrapped};
use crate::experiments::{self, Experiment, title};
use crate::results::{
    Case, Document, Host, Interpreter, Labels, Outcome, RunResult, Status, TOO_LOADED_PERCENT, Topology,
};
use std::collections::HashSet;
use std::fmt::Write;

/// Returns the whole text, with ANSI styles that the writer may have to strip: a table for each experiment over all
/// interpreters, or one matrix if there are several of both.
pub fn run(document: &Document) -> String {
    let mut text = String::new();
    let labels = Labels::new(places(document));
    if matrix::fits(document) {
        text = matrix::render(document, &labels);
        text.push_str(&footnotes(document));
        return text;
    }
    for experiment in experiments::ALL {
        let results: Vec<_> = document.results.iter().filter(|result| result.experiment == experiment.name).collect();
        if results.is_empty() {
            continue;
        }
        writeln!(text, "{}", heading(experiment, &results)).unwrap();
        for table in [figures::watched, figures::self_reported]
            .iter()
            .filter_map(|figures| figures(experiment, &results, &labels))
        {
            writeln!(text, "{table}\n").unwrap();
        }
        for result in &results {
            let name = (results.len() > 1).then(|| visible(&labels.of(&result.host, &result.interpreter)));
            text.push_str(&sentences(result, name.as_deref(), explains(result, &results)));
        }
        text.push('\n');
    }
    text.push_str(&footnotes(document));
    text
}

/// Yields the host and the interpreter of each result.
fn places(document: &Document) -> impl Iterator<Item = (&Host, &Interpreter)> + Clone {
    document.results.iter().map(|result| (&result.host, &result.interpreter))
}

fn heading(experiment: &Experiment, results: &[&RunResult]) -> String {
    let (name, slides, shows) = (experiment.name, experiment.slides, experiment.shows);
    let hosts: HashSet<_> = results.iter().map(|result| result.place().0).collect();
    let on = match (results, hosts.len()) {
        ([result], _) if result.interpreter.is_unknown() => "an unknown interpreter".into(),
        ([result], _) => visible(&result.interpreter.title()),
        (_, 1) => format!("{} interpreters", results.len()),
        (_, hosts) if hosts == results.len() => format!("{hosts} hosts"),
        (_, hosts) => format!("{hosts} hosts, {} interpreters", results.len()),
    };
    let seconds = results[0].seconds;
    let slides = if slides.contains('-') { format!("slides {slides}") } else { format!("slide {slides}") };
    let line = format!("{BOLD}{name}{BOLD:#} ({slides}) on {on}, {seconds} s per row: {shows}");
    wrapped(&line)
}

/// Returns true for the newest of the interpreters with the same kind of lock: its explanations hold for all of them.
fn explains(result: &RunResult, results: &[&RunResult]) -> bool {
    let kind = |result: &RunResult| {
        let interpreter = &result.interpreter;
        (interpreter.implementation.clone(), interpreter.has_old_gil(), interpreter.gil)
    };
    let newest = results.iter().rfind(|other| kind(other) == kind(result) && other.status == Status::Ok);
    newest.is_none_or(|newest| std::ptr::eq(*newest, result))
}

/// Returns an explanation of each row, with the interpreter's name if there are several. Rows that are not as expected are
/// always included, the others only if `explains` is true.
fn sentences(result: &RunResult, interpreter: Option<&str>, explains: bool) -> String {
    let mut text = String::new();
    let about =
        |what: &str| format!("{BOLD}{}{what}{BOLD:#}", interpreter.map_or(String::new(), |name| format!("{name} ")));
    if let (Status::Skipped | Status::Failed, Some(reason)) = (result.status, &result.reason) {
        let word = if result.status == Status::Failed { "failed" } else { "skipped" };
        writeln!(text, "{}", indented(&format!("{}: {}", about(word), visible(reason)))).unwrap();
    }
    for case in &result.cases {
        let Some(judgement) = &case.judgement else { continue };
        let mark = match judgement.outcome {
            Outcome::AsExpected if !explains => continue,
            Outcome::AsExpected => "",
            Outcome::Inconclusive => ", inconclusive",
            Outcome::Unexpected => ", not as expected",
        };
        let title = title(&case.case, case.variant.as_deref());
        let line = format!("{}: {}", about(&format!("{title}{mark}")), visible(&judgement.summary));
        writeln!(text, "{}", indented(&line)).unwrap();
    }
    for (what, reason) in result.missing.iter().filter(|(_, reason)| result.reason.as_ref() != Some(reason)) {
        let line = format!("{}: {}", about(&format!("{} not measured", visible(what))), visible(reason));
        writeln!(text, "{}", indented(&line)).unwrap();
    }
    text
}

fn footnotes(document: &Document) -> String {
    let mut notes = String::new();
    writeln!(notes, "{}", foot(places(document))).unwrap();
    let mut rates = document.results.iter().filter_map(|result| result.host.time_reads_per_s);
    if let Some(rate) = rates.next().filter(|_| has_watched(document)) {
        let line = format!(
            "Native counts are polls of CLOCK_MONOTONIC; the talk's were polls of time(2), which this machine can read \
             {:.0} M times per second. The talk's figures: CPython 2.7, two cores, 10 s per row.",
            rate / 1e6
        );
        writeln!(notes, "{}", wrapped(&line)).unwrap();
    }
    notes
}

/// Returns a warning for each disturbance of the measurement, with advice, wrapped for the terminal.
pub fn warnings(document: &Document) -> Vec<String> {
    let mut warnings = Vec::new();
    let hosts = document.results.iter().map(|result| &result.host);
    let others_percent = hosts.clone().filter_map(|host| host.others_percent).fold(0.0, f64::max);
    let cores = hosts.filter(|host| host.is_known()).map(|host| host.cores).min().unwrap_or(0);
    if !has_watched(document) {
        return warnings;
    }
    if cores < 2 {
        warnings.push(
            "this process may use only one core, so two threads cannot run at once, and no row can reach 200 %. Allow it two \
             cores (taskset, the container's CPU limit)."
                .into(),
        );
    }
    let one_core =
        document.results.iter().filter_map(|result| result.host.topology.as_ref()).any(Topology::is_one_core);
    if one_core {
        warnings.push(
            "the CPUs that this process may use are threads of one core (SMT siblings), so a thread is slower while another \
             one runs: counts are lower than on two cores, CPU % is not."
                .into(),
        );
    }
    let before_first = (others_percent > TOO_LOADED_PERCENT).then(|| (others_percent, "before the first row".into()));
    if let Some((others, when)) = worst(document, |case| case.others_percent).or(before_first) {
        warnings.push(format!(
            "other processes used {others:.0} % of a core {when}. Threads that need a core each may have had to share one, so \
             CPU % and counts may be too low. Find the processes (top), end them, and run again."
        ));
    }
    if let Some((steal, when)) = worst(document, |case| case.steal_percent) {
        warnings.push(format!(
            "the hypervisor took {steal:.0} % of a core for other machines (steal time) {when}. Run again, or use a machine \
             that is not shared."
        ));
    }
    warnings.iter().map(|warning| wrapped(&format!("warning: {warning}"))).collect()
}

/// Returns true if there are figures of CPU utilization.
fn has_watched(document: &Document) -> bool {
    document.results.iter().flat_map(|result| &result.cases).any(|case| case.cpu.is_some())
}

/// Returns the largest of these figures of watched cases and its row, if it exceeds the limit.
fn worst(document: &Document, percent: fn(&Case) -> Option<f64>) -> Option<(f64, String)> {
    let cases = document.results.iter().flat_map(|result| &result.cases).filter(|case| case.cpu.is_some());
    let title = |case: &Case| format!("during {}", title(&case.case, case.variant.as_deref()));
    let figures = cases.filter_map(|case| Some((percent(case)?, title(case))));
    figures.filter(|(percent, _)| *percent > TOO_LOADED_PERCENT).max_by(|one, other| one.0.total_cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{CpuFigures, Judgement, Name, OnHost, SamplerFigures, ThreadFigures, Worker};
    use std::collections::BTreeMap;

    fn case(case: &'static str, variant: Option<&'static str>, counts: &[(&str, u64)], outcome: Outcome) -> Case {
        let thread = |(name, count): &(&str, u64)| ThreadFigures {
            name: (*name).into(),
            tid: 1,
            count: *count,
            cpu_percent: 99.0,
            run_delay_percent: 0.0,
            voluntary_switches: 0,
            involuntary_switches: 0,
        };
        let cpu = CpuFigures {
            cpu_percent: 99.6,
            user_percent: 98.0,
            system_percent: 1.6,
            threads: counts.iter().map(thread).collect(),
            cores: Vec::new(),
            timeline: Vec::new(),
            sampler: SamplerFigures { hz: 10, cost_percent: 0.1, missed: 0 },
            in_doubt: None,
        };
        Case {
            case: case.into(),
            variant: variant.map(Into::into),
            wall_s: 2.0,
            cpu: Some(cpu),
            others_percent: Some(12.0),
            steal_percent: Some(0.0),
            metrics: BTreeMap::new(),
            judgement: Some(Judgement { outcome, changed_since: None, summary: format!("What {case} shows.") }),
            missing: BTreeMap::new(),
        }
    }

    fn document() -> Document {
        let interpreter = Interpreter::example("3.11.7", (3, 11));
        let result =
            |experiment: &'static str, status, reason: Option<&str>, cases, missing: &[(&str, &str)]| RunResult {
                kind: "run".into(),
                experiment: Name::from(experiment),
                started_at: "2026-11-24T00:00:00Z".into(),
                status,
                reason: reason.map(str::to_owned),
                outcome: None,
                headline: None,
                host: Host::example(),
                libbusy: "0.1.0".into(),
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
        Document { schema: 1, started_at: "2026-11-24T00:00:00Z".into(), results }
    }

    #[test]
    fn the_table_shows_the_talk_beside_today_and_says_what_each_row_means() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&run(&document())));
    }

    #[test]
    fn self_reported_cases_have_a_table_of_their_own_after_that_of_watched_cases() {
        let mut document = document();
        let result = &mut document.results[0];
        result.experiment = "no-gil".into();
        assert!(!run(&document).contains("gc.collect(), s"));
        let mut self_reported = case("collect+with_lock", None, &[], Outcome::AsExpected);
        self_reported.cpu = None;
        self_reported.metrics.insert("collect_s".into(), serde_json::json!(1.25));
        document.results[0].cases.push(self_reported);
        let text = run(&document);
        assert!(text.contains("two-internal") && text.contains("CPU %"), "{text}");
        let row = text.lines().find(|line| line.contains("collect+with_lock ")).expect("a row of its own");
        assert!(text.contains("gc.collect(), s") && row.contains("1.25") && !row.contains("NaN"), "{text}");
    }

    /// Returns results of so many experiments on each of two hosts. The last one of the second host has failed.
    fn on_two_hosts(experiments: usize) -> Document {
        let mut results = Vec::new();
        for number in [1, 2] {
            let worker =
                Worker { address: format!("tcp://10.0.0.{number}:4000"), host_name: Some(format!("node{number}")) };
            results.extend(experiments::ALL[..experiments].iter().map(|experiment| {
                let mut result = document().results.swap_remove(0);
                (result.experiment, result.outcome) = (experiment.name.into(), Some(Outcome::AsExpected));
                result.host.worker = Some(worker.clone());
                result
            }));
        }
        let last = results.last_mut().unwrap();
        last.cases.clear();
        last.outcome = None;
        last.fail(last.host.worker.clone().unwrap(), "the worker was killed");
        Document { results, ..document() }
    }

    #[test]
    fn hosts_are_the_columns_of_a_matrix_and_a_host_that_failed_has_its_cell() {
        let document = on_two_hosts(5);
        let text = anstream::adapter::strip_str(&run(&document)).to_string();
        let header = text.lines().nth(1).unwrap();
        // One interpreter on each host, so that the host is enough.
        assert_eq!(header.split_whitespace().collect::<Vec<_>>(), ["node1", "node2"], "{text}");
        let last = text.lines().find(|line| line.trim_start().starts_with(experiments::ALL[4].name)).unwrap();
        assert!(last.trim_end().ends_with("failed"), "{text}");
        assert!(
            text.contains(&format!("{} failed on node2: the worker was killed", experiments::ALL[4].name)),
            "{text}"
        );
    }

    #[test]
    fn hosts_are_the_rows_of_a_table_and_a_host_that_failed_has_its_reason() {
        let text = anstream::adapter::strip_str(&run(&on_two_hosts(1))).to_string();
        assert!(text.contains("on 2 hosts, 2 s per row") && text.contains("  node1 "), "{text}");
        assert!(text.contains("node2 failed: the worker was killed"), "{text}");
        assert!(text.contains("node1: Some CPU") && text.contains("node2: unknown"), "{text}");
    }

    #[test]
    fn a_spoiled_measurement_is_explained() {
        let mut document = document();
        insta::assert_snapshot!(warnings(&document).join("\n"));
        document.results[0].host = Host::example_of_siblings();
        assert!(warnings(&document)[0].contains("SMT siblings"), "{:?}", warnings(&document));
        document.results.clear();
        assert!(warnings(&document).is_empty());
    }
}
