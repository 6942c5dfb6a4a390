//! Slides 13-14: two Python threads, then one Python thread beside a ctypes call.

use super::experiment::{Experiment, TalkFigures};
use super::judge::{Conditions, disturbed, headline, one_core, two_cores};
use super::plan::{Kind, Plan, Step};
use crate::results::{CONTROL_CPU, Case, Interpreter, Judgement, Outcome, RunResult, Topology};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "ctypes",
    slides: "13-14",
    shows: "two Python threads share one core; a Python thread and a ctypes call use two",
    today: "as in the talk, but two Python threads use at most 100 % since 3.2, and two cores without a GIL (3.13t)",
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
        let steps = ["one-internal", "two-internal", "internal+external", CONTROL].map(step);
        Ok(Plan { steps: steps.into(), ..Plan::default() })
    },
    judge,
};

/// A control of the speed: the Python thread beside the same call in another process, with which it shares no GIL.
const CONTROL: &str = "control";

/// The least speed of a Python thread beside a call that releases the GIL, relative to the control. CPUs that slow each other
/// down, as the two threads of a core do, slow both down.
const LEAST_OF_CONTROL: f64 = 0.7;

fn judge(result: &mut RunResult, conditions: &Conditions) {
    let Some(alone) = result.case("one-internal", None).cloned() else { return };
    let control =
        result.case(CONTROL, None).filter(|control| shortage(control, &result.interpreter).is_none()).cloned();
    let interpreter = result.interpreter.clone();
    let topology = result.host.topology.clone();
    for case in &mut result.cases {
        let (cpu, work) = (case.cpu_percent(), case.rate("internal") / alone.rate("internal"));
        let system = case.cpu.as_ref().map_or(0.0, |cpu| cpu.system_percent);
        let (changed, expected, summary) = match &*case.case {
            CONTROL => {
                case.judgement = Some(judge_control(case, &interpreter, work, conditions));
                continue;
            }
            "one-internal" => (
                None,
                one_core(case, &interpreter),
                format!("One Python thread alone uses {cpu:.0} % of a core: the baseline for the other rows."),
            ),
            "two-internal" if !interpreter.gil => (
                Some("3.13t"),
                two_cores(case),
                format!(
                    "Without a GIL, two Python threads together use {cpu:.0} % of a core and do {work:.2} times the work of \
                     one."
                ),
            ),
            "two-internal" if interpreter.has_old_gil() => {
                let vain = if cpu > 110.0 {
                    "the old GIL (before 3.2) wakes the waiting thread every 100 bytecodes, mostly in vain."
                } else {
                    "they share the old GIL (before 3.2), whose vain wake-ups cost little in this run."
                };
                let summary = format!(
                    "Two Python threads together use {cpu:.0} % of a core ({system:.0} % in the kernel) and do {work:.2} times \
                     the work of one: {vain}"
                );
                (None, cpu >= 90.0 && !two_cores(case), summary)
            }
            "two-internal" if interpreter.implementation != "cpython" => (
                Some("3.2"),
                one_core(case, &interpreter),
                format!(
                    "Two Python threads together use {cpu:.0} % of a core and do {work:.2} times the work of one: {} has a \
                     GIL too.",
                    interpreter.title()
                ),
            ),
            "two-internal" => (
                Some("3.2"),
                one_core(case, &interpreter),
                format!(
                    "Two Python threads together use {cpu:.0} % of a core and do {work:.2} times the work of one: only the \
                     thread that holds the GIL runs. (The talk's 118 % came from the old GIL's vain wake-ups, gone since 3.2.)"
                ),
            ),
            _ => {
                let of_control = control.as_ref().map(|control| case.rate("internal") / control.rate("internal"));
                let not_slower = of_control.is_none_or(|ratio| ratio >= LEAST_OF_CONTROL);
                let how = if interpreter.gil {
                    "ctypes releases the GIL around busy_wait, so both threads run at once:"
                } else {
                    "Without a GIL, ctypes has none to release around busy_wait:"
                };
                let speed = speed(work, of_control, topology.as_ref());
                let summary = format!("{how} together they use {cpu:.0} % of a core. {speed}");
                (None, two_cores(case) && not_slower, summary)
            }
        };
        let judgement = conditions.judge(&[case], expected, summary);
        case.judgement = Some(Judgement { changed_since: changed.map(Into::into), ..judgement });
    }
    result.headline = headline(result, &[("two-internal", None), ("internal+external", None)]);
}

