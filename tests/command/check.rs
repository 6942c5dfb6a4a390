//! `busy check`: its verdicts on known calls, its exit codes, and statements that raise, crash or exceed their bounds.

use crate::harness::{Sandbox, finish, json, signal, some_at_a_time, stderr, stdout, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

/// Runs `busy check` with `arguments`. Returns the results in its JSON, and its output.
fn check_all(arguments: &[&str]) -> (Vec<Value>, Output) {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&[&["check", "--json", "-"], arguments].concat());
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stderr(&output)));
    sandbox.assert_no_process_left(&format!("{arguments:?}"));
    (document["results"].as_array().unwrap().clone(), output)
}

/// Runs `busy check`, which must have one result. Returns it, and the exit code. On a loaded machine, the self-test may
/// take too long or be inconclusive: then it is run again.
fn check(arguments: &[&str]) -> (Value, i32) {
    let once = |_| {
        let (rows, output) = check_all(arguments);
        let [row] = &rows[..] else { panic!("{rows:?}") };
        (row.clone(), output.status.code().unwrap())
    };
    let got_past_the_self_test =
        |(row, _): &(Value, i32)| !row["reason"].as_str().unwrap_or_default().contains("self-test");
    (0..4).map(once).find(got_past_the_self_test).unwrap_or_else(|| once(4))
}

/// Runs `busy check` as it is run by default: it waits for a quiet machine, and repeats what was disturbed.
fn check_patiently(arguments: &[&str]) -> (Value, i32) {
    check(&[&["--patience=5s"], arguments].concat())
}

