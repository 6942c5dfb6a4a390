//! Slide 22: the interpreter as an instance. Two threads run in an interpreter each, from a C program and from Python; and the
//! cost of transferring state.

use super::experiment::{Column, Experiment};
use super::judge::{Conditions, ONLY_ONE_CORE, OTHER_LOAD, disturbed, inconclusive, uses_two_cores};
use super::plan::{Kind, Plan, Setting, Step};
use crate::measure::Bounds;
use crate::measure::MeasureError;
use crate::provision::embedder::{self, Built, EmbedderError};
use crate::provision::extension;
use crate::provision::extension::CompileError;
use crate::results::Interpreter;
use crate::results::TOO_LOADED_PERCENT;
use crate::results::{Case, Judgement, Outcome, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "interpreters",
    slides: "22",
    shows: "one process, an interpreter per core, state shared cheaply (an idea in 2015)",
    today: "reality: interpreters with their own GIL, from C and through private modules since 3.12, in the standard \
            library since 3.14. Before 3.12, and wherever they share a GIL, they share one core; from 3.9 to 3.12 they do \
            not even take turns",
    talk: &[],
    columns: &[
        Column { metric: "counts_per_s", title: "Python/s" },
        Column { metric: "native_per_s", title: "native/s" },
        Column { metric: CPU, title: "CPU %" },
        Column { metric: RUN_DELAY, title: "run\ndelay, %" },
        Column { metric: TOOK, title: "took, s" },
        Column { metric: TRANSFER, title: "transfer\nof 64 KiB, us" },
    ],
    script: "slide22_interpreters.py",
    plan,
    judge,
};

const OWN: &str = "own-gil";
const SHARED: &str = "shared-gil";
const ONE: &str = "one-interpreter";
const POOL: &str = "pool-executor";
const SHARING: &str = "sharing";

const C_PROGRAM: &str = "c-program";
const PYTHON: &str = "python";
const CTYPES: &str = "ctypes";
const EXTENSION: &str = "extension";
const INTERPRETERS: &str = "interpreters";
const THREADS: &str = "threads";
const QUEUE: &str = "interpreters-queue";
const MEMORYVIEW: &str = "interpreters-memoryview";
const PIPE: &str = "processes-pipe";
const MAPPED: &str = "processes-shared-memory";

const CPU: &str = "cpu_percent";
const RUN_DELAY: &str = "run_delay_percent";
const TOOK: &str = "took_s";
const TRANSFER: &str = "handover_us";

/// The first version whose interpreters can have their own GIL (PEP 684).
const OWN_GILS: (u32, u32) = (3, 12);

/// Returns true if interpreters that share a GIL take turns. From 3.9 to 3.12 they do not: a thread that waits for the GIL
/// sends the drop request to its own interpreter, where it has no effect if the holder runs in another one. Before 3.9, and
/// again since 3.13, the holder receives it (Python/ceval_gil.h and ceval_gil.c, take_gil).
fn takes_turns(version: (u32, u32)) -> bool {
    !((3, 9)..(3, 13)).contains(&version)
}

fn plan(setting: &Setting) -> Result<Plan, MeasureError> {
    let mut plan = Plan::default();
    if let Some(reason) = not_applicable(setting.interpreter) {
        plan.missing.insert(EXPERIMENT.name.into(), reason);
        return Ok(plan);
    }
    // Interpreters that do not take turns run one after the other.
    let timeout_s = 2.0 * f64::from(setting.seconds) + 30.0;
    let step = |case, variant, where_: Option<&str>| {
        let arguments = [variant].into_iter().chain(where_).map(str::to_owned).collect();
        Step { case, variant: Some(variant), arguments, kind: Kind::SelfReported(Bounds::new(timeout_s)) }
    };
    let own_gils = setting.interpreter.version_info >= OWN_GILS;
    if own_gils {
        match embedder::build(&embedder::INTERPRETERS, setting.interpreter, setting.libbusy.path()) {
            Ok(Built { program, python_home }) => plan.steps.extend([OWN, SHARED, ONE].map(|case| {
                let (program, python_home) = (Some(program.clone()), Some(python_home.clone()));
                let bounds = Bounds { program, python_home, ..Bounds::new(timeout_s) };
                let threads = vec!["2".to_owned()];
                Step { case, variant: Some(C_PROGRAM), arguments: threads, kind: Kind::SelfReported(bounds) }
            })),
            Err(EmbedderError::Supervisor(error)) => return Err(error.into()),
            Err(error) => {
                plan.missing.insert(C_PROGRAM.into(), error.to_string());
            }
        }
    } else {
        let reason = "no interpreter can have a GIL of its own before Python 3.12 (PEP 684)";
        plan.missing.extend([OWN, C_PROGRAM].map(|what| (what.to_owned(), reason.to_owned())));
    }
    let libbusy = setting.libbusy.path().display().to_string();
    let mut variants = vec![(PYTHON, None), (CTYPES, Some(libbusy))];
    match extension::build(&extension::C, setting.interpreter, setting.libbusy.path(), None) {
        Ok(folder) => variants.push((EXTENSION, Some(folder.display().to_string()))),
        Err(CompileError::Supervisor(error)) => return Err(error.into()),
        Err(error) => {
            plan.missing.insert(EXTENSION.into(), error.to_string());
        }
    }
    for case in own_gils.then_some(OWN).into_iter().chain([SHARED]) {
        plan.steps.extend(variants.iter().map(|(variant, where_)| step(case, *variant, where_.as_deref())));
    }
    plan.steps.extend([INTERPRETERS, THREADS].map(|variant| step(POOL, variant, None)));
    plan.steps.extend([THREADS, QUEUE, MEMORYVIEW, PIPE, MAPPED].map(|variant| step(SHARING, variant, None)));
    Ok(plan)
}

