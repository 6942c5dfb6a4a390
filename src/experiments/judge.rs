//! What makes a figure as expected, and what excuses one that is not.

use crate::host::TOO_LOADED_PERCENT;
use crate::results::{Case, Judgement, Outcome};

/// Under what conditions was measured.
pub struct Conditions {
    /// Cores that the lab may use.
    pub cores: usize,
}

impl Conditions {
    /// The judgement on a case: `expected` or not, unless the machine spoiled one of the `cases` that it rests on. A
    /// spoiled machine can hide a second core that was used, but not make one up: so only what shows two cores stands.
    pub(super) fn judge(&self, cases: &[&Case], expected: bool, says: String) -> Judgement {
        let spoiled = cases.iter().find_map(|case| self.spoiled(case));
        let shows_two_cores = cases.iter().all(|case| two_cores(case));
        match spoiled {
            Some(why) if !(expected && shows_two_cores) => {
                Judgement { outcome: Outcome::Inconclusive, says: format!("{says} {why}") }
            }
            _ if expected => Judgement { outcome: Outcome::AsExpected, says },
            _ => {
                let why = "Not as expected here, on a quiet machine: repeat, and look closer.";
                Judgement { outcome: Outcome::Unexpected, says: format!("{says} {why}") }
            }
        }
    }

    /// What kept two threads from two cores, if anything did.
    fn spoiled(&self, case: &Case) -> Option<String> {
        if self.cores < 2 {
            return Some("Inconclusive: two threads need two cores, and this process may use only one.".into());
        }
        if let Some(others) = case.others_percent.filter(|percent| *percent > TOO_LOADED_PERCENT) {
            return Some(format!("Inconclusive: other processes used {others:.0} % of a core during {}.", case.case));
        }
        let steal = case.steal_percent.filter(|percent| *percent > TOO_LOADED_PERCENT)?;
        Some(format!("Inconclusive: the hypervisor took {steal:.0} % of a core during {}.", case.case))
    }
}

/// True if the threads had two cores, near enough for a noisy machine.
pub(super) fn two_cores(case: &Case) -> bool {
    case.cpu_percent >= 185.0
}

/// True if the threads shared one core.
pub(super) fn one_core(case: &Case) -> bool {
    (90.0..110.0).contains(&case.cpu_percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::SamplerFigures;
    use std::collections::BTreeMap;

    fn case(others_percent: Option<f64>, steal_percent: Option<f64>) -> Case {
        Case {
            case: "one-internal",
            way: None,
            wall_s: 1.0,
            cpu_percent: 100.0,
            user_percent: 100.0,
            system_percent: 0.0,
            threads: Vec::new(),
            cores: Vec::new(),
            timeline: Vec::new(),
            sampler: SamplerFigures { hz: 10, cost_percent: 0.1, missed: 0 },
            others_percent,
            steal_percent,
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
        let on_two_cores = Case { cpu_percent: 198.0, ..loaded };
        assert_eq!(outcome(2, &[&on_two_cores], true), Outcome::AsExpected);
    }
}
