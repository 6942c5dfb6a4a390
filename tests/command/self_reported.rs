//! Experiments whose scripts report their own metrics: scripts that fail, skip or are interrupted, and resumed runs.

use crate::harness::{
    Sandbox, command_line, finish, json, real_python, signal, some_at_a_time, stderr, stdout, wait_for,
};
use crate::namespaces::Namespaces;
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_script_that_fails_is_a_failed_row_and_the_run_continues() {
    let bodies = [
        ("head -c 1000000000 /dev/zero", "wrote more than"),
        ("kill -SEGV $$", "killed by"),
        ("echo hello", "expected a line of JSON with its metrics, found \"hello\""),
        ("echo '{\"metrics\": 3}'", "expected a line of JSON with its metrics"),
        ("echo '{\"metrics\": {}}'; echo '{\"metrics\": {}}'", "found a second"),
        ("echo '{\"metrics\": {}}'; exit 3", "exited with 3"),
        ("while :; do sleep 1000 & done", "more than 64 processes"),
    ];
    some_at_a_time(&bodies, |(body, expected)| {
        let sandbox = Sandbox::new();
        let real = real_python();
        let python =
            sandbox.fake_interpreter(&format!("case \"$*\" in *slide05_pool*) {body};; *) exec {real} \"$@\";; esac"));
        let output = sandbox.run(&["run", "pool", "ctypes", "-d", "1", "-p", &python, "--json", "-"]);
        assert_eq!(output.status.code(), Some(1), "{body}: {}", stderr(&output));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let [pool, ctypes] = &document["results"].as_array().unwrap()[..] else { panic!("{document:#}") };
        assert_eq!((pool["experiment"].as_str(), pool["status"].as_str()), (Some("pool"), Some("failed")), "{body}");
        assert!(pool["reason"].as_str().unwrap().contains(expected), "{body}: {}", pool["reason"]);
        assert_eq!(ctypes["status"], "ok", "{body}: {}", ctypes["reason"]);
        sandbox.assert_no_process_left(body);
    });
}