#[test]
fn known_calls_get_their_known_verdicts() {
    for (verdict, setup, statement) in [
        ("releases", "import hashlib; data = b'x' * 50000000", "hashlib.sha256(data)"),
        ("releases", "import zlib; data = b'x' * 5000000", "zlib.compress(data)"),
        ("releases", "import time", "time.sleep(0.01)"),
        ("holds", "import json; data = list(range(100000))", "json.dumps(data)"),
        ("holds", "import random; data = [random.random() for _ in range(100000)]", "sorted(data)"),
        ("holds", "import re", "re.match('(a+)+$', 'a' * 20 + 'b')"),
        ("yields", "", "for i in range(300000): pass"),
    ] {
        let (row, code) = check_patiently(&["-s", setup, statement]);
        // On a loaded machine the verdict may be inconclusive, but never another one.
        let found = row["verdict"].as_str().unwrap_or_else(|| panic!("{statement}: {row:#}"));
        assert!([verdict, "inconclusive"].contains(&found), "{statement}: {row:#}");
        assert_eq!(code, if found == verdict { 0 } else { 3 }, "{statement}");
        eprintln!("{statement}: {found}, {}", row["longest_stall_s"]);
        if found == "inconclusive" {
            assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{row:#}");
            continue;
        }
        assert!(row["calls"].as_u64().unwrap() > 2, "{row:#}");
        let figures = ["held_share", "longest_hold_s", "longest_stall_s"].map(|key| row[key].as_f64().unwrap());
        assert!(figures.iter().all(|figure| *figure >= 0.0) && figures[0] <= 1.0, "{row:#}");
        assert_eq!(figures[0] > 0.9, verdict != "releases", "{row:#}");
    }
}

/// The lab's libbusy and the module's share one meter.
#[test]
fn a_statement_that_itself_watches_gets_its_verdict() {
    let module = std::path::Path::new(env!("CARGO_BIN_EXE_busy")).with_file_name("python");
    if !module.is_dir() {
        return eprintln!("skipped: the Python module was not built");
    }
    let setup = format!("import sys; sys.path.insert(0, {:?}); import busy", module.to_str().unwrap());
    for (verdict, call) in [("holds", "with_lock"), ("releases", "without_lock")] {
        let statement = format!("with busy.watch(): busy.{call}(0.02)");
        let (row, _) = check_patiently(&["-s", &setup, &statement]);
        let found = row["verdict"].as_str().unwrap_or_else(|| panic!("{statement}: {row:#}"));
        let is_disturbed = found == "inconclusive" && row["reason"].as_str().is_some_and(|it| it.contains("processes"));
        assert!(found == verdict || is_disturbed, "{statement}: {row:#}");
    }
}

#[test]
fn short_calls_are_repeated_where_that_keeps_the_verdict() {
    for (verdict, setup, statement, reason) in [
        ("releases", "import zlib; data = bytes(100000)", "zlib.crc32(data)", ""),
        ("releases", "import zlib; data = bytes(100000)", "x = zlib.crc32(data) + 1", ""),
        ("holds", "data = list(range(3000, 0, -1))", "sorted(data)", ""),
        ("holds", "class Name: data = list(range(3000, 0, -1))", "sorted(Name.data, reverse=True)", ""),
        // In a loop of Python code, each turn could drop the GIL.
        ("inconclusive", "data = list(range(3000, 0, -1))", "x = sorted(data)", "only if it is a single native call"),
        ("inconclusive", "data = list(range(3000, 0, -1))", "sorted(data + [])", "names or constants, as in f(data)"),
        (
            "inconclusive",
            "data = list(range(300))",
            "sorted(data, key=lambda x: x)",
            "only if it is a single native call",
        ),
        ("inconclusive", "f = lambda: sum(range(1000))", "f()", "only if it is a single native call"),
    ] {
        let checked = || {
            let (row, _) = check_patiently(&["-s", setup, statement]);
            let found = row["verdict"].as_str().unwrap_or_else(|| panic!("{statement}: {row:#}"));
            let found_reason = row["reason"].as_str().unwrap_or("");
            let is_loaded = found_reason.contains("other processes");
            assert!((found == verdict && found_reason.contains(reason)) || is_loaded, "{statement}: {row:#}");
            assert!(row["calls"].as_u64().unwrap() > 100, "{row:#}");
            row["longest_hold_s"].as_f64().filter(|_| !is_loaded)
        };
        // The hold of one call, not of the loop, which takes 2 ms. One of thousands of calls may lose its core that long.
        let holds: Vec<_> = (0..3).map_while(|_| checked().filter(|hold| *hold >= 0.001)).collect();
        assert!(holds.len() < 3, "{statement}: {holds:?}");
    }
}

#[test]
fn the_exit_code_depends_on_the_expectation() {
    let sleep = ["-s", "import time", "time.sleep(0.02)"];
    for (options, code) in [
        (&["--expect", "releases"][..], 0),
        (&["--expect", "holds"], 1),
        (&["--expect", "releases", "--max-stall", "1s"], 0),
        (&["--expect", "holds", "--expect", "releases", "--max-stall", "1"], 0),
        (&["--expect", "holds", "--expect", "yields"], 1),
    ] {
        let (row, found) = check_patiently(&[&sleep, options].concat());
        if row["verdict"] != "inconclusive" {
            assert_eq!((row["verdict"].as_str(), &row["expected"][0]), (Some("releases"), &options[1].into()));
            assert_eq!(found, code, "{options:?}: {row:#}");
        }
    }
    let (row, code) = check_patiently(&["for i in range(3000000): pass", "--max-stall", "1us"]);
    assert!(row["verdict"] == "inconclusive" && code == 3 || code == 1, "{row:#}");
    let (row, code) = check_patiently(&["pass", "--expect", "holds"]);
    assert_eq!((row["verdict"].as_str(), code), (Some("inconclusive"), 3), "{row:#}");
    assert!(row["reason"].as_str().unwrap().contains("give the call more work"), "{row:#}");
    assert_eq!((&row["held_share"], &row["missing"]["held_share"]), (&Value::Null, &row["reason"]));
}

#[test]
fn repeated_statements_and_setups_are_joined_as_lines() {
    // As python -m timeit does.
    let setups = ["-s", "import time", "-s", "def f(x):", "-s", "    time.sleep(x)"];
    let (row, _) = check(&[&setups[..], &["x = 0.002", "if x:", "    f(x)"]].concat());
    assert_eq!(row["setup"], "import time\ndef f(x):\n    time.sleep(x)");
    assert_eq!(row["statement"], "x = 0.002\nif x:\n    f(x)");
    assert_eq!(row["status"], "ok", "{row:#}");
    let (row, _) = check(&["-s", "import time; é = 'ß'", "assert é == 'ß'; time.sleep(0.002)"]);
    assert_eq!((row["status"].as_str(), row["kind"].as_str()), (Some("ok"), Some("check")), "{row:#}");
}

#[test]
fn a_module_in_the_working_folder_is_imported() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("mine.py"), "from time import sleep\n").unwrap();
    let mut command = sandbox.command(&["check", "--json", "-", "-s", "import mine", "mine.sleep(0.002)"]);
    let output = command.current_dir(sandbox.home.path()).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["results"][0]["status"], "ok", "{document:#}");
}

