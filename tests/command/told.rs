//! Experiments whose scripts tell what they found: what becomes of one that misbehaves, and of runs that are resumed.

use crate::cell::Cell;
use crate::harness::{Bench, command_line, finish, json, real_python, signal, stderr, stdout, wait_for};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_script_that_misbehaves_is_a_failed_experiment_and_the_lab_goes_on() {
    for (body, words) in [
        ("head -c 1000000000 /dev/zero", "wrote more than"),
        ("kill -SEGV $$", "killed by"),
        ("echo hello", "expected a line of JSON with its metrics, found \"hello\""),
        ("echo '{\"metrics\": 3}'", "expected a line of JSON with its metrics"),
        ("echo '{\"metrics\": {}}'; echo '{\"metrics\": {}}'", "found a second"),
        ("echo '{\"metrics\": {}}'; exit 3", "exited with 3"),
        ("while :; do sleep 1000 & done", "more than 64 processes"),
    ] {
        let bench = Bench::new();
        let real = real_python();
        let python =
            bench.false_interpreter(&format!("case \"$*\" in *slide05_pool*) {body};; *) exec {real} \"$@\";; esac"));
        let output = bench.run(&["run", "pool", "ctypes", "-d", "1", "-p", &python, "--json", "-"]);
        assert_eq!(output.status.code(), Some(1), "{body}: {}", stderr(&output));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let [pool, ctypes] = &document["results"].as_array().unwrap()[..] else { panic!("{document:#}") };
        assert_eq!((pool["experiment"].as_str(), pool["status"].as_str()), (Some("pool"), Some("failed")), "{body}");
        assert!(pool["reason"].as_str().unwrap().contains(words), "{body}: {}", pool["reason"]);
        assert_eq!(ctypes["status"], "ok", "{body}: {}", ctypes["reason"]);
        bench.assert_nobody_left(body);
    }
}

#[test]
fn what_a_script_says_it_cannot_do_is_a_skip_with_its_reason() {
    let bench = Bench::new();
    let python = bench.false_interpreter("echo '{\"skipped\": \"no such thing here\"}'");
    let output = bench.run(&["run", "pool", "-p", &python, "--json", "-"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["results"][0]["status"], "skipped");
    assert_eq!(document["results"][0]["reason"], "no such thing here");
}

#[test]
fn without_a_network_what_needs_a_package_is_skipped_and_the_rest_is_measured() {
    let Some(cell) = Cell::new() else { return println!("not tested: namespaces are not allowed here") };
    let bench = Bench::new();
    let wrapper = cell.enter();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let output = bench.under(&wrapper, &["run", "csp", "pool", "-d", "1", "--json", "-"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [csp, pool] = &document["results"].as_array().unwrap()[..] else { panic!("{document:#}") };
    assert_eq!(csp["status"], "skipped", "{csp:#}");
    assert!(csp["reason"].as_str().unwrap().contains("pycsp==0.9.2 could not be installed"), "{csp:#}");
    assert_eq!(pool["status"], "ok", "{pool:#}");
    cell.assert_empty();
}

#[test]
fn ctrl_c_ends_a_script_with_processes_of_its_own_and_keeps_what_is_done() {
    let bench = Bench::new();
    let file = bench.path("result.json");
    let lab = bench.spawn(&["run", "pool", "late-worker", "-d", "1", "--json", file.to_str().unwrap()]);
    let workers = || {
        let runs = |pid: &u32| command_line(*pid).iter().any(|word| word.contains("slide06"));
        bench.processes().iter().filter(|pid| runs(pid)).count()
    };
    wait_for("the pool's workers", || workers() > 2);
    let start = Instant::now();
    signal(lab.id(), Signal::INT);
    let output = finish(lab, Duration::from_secs(30));
    println!("ended {:?} after Ctrl-C", start.elapsed());
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    bench.assert_nobody_left("Ctrl-C");
    let results = &json(&file)["results"];
    assert_eq!((results[0]["experiment"].as_str(), results[0]["status"].as_str()), (Some("pool"), Some("ok")));
}

#[test]
fn a_resumed_run_takes_over_what_was_measured_and_measures_the_rest() {
    let bench = Bench::new();
    let results = |arguments: &[&str]| {
        let output = bench.run(&[&["run", "--json", "-"], arguments].concat());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        document["results"].as_array().unwrap().clone()
    };
    let earlier = results(&["pool", "-d", "1"]);
    let resumed = results(&["pool", "ctypes", "-d", "1", "--resume"]);
    assert_eq!(resumed[0], earlier[0], "taken over as it was");
    assert_eq!((resumed.len(), resumed[1]["experiment"].as_str()), (2, Some("ctypes")));
    let complete = bench.run(&["run", "pool", "ctypes", "-d", "1", "--resume"]);
    assert!(stdout(&complete).contains("Kept as"), "{}", stderr(&complete));
    assert!(!stderr(&complete).contains("not kept"), "{}", stderr(&complete));
    // Another duration is another measurement.
    let other = results(&["pool", "-d", "2", "--resume"]);
    assert_eq!((other[0]["seconds"].as_u64(), earlier[0]["seconds"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn what_cannot_be_resumed_is_told() {
    let bench = Bench::new();
    let said = |argument: &str| {
        let output = bench.run(&["run", "pool", "-d", "1", argument]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
        stderr(&output)
    };
    assert!(said("--resume").contains("no earlier run is kept"));
    let file = bench.path("earlier.json");
    assert!(said(&format!("--resume={}", file.display())).contains("can't read"));
    fs::write(&file, "{\"schema\": 1}").unwrap();
    assert!(said(&format!("--resume={}", file.display())).contains("is not a file of results"));
}
