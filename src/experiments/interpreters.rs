//! Slide 22: the interpreter as an instance: two threads, each in an interpreter of its own, from a C program and from
//! Python; and what it costs to hand a state over.

use super::experiment::{Column, Experiment};
use super::judge::{Conditions, ONLY_ONE_CORE, uses_two_cores};
use super::plan::{Kind, Plan, Setting, Step};
use crate::measure::Bounds;
use crate::measure::SupervisorError;
use crate::provision::embedder::{self, Built, EmbedderError};
use crate::provision::extension;
use crate::provision::extension::CompileError;
use crate::results::Interpreter;
use crate::results::TOO_LOADED_PERCENT;
use crate::results::{Case, Judgement, Outcome, RunResult};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "interpreters",
    slides: "22",
    shows: "the interpreter as an instance, an idea of 2015: one process, a thread and an interpreter on each core, states \
            shared at low cost",
    today: "it came: interpreters with a GIL of their own, from C and by private modules from 3.12 on, by the standard \
            library from 3.14 on. Before 3.12, and where they share a GIL, they share one core; from 3.9 to 3.12 \
            without even taking turns",
    talk: &[],
    columns: &[
        Column { metric: "counts_per_s", title: "Python/s" },
        Column { metric: "native_per_s", title: "native/s" },
        Column { metric: CPU, title: "CPU %" },
        Column { metric: WAITED, title: "waited for\na core, %" },
        Column { metric: TOOK, title: "took, s" },
        Column { metric: HANDOVER, title: "handover\nof 64 KiB, µs" },
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
const WAITED: &str = "run_delay_percent";
const TOOK: &str = "took_s";
const HANDOVER: &str = "handover_us";

/// The first version with GILs of interpreters' own, PEP 684.
const OWN_GILS: (u32, u32) = (3, 12);

/// False from 3.9 to 3.12: there a thread that waits for the GIL asks its own interpreter to let go, where nobody hears it if
/// another one holds it. Before, and again from 3.13 on, the holder is asked (Python/ceval_gil.h and ceval_gil.c, take_gil).
fn takes_turns(version: (u32, u32)) -> bool {
    !((3, 9)..(3, 13)).contains(&version)
}

fn plan(setting: &Setting) -> Result<Plan, SupervisorError> {
    let mut plan = Plan::default();
    if let Some(why) = nothing_to_show(setting.interpreter) {
        plan.missing.insert(EXPERIMENT.name.into(), why);
        return Ok(plan);
    }
    // Those that don't take turns run one after the other.
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
            Err(EmbedderError::Supervisor(error)) => return Err(error),
            Err(error) => {
                plan.missing.insert(C_PROGRAM.into(), error.to_string());
            }
        }
    } else {
        let why = "no interpreter can have a GIL of its own before Python 3.12 (PEP 684)";
        plan.missing.extend([OWN, C_PROGRAM].map(|what| (what.to_owned(), why.to_owned())));
    }
    let libbusy = setting.libbusy.path().display().to_string();
    let mut variants = vec![(PYTHON, None), (CTYPES, Some(libbusy))];
    match extension::build(&extension::C, setting.interpreter, setting.libbusy.path(), None) {
        Ok(folder) => variants.push((EXTENSION, Some(folder.display().to_string()))),
        Err(CompileError::Supervisor(error)) => return Err(error),
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

fn nothing_to_show(interpreter: &Interpreter) -> Option<String> {
    let title = interpreter.title();
    if interpreter.implementation != "cpython" {
        return Some(format!("{title} has but one interpreter in a process"));
    }
    if interpreter.free_threaded {
        return Some(format!(
            "{title} can do without a GIL, so that threads of one interpreter run side by side and there is none to own or to \
             share: see `busy run no-gil`"
        ));
    }
    let why = "before 3.8 no Python program can make interpreters, and those that a C program makes share one GIL";
    (interpreter.version_info < (3, 8)).then(|| why.into())
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
                "One C program, one process, two threads, each in an interpreter with a GIL of its own, and their counts in \
                 plain memory that both write: {cpu:.0} % of a core."
            )),
        ),
        (OWN, PYTHON) => since(
            "3.12",
            two_cores(format!(
                "From Python: two threads, each in an interpreter with a GIL of its own: {cpu:.0} % of a core."
            )),
        ),
        (OWN, CTYPES) => {
            since("3.12", two_cores(format!("A count beside a call by ctypes, with GILs of their own: {cpu:.0} %.")))
        }
        (OWN, _) => since(
            "3.12",
            two_cores(format!("with_lock keeps its GIL, and stops nobody who has another one: {cpu:.0} % of a core.")),
        ),
        (SHARED, C_PROGRAM | PYTHON) => sharing_a_gil(case, result, conditions),
        (SHARED, _) if !takes_turns(version) => first_come(case, variant, conditions),
        (SHARED, CTYPES) => {
            two_cores(format!("A call by ctypes releases the GIL, whichever interpreter it is made in: {cpu:.0} %."))
        }
        (SHARED, _) => stopped(case, result, conditions),
        (ONE, _) => one_core(format!("Two threads of one interpreter: {cpu:.0} %, as ever.")),
        (POOL, INTERPRETERS) => since(
            "3.14",
            two_cores(format!(
                "InterpreterPoolExecutor has a thread and an interpreter for each worker: {cpu:.0} % of a core."
            )),
        ),
        (POOL, _) => one_core(format!("ThreadPoolExecutor, its like for threads of one interpreter: {cpu:.0} %.")),
        (_, variant) => handed_over(case, variant, result.case(SHARING, Some(PIPE))),
    }
}

