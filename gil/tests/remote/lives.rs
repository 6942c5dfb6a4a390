//! Processes that fork, end, replace their program, or load and unload Python.

use crate::pythons::{Python, Talker, alone, expect_to_hold, pythons, with_gil};
use busy_gil::remote::{Holder, Rates, Recorder, RemoteError, RemoteGil};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Prints `ready`, then executes each line.
const SHELL: &str = "
import sys
sys.stdout.write('ready\\n'); sys.stdout.flush()
while True:
    line = sys.stdin.readline()
    if not line: break
    exec(line)
    sys.stdout.flush()
";

/// Samples until an error occurs, and returns the error.
fn error_of(gil: &mut RemoteGil) -> RemoteError {
    let start = Instant::now();
    loop {
        if let Err(error) = gil.verify().and_then(|()| gil.sample()) {
            return error;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "still there");
        sleep(Duration::from_millis(1));
    }
}

/// Compiles a C file beside this one, and returns the output. Without a compiler, prints that the test is skipped, and
/// returns `None`.
fn compile(source: &str, arguments: &[&str]) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("remote");
    std::fs::create_dir_all(&folder).unwrap();
    let output = folder.join(source).with_extension("out");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/remote").join(source);
    match Command::new("cc").arg("-o").args([&output, &source]).args(arguments).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            eprintln!("skipped: cc: {error}");
            return None;
        }
    }
    Some(output)
}

#[test]
fn the_end_of_a_process_is_reported() {
    let _alone = alone();
    for python in with_gil() {
        let mut talker = Talker::script(&python, SHELL, &[]);
        let mut gil = RemoteGil::attach(talker.pid()).unwrap();
        let recorder = Recorder::start(RemoteGil::attach(talker.pid()).unwrap(), Rates::default()).unwrap();
        assert_eq!(gil.sample().unwrap().holder, Holder::None, "{}", python.name);
        talker.child.kill().unwrap();
        // The first time, the process is a zombie; the second time, it is gone.
        assert!(matches!(error_of(&mut gil), RemoteError::Ended { .. }));
        talker.child.wait().unwrap();
        assert!(matches!(error_of(&mut gil), RemoteError::Ended { .. }));
        let start = Instant::now();
        while recorder.window().ended.is_none() && start.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(1));
        }
        let ended = recorder.stop().ended;
        assert!(matches!(ended.as_deref(), Some(RemoteError::Ended { .. })), "{ended:?}");
    }
}

#[test]
fn a_replaced_program_is_reported_even_if_it_is_the_same() {
    let _alone = alone();
    for python in with_gil() {
        let mut talker = Talker::script(&python, SHELL, &[]);
        let mut gil = RemoteGil::attach(talker.pid()).unwrap();
        gil.sample().unwrap();
        talker.send("import os; os.execv(sys.executable, [sys.executable, '-c', 'print(\"again\"); input()'])");
        assert_eq!(talker.line(), "again", "{}", python.name);
        let error = error_of(&mut gil);
        assert!(matches!(error, RemoteError::Replaced { .. }), "{}: {error}", python.name);
        assert!(RemoteGil::attach(talker.pid()).unwrap().sample().is_ok());
    }
}

#[test]
fn the_holder_in_a_forked_child_is_its_own_thread() {
    let _alone = alone();
    for python in with_gil() {
        let mut talker = Talker::script(&python, SHELL, &[]);
        // If this test fails, SIGALRM ends the child.
        talker.send(r"exec('import os, signal\np = os.fork()\nif not p: signal.alarm(30)\nwhile not p: pass')");
        talker.send("print('child %d' % p)");
        let line = talker.line();
        let child: u32 = line.strip_prefix("child ").expect(&line).parse().unwrap();
        let mut gil = RemoteGil::attach(child).unwrap_or_else(|error| panic!("{}: {error}", python.name));
        expect_to_hold(&mut gil, child);
        talker.send("import signal; os.kill(p, signal.SIGKILL); os.waitpid(p, 0); print('killed')");
        assert_eq!(talker.line(), "killed");
    }
}

#[test]
fn threads_that_come_and_go_are_never_confused() {
    let _alone = alone();
    const CHURN: &str = "
import ctypes, sys, threading, time
sys.stdout.write('ready\\n'); sys.stdout.flush()
end = time.time() + 0.5
def spin():
    until = time.time() + 0.004
    while time.time() < until: pass
while time.time() < end:
    thread = threading.Thread(target=spin); thread.start(); thread.join()
sys.stdout.write('done\\n'); sys.stdout.flush()
sys.stdin.readline()
";
    for python in with_gil() {
        let mut talker = Talker::script(&python, CHURN, &[]);
        let recorder = Recorder::start(RemoteGil::attach(talker.pid()).unwrap(), Rates::default()).unwrap();
        assert_eq!(talker.line(), "done");
        let window = recorder.stop();
        assert!(window.ended.is_none(), "{}: {:?}", python.name, window.ended);
        // Each thread lives for about 4 ms, or longer if it gets no CPU.
        let longest = window.threads.iter().filter(|(tid, _)| **tid != talker.pid()).map(|(_, thread)| thread.held_ns);
        let (longest, count) = (longest.clone().max().unwrap(), longest.count());
        println!("{}: {count} threads, none of which held for more than {longest} ns", python.name);
        assert!(count >= 5 && longest < 250_000_000, "{}: {count} threads, {longest} ns", python.name);
    }
}