#[test]
fn a_script_that_reports_a_skip_is_a_skipped_row_with_its_reason() {
    let sandbox = Sandbox::new();
    let python = sandbox.fake_interpreter("echo '{\"skipped\": \"no such thing here\"}'");
    let output = sandbox.run(&["run", "pool", "-p", &python, "--json", "-"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["results"][0]["status"], "skipped");
    assert_eq!(document["results"][0]["reason"], "no such thing here");
}

#[test]
fn without_a_network_only_experiments_that_need_a_package_are_skipped() {
    let Some(namespaces) = Namespaces::new() else { return println!("skipped: namespaces are not permitted") };
    let sandbox = Sandbox::new();
    let wrapper = namespaces.enter();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let output = sandbox.command_under(&wrapper, &["run", "csp", "pool", "-d", "1", "--json", "-"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [csp, pool] = &document["results"].as_array().unwrap()[..] else { panic!("{document:#}") };
    assert_eq!(csp["status"], "skipped", "{csp:#}");
    assert!(csp["reason"].as_str().unwrap().contains("pycsp==0.9.2 could not be installed"), "{csp:#}");
    assert_eq!(pool["status"], "ok", "{pool:#}");
    namespaces.assert_empty();
}

#[test]
fn ctrl_c_ends_the_processes_of_a_script_and_keeps_finished_experiments() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("result.json");
    let lab = sandbox.spawn(&["run", "pool", "late-worker", "-d", "1", "--json", file.to_str().unwrap()]);
    let workers = || {
        let runs = |pid: &u32| command_line(*pid).iter().any(|word| word.contains("slide06"));
        sandbox.processes().iter().filter(|pid| runs(pid)).count()
    };
    wait_for("the start of the pool's workers", || workers() > 2);
    let start = Instant::now();
    signal(lab.id(), Signal::INT);
    let output = finish(lab, Duration::from_secs(30));
    println!("ended {:?} after Ctrl-C", start.elapsed());
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    sandbox.assert_no_process_left("Ctrl-C");
    let results = &json(&file)["results"];
    assert_eq!((results[0]["experiment"].as_str(), results[0]["status"].as_str()), (Some("pool"), Some("ok")));
}

#[test]
fn a_resumed_run_copies_finished_experiments_and_measures_the_others() {
    let sandbox = Sandbox::new();
    let results = |arguments: &[&str]| {
        let output = sandbox.run(&[&["run", "--json", "-"], arguments].concat());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        document["results"].as_array().unwrap().clone()
    };
    let earlier = results(&["pool", "-d", "1"]);
    let resumed = results(&["pool", "ctypes", "-d", "1", "--resume"]);
    assert_eq!(resumed[0], earlier[0], "an earlier result is copied unchanged, with its own date and host");
    assert!(resumed[1]["started_at"].as_str() > earlier[0]["started_at"].as_str(), "{:#}", resumed[1]);
    assert_eq!((resumed.len(), resumed[1]["experiment"].as_str()), (2, Some("ctypes")));
    let complete = sandbox.run(&["run", "pool", "ctypes", "-d", "1", "--resume"]);
    assert!(stdout(&complete).contains("Kept as"), "{}", stderr(&complete));
    assert!(!stderr(&complete).contains("not kept"), "{}", stderr(&complete));
    let date = earlier[0]["started_at"].as_str().unwrap();
    // The row of ctypes may have been inconclusive, and then it is measured again.
    assert!(
        stderr(&complete).contains("of 2 results taken over from") && stderr(&complete).contains(date),
        "{complete:?}"
    );
    // A result of another duration is not copied.
    let other = results(&["pool", "-d", "2", "--resume"]);
    assert_eq!((other[0]["seconds"].as_u64(), earlier[0]["seconds"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn resuming_without_usable_results_fails_with_exit_code_2() {
    let sandbox = Sandbox::new();
    let resume = |argument: &str| {
        let output = sandbox.run(&["run", "pool", "-d", "1", argument]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
        stderr(&output)
    };
    assert!(resume("--resume").contains("no earlier run is kept"));
    let file = sandbox.path("earlier.json");
    assert!(resume(&format!("--resume={}", file.display())).contains("can't read"));
    fs::write(&file, "{\"schema\": 1}").unwrap();
    assert!(resume(&format!("--resume={}", file.display())).contains("is not a file of results"));
    fs::write(&file, "{\"schema\": 2, \"started_at\": \"\", \"results\": []}").unwrap();
    assert!(resume(&format!("--resume={}", file.display())).contains("has schema 2"));
}

#[test]
fn a_missing_file_is_noticed_before_any_interpreter_is_started() {
    let sandbox = Sandbox::new();
    let started = sandbox.path("started");
    let python = sandbox.executable("python", &format!("#!/bin/sh\ntouch {}; exit 3\n", started.display()));
    let output = sandbox.run(&["run", "pool", "-p", &python, "--resume=/no/such/file"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("can't read /no/such/file"), "{}", stderr(&output));
    assert!(!started.exists());
}

#[test]
fn an_inconclusive_result_is_measured_again() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("earlier.json");
    let path = file.to_str().unwrap();
    sandbox.run(&["run", "pool", "-d", "1", "--json", path]);
    let resume = format!("--resume={path}");
    for (outcome, taken_over) in [("as-expected", true), ("unexpected", true), ("inconclusive", false)] {
        let mut document = json(&file);
        document["results"][0]["outcome"] = outcome.into();
        fs::write(&file, document.to_string()).unwrap();
        let output = sandbox.run(&["run", "pool", "-d", "1", &resume, "--json", "-"]);
        let resumed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let times = [&document, &resumed].map(|document| document["results"][0]["started_at"].clone());
        assert_eq!(times[0] == times[1], taken_over, "{outcome}: {}", stderr(&output));
        let expected = if taken_over { "1 of 1 results taken over" } else { "no result taken over" };
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