/// Returns the reason why the experiment does not apply to this interpreter, if there is one.
fn not_applicable(interpreter: &Interpreter) -> Option<String> {
    let title = interpreter.title();
    if interpreter.implementation != "cpython" {
        return Some(format!("{title} has only one interpreter in a process"));
    }
    if interpreter.free_threaded {
        return Some(format!(
            "{title} can run without a GIL: threads of one interpreter then run at once, and there is no GIL to own or to \
             share (see `busy run no-gil`)"
        ));
    }
    let reason = "before 3.8, Python code cannot create interpreters, and those that a C program creates share one GIL";
    (interpreter.version_info < (3, 8)).then(|| reason.into())
}

fn judge(result: &mut RunResult, conditions: &Conditions) {
    for index in 0..result.cases.len() {
        let judgement = judged(&result.cases[index], result, conditions);
        result.cases[index].judgement = Some(judgement);
    }
    let percents = |cases: &[(&str, &str)]| {
        let percent =
            |(case, variant): &(&str, &str)| Some(format!("{:.0}", result.case(case, Some(*variant))?.number(CPU)?));
        Some(format!("{} %", cases.iter().map(percent).collect::<Option<Vec<_>>>()?.join(", ")))
    };
    result.headline = percents(&[(OWN, C_PROGRAM), (SHARED, C_PROGRAM), (ONE, C_PROGRAM)])
        .or_else(|| percents(&[(OWN, PYTHON), (SHARED, PYTHON)]))
        .or_else(|| percents(&[(SHARED, PYTHON)]));
}

fn judged(case: &Case, result: &RunResult, conditions: &Conditions) -> Judgement {
    let version = result.interpreter.version_info;
    let cpu = number(case, CPU);
    let since = |version: &'static str, judgement| Judgement { changed_since: Some(version.into()), ..judgement };
    let two_cores = |summary| on_cores(case, uses_two_cores(cpu), conditions, summary);
    let one_core = |summary| on_cores(case, shares_one_core(cpu), conditions, summary);
    let variant = case.variant.as_deref().unwrap_or_default();
    match (&*case.case, variant) {
        (OWN, C_PROGRAM) => since(
            "3.12",
            two_cores(format!(
                "One C program, one process, two threads, each in an interpreter with its own GIL, and their counts in plain \
                 memory that both write: {cpu:.0} % of a core."
            )),
        ),
        (OWN, PYTHON) => since(
            "3.12",
            two_cores(format!(
                "One Python program, two threads, each in an interpreter with its own GIL: {cpu:.0} % of a core."
            )),
        ),
        (OWN, CTYPES) => since(
            "3.12",
            two_cores(format!(
                "A Python thread beside a ctypes call, in interpreters with their own GILs: {cpu:.0} % of a core."
            )),
        ),
        (OWN, _) => since(
            "3.12",
            two_cores(format!(
                "with_lock holds its interpreter's own GIL, and does not stall the other interpreter: {cpu:.0} % of a core."
            )),
        ),
        (SHARED, C_PROGRAM | PYTHON) => sharing_a_gil(case, result, conditions),
        (SHARED, _) if !takes_turns(version) => first_come(case, variant, conditions),
        (SHARED, CTYPES) => two_cores(format!(
            "A ctypes call releases the shared GIL, so the other interpreter runs beside it: {cpu:.0} % of a core."
        )),
        (SHARED, _) => stalled(case, result, conditions),
        (ONE, _) => one_core(format!("Two threads of one interpreter, which share its GIL: {cpu:.0} % of a core.")),
        (POOL, INTERPRETERS) => since(
            "3.14",
            two_cores(format!(
                "InterpreterPoolExecutor gives each worker a thread and an interpreter of its own: {cpu:.0} % of a core."
            )),
        ),
        (POOL, _) => one_core(format!(
            "ThreadPoolExecutor, the equivalent with threads of one interpreter: {cpu:.0} % of a core."
        )),
        (_, variant) => transferred(case, variant, result.case(SHARING, Some(PIPE))),
    }
}