#[test]
fn foreign_threads_that_come_and_go_are_never_confused() {
    let _alone = alone();
    // Each creates a PyThreadState (PyGILState_Ensure) at the address of the one before. No other thread holds the GIL in
    // between.
    const FOREIGN: &str = "
import ctypes, sys, time
library = ctypes.CDLL(sys.argv[1])
@ctypes.CFUNCTYPE(None)
def spin():
    until = time.time() + 0.004
    while time.time() < until: pass
sys.stdout.write('ready\\n'); sys.stdout.flush()
library.run_in_threads(spin, 100)
sys.stdout.write('done\\n'); sys.stdout.flush()
sys.stdin.readline()
";
    let Some(library) = compile("foreign.c", &["-shared", "-fPIC", "-pthread"]) else { return };
    for python in with_gil() {
        let mut talker = Talker::script(&python, FOREIGN, &[&library]);
        let recorder = Recorder::start(RemoteGil::attach(talker.pid()).unwrap(), Rates::default()).unwrap();
        assert_eq!(talker.line(), "done");
        let window = recorder.stop();
        assert!(window.ended.is_none(), "{}: {:?}", python.name, window.ended);
        let others = window.threads.iter().filter(|(tid, _)| **tid != talker.pid());
        let held: Vec<u64> = others.map(|(_, thread)| thread.held_ns).filter(|held| *held > 0).collect();
        let longest = held.iter().max().copied().unwrap_or_default();
        println!("{}: {} threads, none of which held for more than {longest} ns", python.name, held.len());
        assert!(held.len() >= 10 && longest < 250_000_000, "{}: {held:?}", python.name);
    }
}

/// Returns libpython of `python` and its prefix, if it has a shared library.
fn shared_library(python: &Python) -> Option<(PathBuf, PathBuf)> {
    const QUESTION: &str = "
import os, sys
try:
    from sysconfig import get_config_var as var
except ImportError:
    from distutils.sysconfig import get_config_var as var
print(sys.prefix)
print(os.path.join(var('LIBDIR'), var('INSTSONAME') or ''))
";
    let answer = Command::new(&python.path).args(["-c", QUESTION]).output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    let (prefix, library) = answer.trim_end().split_once('\n')?;
    (library.contains(".so") && Path::new(library).is_file()).then(|| (library.into(), prefix.into()))
}

#[test]
fn an_embedded_python_is_found_from_its_initialisation_to_its_end() {
    let _alone = alone();
    let Some(program) = compile("embed.c", &["-ldl"]) else { return };
    for python in with_gil() {
        let Some((library, prefix)) = shared_library(&python) else {
            eprintln!("skipped: {} has no shared library", python.name);
            continue;
        };
        let mut talker = Talker::spawn(Command::new(&program).arg(&library).env("PYTHONHOME", &prefix));
        assert_eq!(talker.line(), "ready");
        let mut do_it = |line: &str| {
            talker.send(line);
            assert_eq!(talker.line(), "done", "{}: {line}", python.name);
            RemoteGil::attach(talker.pid())
        };
        let context =
            |what: &str, found: &Result<RemoteGil, RemoteError>| format!("{}, {what}: {found:?}", python.name);
        let found = do_it("load");
        assert!(matches!(found, Err(RemoteError::NotInitialised { .. })), "{}", context("loaded", &found));
        let found = do_it("initialize");
        // The main thread holds the GIL while the program waits for its next line.
        let mut gil = found.unwrap_or_else(|error| panic!("{}: {error}", python.name));
        assert_eq!(gil.sample().unwrap().holder, Holder::Thread(gil.pid()), "{}", python.name);
        assert_eq!(gil.file(), library.canonicalize().unwrap());
        do_it("x = 1").unwrap();
        let found = do_it("finalize");
        if python.name != "CPython 2.7" && python.name != "CPython 3.6" {
            assert!(matches!(found, Err(RemoteError::NotInitialised { .. })), "{}", context("finalized", &found));
            assert!(matches!(error_of(&mut gil), RemoteError::NotInitialised { .. }), "{}", python.name);
        } else {
            // There is no current thread, so there is no holder.
            assert_eq!(gil.sample().unwrap().holder, Holder::None, "{}", python.name);
        }
        let found = do_it("unload");
        if matches!(found, Err(RemoteError::NotPython { .. })) {
            let error = error_of(&mut gil);
            assert!(matches!(error, RemoteError::Unloaded { .. }), "{}: {error}", python.name);
        } else {
            println!("{}: dlclose(3) did not unload it", python.name);
        }
    }
}

#[test]
fn interpreters_with_a_gil_of_their_own_are_named_and_not_counted() {
    let _alone = alone();
    const OWN: &str = "
import sys, threading, time
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
shared = 'while True: pass'
run = getattr(interpreters, 'exec', None) or interpreters.run_string
thread = threading.Thread(target=run, args=(other, shared), daemon=True)
thread.start()
time.sleep(0.1)
sys.stdout.write('ready\\n'); sys.stdout.flush()
sys.stdin.readline()
import os; os._exit(0)
";
    let versions = ["CPython 3.12", "CPython 3.13", "CPython 3.14", "CPython 3.15"];
    for python in pythons().into_iter().filter(|python| versions.contains(&&*python.name)) {
        let talker = Talker::script(&python, OWN, &[]);
        let gil = RemoteGil::attach(talker.pid()).unwrap();
        assert_eq!(gil.other_gils(), [1], "{}", python.name);
        let recorder = Recorder::start(gil, Rates::default()).unwrap();
        sleep(Duration::from_millis(200));
        let window = recorder.stop();
        assert_eq!(window.other_gils, [1]);
        let held = window.held_share().unwrap();
        assert!(held < 0.1, "{}: {held}", python.name);
        println!("{}: the main interpreter's held share is {held:.4} beside another that spins", python.name);
    }
}
