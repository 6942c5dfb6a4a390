//! The stacks of running threads, and of one that holds the GIL in a native call.

use crate::parked::threads;
use crate::pythons::{Talker, alone, with_gil};
use busy_gil::remote::{StackError, StackReader};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const HOLDS: &str = include_str!("holds.py");

#[test]
fn a_native_call_that_holds_the_gil_has_its_callers_stack() {
    let _alone = alone();
    for python in with_gil() {
        for depth in [10, 50] {
            let mut command = Command::new(&python.path);
            command.args(["-c", HOLDS]).arg(depth.to_string());
            let mut talker = Talker::spawn(&mut command);
            let line: u32 = talker.line().parse().unwrap();
            assert_eq!(talker.line(), "ready");
            let mut reader = StackReader::attach(talker.pid()).unwrap();
            let thread = *threads(&mut reader).iter().find(|thread| thread.tid != talker.pid()).unwrap();
            let mut times = Vec::new();
            let started = Instant::now();
            while times.len() < 1000 {
                assert!(started.elapsed() < Duration::from_secs(20), "{}: {} of 1000", python.name, times.len());
                let start = Instant::now();
                let stack = match reader.read(thread.state) {
                    Err(error) if error.is_torn() => continue,
                    other => other.unwrap(),
                };
                let time = start.elapsed();
                // Before the first call, and between two of them.
                if stack.moved || stack.frames[0].line != Some(line) || &*stack.frames[0].function != "hold" {
                    continue;
                }
                times.push(time);
                assert_eq!(stack.frames.len(), depth, "{}: {stack:#?}", python.name);
                let holds = |index: usize| &*stack.frames[index].function == "hold";
                assert!((0..depth - 4).all(holds), "{}: {stack:#?}", python.name);
            }
            times.sort();
            println!("{}: depth {depth}: median {:?}, p90 {:?}", python.name, times[times.len() / 2], times[900]);
        }
    }
}

#[test]
fn a_running_loop_is_found_in_its_lines() {
    const SPIN: &str = "\nimport sys\ndef spin():\n x = 0\n while True:\n  x += 1\n  y = x\n\
        sys.stdout.write('ready\\n'); sys.stdout.flush()\nspin()\n";
    let _alone = alone();
    for python in with_gil() {
        let talker = Talker::script(&python, SPIN, &[]);
        let mut reader = StackReader::attach(talker.pid()).unwrap();
        let thread = threads(&mut reader)[0];
        assert_eq!(thread.tid, talker.pid(), "{}", python.name);
        let mut seen = [0; 8];
        let start = Instant::now();
        while seen[6] == 0 || seen[7] == 0 || seen[6] + seen[7] < 50 {
            assert!(start.elapsed() < Duration::from_secs(20), "{}: {seen:?}", python.name);
            sleep(Duration::from_micros(500));
            let stack = match reader.read(thread.state) {
                Err(error) if error.is_torn() => continue,
                other => other.unwrap(),
            };
            let names: Vec<_> = stack.frames.iter().map(|frame| (&*frame.function, frame.line.unwrap())).collect();
            match names[..] {
                [("spin", line), ("<module>", 9)] => seen[line as usize] += 1,
                // The program has just printed `ready`.
                [("<module>", 8 | 9)] => {}
                _ => panic!("{}: {names:?}", python.name),
            }
        }
    }
}

#[test]
fn the_end_of_a_thread_and_of_the_process_is_reported() {
    let _alone = alone();
    for python in with_gil() {
        let mut talker = Talker::script(
            &python,
            // It holds the GIL most of the time: up to 3.6, threads can be listed only then.
            "import sys, time\nsys.stdout.write('ready\\n'); sys.stdout.flush()\nwhile True: sum(range(100000)); time.sleep(0.0001)",
            &[],
        );
        let mut reader = StackReader::attach(talker.pid()).unwrap();
        let thread = threads(&mut reader)[0];
        reader.read(thread.state).unwrap();
        for nothing in [0, 8, 0x1234_5678, u64::MAX - 7] {
            let error = reader.read(nothing).unwrap_err();
            assert!(matches!(error, StackError::NoThread { .. }), "{}: {error}", python.name);
        }
        talker.child.kill().unwrap();
        talker.child.wait().unwrap();
        let error = reader.read(thread.state).unwrap_err();
        assert!(matches!(error, StackError::Process(busy_gil::remote::RemoteError::Ended { .. })), "{error}");
        assert!(matches!(reader.threads(), Err(StackError::Process(_))));
    }
}

