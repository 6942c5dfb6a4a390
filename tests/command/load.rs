//! `busy load`: the load that it achieves, and how it ends.

use crate::harness::{Sandbox, json, stderr, stdout, wait_for_load};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Output;

#[test]
fn the_achieved_load_is_reported() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("load.json");
    let output =
        sandbox.run(&["load", "--cpu", "2", "--load", "20%", "--for", "500ms", "--json", file.to_str().unwrap()]);
    assert!(stdout(&output).contains("requested 20.000 %") && stdout(&output).contains("thread 1: "));
    let document = json(&file);
    assert!(document["started_at"].as_str().is_some_and(|start| start.ends_with('Z')), "{document:#}");
    let result = &document["results"][0];
    assert!(result["host"]["kernel"].as_str().is_some_and(|kernel| kernel.starts_with("Linux ")), "{result:#}");
    assert!(result["host"]["others_percent"].is_number(), "{result:#}");
    assert_target_is_judged(&output, result);
    assert_eq!((result["kind"].as_str(), result["completed"].as_bool()), (Some("load"), Some(true)));
    let achieved = result["achieved_percent"].as_f64().unwrap();
    // It may be lower, if other processes use the CPUs, but never higher.
    assert!((1.0..21.0).contains(&achieved), "{result:#}");
    assert_eq!(result["threads"].as_array().unwrap().len(), 2);
}

#[test]
fn ctrl_c_ends_a_load_without_duration_which_still_reports() {
    let sandbox = Sandbox::new();
    let child = sandbox.spawn(&["load", "--load", "5%"]);
    wait_for_load(child.id());
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    assert!(stdout(&output).contains("achieved"), "{output:?}");
}

/// Checks that exit code, stderr and the reason in the JSON fit the load that was achieved.
fn assert_target_is_judged(output: &Output, result: &serde_json::Value) {
    let [requested, achieved] = ["requested_percent", "achieved_percent"].map(|key| result[key].as_f64().unwrap());
    let missed = (requested - achieved).abs() > 1.0;
    assert_eq!(output.status.code(), Some(i32::from(missed)), "{output:?}");
    assert_eq!(result["reason"].is_string(), missed, "{result:#}");
    assert_eq!(stderr(output).contains("missed its target"), missed, "{output:?}");
}

#[test]
fn a_load_that_misses_its_target_gives_the_reason() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("load.json");
    // Three threads on one core, of which each can have a third.
    let wrapper = ["taskset", "--cpu-list", "0"];
    let arguments = ["load", "--cpu", "3", "--load", "90%", "--for", "0.5", "--json", file.to_str().unwrap()];
    let output = sandbox.command_under(&wrapper, &arguments).output().unwrap();
    let result = &json(&file)["results"][0];
    assert_target_is_judged(&output, result);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("requested 90.000 %"), "{output:?}");
    for part in ["No core was free", "run delay", "may use 1 core only"] {
        assert!(result["reason"].as_str().unwrap().contains(part), "{result:#}");
    }
    assert!(result["threads"][0]["run_delay_s"].as_f64().unwrap() > 0.05, "{result:#}");
}

#[test]
fn sigterm_and_sighup_end_a_load_with_their_exit_codes() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let child = Sandbox::new().spawn(&["load", "--load", "5%"]);
        wait_for_load(child.id());
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stdout(&output).contains("achieved"), "{output:?}");
    }
}

#[test]
fn invalid_options_fail_with_exit_code_2() {
    let sandbox = Sandbox::new();
    for arguments in [
        ["load", "--load=101%"],
        ["load", "--load=lots"],
        ["load", "--cpu=0"],
        ["load", "--cpu=5000"],
        ["load", "--period=0s"],
        ["load", "--for=-1s"],
        ["load", "--for=10 parsec"],
    ] {
        let output = sandbox.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("expected") || stderr(&output).contains("1..=4096"), "{}", stderr(&output));
    }
}
