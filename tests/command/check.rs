//! `busy check`: known verdicts, expectations and their exit codes, and statements that misbehave.

use crate::harness::{Bench, finish, json, signal, stderr, stdout, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::process::Output;
use std::time::{Duration, Instant};

/// What `busy check` finds, as the rows of its JSON; the output beside them.
fn checked(arguments: &[&str]) -> (Vec<Value>, Output) {
    let bench = Bench::new();
    let output = bench.run(&[&["check", "--json", "-"], arguments].concat());
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stderr(&output)));
    bench.assert_nobody_left(&format!("{arguments:?}"));
    (document["results"].as_array().unwrap().clone(), output)
}

/// The only row, and the exit code.
fn row(arguments: &[&str]) -> (Value, i32) {
    let (rows, output) = checked(arguments);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    (row.clone(), output.status.code().unwrap())
}

#[test]
fn known_calls_come_out_as_what_they_are() {
    for (verdict, setup, statement) in [
        ("releases", "import hashlib; data = b'x' * 50000000", "hashlib.sha256(data)"),
        ("releases", "import zlib; data = b'x' * 5000000", "zlib.compress(data)"),
        ("releases", "import time", "time.sleep(0.01)"),
        ("holds", "import json; data = list(range(100000))", "json.dumps(data)"),
        ("holds", "import random; data = [random.random() for _ in range(100000)]", "sorted(data)"),
        ("holds", "import re", "re.match('(a+)+$', 'a' * 20 + 'b')"),
        ("yields", "", "for i in range(300000): pass"),
    ] {
        let (row, code) = row(&["-s", setup, statement]);
        // On a machine as loaded as this may be, nothing is no wrong answer; another one is.
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

#[test]
fn what_was_expected_decides_the_exit_code() {
    let asleep = ["-s", "import time", "time.sleep(0.02)"];
    for (more, code) in [
        (&["--expect", "releases"][..], 0),
        (&["--expect", "holds"], 1),
        (&["--expect", "releases", "--max-stall", "1s"], 0),
    ] {
        let (row, found) = row(&[&asleep, more].concat());
        if row["verdict"] != "inconclusive" {
            assert_eq!((row["verdict"].as_str(), row["expected"].as_str()), (Some("releases"), Some(more[1])));
            assert_eq!(found, code, "{more:?}: {row:#}");
        }
    }
    let (row, code) = row(&["for i in range(3000000): pass", "--max-stall", "1us"]);
    assert!(row["verdict"] == "inconclusive" && code == 3 || code == 1, "{row:#}");
    let (row, code) = self::row(&["pass", "--expect", "holds"]);
    assert_eq!((row["verdict"].as_str(), code), (Some("inconclusive"), 3), "{row:#}");
    assert!(row["reason"].as_str().unwrap().contains("give the call more work"), "{row:#}");
    assert_eq!((&row["held_share"], &row["missing"]["held_share"]), (&Value::Null, &row["reason"]));
}

#[test]
fn several_statements_and_setups_are_lines_as_timeit_takes_them() {
    let setups = ["-s", "import time", "-s", "def f(x):", "-s", "    time.sleep(x)"];
    let (row, _) = row(&[&setups[..], &["x = 0.002", "if x:", "    f(x)"]].concat());
    assert_eq!(row["setup"], "import time\ndef f(x):\n    time.sleep(x)");
    assert_eq!(row["statement"], "x = 0.002\nif x:\n    f(x)");
    assert_eq!(row["status"], "ok", "{row:#}");
    let (row, _) = self::row(&["-s", "import time; é = 'ß'", "assert é == 'ß'; time.sleep(0.002)"]);
    assert_eq!((row["status"].as_str(), row["kind"].as_str()), (Some("ok"), Some("check")), "{row:#}");
}

#[test]
fn a_setup_that_cannot_be_imported_is_a_skipped_row() {
    let (row, code) = row(&["-s", "import no_such_module", "no_such_module.f()", "--expect", "releases"]);
    assert_eq!((row["status"].as_str(), row["verdict"].as_str(), code), (Some("skipped"), None, 3), "{row:#}");
    assert!(row["reason"].as_str().unwrap().contains("no_such_module"), "{row:#}");
}

#[test]
fn a_statement_that_misbehaves_is_a_failed_row_with_the_reason() {
    for (statement, words) in [
        ("1 / 0", "the statement raised ZeroDivisionError"),
        ("undefined", "the statement raised NameError"),
        ("def", "SyntaxError"),
        ("raise SystemExit(0)", "the statement raised SystemExit: 0"),
        ("raise KeyboardInterrupt", "the statement raised KeyboardInterrupt"),
        ("import os; os._exit(0)", "expected a line of JSON with its metrics"),
        ("import os; os.kill(os.getpid(), 9)", "killed by"),
        ("import ctypes; ctypes.string_at(0)", "killed by"),
        ("while True: print('x' * 1000)", "wrote more than"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "wrote more than"),
        ("import os\nwhile True: os.fork()", "more than 64 processes"),
        ("x = []\nwhile True: x = [x]", "did not end within 3 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "did not end within 3 s"),
        ("import sys; sys.stdout.close(); raise ValueError('late')", "the statement raised ValueError: late"),
        ("print('{\"metrics\": {\"verdict\": \"releases\"}}'); 1 / 0", "the statement raised ZeroDivisionError"),
    ] {
        let (row, code) = row(&[statement, "--timeout", "3s"]);
        assert_eq!((row["status"].as_str(), row["verdict"].as_str(), code), (Some("failed"), None, 1), "{row:#}");
        assert!(row["reason"].as_str().unwrap().contains(words), "{statement}: {row:#}");
    }
    let (row, code) = row(&["-s", "raise ValueError('in vain')", "pass"]);
    assert_eq!((row["status"].as_str(), code), (Some("failed"), 1));
    assert_eq!(row["reason"], "the setup raised ValueError: in vain");
}

#[test]
fn what_calling_does_not_run_is_told() {
    for (setup, statement, kind) in
        [("def f(): yield", "f()", "a generator"), ("import asyncio", "asyncio.sleep(1)", "a coroutine")]
    {
        let (row, code) = row(&["-s", setup, statement]);
        assert_eq!((row["verdict"].as_str(), code), (Some("inconclusive"), 3), "{row:#}");
        let reason = row["reason"].as_str().unwrap();
        // In a loaded moment the self-test may have been the end already.
        assert!(reason.contains(kind) || reason.contains("other processes"), "{row:#}");
    }
}

#[test]
fn what_a_statement_prints_is_not_taken_for_the_answer() {
    let (row, _) = row(&["import time; time.sleep(0.002); print('{\"metrics\": {\"verdict\": \"holds\"}}')"]);
    assert_eq!(row["status"], "ok", "{row:#}");
    assert_ne!(row["verdict"], "holds", "{row:#}");
}

#[test]
fn every_interpreter_found_has_a_row_and_each_says_why_where_it_has_no_verdict() {
    let (rows, output) = checked(&["-p", "all", "-s", "import time", "time.sleep(0.01)"]);
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
    let open = rows.iter().any(|row| row["verdict"] == "inconclusive");
    assert_eq!(output.status.code(), Some(if open { 3 } else { 0 }));
}

#[test]
fn the_table_has_a_row_for_each_and_says_what_releases_does_not_mean() {
    let bench = Bench::new();
    let file = bench.path("check.json");
    let output = bench.run(&["check", "import time; time.sleep(0.002)", "--json", file.to_str().unwrap()]);
    let text = stdout(&output);
    for words in ["check import time; time.sleep(0.002)", "longest stall", "never means that the call is thread-safe"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let row = json(&file)["results"][0].clone();
    assert!(text.contains(row["verdict"].as_str().unwrap()), "{text}");
}

#[test]
fn wrong_usage_is_refused() {
    for (arguments, words) in [
        (&["check"][..], "STMT"),
        (&["check", "pass", "--expect", "free"], "releases, partly, yields, holds, no-gil, inconclusive"),
        (&["check", "pass", "--max-stall", "5"], "with its unit"),
        (&["check", "pass", "--max-stall", "0s"], "longer than zero"),
        (&["check", "pass", "--timeout=-1s"], "--timeout"),
        (&["check", "pass", "-p", "9.99"], "no Python 9.99"),
        (&["check", "pass", "-p", "/no/such/python"], "/no/such/python"),
        (&["check", "pass", "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
    ] {
        let bench = Bench::new();
        let output = bench.run(arguments);
        let said = stderr(&output);
        assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        bench.assert_nobody_left(&format!("{arguments:?}"));
    }
}

#[test]
fn ctrl_c_ends_a_check_and_what_it_runs() {
    let bench = Bench::new();
    let mark = bench.path("runs");
    let statement = format!("import time; open({:?}, 'w').close(); time.sleep(1000)", mark.to_str().unwrap());
    let lab = bench.spawn(&["check", &statement]);
    wait_for("the statement", || mark.exists());
    let start = Instant::now();
    signal(lab.id(), Signal::INT);
    let output = finish(lab, Duration::from_secs(30));
    println!("ended {:?} after Ctrl-C", start.elapsed());
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    bench.assert_nobody_left("Ctrl-C");
}
