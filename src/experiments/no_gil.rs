//! Slides 2-3: an interpreter without a GIL, beside the same interpreter with it; and other implementations that have a GIL.

use super::experiment::{Column, Experiment};
use super::judge::{Conditions, headline, one_core, two_cores};
use super::plan::{Kind, Plan, Setting, Step};
use crate::measure::Bounds;
use crate::measure::MeasureError;
use crate::provision::extension::CompileError;
use crate::provision::extension::{self, C};
use crate::results::{Case, Judgement, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "no-gil",
    slides: "2-3",
    shows: "an interpreter can do without a GIL, so two Python threads use two cores",
    today: "CPython's free-threaded build (3.13t) does so, unless PYTHON_GIL=1. But a call that stays attached still stalls \
            a thread that stops the world, as the garbage collector does. All other builds, and PyPy, have a GIL",
    talk: &[],
    columns: &[
        Column { metric: "call_s", title: "call, s" },
        Column { metric: "rest_of_call_s", title: "rest of call when\ncollection is due, s" },
        Column { metric: "collect_s", title: "gc.collect(), s" },
    ],
    script: "slide02_no_gil.py",
    plan,
    judge,
};

const TWO_INTERNAL: &str = "two-internal";
const WITH_LOCK: &str = "internal+with_lock";
const COLLECT_WITH_LOCK: &str = "collect+with_lock";
const COLLECT_WITHOUT_LOCK: &str = "collect+without_lock";

/// The two variants of a free-threaded build.
const OFF: &str = "PYTHON_GIL=0";
const ON: &str = "PYTHON_GIL=1";
/// The only variant of all other builds.
const AS_IS: &str = "as-is";

fn plan(setting: &Setting) -> Result<Plan, MeasureError> {
    let mut plan = Plan::default();
    let interpreter = setting.interpreter;
    if interpreter.free_threaded {
        match extension::build(&C, interpreter, setting.libbusy.path(), None) {
            Ok(folder) => {
                let module = [folder.display().to_string(), C.name.to_owned()];
                plan.steps =
                    [OFF, ON].into_iter().flat_map(|variant| steps(variant, &module, setting.seconds)).collect();
            }
            Err(CompileError::Supervisor(error)) => return Err(error.into()),
            Err(error) => {
                plan.missing.insert(EXPERIMENT.name.into(), error.to_string());
            }
        }
    } else {
        let arguments = vec![AS_IS.to_owned()];
        plan.steps.push(Step { case: TWO_INTERNAL, variant: None, arguments, kind: Kind::Watched });
    }
    Ok(plan)
}

fn steps(variant: &'static str, module: &[String; 2], seconds: u32) -> [Step; 4] {
    let self_reported = || Kind::SelfReported(Bounds::new(2.0 * f64::from(seconds) + 10.0));
    let step = |case, kind| {
        let arguments = [variant.to_owned()].into_iter().chain(module.iter().cloned()).collect();
        Step { case, variant: Some(variant), arguments, kind }
    };
    [
        step(TWO_INTERNAL, Kind::Watched),
        step(WITH_LOCK, Kind::Watched),
        step(COLLECT_WITH_LOCK, self_reported()),
        step(COLLECT_WITHOUT_LOCK, self_reported()),
    ]
}

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let interpreter = result.interpreter.clone();
    for index in 0..result.cases.len() {
        let case = &result.cases[index];
        let off = case.variant.as_deref() == Some(OFF);
        let with_gil = result.case(TWO_INTERNAL, Some(ON));
        let (expected, summary) = match &*case.case {
            TWO_INTERNAL if off => free_threads(case, with_gil),
            TWO_INTERNAL => {
                let has_gil = match case.variant {
                    Some(_) => format!("With {ON} there is a GIL"),
                    None => format!("{} has a GIL", interpreter.title()),
                };
                let summary = format!(
                    "{has_gil}, so two Python threads cannot use two cores: together they use {:.0} % of a core.",
                    case.cpu_percent()
                );
                // With the old GIL, the waiting thread wakes up in vain on the other core: see the experiment ctypes.
                (one_core(case, &interpreter) || interpreter.has_old_gil() && !two_cores(case), summary)
            }
            WITH_LOCK if off => (
                two_cores(case),
                format!(
                    "There is no GIL for with_lock to hold, so the Python thread runs beside it: together they use {:.0} % of \
                     a core.",
                    case.cpu_percent()
                ),
            ),
            WITH_LOCK => (
                one_core(case, &interpreter),
                format!(
                    "With {ON}, with_lock holds the GIL and stalls the Python thread: together they use {:.0} % of a core.",
                    case.cpu_percent()
                ),
            ),
            COLLECT_WITH_LOCK => stalled(case, off),
            _ => not_stalled(case),
        };
        let judgement = conditions.judge(&[case], expected, summary);
        // Only a row without a GIL differs from the talk: its CPython had one.
        let changed_since = (off && [TWO_INTERNAL, WITH_LOCK].contains(&&*case.case)).then(|| "3.13t".into());
        result.cases[index].judgement = Some(Judgement { changed_since, ..judgement });
    }
    let variant = result.cases.first().and_then(|case| case.variant.clone());
    result.headline = headline(result, &[(TWO_INTERNAL, variant.as_deref())]).map(|percent| {
        match result.case(COLLECT_WITH_LOCK, variant.as_deref()).and_then(|case| case.number("collect_s")) {
            Some(stall) => format!("{percent}, {stall:.2} s"),
            None => percent,
        }
    });
}