#[test]
fn an_import_error_in_the_setup_is_a_skipped_row() {
    let (row, code) = check(&["-s", "import no_such_module", "no_such_module.f()", "--expect", "releases"]);
    assert_eq!((row["status"].as_str(), row["verdict"].as_str(), code), (Some("skipped"), None, 3), "{row:#}");
    assert!(row["reason"].as_str().unwrap().contains("no_such_module"), "{row:#}");
}

#[test]
fn a_statement_that_raises_crashes_or_exceeds_a_bound_is_a_failed_row() {
    let statements = [
        ("1 / 0", "the statement raised ZeroDivisionError"),
        ("undefined", "the statement raised NameError"),
        ("def", "SyntaxError"),
        ("raise SystemExit(0)", "the statement raised SystemExit: 0"),
        ("raise KeyboardInterrupt", "the statement raised KeyboardInterrupt"),
        ("import os; os._exit(0)", "it exited with 0, during the first call of the statement"),
        ("input()", "the statement raised EOFError"),
        ("import sys; sys.stdin.read(); 1 / 0", "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", "killed by"),
        ("import ctypes; ctypes.string_at(0)", "killed by"),
        ("while True: print('x' * 1000)", "wrote more than"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "wrote more than"),
        ("import os\nwhile True: os.fork()", "more than 64 processes"),
        (
            "import faulthandler, os, signal; faulthandler.enable(); os.kill(os.getpid(), 11)",
            "stderr: Fatal Python error",
        ),
        ("import sys; sys.stdout.close(); raise ValueError('late')", "the statement raised ValueError: late"),
        ("print('{\"metrics\": {\"verdict\": \"releases\"}}'); 1 / 0", "the statement raised ZeroDivisionError"),
    ];
    // Apart from the others, beside which they might not come as far within that time.
    let slow = [
        ("while True: pass", "did not end within 10 s and was killed, during the first call of the statement"),
        // The first call ends, and the second one does not.
        (
            "import time; again = time.sleep(1000 if 'again' in globals() else 0.1)",
            "within 10 s and was killed, after the first call of the statement, which took ",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "did not end within 10 s"),
    ];
    let fails = |(statement, reason): &(&str, &str)| {
        let timeout = if reason.contains("within 10 s") { "10 s" } else { "60s" };
        let (row, code) = check(&[statement, "--timeout", timeout]);
        let given = row["reason"].as_str().unwrap();
        assert!(given.contains(reason), "{statement}: {given}");
        assert_eq!((row["status"].as_str(), row["verdict"].as_str(), code), (Some("failed"), None, 1), "{row:#}");
        if reason.contains("after the first call") {
            assert!(given.contains("calls the statement 3 to 12 times"), "{given}");
        }
    };
    some_at_a_time(&slow, fails);
    // The self-tests would disturb each other.
    statements.iter().for_each(fails);
    for (setup, reason) in [
        ("raise ValueError('in vain')", "the setup raised ValueError: in vain (setup:1)"),
        ("raise SystemExit(3)", "the setup raised SystemExit: 3 (setup:1)"),
        ("import os; os._exit(3)", "it exited with 3, during the setup"),
        ("while True: pass", "it did not end within 10 s and was killed, during the setup. Raise --timeout"),
    ] {
        let (row, code) = check(&["-s", setup, "pass", "--timeout", "10"]);
        assert_eq!((row["status"].as_str(), code), (Some("failed"), 1));
        assert!(row["reason"].as_str().unwrap().starts_with(reason), "{setup}: {row:#}");
    }
}

#[test]
fn an_exception_is_reported_with_the_last_frames_of_its_traceback() {
    let setup = "def f(x):\n    return g(x)\ndef g(x):\n    return 1 / x";
    let (row, _) = check(&["-s", setup, "f(0)"]);
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.ends_with("division by zero (statement:1, setup:2 in f, setup:4 in g)"), "{reason}");
    let (row, _) = check(&["import json; json.loads('[')"]);
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains("(... json/") && reason.contains("in raw_decode"), "{reason}");
}

#[test]
fn escape_sequences_are_shown_and_not_obeyed() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["check", "pass; '\u{1b}[31m'; raise ValueError('\x1b]0;title\x07')"]);
    let text = stdout(&output);
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
    assert!(text.contains("'\\x1b[31m'") && text.contains("ValueError: \\x1b]0;title\\x07"), "{text}");
    // Also where the command quotes an interpreter.
    let python = sandbox.executable("python", "#!/bin/sh\nprintf '\\033[31mbroken\\n' >&2; exit 3\n");
    let output = sandbox.run(&["check", "pass", "-p", &python]);
    assert!(stderr(&output).contains("stderr: \\x1b[31mbroken"), "{:?}", stderr(&output));
}

