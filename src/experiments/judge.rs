//! The judgement on a case: as expected, not as expected, or inconclusive because the measurement was disturbed. It rests on CPU
//! utilization, on counts, or on a ratio to a control of the same run, never on a speed by itself (docs/measuring.md, "What an
//! outcome rests on").

use crate::results::Interpreter;
use crate::results::TOO_LOADED_PERCENT;
use crate::results::{Case, Judgement, Outcome, RunResult};

/// Measurement conditions.
pub struct Conditions {
    /// The number of cores that the lab may use.
    pub cores: usize,
}

/// The reason on a machine where no two threads can run at once.
pub(super) const ONLY_ONE_CORE: &str = "Two threads need two cores, but this process may use only one.";

/// The advice if only other processes can explain a figure.
pub(super) const OTHER_LOAD: &str = "Check for other load, and run it again.";

/// Returns the judgement on a figure that neither confirms nor refutes anything, for the given reason.
pub(super) fn inconclusive(summary: &str, reason: &str) -> Judgement {
    Judgement { outcome: Outcome::Inconclusive, changed_since: None, summary: format!("{summary} {reason}") }
}

/// Returns the judgement on a measurement that was disturbed. Its text begins with the disturbance, since `summary` would
/// otherwise claim what the figures can't show.
pub(super) fn disturbed(disturbance: &str, summary: &str) -> Judgement {
    let summary = format!("{disturbance} As measured: {summary}");
    Judgement { outcome: Outcome::Inconclusive, changed_since: None, summary }
}

impl Conditions {
    /// Returns the judgement on a case: as expected or not, or inconclusive if one of the `cases` that it rests on was
    /// disturbed. Other load can take away a second core, but cannot simulate one. So two cores used is conclusive even on
    /// a loaded machine, unless the figures themselves are in doubt. A self-reported case does not need two cores, so load
    /// can only explain why it is not as expected.
    pub(super) fn judge(&self, cases: &[&Case], expected: bool, summary: String) -> Judgement {
        let in_doubt = cases.iter().find_map(|case| in_doubt(case));
        let mut may_be_disturbed = cases.iter().filter(|case| !expected || case.cpu.is_some());
        let disturbance = in_doubt.clone().or_else(|| may_be_disturbed.find_map(|case| self.disturbance(case)));
        let shows_two_cores = in_doubt.is_none() && cases.iter().all(|case| two_cores(case));
        match disturbance {
            Some(disturbance) if !(expected && shows_two_cores) => disturbed(&disturbance, &summary),
            _ if expected => Judgement { outcome: Outcome::AsExpected, changed_since: None, summary },
            _ => {
                // `summary` would otherwise claim what the figures refute.
                let advice = "No disturbance was detected: run it again, and investigate if it repeats.";
                let summary = format!("{advice} As measured: {summary}");
                Judgement { outcome: Outcome::Unexpected, changed_since: None, summary }
            }
        }
    }

    /// Returns the disturbance that may have taken CPU time from the threads, if there was one. Self-reported cases do not
    /// need two cores.
    pub(super) fn disturbance(&self, case: &Case) -> Option<String> {
        if self.cores < 2 && case.cpu.is_some() {
            return Some(ONLY_ONE_CORE.into());
        }
        if let Some(others) = case.others_percent.filter(|percent| *percent > TOO_LOADED_PERCENT) {
            return Some(format!("Other processes used {others:.0} % of a core during {}.", case.case));
        }
        let steal = case.steal_percent.filter(|percent| *percent > TOO_LOADED_PERCENT)?;
        Some(format!("The hypervisor took {steal:.0} % of a core (steal time) during {}.", case.case))
    }
}

/// Returns the reason why none of the case's figures is reliable, if there is one.
fn in_doubt(case: &Case) -> Option<String> {
    let reason = case.cpu.as_ref()?.in_doubt.as_ref()?;
    Some(format!("The figures are unreliable: {reason} during {}.", case.case))
}

/// Returns true if the threads used two cores, within the tolerance of a noisy machine.
pub(super) fn two_cores(case: &Case) -> bool {
    uses_two_cores(case.cpu_percent())
}

/// Like [`two_cores`], for a percentage.
pub(super) fn uses_two_cores(percent: f64) -> bool {
    percent >= 185.0
}

