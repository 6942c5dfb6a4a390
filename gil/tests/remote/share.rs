//! The held share, compared with a generator of known holds.

use crate::library::libbusy;
use crate::pythons::{Python, Talker, alone, with_gil};
use busy_gil::remote::{Rates, Recorder, RemoteGil, Window};

const GENERATOR: &str = include_str!("generator.py");
const DUTIES: [u64; 7] = [0, 10, 25, 50, 75, 90, 100];

/// Lets `generator` alternately hold for `hold_ns` and release for `release_ns` during `seconds`. Returns the window,
/// and the held share that the generator itself has measured.
fn measure(recorder: &Recorder, generator: &mut Talker, hold_ns: u64, release_ns: u64, seconds: f64) -> (Window, f64) {
    generator.send(&format!("{hold_ns} {release_ns} {seconds}"));
    let begin = generator.line();
    assert!(begin.starts_with("begin "), "{begin}");
    let before = recorder.window();
    let line = generator.line();
    let window = recorder.window().since(&before);
    assert!(generator.line().starts_with("done "));
    let words: Vec<_> =
        line.strip_prefix("end ").expect(&line).split(' ').map(|word| word.parse::<f64>().unwrap()).collect();
    (window, words[0] / words[1])
}

fn errors(python: &Python, periods_us: &[u64], seconds: f64) {
    let mut generator = Talker::script(python, GENERATOR, &[&libbusy()]);
    let gil = RemoteGil::attach(generator.pid()).unwrap_or_else(|error| panic!("{}: {error}", python.name));
    let version = gil.version().to_owned();
    let recorder = Recorder::start(gil, Rates::default()).unwrap();
    let mut errors = Vec::new();
    let mut cost = Vec::new();
    for period_us in periods_us {
        for duty in DUTIES {
            let hold_ns = period_us * 1000 * duty / 100;
            let (window, truth) = measure(&recorder, &mut generator, hold_ns, period_us * 1000 - hold_ns, seconds);
            assert!(window.ended.is_none(), "{}: {:?}", python.name, window.ended);
            let held = window.held_share().unwrap();
            let error = (held - truth).abs();
            // The generator has one thread, so the holder is this thread or unknown.
            let own = window.threads.get(&generator.pid()).map_or(0, |thread| thread.held_ns);
            assert_eq!(own + window.held_by_unknown_ns, window.held_ns, "{}: {window:?}", python.name);
            assert!(window.held_by_unknown_ns <= window.held_ns / 10, "{}: {window:?}", python.name);
            errors.push(error);
            cost.push(window.cost.as_secs_f64() / window.wall_ns() as f64 * 1e9);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // The effect of other processes can't be distinguished from errors here. A wrong reading would cause far larger
    // errors.
    assert!(mean(&errors) < 0.2, "{}: {errors:?}", python.name);
    let max = errors.iter().copied().fold(0.0, f64::max);
    println!(
        "CPython {version}: held share off by {:.4} on average, {max:.4} at most; {:.1} % of a core",
        mean(&errors),
        mean(&cost) * 100.0
    );
}

#[test]
fn the_held_share_is_that_of_a_generator_with_known_holds() {
    let _alone = alone();
    // The figures of docs/measuring.md need more seconds.
    let seconds = std::env::var("BUSY_GIL_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.1);
    for python in with_gil() {
        errors(&python, &[1000, 100_000], seconds);
    }
}
