//! Slides 13-14: two Python threads, then one beside a call by ctypes.

use super::judge::{Conditions, one_core, two_cores};
use super::{Experiment, Plan, Step, TalkFigures};
use crate::results::RunResult;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "ctypes",
    slides: "13-14",
    shows: "two Python threads share one core; beside a native call by ctypes a Python thread has its own",
    talk: &[
        TalkFigures { case: "two-internal", internal: 12_911_610 + 16_578_663, native: None, cpu_percent: 118.0 },
        TalkFigures {
            case: "internal+external",
            internal: 45_320_393,
            native: Some(3_075_909_775),
            cpu_percent: 200.0,
        },
    ],
    script: "slide13_ctypes.py",
    plan: |setting| {
        let arguments = vec![setting.libbusy.path().display().to_string()];
        let step = |case| Step(case, None, arguments.clone());
        Ok(Plan { steps: ["one-internal", "two-internal", "internal+external"].map(step).into(), ..Plan::default() })
    },
    judge,
};

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let Some(alone) = result.case("one-internal", None).cloned() else { return };
    let interpreter = result.interpreter.clone();
    for case in &mut result.cases {
        let (cpu, system, work) =
            (case.cpu_percent, case.system_percent, case.rate("internal") / alone.rate("internal"));
        let (expected, says) = match case.case {
            "one-internal" => (
                one_core(case),
                format!("One Python thread alone uses {cpu:.0} % of a core: the yardstick for the rest."),
            ),
            "two-internal" if !interpreter.gil => (
                two_cores(case) && work >= 1.5,
                format!("Without a GIL two Python threads use {cpu:.0} % and do {work:.2} times the work of one."),
            ),
            "two-internal" if interpreter.has_old_gil() => (
                cpu > 110.0 && work < 0.8,
                format!(
                    "Two Python threads use {cpu:.0} % of a core, {system:.0} of it in the kernel, and do {work:.2} of the work \
                     of one: the old GIL (before 3.2) wakes the waiting thread every 100 bytecodes, mostly in vain."
                ),
            ),
            "two-internal" if interpreter.implementation != "cpython" => (
                one_core(case) && work >= 0.5,
                format!(
                    "Two Python threads together use {cpu:.0} % of a core and do {work:.2} of the work of one: {} has a GIL \
                     too.",
                    interpreter.title()
                ),
            ),
            "two-internal" => (
                one_core(case) && work >= 0.7,
                format!(
                    "Two Python threads together use {cpu:.0} % of a core and do {work:.2} of the work of one: only the one \
                     that has the GIL runs. (The talk's 118 % were the old GIL's vain wake-ups, gone since 3.2.)"
                ),
            ),
            _ if !interpreter.gil => (
                two_cores(case) && work >= 0.7,
                format!(
                    "Without a GIL there is none that ctypes had to release around busy_wait: both threads together use \
                     {cpu:.0} % of a core, and the Python thread has {work:.2} of its speed alone."
                ),
            ),
            _ => (
                two_cores(case) && work >= 0.7,
                format!(
                    "ctypes releases the GIL around busy_wait, so both threads can run: together they use {cpu:.0} % of a \
                     core, and the Python thread has {work:.2} of its speed alone."
                ),
            ),
        };
        // A share of a yardstick that did not have its core is none.
        case.judgement = Some(conditions.judge(&[case, &alone], expected && one_core(&alone), says));
    }
}