/// Returns true if the threads shared one core. The limit is higher for PyPy: a thread that waits for its GIL wakes up 10,000
/// times per second to poll it (rpython/translator/c/src/thread_gil.c, RPyGilAcquireSlowPath), which costs some 10 % of a
/// core.
pub(super) fn one_core(case: &Case, interpreter: &Interpreter) -> bool {
    let limit = if interpreter.implementation == "pypy" { 125.0 } else { 110.0 };
    (90.0..limit).contains(&case.cpu_percent())
}

/// Returns the CPU utilization of these cases as a headline, such as "100, 199 %"; None if one was not measured.
pub(super) fn headline(result: &RunResult, cases: &[(&str, Option<&str>)]) -> Option<String> {
    let percent =
        |(case, variant): &(&str, Option<&str>)| Some(format!("{:.0}", result.case(case, *variant)?.cpu_percent()));
    Some(format!("{} %", cases.iter().map(percent).collect::<Option<Vec<_>>>()?.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{CpuFigures, SamplerFigures};
    use std::collections::BTreeMap;

    fn case(others_percent: Option<f64>, steal_percent: Option<f64>) -> Case {
        let cpu = CpuFigures {
            cpu_percent: 100.0,
            user_percent: 100.0,
            system_percent: 0.0,
            threads: Vec::new(),
            cores: Vec::new(),
            timeline: Vec::new(),
            sampler: SamplerFigures { hz: 10, cost_percent: 0.1, missed: 0 },
            in_doubt: None,
        };
        Case {
            case: "one-internal".into(),
            variant: None,
            wall_s: 1.0,
            cpu: Some(cpu),
            others_percent,
            steal_percent,
            metrics: BTreeMap::new(),
            judgement: None,
            missing: BTreeMap::new(),
        }
    }

    fn outcome(cores: usize, cases: &[&Case], expected: bool) -> Outcome {
        Conditions { cores }.judge(cases, expected, String::new()).outcome
    }

    #[test]
    fn a_disturbed_measurement_is_inconclusive_unless_it_shows_two_cores() {
        let (quiet, loaded, stolen) = (case(Some(2.0), Some(0.0)), case(Some(50.0), None), case(None, Some(50.0)));
        assert_eq!(outcome(2, &[&quiet], false), Outcome::Unexpected);
        assert_eq!(outcome(2, &[&quiet, &loaded], false), Outcome::Inconclusive);
        assert_eq!(outcome(2, &[&stolen], false), Outcome::Inconclusive);
        assert_eq!(outcome(1, &[&quiet], false), Outcome::Inconclusive);
        // Two threads that starve on one core have the same figures as two that share it because of the GIL.
        assert_eq!(outcome(2, &[&loaded], true), Outcome::Inconclusive);
        assert_eq!(outcome(2, &[&quiet], true), Outcome::AsExpected);
        let mut on_two_cores = loaded;
        on_two_cores.cpu.as_mut().unwrap().cpu_percent = 198.0;
        assert_eq!(outcome(2, &[&on_two_cores], true), Outcome::AsExpected);
    }

    #[test]
    fn the_text_of_a_disturbed_measurement_begins_with_the_disturbance() {
        let judgement = Conditions { cores: 2 }.judge(&[&case(Some(50.0), None)], true, "They share a core.".into());
        let expected = "Other processes used 50 % of a core during one-internal. As measured: They share a core.";
        assert_eq!(judgement.summary, expected);
    }

    #[test]
    fn the_text_of_an_unexpected_measurement_does_not_begin_with_the_claim_that_it_refutes() {
        let judgement = Conditions { cores: 2 }.judge(&[&case(Some(1.0), None)], false, "They share a core.".into());
        let expected = "No disturbance was detected: run it again, and investigate if it repeats. \
                        As measured: They share a core.";
        assert_eq!((judgement.outcome, judgement.summary.as_str()), (Outcome::Unexpected, expected));
    }

    #[test]
    fn load_explains_a_self_reported_case_only_if_it_is_not_as_expected() {
        let of = |others_percent| Case { cpu: None, ..case(others_percent, None) };
        let (quiet, loaded) = (of(Some(2.0)), of(Some(150.0)));
        assert_eq!(outcome(2, &[&quiet], false), Outcome::Unexpected);
        assert_eq!(outcome(2, &[&loaded], false), Outcome::Inconclusive);
        assert_eq!(outcome(2, &[&loaded], true), Outcome::AsExpected);
        assert_eq!(outcome(1, &[&quiet], false), Outcome::Unexpected);
        assert_eq!(outcome(2, &[&of(None)], false), Outcome::Unexpected);
    }
}