#[test]
fn a_generator_or_coroutine_is_inconclusive_as_its_call_runs_nothing() {
    for (setup, statement, kind) in
        [("def f(): yield", "f()", "a generator"), ("import asyncio", "asyncio.sleep(1)", "a coroutine")]
    {
        let (row, code) = check_patiently(&["-s", setup, statement]);
        assert_eq!((row["verdict"].as_str(), code), (Some("inconclusive"), 3), "{row:#}");
        let reason = row["reason"].as_str().unwrap();
        assert!(reason.contains(kind) || reason.contains("other processes"), "{row:#}");
    }
}

#[test]
fn a_line_that_the_statement_prints_is_not_taken_as_its_metrics() {
    let (row, _) = check(&["import time; time.sleep(0.002); print('{\"metrics\": {\"verdict\": \"holds\"}}')"]);
    assert_eq!(row["status"], "ok", "{row:#}");
    assert_ne!(row["verdict"], "holds", "{row:#}");
}

#[test]
fn every_interpreter_found_has_a_verdict_or_a_reason() {
    let (rows, output) = check_all(&["--patience=5s", "-p", "all", "-s", "import time", "time.sleep(0.01)"]);
    assert!(!rows.is_empty());
    for row in &rows {
        let interpreter = &row["interpreter"];
        let (cpython, gil) = (interpreter["implementation"] == "cpython", interpreter["gil"] == true);
        let verdict = row["verdict"].as_str();
        eprintln!("{} {}: {verdict:?}, {}", interpreter["implementation"], interpreter["version"], row["reason"]);
        assert_eq!(row["status"], "ok", "{row:#}");
        match verdict.unwrap() {
            "releases" => assert!(cpython && gil, "{row:#}"),
            "no-gil" => assert!(cpython && !gil && row["longest_stall_s"].is_number(), "{row:#}"),
            "inconclusive" => assert!(row["reason"].is_string(), "{row:#}"),
            other => panic!("{other}: {row:#}"),
        }
    }
    let any_inconclusive = rows.iter().any(|row| row["verdict"] == "inconclusive");
    assert_eq!(output.status.code(), Some(if any_inconclusive { 3 } else { 0 }));
}

#[test]
fn the_table_shows_the_verdict_and_warns_that_releases_is_not_thread_safe() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("check.json");
    let output = sandbox.run(&["check", "import time; time.sleep(0.002)", "--json", file.to_str().unwrap()]);
    let text = stdout(&output).replace('\n', " ");
    for part in ["check import time; time.sleep(0.002)", "longest stall", "it does not make the call thread-safe"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let row = json(&file)["results"][0].clone();
    assert!(text.contains(row["verdict"].as_str().unwrap()), "{text}");
}

#[test]
fn wrong_usage_fails_with_exit_code_2() {
    for (arguments, message) in [
        (&["check"][..], "STMT"),
        (&["check", "pass", "--expect", "free"], "releases, partly, yields, holds, no-gil, inconclusive"),
        (&["check", "pass", "--max-stall", "5 parsec"], "a unit (ns, us, ms, s, min, h)"),
        (&["check", "pass", "--max-stall", "0s"], "longer than zero"),
        (&["check", "pass", "--timeout=-1s"], "--timeout"),
        (&["check", "pass", "-p", "9.99"], "no Python 9.99"),
        (&["check", "pass", "-p", "/no/such/python"], "/no/such/python"),
        (&["check", "pass", "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
    ] {
        let sandbox = Sandbox::new();
        let output = sandbox.run(arguments);
        let stderr = stderr(&output);
        assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
        sandbox.assert_no_process_left(&format!("{arguments:?}"));
    }
}

#[test]
fn a_signal_ends_a_check_and_its_processes_with_its_exit_code() {
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        assert_ends_by(sent, code);
    }
}

fn assert_ends_by(sent: Signal, code: i32) {
    let sandbox = Sandbox::new();
    let started = sandbox.path("started");
    let statement = format!("import time; open({:?}, 'w').close(); time.sleep(1000)", started.to_str().unwrap());
    let lab = sandbox.spawn(&["check", &statement]);
    wait_for("the start of the statement", || started.exists());
    let start = Instant::now();
    signal(lab.id(), sent);
    let output = finish(lab, Duration::from_secs(30));
    println!("ended {:?} after {sent:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(code), "{sent:?}: {}", stderr(&output));
    sandbox.assert_no_process_left("a signal");
}
