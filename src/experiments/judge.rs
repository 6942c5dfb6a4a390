//! What makes a figure as expected, and what excuses one that is not.

use crate::results::Interpreter;
use crate::results::TOO_LOADED_PERCENT;
use crate::results::{Case, Judgement, Outcome, RunResult};

/// Under what conditions was measured.
pub struct Conditions {
    /// Cores that the lab may use.
    pub cores: usize,
}

/// Why no two threads can be compared.
pub(super) const ONLY_ONE_CORE: &str = "Inconclusive: two threads need two cores, and this process may use only one.";

impl Conditions {
    /// The judgement on a case: `expected` or not, unless the machine spoiled one of the `cases` that it rests on. A loaded
    /// machine can hide a second core that was used, but not make one up: what shows two cores stands, unless the
    /// figures themselves are in doubt.
    pub(super) fn judge(&self, cases: &[&Case], expected: bool, summary: String) -> Judgement {
        let in_doubt = cases.iter().find_map(|case| in_doubt(case));
        let spoiled = in_doubt.clone().or_else(|| cases.iter().find_map(|case| self.spoiled(case)));
        let shows_two_cores = in_doubt.is_none() && cases.iter().all(|case| two_cores(case));
        match spoiled {
            Some(why) if !(expected && shows_two_cores) => {
                Judgement { outcome: Outcome::Inconclusive, changed_since: None, summary: format!("{summary} {why}") }
            }
            _ if expected => Judgement { outcome: Outcome::AsExpected, changed_since: None, summary },
            _ => {
                let why = "Not as expected here, on a quiet machine: repeat, and look closer.";
                Judgement { outcome: Outcome::Unexpected, changed_since: None, summary: format!("{summary} {why}") }
            }
        }
    }

    /// What kept two threads from two cores, if anything did. What a script tells of itself needs no two.
    fn spoiled(&self, case: &Case) -> Option<String> {
        let cpu = case.cpu.as_ref()?;
        if self.cores < 2 {
            return Some(ONLY_ONE_CORE.into());
        }
        if let Some(others) = cpu.others_percent.filter(|percent| *percent > TOO_LOADED_PERCENT) {
            return Some(format!("Inconclusive: other processes used {others:.0} % of a core during {}.", case.case));
        }
        let steal = cpu.steal_percent.filter(|percent| *percent > TOO_LOADED_PERCENT)?;
        Some(format!("Inconclusive: the hypervisor took {steal:.0} % of a core during {}.", case.case))
    }
}

/// Why no figure of the case can be relied on, if there is a reason.
fn in_doubt(case: &Case) -> Option<String> {
    let why = case.cpu.as_ref()?.in_doubt.as_ref()?;
    Some(format!("Inconclusive: {why} during {}.", case.case))
}

/// True if the threads had two cores, near enough for a noisy machine.
pub(super) fn two_cores(case: &Case) -> bool {
    uses_two_cores(case.cpu_percent())
}

/// As [`two_cores`], of a percentage.
pub(super) fn uses_two_cores(percent: f64) -> bool {
    percent >= 185.0
}

/// True if the threads shared one core. A thread that waits for PyPy's GIL wakes up 10,000 times a second to look
/// whether it is free (rpython/translator/c/src/thread_gil.c, RPyGilAcquireSlowPath): some 10 % of a core.
pub(super) fn one_core(case: &Case, interpreter: &Interpreter) -> bool {
    let most = if interpreter.implementation == "pypy" { 125.0 } else { 110.0 };
    (90.0..most).contains(&case.cpu_percent())
}

/// The CPU use of these cases, as a headline: "100, 199 %". None if one was not measured.
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
            others_percent,
            steal_percent,
            in_doubt: None,
        };
        Case {
            case: "one-internal".into(),
            variant: None,
            wall_s: 1.0,
            cpu: Some(cpu),
            metrics: BTreeMap::new(),
            judgement: None,
            missing: BTreeMap::new(),
        }
    }

    fn outcome(cores: usize, cases: &[&Case], expected: bool) -> Outcome {
        Conditions { cores }.judge(cases, expected, String::new()).outcome
    }

    #[test]
    fn a_spoiled_measurement_neither_confirms_nor_refutes() {
        let (quiet, loaded, stolen) = (case(Some(2.0), Some(0.0)), case(Some(50.0), None), case(None, Some(50.0)));
        assert_eq!(outcome(2, &[&quiet], false), Outcome::Unexpected);
        assert_eq!(outcome(2, &[&quiet, &loaded], false), Outcome::Inconclusive);
        assert_eq!(outcome(2, &[&stolen], false), Outcome::Inconclusive);
        assert_eq!(outcome(1, &[&quiet], false), Outcome::Inconclusive);
        // Two threads that starve on one core look like two that share it by the GIL.
        assert_eq!(outcome(2, &[&loaded], true), Outcome::Inconclusive);
        assert_eq!(outcome(2, &[&quiet], true), Outcome::AsExpected);
        let mut on_two_cores = loaded;
        on_two_cores.cpu.as_mut().unwrap().cpu_percent = 198.0;
        assert_eq!(outcome(2, &[&on_two_cores], true), Outcome::AsExpected);
    }
}
