//! `busy load`: the load that it achieves, and how it ends.

use crate::harness::{Sandbox, json, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

#[test]
fn the_achieved_load_is_reported() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("load.json");
    let output =
        sandbox.run(&["load", "--cpu", "2", "--load", "20%", "--for", "500ms", "--json", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("requested 20.000 %") && stdout(&output).contains("thread 1: "));
    let result = &json(&file)["results"][0];
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
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("achieved"), "{output:?}");
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
        ["load", "--for=10"],
    ] {
        let output = sandbox.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("expected") || stderr(&output).contains("1..=4096"), "{}", stderr(&output));
    }
}
