//! Whatever ends the command, and whenever: no process is left, and no result file is damaged.

use crate::harness::Bench;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !there() {
        assert!(Instant::now() < give_up, "{what} did not come");
        sleep(Duration::from_millis(10));
    }
}

/// True while an interpreter of this bench runs `script`.
fn runs(bench: &Bench, script: &str) -> bool {
    let command = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bench.processes().iter().map(command).any(|command| command.contains(script) && !command.contains("__shim"))
}

/// A run with its lab, guard and interpreter.
fn started(bench: &Bench) -> Child {
    let child = bench.spawn(&["run", "ctypes", "-d", "30"]);
    wait_for("the interpreter", || runs(bench, "slide13_ctypes.py"));
    child
}

#[test]
fn killing_the_command_at_any_moment_leaves_nothing() {
    let bench = Bench::new();
    let file = bench.path("result.json");
    fs::write(&file, "earlier").unwrap();
    // Moments spread over start-up, the wait for a quiet machine, and the experiment.
    for moment in (0..12u64).map(|step| step * step * 33) {
        let mut child = bench.spawn(&["run", "ctypes", "-d", "1", "--json", file.to_str().unwrap()]);
        sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        bench.assert_nobody_left(&format!("kill -9 after {moment} ms"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "earlier");
    }
    let cache = bench.path(".cache");
    let half: Vec<_> = bench.files().into_iter().filter(|path| *path != file && !path.starts_with(&cache)).collect();
    assert!(half.is_empty(), "left behind: {half:?}");
}

#[test]
fn killing_lab_and_guard_together_leaves_nothing() {
    let bench = Bench::new();
    let mut lab = started(&bench);
    // All at once, as pkill does; the interpreter's own turn comes from the kernel.
    let busy = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.ends_with("busy"));
    let (lab_and_guard, others): (Vec<_>, Vec<_>) = bench.processes().into_iter().partition(busy);
    assert!(lab_and_guard.len() == 2 && !others.is_empty(), "{lab_and_guard:?} {others:?}");
    lab_and_guard.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    lab.wait().unwrap();
    bench.assert_nobody_left("kill -9 of lab and guard");
}

#[test]
fn a_killed_guard_is_a_failure_that_leaves_nothing() {
    let bench = Bench::new();
    let lab = started(&bench);
    let guard = bench.processes().into_iter().find(|pid| {
        *pid != lab.id() && fs::read(format!("/proc/{pid}/cmdline")).unwrap().windows(7).any(|word| word == b"__guard")
    });
    signal(guard.expect("the guard"), Signal::KILL);
    // Its first case is lost; the rest of the run would take minutes.
    wait_for("the next case", || runs(&bench, "slide13_ctypes.py\0two"));
    signal(lab.id(), Signal::INT);
    let output = lab.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("guard process was killed") || output.status.code() == Some(130), "{said}");
    bench.assert_nobody_left("kill -9 of the guard");
}

#[test]
fn ctrl_c_stops_the_run_and_keeps_what_is_done() {
    let bench = Bench::new();
    let file = bench.path("result.json");
    fs::write(&file, "earlier").unwrap();
    let interrupted = |duration: &str, script: &str| {
        let child = bench.spawn(&["run", "ctypes", "extension", "-d", duration, "--json", file.to_str().unwrap()]);
        wait_for(script, || runs(&bench, script));
        let start = Instant::now();
        signal(child.id(), Signal::INT);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
        bench.assert_nobody_left("Ctrl-C");
        fs::read_to_string(&file).unwrap()
    };
    assert_eq!(interrupted("30", "slide13_ctypes.py"), "earlier", "nothing was done that could replace it");
    let document: serde_json::Value = serde_json::from_str(&interrupted("1", "slide15_extension.py")).unwrap();
    let names: Vec<_> = document["results"].as_array().unwrap().iter().map(|result| &result["experiment"]).collect();
    assert_eq!(names, ["ctypes"]);

    let document: serde_json::Value =
        serde_json::from_str(&interrupted("1", "slide13_ctypes.py\0two-internal")).unwrap();
    let result = &document["results"][0];
    assert_eq!(result["cases"].as_array().unwrap().len(), 1, "the row that was done is kept");
    assert_eq!(result["missing"]["two-internal"], "interrupted");
    assert_eq!(result["missing"]["internal+external"], "interrupted");
}

#[test]
fn what_a_program_starts_ends_with_it() {
    let bench = Bench::new();
    // Two that would stay: one in a session of its own, one that ignores what it can.
    let python = bench.false_interpreter("setsid sleep 1000 & (trap '' TERM INT HUP; sleep 1000) & sleep 0.3; exit 3");
    let output = bench.run(&["run", "ctypes", "-d", "1", "-p", &python]);
    assert_eq!(output.status.code(), Some(1));
    bench.assert_nobody_left("a program that leaves children");
}