fn free_threads(case: &Case, with_gil: Option<&Case>) -> (bool, String) {
    let work = with_gil.map(|with_gil| case.rate("internal") / with_gil.rate("internal"));
    let compared =
        work.map_or_else(String::new, |work| format!(" and do {work:.2} times the work that they do with {ON}"));
    let summary =
        format!("Without a GIL, two Python threads together use {:.0} % of a core{compared}.", case.cpu_percent());
    (two_cores(case), summary)
}

/// Returns two times in seconds, both from the moment when the collection is due: to the end of the call, and to the end of
/// the collection.
fn times(case: &Case) -> (f64, f64) {
    let number = |metric| case.number(metric).unwrap_or(f64::NAN);
    (number("rest_of_call_s"), number("collect_s"))
}

fn stalled(case: &Case, off: bool) -> (bool, String) {
    let (rest, collect) = times(case);
    let reason = if off {
        "There is no GIL, but with_lock stays attached, and the collector, which stops the world, waits for every attached \
         thread."
    } else {
        "with_lock holds the GIL, so no other Python thread runs."
    };
    let summary =
        format!("{reason} gc.collect() in another thread took {collect:.2} s; the call had {rest:.2} s left.");
    (collect >= 0.9 * rest, summary)
}

fn not_stalled(case: &Case) -> (bool, String) {
    let (rest, collect) = times(case);
    let summary = format!(
        "without_lock is detached: gc.collect() in another thread took {collect:.3} s; the call had {rest:.2} s left."
    );
    (collect < 0.5 * rest, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_collection_that_waits_for_the_call_is_stalled_and_a_fast_one_is_not() {
        let case = |rest: f64, collect: f64| Case {
            case: COLLECT_WITH_LOCK.into(),
            variant: Some(OFF.into()),
            wall_s: 2.0,
            cpu: None,
            others_percent: None,
            steal_percent: None,
            metrics: serde_json::from_value(json!({"rest_of_call_s": rest, "collect_s": collect})).unwrap(),
            judgement: None,
            missing: Default::default(),
        };
        let (waited, did_not) = (case(1.35, 1.36), case(1.35, 0.004));
        assert!(stalled(&waited, true).0 && !stalled(&did_not, true).0);
        assert!(not_stalled(&did_not).0 && !not_stalled(&waited).0);
        // If nothing was reported, neither holds.
        let unreported = Case { metrics: Default::default(), ..waited };
        assert!(!stalled(&unreported, true).0 && !not_stalled(&unreported).0);
    }

    #[test]
    fn two_threads_without_a_gil_are_judged_by_their_cpu_use_at_any_speed() {
        let case = |variant: &str, cpu: f64, count: u64| {
            let thread = json!({"name": "internal", "tid": 1, "count": count, "cpu_percent": cpu, "run_delay_percent": 0.0,
                "voluntary_switches": 0, "involuntary_switches": 0});
            let case = json!({"case": TWO_INTERNAL, "variant": variant, "wall_s": 1.0, "cpu_percent": cpu,
                "user_percent": cpu, "system_percent": 0.0, "threads": [thread], "cores": [], "timeline": [],
                "sampler": {"hz": 10, "cost_percent": 0.1, "missed": 0}});
            serde_json::from_value::<Case>(case).unwrap()
        };
        let with_gil = case(ON, 100.0, 1_000_000);
        for (cpu, count, expected) in [(199.0, 1_900_000, true), (199.0, 1_100_000, true), (100.0, 1_900_000, false)] {
            assert_eq!(free_threads(&case(OFF, cpu, count), Some(&with_gil)).0, expected, "{cpu} {count}");
        }
    }
}