/// Returns the reason why the control shows no speed, if there is one: the Python thread and the process beside it did not have
/// a core each.
fn shortage(control: &Case, interpreter: &Interpreter) -> Option<String> {
    let (cpu, other) = (control.cpu_percent(), control.number(CONTROL_CPU).unwrap_or(f64::NAN));
    let each_has_a_core = one_core(control, interpreter) && other >= 90.0;
    (!each_has_a_core).then(|| format!("The thread used {cpu:.0} % of a core, and the process {other:.0} %."))
}

/// Judges the control. It shows nothing about Python, so it is never unexpected.
fn judge_control(case: &Case, interpreter: &Interpreter, work: f64, conditions: &Conditions) -> Judgement {
    let summary = format!(
        "Beside the same call in another process, which shares no GIL with it, the Python thread uses {:.0} % of a core, and \
         runs at {work:.2} times its speed alone: the control for internal+external.",
        case.cpu_percent()
    );
    match conditions.disturbance(case).or_else(|| shortage(case, interpreter)) {
        Some(disturbance) => disturbed(&disturbance, &summary),
        None => Judgement { outcome: Outcome::AsExpected, changed_since: None, summary },
    }
}

/// Describes the speed of a Python thread beside a call, relative to its speed alone and in the control.
fn speed(of_alone: f64, of_control: Option<f64>, topology: Option<&Topology>) -> String {
    let Some(of_control) = of_control else {
        return format!("The Python thread runs at {of_alone:.2} times its speed alone.");
    };
    let speed = format!(
        "The Python thread runs at {of_alone:.2} times its speed alone, and {of_control:.2} times that of the control."
    );
    let control_of_alone = of_alone / of_control;
    if control_of_alone >= 0.9 || of_control < LEAST_OF_CONTROL {
        return speed;
    }
    let why = match topology {
        Some(topology) if topology.is_one_core() => "are threads of one core (SMT siblings)",
        Some(topology) if !topology.siblings.is_empty() => {
            "slow each other down; some are threads of the same core (SMT siblings)"
        }
        Some(_) => {
            "slow each other down, although the kernel reports that each is a core (a virtual machine may present the \
             threads of one core so)"
        }
        None => "slow each other down",
    };
    format!("{speed} So it is slower because of the machine, whose CPUs {why}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Host;
    use Outcome::{AsExpected, Inconclusive, Unexpected};
    use serde_json::{Value, json};

    /// Returns a watched case of one second whose Python threads together count at `speed` times 10,000,000 per second.
    fn case(case: &str, cpu: f64, speed: f64) -> Value {
        let thread = json!({"name": "internal", "tid": 1, "count": (1e7 * speed) as u64, "cpu_percent": cpu,
            "run_delay_percent": 0.0, "voluntary_switches": 0, "involuntary_switches": 0});
        json!({"case": case, "wall_s": 1.0, "cpu_percent": cpu, "user_percent": cpu, "system_percent": 0.0,
            "threads": [thread], "cores": [], "timeline": [], "sampler": {"hz": 10, "cost_percent": 0.1, "missed": 0},
            "others_percent": 0.0, "steal_percent": 0.0})
    }

    /// Returns the control: the Python thread at this speed, beside a process with this CPU utilization.
    fn control(speed: f64, cpu: f64) -> Value {
        let mut control = case(CONTROL, 100.0, speed);
        control["metrics"] = json!({CONTROL_CPU: cpu});
        control
    }

    fn judged(host: Host, interpreter: Interpreter, cases: &[Value]) -> Vec<Judgement> {
        let mut all = vec![case("one-internal", 100.0, 1.0)];
        all.extend_from_slice(cases);
        let mut result: RunResult = serde_json::from_value(json!({
            "kind": "run", "experiment": "ctypes", "status": "ok", "seconds": 1, "cases": all, "host": host,
            "libbusy": "0.1.0", "interpreter": interpreter,
        }))
        .unwrap();
        judge(&mut result, &Conditions { cores: 2 });
        result.cases.into_iter().skip(1).map(|case| case.judgement.unwrap()).collect()
    }

    fn outcomes(cases: &[Value]) -> Vec<Outcome> {
        let judgements = judged(Host::example(), Interpreter::example("3.11.7", (3, 11)), cases);
        judgements.iter().map(|judgement| judgement.outcome).collect()
    }

    #[test]
    fn a_python_thread_beside_a_ctypes_call_is_compared_with_the_control_and_not_with_its_speed_alone() {
        // CPUs that slow each other down: so it is beside any busy process.
        for speed in [0.60, 0.62, 0.65] {
            let cases = [case("internal+external", 199.0, speed), control(0.62, 100.0)];
            assert_eq!(outcomes(&cases), [AsExpected, AsExpected], "{speed}");
        }
        // CPUs that do not: the call slows it down.
        let cases = [case("internal+external", 199.0, 0.62), control(1.0, 100.0)];
        assert_eq!(outcomes(&cases), [Unexpected, AsExpected]);
        // Only one core, at any speed.
        let cases = [case("internal+external", 100.0, 1.0), control(1.0, 100.0)];
        assert_eq!(outcomes(&cases), [Unexpected, AsExpected]);
    }

    #[test]
    fn without_a_control_that_had_two_cores_the_cpu_use_decides_alone() {
        let beside = || case("internal+external", 199.0, 0.62);
        assert_eq!(outcomes(&[beside()]), [AsExpected]);
        // The process beside the thread had only half a core.
        assert_eq!(outcomes(&[beside(), control(1.0, 50.0)]), [AsExpected, Inconclusive]);
        let mut loaded = control(0.3, 100.0);
        loaded["others_percent"] = json!(80.0);
        assert_eq!(outcomes(&[case("internal+external", 199.0, 0.62), loaded]), [AsExpected, Inconclusive]);
        let mut loaded = case("internal+external", 199.0, 0.62);
        loaded["others_percent"] = json!(80.0);
        assert_eq!(outcomes(&[loaded, control(1.0, 100.0)]), [Inconclusive, AsExpected]);
    }

    #[test]
    fn two_python_threads_are_judged_by_their_cpu_use_at_any_speed() {
        let outcome = |interpreter: Interpreter, cpu, speed| {
            judged(Host::example(), interpreter, &[case("two-internal", cpu, speed)])[0].outcome
        };
        let cpython = |version| Interpreter::example("3", version);
        let without_gil = || Interpreter { gil: false, free_threaded: true, ..cpython((3, 13)) };
        let pypy = || Interpreter { implementation: "pypy".into(), ..cpython((3, 11)) };
        for speed in [0.4, 1.2, 2.0] {
            assert_eq!(outcome(without_gil(), 199.0, speed), AsExpected);
            assert_eq!(outcome(without_gil(), 100.0, speed), Unexpected);
            assert_eq!(outcome(cpython((3, 11)), 100.0, speed), AsExpected);
            assert_eq!(outcome(cpython((3, 11)), 118.0, speed), Unexpected);
            assert_eq!(outcome(pypy(), 118.0, speed), AsExpected);
            assert_eq!(outcome(pypy(), 199.0, speed), Unexpected);
            assert_eq!(outcome(cpython((2, 7)), 118.0, speed), AsExpected);
            assert_eq!(outcome(cpython((2, 7)), 100.0, speed), AsExpected);
            assert_eq!(outcome(cpython((2, 7)), 199.0, speed), Unexpected);
        }
    }

    #[test]
    fn the_topology_is_named_where_it_explains_a_speed() {
        let summary = |host: Host, speed, of_control| {
            let cases = [case("internal+external", 199.0, speed), control(of_control, 100.0)];
            judged(host, Interpreter::example("3.11.7", (3, 11)), &cases).swap_remove(0).summary
        };
        let siblings = summary(Host::example_of_siblings(), 0.62, 0.62);
        assert!(siblings.ends_with("whose CPUs are threads of one core (SMT siblings)."), "{siblings}");
        assert!(siblings.contains("0.62 times its speed alone, and 1.00 times that of the control"), "{siblings}");
        let hidden = summary(Host::example(), 0.62, 0.62);
        assert!(hidden.contains("although the kernel reports that each is a core"), "{hidden}");
        let unknown = summary(Host { topology: None, ..Host::example() }, 0.62, 0.62);
        assert!(unknown.ends_with("whose CPUs slow each other down."), "{unknown}");
        for unexplained in
            [summary(Host::example_of_siblings(), 0.99, 1.0), summary(Host::example_of_siblings(), 0.62, 1.0)]
        {
            assert!(!unexplained.contains("because of the machine"), "{unexplained}");
        }
    }
}