/// Returns a metric; NaN if it was not reported, so that every bound fails.
fn number(case: &Case, metric: &str) -> f64 {
    case.number(metric).unwrap_or(f64::NAN)
}

fn shares_one_core(percent: f64) -> bool {
    (90.0..110.0).contains(&percent)
}

/// Judges a case with the run delay that the program reports for its own threads. Other load can take away a second core,
/// but cannot simulate one: two cores used is conclusive; one core may mean starvation.
fn on_cores(case: &Case, expected: bool, conditions: &Conditions, summary: String) -> Judgement {
    let run_delay = number(case, RUN_DELAY);
    let disturbance = if conditions.cores < 2 {
        Some(ONLY_ONE_CORE.to_owned())
    } else {
        (run_delay > TOO_LOADED_PERCENT)
            .then(|| format!("Other processes took {run_delay:.0} % of a core from these threads (run delay)."))
    };
    match disturbance {
        Some(disturbance) if !(expected && uses_two_cores(number(case, CPU))) => disturbed(&disturbance, &summary),
        _ => conditions.judge(&[case], expected, summary),
    }
}

fn sharing_a_gil(case: &Case, result: &RunResult, conditions: &Conditions) -> Judgement {
    let (cpu, took, seconds) = (number(case, CPU), number(case, TOOK), f64::from(result.seconds));
    let version = result.interpreter.version_info;
    let turns = takes_turns(version);
    let how = if turns {
        " and take turns".to_owned()
    } else {
        format!(", one after the other, in {took:.1} s: from 3.9 to 3.12 they do not even take turns")
    };
    let idea = if version < OWN_GILS && case.variant.as_deref() == Some(PYTHON) {
        "Still an idea, as in the talk: 3.12 is the first version whose interpreters can have their own GIL. "
    } else {
        ""
    };
    let expected = shares_one_core(cpu) && (took < 1.5 * seconds) == turns;
    on_cores(
        case,
        expected,
        conditions,
        format!("{idea}Interpreters that share a GIL share one core ({cpu:.0} %){how}."),
    )
}

/// Judges a native call beside a Python thread in interpreters that share a GIL without taking turns. The result depends on
/// which side acquires the GIL first: the call, which then releases it or not, or the Python thread, which holds it to its end.
fn first_come(case: &Case, variant: &str, conditions: &Conditions) -> Judgement {
    let cpu = number(case, CPU);
    let beside = variant == CTYPES && uses_two_cores(cpu);
    let how = if beside {
        "The ctypes call acquired the shared GIL first, and released it"
    } else {
        "The interpreters do not take turns: one waits until the other ends, whether or not the call would release the GIL"
    };
    on_cores(case, beside || shares_one_core(cpu), conditions, format!("{how} ({cpu:.0} % of a core)."))
}

fn stalled(case: &Case, result: &RunResult, conditions: &Conditions) -> Judgement {
    let rate = |case: &Case| number(case, "counts_per_s");
    // Two interpreters that take turns count together as much as one that counts alone.
    let alone = result.case(SHARED, Some(PYTHON)).map(rate);
    let percent = alone.map(|alone| 100.0 * rate(case) / alone);
    // Two switch intervals of 5 ms, as in the experiment `extension`; their share is larger in a short run.
    let limit = f64::max(1.0, 3.0 / number(case, TOOK));
    let cpu = number(case, CPU);
    let counted =
        percent.map_or_else(String::new, |percent| format!(", which counts at {percent:.1} % of its rate alone"));
    let summary =
        format!("with_lock holds the shared GIL and stalls the other interpreter{counted}: {cpu:.0} % of a core.");
    let expected = shares_one_core(cpu) && percent.is_none_or(|percent| percent <= limit);
    on_cores(case, expected, conditions, summary)
}