/// A metric; NaN, which no bound takes for fulfilled, where it was not told.
fn number(case: &Case, metric: &str) -> f64 {
    case.number(metric).unwrap_or(f64::NAN)
}

fn shares_one_core(percent: f64) -> bool {
    (90.0..110.0).contains(&percent)
}

/// The program's own account tells what kept its threads from a core. That hides two cores that would have been used, but
/// makes none up: who has used two is right, and who shares one may have starved on it.
fn on_cores(case: &Case, expected: bool, conditions: &Conditions, summary: String) -> Judgement {
    let waited = number(case, WAITED);
    let spoiled = if conditions.cores < 2 {
        Some(ONLY_ONE_CORE.to_owned())
    } else {
        (waited > TOO_LOADED_PERCENT)
            .then(|| format!("Inconclusive: other processes took {waited:.0} % of a core from its threads."))
    };
    match spoiled {
        Some(why) if !(expected && uses_two_cores(number(case, CPU))) => {
            Judgement { outcome: Outcome::Inconclusive, changed_since: None, summary: format!("{summary} {why}") }
        }
        _ => conditions.judge(&[case], expected, summary),
    }
}

fn sharing_a_gil(case: &Case, result: &RunResult, conditions: &Conditions) -> Judgement {
    let (cpu, took, seconds) = (number(case, CPU), number(case, TOOK), f64::from(result.seconds));
    let version = result.interpreter.version_info;
    let turns = takes_turns(version);
    let how = if turns {
        "by turns".to_owned()
    } else {
        format!("one after the other, in {took:.1} s: before 3.13 they don't even take turns")
    };
    let idea = if version < OWN_GILS && case.variant.as_deref() == Some(PYTHON) {
        "As the talk: an idea only; GILs of their own came with 3.12. "
    } else {
        ""
    };
    let expected = shares_one_core(cpu) && (took < 1.5 * seconds) == turns;
    on_cores(
        case,
        expected,
        conditions,
        format!("{idea}Interpreters that share a GIL share one core, {cpu:.0} %, {how}."),
    )
}

