//! The states of threads with a known activity.

use crate::library::libbusy;
use crate::pythons::{Talker, alone, with_gil};
use busy_gil::remote::{HolderStack, Rates, Recorder, RemoteGil, StackReader, State, ThreadWindow, Window};
use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const THREADS: &str = include_str!("threads.py");

/// Starts the script. Returns the activity of each of its threads, by id. The main thread sleeps after it has acquired
/// the GIL once more.
fn start(python: &crate::pythons::Python) -> (Talker, BTreeMap<u32, String>) {
    let mut talker = Talker::spawn(Command::new(&python.path).args(["-c", THREADS]).arg(libbusy()));
    let mut threads = BTreeMap::from([(talker.pid(), "main".to_owned())]);
    loop {
        let line = talker.line();
        if line == "ready" {
            return (talker, threads);
        }
        let (activity, tid) = line.split_once(' ').unwrap_or_else(|| panic!("{}: {line:?}", python.name));
        threads.insert(tid.parse().unwrap(), activity.to_owned());
    }
}

#[test]
fn threads_that_hold_wait_run_and_sleep_are_distinguished() {
    let _alone = alone();
    for python in with_gil() {
        let (talker, threads) = start(&python);
        let recorder = Recorder::start(RemoteGil::attach(talker.pid()).unwrap(), Rates::default()).unwrap();
        // Sample until both `hold` threads have been seen holding and waiting. 2.7's GIL may go to one of them for seconds.
        // A thread that was woken but has no CPU yet counts as runnable instead.
        let start = Instant::now();
        let took_turns = |window: &Window| {
            let hold = threads
                .iter()
                .filter(|(_, activity)| *activity == "hold")
                .filter_map(|(tid, _)| window.threads.get(tid));
            hold.filter(|thread| thread.waiting_ns.min(thread.held_ns) > 50_000_000).count() == 2
        };
        while start.elapsed() < Duration::from_secs(1) || !took_turns(&recorder.window()) {
            assert!(start.elapsed() < Duration::from_secs(20), "{}: {:?}", python.name, recorder.window());
            sleep(Duration::from_millis(100));
        }
        let window = recorder.stop();
        assert!(window.ended.is_none(), "{}: {:?}", python.name, window.ended);
        let share = |tid: &u32, of: fn(&ThreadWindow) -> u64| {
            let thread = &window.threads[tid];
            of(thread) as f64 / thread.seen_ns as f64
        };
        assert!(window.held_share().unwrap() > 0.7, "{}: {window:?}", python.name);
        assert_eq!(window.threads.keys().collect::<Vec<_>>(), threads.keys().collect::<Vec<_>>(), "{}", python.name);
        for (tid, activity) in &threads {
            let thread = &window.threads[tid];
            let context = format!("{}, {activity}: {thread:?}", python.name);
            match &**activity {
                // Neither waits for the GIL, though both wait in futex(2).
                "sleep" | "lock" => assert!(share(tid, |thread| thread.sleeping_ns) > 0.9, "{context}"),
                "run" => assert!(share(tid, |thread| thread.running_ns + thread.runnable_ns) > 0.9, "{context}"),
                "hold" => assert!(share(tid, |thread| thread.sleeping_ns) < 0.3, "{context}"),
                "main" => {}
                other => panic!("{other}"),
            }
            let all =
                thread.waiting_ns + thread.running_ns + thread.runnable_ns + thread.sleeping_ns + thread.unknown_ns;
            let free = thread.seen_ns.saturating_sub(thread.held_ns);
            // The sums differ by the samples since the last reading of the states, and by the intervals at both ends of
            // which the thread was holding.
            assert!(all.abs_diff(free) < 50_000_000, "{context}");
        }
        let held: u64 = window.threads.values().map(|thread| thread.held_ns).sum();
        assert_eq!(held + window.held_by_unknown_ns, window.held_ns, "{}", python.name);
        assert!(window.held_by_unknown_ns < window.held_ns / 20, "{}: {window:?}", python.name);
    }
}

#[test]
fn single_readings_agree() {
    let _alone = alone();
    for python in with_gil() {
        let (talker, threads) = start(&python);
        let mut gil = RemoteGil::attach(talker.pid()).unwrap();
        let mut seen: HashMap<(&str, State), usize> = HashMap::new();
        for _ in 0..50 {
            let states = gil.states().unwrap();
            assert!(states.iter().filter(|thread| thread.state == State::Holds).count() <= 1, "{states:?}");
            for thread in states {
                *seen.entry((&threads[&thread.tid], thread.state)).or_default() += 1;
            }
            sleep(Duration::from_millis(2));
        }
        let count =
            |doing, states: &[State]| -> usize { states.iter().filter_map(|state| seen.get(&(doing, *state))).sum() };
        assert!(count("lock", &[State::Sleeps]) > 40, "{}: {seen:?}", python.name);
        assert!(count("sleep", &[State::Sleeps]) > 40, "{}: {seen:?}", python.name);
        assert!(count("run", &[State::Runs, State::Runnable]) > 40, "{}: {seen:?}", python.name);
        assert!(count("hold", &[State::Holds]) > 10, "{}: {seen:?}", python.name);
        // For the kernel, a thread that was woken but has no CPU yet no longer waits.
        assert!(count("hold", &[State::Waits]) > 3, "{}: {seen:?}", python.name);
        println!("{}: {seen:?}", python.name);
    }
}

#[test]
fn the_stack_of_the_holder_is_read_with_the_number_of_threads_that_wait() {
    let _alone = alone();
    for python in with_gil() {
        let (talker, threads) = start(&python);
        let (gil, stacks) = (RemoteGil::attach(talker.pid()).unwrap(), StackReader::attach(talker.pid()).unwrap());
        let recorder = Recorder::start_with_stacks(gil, stacks, Rates::default()).unwrap();
        let (start, mut found) = (Instant::now(), Vec::new());
        let in_hold = |holder: &&HolderStack| {
            let innermost = holder.stack.as_ref().and_then(|stack| stack.frames.first());
            innermost.is_some_and(|frame| &*frame.function == "hold") && threads[&holder.tid] == "hold"
        };
        // The other one of the two threads waits, unless it was woken and has no CPU yet.
        while found.iter().filter(in_hold).filter(|holder| holder.waiting == 1).count() < 20 {
            sleep(Duration::from_millis(50));
            found.extend(recorder.take_holders());
            assert!(start.elapsed() < Duration::from_secs(20), "{}: {found:?}", python.name);
        }
        assert!(found.iter().filter(in_hold).count() * 10 > found.len() * 8, "{}: {found:?}", python.name);
        let sampled_ns: u64 = found.iter().map(|holder| holder.for_ns).sum();
        assert!(u128::from(sampled_ns) <= start.elapsed().as_nanos(), "{}: {found:?}", python.name);
    }
}
