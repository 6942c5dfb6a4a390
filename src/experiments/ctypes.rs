//! Slides 13-14: two Python threads, then one beside a call by ctypes.

use super::experiment::{Experiment, TalkFigures};
use super::judge::{Conditions, headline, one_core, two_cores};
use super::plan::{Kind, Plan, Step};
use crate::results::{Judgement, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "ctypes",
    slides: "13-14",
    shows: "two Python threads share one core; beside a native call by ctypes a Python thread has its own",
    today: "as then, but two threads use no more than 100 % since 3.2, and two cores without a GIL (3.13t)",
    talk: &[
        TalkFigures { case: "two-internal", internal: 12_911_610 + 16_578_663, native: None, cpu_percent: 118.0 },
        TalkFigures {
            case: "internal+external",
            internal: 45_320_393,
            native: Some(3_075_909_775),
            cpu_percent: 200.0,
        },
    ],
    columns: &[],
    script: "slide13_ctypes.py",
    plan: |setting| {
        let arguments = vec![setting.libbusy.path().display().to_string()];
        let step = |case| Step { case, variant: None, arguments: arguments.clone(), kind: Kind::Watched };
        Ok(Plan { steps: ["one-internal", "two-internal", "internal+external"].map(step).into(), ..Plan::default() })
    },
    judge,
};

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let Some(alone) = result.case("one-internal", None).cloned() else { return };
    let interpreter = result.interpreter.clone();
    for case in &mut result.cases {
        let (cpu, work) = (case.cpu_percent(), case.rate("internal") / alone.rate("internal"));
        let system = case.cpu.as_ref().map_or(0.0, |cpu| cpu.system_percent);
        let (changed, expected, summary) = match &*case.case {
            "one-internal" => (
                None,
                one_core(case, &interpreter),
                format!("One Python thread alone uses {cpu:.0} % of a core: the yardstick for the rest."),
            ),
            "two-internal" if !interpreter.gil => (
                Some("3.13t"),
                two_cores(case) && work >= 1.5,
                format!("Without a GIL two Python threads use {cpu:.0} % and do {work:.2} times the work of one."),
            ),
            "two-internal" if interpreter.has_old_gil() => (
                None,
                cpu > 110.0 && work < 0.8,
                format!(
                    "Two Python threads use {cpu:.0} % of a core, {system:.0} of it in the kernel, and do {work:.2} of the work \
                     of one: the old GIL (before 3.2) wakes the waiting thread every 100 bytecodes, mostly in vain."
                ),
            ),
            "two-internal" if interpreter.implementation != "cpython" => (
                Some("3.2"),
                one_core(case, &interpreter) && work >= 0.5,
                format!(
                    "Two Python threads together use {cpu:.0} % of a core and do {work:.2} of the work of one: {} has a GIL \
                     too.",
                    interpreter.title()
                ),
            ),
            "two-internal" => (
                Some("3.2"),
                one_core(case, &interpreter) && work >= 0.7,
                format!(
                    "Two Python threads together use {cpu:.0} % of a core and do {work:.2} of the work of one: only the one \
                     that has the GIL runs. (The talk's 118 % were the old GIL's vain wake-ups, gone since 3.2.)"
                ),
            ),
            _ if !interpreter.gil => (
                None,
                two_cores(case) && work >= 0.7,
                format!(
                    "Without a GIL there is none that ctypes had to release around busy_wait: both threads together use \
                     {cpu:.0} % of a core, and the Python thread has {work:.2} of its speed alone."
                ),
            ),
            _ => (
                None,
                two_cores(case) && work >= 0.7,
                format!(
                    "ctypes releases the GIL around busy_wait, so both threads can run: together they use {cpu:.0} % of a \
                     core, and the Python thread has {work:.2} of its speed alone."
                ),
            ),
        };
        // A share of a yardstick that did not have its core is none.
        let judgement = conditions.judge(&[case, &alone], expected && one_core(&alone, &interpreter), summary);
        case.judgement = Some(Judgement { changed_since: changed.map(Into::into), ..judgement });
    }
    result.headline = headline(result, &[("two-internal", None), ("internal+external", None)]);
}