#[test]
fn a_thread_in_another_interpreter_is_listed_and_read() {
    const INTERPRETERS: &str = "\
import sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
code = '\\n\\ndef inner():\\n import time\\n time.sleep(1000)\\n\\ninner()\\n'
threading.Thread(target=lambda: interpreters.run_string(other, code), daemon=True).start()
sys.stdout.write('ready\\n'); sys.stdout.flush()
sys.stdin.readline()
";
    let _alone = alone();
    for python in with_gil() {
        let minor: u32 = python.name.rsplit('.').next().unwrap().parse().unwrap();
        if python.name == "CPython 2.7" || minor < 8 {
            continue;
        }
        let talker = Talker::script(&python, INTERPRETERS, &[]);
        let mut reader = StackReader::attach(talker.pid()).unwrap();
        wait_for(&python.name, || {
            let found = threads(&mut reader);
            let ours: Vec<_> = found.iter().filter(|thread| thread.tid == talker.pid()).collect();
            assert!(ours.iter().any(|thread| thread.interpreter == 0), "{}: {found:?}", python.name);
            let others = found.iter().filter(|thread| thread.interpreter != 0);
            let stacks: Vec<_> = others.filter_map(|thread| frames(&mut reader, thread.state)).collect();
            let expected = [("inner".to_owned(), Some(5)), ("<module>".to_owned(), Some(7))];
            (stacks.iter().any(|names| names.starts_with(&expected)), stacks)
        });
    }
}

#[test]
fn a_forked_child_is_read() {
    const FORK: &str = "\
import os, sys, time
def child():
    while True: time.sleep(0.001)
pid = os.fork()
if not pid:
    child()
sys.stdout.write('ready\\n%d\\n' % pid); sys.stdout.flush()
sys.stdin.readline()
os.kill(pid, 9)
";
    let _alone = alone();
    for python in with_gil() {
        let mut talker = Talker::script(&python, FORK, &[]);
        let pid: u32 = talker.line().parse().unwrap();
        let mut reader = StackReader::attach(pid).unwrap();
        // The child may not have run yet.
        wait_for(&python.name, || {
            let found = threads(&mut reader);
            let names = found.first().and_then(|thread| frames(&mut reader, thread.state));
            let expected = [("child".to_owned(), Some(3)), ("<module>".to_owned(), Some(6))];
            let is_alone = found.len() == 1 && found[0].tid == pid;
            (is_alone && names.as_deref() == Some(&expected), (found, names))
        });
        talker.send("");
        talker.child.wait().unwrap();
    }
}

#[test]
fn a_function_at_the_address_of_a_freed_one_is_not_mistaken_for_it() {
    // Each function waits for a line, and is freed before the next one is made. Every other one has the same name.
    const SUCCESSORS: &str = "\
import sys, threading
def step(number):
    name = 'f%d' % (number % 32) if number % 2 else 'same'
    space = {'sys': sys}
    source = '\\n' * number + 'def %s():\\n sys.stdin.readline()\\n' % name
    exec(compile(source, 'file %d' % (number // 3), 'exec'), space)
    sys.stdout.write('%x %s\\n' % (id(space[name].__code__), name)); sys.stdout.flush()
    space[name]()
go = []
thread = threading.Thread(target=lambda: go.append(sys.stdin.readline()))
thread.start()
sys.stdout.write('ready\\n'); sys.stdout.flush()
while not go: pass
for number in range(1000):
    step(number)
";
    let _alone = alone();
    let (pythons, mut reused) = (with_gil(), 0);
    for python in &pythons {
        let mut talker = Talker::script(python, SUCCESSORS, &[]);
        let mut reader = StackReader::attach(talker.pid()).unwrap();
        let found = threads(&mut reader);
        let state = found.iter().find(|thread| thread.tid == talker.pid()).unwrap().state;
        talker.send("");
        let mut addresses = BTreeSet::new();
        for number in 0..200 {
            let line = talker.line();
            let (address, name) = line.split_once(' ').unwrap_or_else(|| panic!("{}: {line}", python.name));
            addresses.insert(address.to_owned());
            let expected = (format!("file {}", number / 3), name.to_owned(), Some(number + 2));
            let start = Instant::now();
            loop {
                let stack = reader.read(state).ok().filter(|stack| !stack.moved);
                // The function may not have been called yet, or it may not have left the line of its `def`.
                let found = stack.as_ref().map(|stack| &stack.frames[0]).filter(|frame| &*frame.function != "step");
                if let Some(frame) = found.filter(|frame| frame.line != Some(number + 1)) {
                    let found = (frame.file.to_string(), frame.function.to_string(), frame.line);
                    assert_eq!(found, expected, "{}", python.name);
                    break;
                }
                assert!(start.elapsed() < Duration::from_secs(10), "{}: {stack:?}", python.name);
            }
            talker.send("");
        }
        // 3.13 and 3.15 keep the code objects.
        println!("{}: 200 functions at {} addresses", python.name, addresses.len());
        reused += 200 - addresses.len();
    }
    assert!(reused > 100 || pythons.is_empty(), "{reused} addresses came again");
}

/// Returns the function and the line of each frame, or None if the thread changed them meanwhile.
fn frames(reader: &mut StackReader, state: u64) -> Option<Vec<(String, Option<u32>)>> {
    match reader.read(state) {
        Err(error) if error.is_torn() => None,
        stack => Some(stack.unwrap().frames.iter().map(|frame| (frame.function.to_string(), frame.line)).collect()),
    }
}

/// Reads until what was read is as expected. Fails after 10 s.
fn wait_for<Found: Debug>(python: &str, mut read: impl FnMut() -> (bool, Found)) {
    let start = Instant::now();
    while let (false, found) = read() {
        assert!(start.elapsed() < Duration::from_secs(10), "{python}: {found:?}");
        sleep(Duration::from_millis(1));
    }
}