/// Without turns it depends on who comes first: the call, which then releases the GIL or does not, or the count, which
/// lets nobody in before its end.
fn first_come(case: &Case, variant: &str, conditions: &Conditions) -> Judgement {
    let cpu = number(case, CPU);
    let beside = variant == CTYPES && uses_two_cores(cpu);
    let how = if beside {
        "The call by ctypes came to the common GIL first, and released it"
    } else {
        "Without turns one interpreter waits for the other's end, be it a call that would release the GIL or one that keeps it"
    };
    on_cores(case, beside || shares_one_core(cpu), conditions, format!("{how}: {cpu:.0} %."))
}

fn stopped(case: &Case, result: &RunResult, conditions: &Conditions) -> Judgement {
    let rate = |case: &Case| number(case, "counts_per_s");
    // Two that count by turns count together as much as one that counts alone.
    let alone = result.case(SHARED, Some(PYTHON)).map(rate);
    let percent = alone.map(|alone| 100.0 * rate(case) / alone);
    // Two switch intervals of 5 ms, as in the experiment `extension`; they weigh more in a short run.
    let limit = f64::max(1.0, 3.0 / number(case, TOOK));
    let cpu = number(case, CPU);
    let counted =
        percent.map_or_else(String::new, |percent| format!(", which counts {percent:.1} % of what it does alone"));
    let summary =
        format!("with_lock keeps the GIL that both share, and stops the other interpreter{counted}: {cpu:.0} %.");
    let expected = shares_one_core(cpu) && percent.is_none_or(|percent| percent <= limit);
    on_cores(case, expected, conditions, summary)
}

