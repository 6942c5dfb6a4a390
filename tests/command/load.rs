//! `busy load`: what it achieves, and how it is ended.

use crate::harness::{Bench, json, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

#[test]
fn a_load_reports_what_it_achieved() {
    let bench = Bench::new();
    let file = bench.path("load.json");
    let output =
        bench.run(&["load", "--cpu", "2", "--load", "20%", "--for", "500ms", "--json", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("requested 20.000 %") && stdout(&output).contains("thread 1: "));
    let result = &json(&file)["results"][0];
    assert_eq!((result["kind"].as_str(), result["completed"].as_bool()), (Some("load"), Some(true)));
    let achieved = result["achieved_percent"].as_f64().unwrap();
    // Less only where other processes leave none; more never.
    assert!((1.0..21.0).contains(&achieved), "{result:#}");
    assert_eq!(result["threads"].as_array().unwrap().len(), 2);
}

#[test]
fn ctrl_c_ends_a_load_without_end_and_it_still_reports() {
    let bench = Bench::new();
    let child = bench.spawn(&["load", "--load", "5%"]);
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("achieved"), "{output:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    for arguments in [
        ["load", "--load=101%"],
        ["load", "--load=lots"],
        ["load", "--cpu=0"],
        ["load", "--cpu=5000"],
        ["load", "--period=0s"],
        ["load", "--for=-1s"],
        ["load", "--for=10"],
    ] {
        let output = bench.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("expected") || stderr(&output).contains("1..=4096"), "{}", stderr(&output));
    }
}