/// Judges the cost of a transfer. Waking the other side on its core takes longer than copying the state. So if both sides have
/// a core of their own, all variants cost about the same; if they share one, those that copy nothing cost much less.
fn transferred(case: &Case, variant: &str, by_pipe: Option<&Case>) -> Judgement {
    let cost = number(case, TRANSFER);
    let how = match variant {
        THREADS => "A SimpleQueue sends a reference from thread to thread",
        QUEUE => "A queue sends a copy from interpreter to interpreter",
        MEMORYVIEW => "Two interpreters share the bytes through a memoryview, so only a signal is sent",
        PIPE => "A pipe, which copies the state twice, sends it from process to process",
        _ => "Two processes map the same memory, so only a signal is sent",
    };
    let pipe = by_pipe.map_or(f64::INFINITY, |pipe| number(pipe, TRANSFER));
    let compared = if variant == PIPE || pipe.is_infinite() {
        String::new()
    } else {
        format!(", {:.1} times the cost of a pipe", cost / pipe)
    };
    let summary =
        format!("{how}: {cost:.1} us for a state of 64 KiB{compared}. Waking the other side takes most of it.");
    if cost > 0.0 && (variant == PIPE || cost < 2.0 * pipe) {
        return Judgement { outcome: Outcome::AsExpected, changed_since: None, summary };
    }
    let reason = "This is far more than a pipe costs, so other processes disturbed the measurement.";
    inconclusive(&summary, &format!("{reason} {OTHER_LOAD}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Host;
    use Outcome::{AsExpected, Inconclusive, Unexpected};
    use serde_json::{Value, json};

    fn case(case: &str, variant: &str, metrics: Value) -> Value {
        json!({"case": case, "variant": variant, "wall_s": 1.0, "metrics": metrics})
    }

    fn used(name: &str, variant: &str, cpu: f64, run_delay: f64, took: f64) -> Value {
        case(name, variant, json!({CPU: cpu, RUN_DELAY: run_delay, TOOK: took, "counts_per_s": 1e8}))
    }

    fn interpreter(implementation: &str, version: (u32, u32), free_threaded: bool) -> Interpreter {
        serde_json::from_value(json!({
            "version": "3", "version_info": version, "implementation": implementation, "gil": !free_threaded,
            "path": "/python", "command": "/python", "free_threaded": free_threaded, "build_flags": "", "include": "",
            "suffix": ".so",
        }))
        .unwrap()
    }

    fn result(version: (u32, u32), cases: &[Value]) -> RunResult {
        let mut result: RunResult = serde_json::from_value(json!({
            "kind": "run", "experiment": "interpreters", "status": "ok", "seconds": 1, "cases": cases,
            "host": Host::example(), "libbusy": "0.1.0", "interpreter": interpreter("cpython", version, false),
        }))
        .unwrap();
        judge(&mut result, &Conditions { cores: 2 });
        result
    }

    fn outcome(version: (u32, u32), case: Value) -> Outcome {
        result(version, &[case]).cases[0].judgement.as_ref().unwrap().outcome
    }

    #[test]
    fn interpreters_with_their_own_gil_use_a_core_each() {
        for variant in [C_PROGRAM, PYTHON, CTYPES, EXTENSION] {
            assert_eq!(outcome((3, 12), used(OWN, variant, 198.0, 1.0, 1.0)), AsExpected, "{variant}");
            assert_eq!(outcome((3, 12), used(OWN, variant, 100.0, 1.0, 1.0)), Unexpected, "{variant}");
        }
        assert_eq!(outcome((3, 14), used(POOL, INTERPRETERS, 100.0, 1.0, 1.0)), Unexpected);
        assert_eq!(outcome((3, 14), used(POOL, THREADS, 199.0, 1.0, 1.0)), Unexpected);
        assert_eq!(result((3, 12), &[used(OWN, PYTHON, 198.0, 1.0, 1.0)]).changed_since(), Some("3.12"));
    }

    #[test]
    fn interpreters_that_share_a_gil_share_one_core_by_turns_or_one_after_the_other() {
        for (version, took, other) in
            [((3, 8), 1.0, 2.0), ((3, 11), 2.0, 1.0), ((3, 12), 2.0, 1.0), ((3, 13), 1.0, 2.0)]
        {
            for variant in [C_PROGRAM, PYTHON] {
                assert_eq!(outcome(version, used(SHARED, variant, 100.0, 1.0, took)), AsExpected, "{version:?}");
                assert_eq!(outcome(version, used(SHARED, variant, 100.0, 1.0, other)), Unexpected, "{version:?}");
                assert_eq!(outcome(version, used(SHARED, variant, 198.0, 1.0, took)), Unexpected, "{version:?}");
            }
        }
        assert_eq!(outcome((3, 13), used(ONE, C_PROGRAM, 150.0, 1.0, 1.0)), Unexpected);
    }

    #[test]
    fn a_call_that_releases_the_shared_gil_has_a_core_and_one_that_holds_it_stalls_the_other_interpreter() {
        assert_eq!(outcome((3, 13), used(SHARED, CTYPES, 198.0, 1.0, 1.0)), AsExpected);
        assert_eq!(outcome((3, 13), used(SHARED, CTYPES, 100.0, 1.0, 1.0)), Unexpected);
        assert_eq!(outcome((3, 12), used(SHARED, CTYPES, 100.0, 1.0, 2.0)), AsExpected);
        assert_eq!(outcome((3, 12), used(SHARED, CTYPES, 198.0, 1.0, 1.0)), AsExpected);
        assert_eq!(outcome((3, 12), used(SHARED, CTYPES, 150.0, 1.0, 1.0)), Unexpected);
        assert_eq!(outcome((3, 12), used(SHARED, EXTENSION, 198.0, 1.0, 1.0)), Unexpected);
        let beside = |count: f64| {
            let metrics = json!({CPU: 100.0, RUN_DELAY: 1.0, TOOK: 1.0, "counts_per_s": count});
            let cases = [used(SHARED, PYTHON, 100.0, 1.0, 1.0), case(SHARED, EXTENSION, metrics)];
            result((3, 13), &cases).cases[1].judgement.as_ref().unwrap().outcome
        };
        assert_eq!((beside(1e6), beside(5e7)), (AsExpected, Unexpected));
    }

    #[test]
    fn after_run_delay_only_two_cores_are_conclusive() {
        assert_eq!(outcome((3, 13), used(OWN, C_PROGRAM, 150.0, 49.0, 1.0)), Inconclusive);
        // Two threads that starve on one core have the same figures as two that share it because of the GIL.
        assert_eq!(outcome((3, 13), used(SHARED, C_PROGRAM, 100.0, 98.0, 1.0)), Inconclusive);
        assert_eq!(outcome((3, 13), used(OWN, C_PROGRAM, 187.0, 12.0, 1.0)), AsExpected);
        // A metric that was not reported fulfils no bound.
        assert_eq!(outcome((3, 13), case(OWN, C_PROGRAM, json!({}))), Unexpected);
    }

    #[test]
    fn a_transfer_that_costs_far_more_than_a_pipe_is_inconclusive() {
        let of = |queue: f64| {
            let cost = |variant, us: f64| case(SHARING, variant, json!({TRANSFER: us}));
            let result = result((3, 13), &[cost(PIPE, 17.0), cost(QUEUE, queue)]);
            let outcome = |case: &Case| case.judgement.as_ref().unwrap().outcome;
            (outcome(&result.cases[0]), outcome(&result.cases[1]))
        };
        assert_eq!((of(18.0), of(35.0)), ((AsExpected, AsExpected), (AsExpected, Inconclusive)));
        assert_eq!(outcome((3, 13), case(SHARING, PIPE, json!({}))), Inconclusive);
    }

    #[test]
    fn the_headline_shows_the_c_program_if_it_was_measured_or_else_python() {
        let cases = [
            used(OWN, C_PROGRAM, 199.0, 1.0, 1.0),
            used(SHARED, C_PROGRAM, 100.0, 1.0, 1.0),
            used(ONE, C_PROGRAM, 100.4, 1.0, 1.0),
            used(OWN, PYTHON, 198.0, 1.0, 1.0),
            used(SHARED, PYTHON, 99.0, 1.0, 1.0),
        ];
        let headline = |cases: &[Value]| result((3, 13), cases).headline;
        assert_eq!(headline(&cases).as_deref(), Some("199, 100, 100 %"));
        assert_eq!(headline(&cases[1..]).as_deref(), Some("198, 99 %"));
        assert_eq!(headline(&cases[4..]).as_deref(), Some("99 %"));
        assert_eq!(headline(&[]), None);
    }

    #[test]
    fn an_interpreter_to_which_the_experiment_does_not_apply_is_skipped_with_the_reason() {
        let reason = |implementation, version, free_threaded| {
            not_applicable(&interpreter(implementation, version, free_threaded))
        };
        assert!(reason("pypy", (3, 11), false).unwrap().contains("one interpreter"));
        assert!(reason("cpython", (3, 13), true).unwrap().contains("busy run no-gil"));
        assert!(reason("cpython", (2, 7), false).unwrap().contains("before 3.8"));
        assert_eq!(reason("cpython", (3, 8), false), None);
        assert_eq!(reason("cpython", (3, 13), false), None);
    }
}