/// To wake the other side up on its core takes longer than to copy the state: so all variants cost much the same where both
/// have a core of their own, and those that copy nothing much less where they share one.
fn handed_over(case: &Case, variant: &str, by_pipe: Option<&Case>) -> Judgement {
    let cost = number(case, HANDOVER);
    let how = match variant {
        THREADS => "From thread to thread goes a reference, by SimpleQueue",
        QUEUE => "From interpreter to interpreter the queue copies it",
        MEMORYVIEW => "Two interpreters see the same bytes, by a memoryview: only a signal goes over",
        PIPE => "From process to process it goes through a pipe, which copies it twice",
        _ => "Two processes have the same memory mapped: only a signal goes over",
    };
    let pipe = by_pipe.map_or(f64::INFINITY, |pipe| number(pipe, HANDOVER));
    let beside =
        if variant == PIPE || pipe.is_infinite() { String::new() } else { format!(", {:.1} of a pipe's", cost / pipe) };
    let summary = format!("{how}: {cost:.1} µs for a state of 64 KiB{beside}, most of it to wake the other side up.");
    if cost > 0.0 && (variant == PIPE || cost < 2.0 * pipe) {
        return Judgement { outcome: Outcome::AsExpected, changed_since: None, summary };
    }
    let why = "Inconclusive: that is far more than by a pipe, so other processes came between; see what else runs.";
    Judgement { outcome: Outcome::Inconclusive, changed_since: None, summary: format!("{summary} {why}") }
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

    fn used(name: &str, variant: &str, cpu: f64, waited: f64, took: f64) -> Value {
        case(name, variant, json!({CPU: cpu, WAITED: waited, TOOK: took, "counts_per_s": 1e8}))
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
    fn gils_of_their_own_mean_a_core_for_each_since_they_came() {
        for variant in [C_PROGRAM, PYTHON, CTYPES, EXTENSION] {
            assert_eq!(outcome((3, 12), used(OWN, variant, 198.0, 1.0, 1.0)), AsExpected, "{variant}");
            assert_eq!(outcome((3, 12), used(OWN, variant, 100.0, 1.0, 1.0)), Unexpected, "{variant}");
        }
        assert_eq!(outcome((3, 14), used(POOL, INTERPRETERS, 100.0, 1.0, 1.0)), Unexpected);
        assert_eq!(outcome((3, 14), used(POOL, THREADS, 199.0, 1.0, 1.0)), Unexpected);
        assert_eq!(result((3, 12), &[used(OWN, PYTHON, 198.0, 1.0, 1.0)]).changed_since(), Some("3.12"));
    }

    #[test]
    fn a_common_gil_means_one_core_by_turns_or_one_after_the_other() {
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
    fn a_call_that_releases_a_common_gil_has_a_core_and_one_that_keeps_it_stops_the_others() {
        assert_eq!(outcome((3, 13), used(SHARED, CTYPES, 198.0, 1.0, 1.0)), AsExpected);
        assert_eq!(outcome((3, 13), used(SHARED, CTYPES, 100.0, 1.0, 1.0)), Unexpected);
        assert_eq!(outcome((3, 12), used(SHARED, CTYPES, 100.0, 1.0, 2.0)), AsExpected);
        assert_eq!(outcome((3, 12), used(SHARED, CTYPES, 198.0, 1.0, 1.0)), AsExpected);
        assert_eq!(outcome((3, 12), used(SHARED, CTYPES, 150.0, 1.0, 1.0)), Unexpected);
        assert_eq!(outcome((3, 12), used(SHARED, EXTENSION, 198.0, 1.0, 1.0)), Unexpected);
        let beside = |count: f64| {
            let metrics = json!({CPU: 100.0, WAITED: 1.0, TOOK: 1.0, "counts_per_s": count});
            let cases = [used(SHARED, PYTHON, 100.0, 1.0, 1.0), case(SHARED, EXTENSION, metrics)];
            result((3, 13), &cases).cases[1].judgement.as_ref().unwrap().outcome
        };
        assert_eq!((beside(1e6), beside(5e7)), (AsExpected, Unexpected));
    }

    #[test]
    fn who_had_no_core_shows_nothing_but_two_cores() {
        assert_eq!(outcome((3, 13), used(OWN, C_PROGRAM, 150.0, 49.0, 1.0)), Inconclusive);
        // Two that starve on one core look like two that share it by the GIL.
        assert_eq!(outcome((3, 13), used(SHARED, C_PROGRAM, 100.0, 98.0, 1.0)), Inconclusive);
        assert_eq!(outcome((3, 13), used(OWN, C_PROGRAM, 187.0, 12.0, 1.0)), AsExpected);
        // What was not told is no figure.
        assert_eq!(outcome((3, 13), case(OWN, C_PROGRAM, json!({}))), Unexpected);
    }

    #[test]
    fn no_handover_costs_far_more_than_one_by_a_pipe() {
        let of = |queue: f64| {
            let cost = |variant, us: f64| case(SHARING, variant, json!({HANDOVER: us}));
            let result = result((3, 13), &[cost(PIPE, 17.0), cost(QUEUE, queue)]);
            let outcome = |case: &Case| case.judgement.as_ref().unwrap().outcome;
            (outcome(&result.cases[0]), outcome(&result.cases[1]))
        };
        assert_eq!((of(18.0), of(35.0)), ((AsExpected, AsExpected), (AsExpected, Inconclusive)));
        assert_eq!(outcome((3, 13), case(SHARING, PIPE, json!({}))), Inconclusive);
    }

    #[test]
    fn the_headline_is_of_the_c_program_or_of_what_there_is() {
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
    fn who_has_nothing_to_show_says_why() {
        let why = |implementation, version, free_threaded| {
            nothing_to_show(&interpreter(implementation, version, free_threaded))
        };
        assert!(why("pypy", (3, 11), false).unwrap().contains("one interpreter"));
        assert!(why("cpython", (3, 13), true).unwrap().contains("busy run no-gil"));
        assert!(why("cpython", (2, 7), false).unwrap().contains("before 3.8"));
        assert_eq!(why("cpython", (3, 8), false), None);
        assert_eq!(why("cpython", (3, 13), false), None);
    }
}
