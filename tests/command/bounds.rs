//! Whatever ends the command, and whenever: no process is left, and no result file is damaged.

use crate::harness::{Bench, command_line, finish, signal, stderr, wait_for};
use rustix::process::Signal;
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// True while an interpreter of this bench runs `script`.
fn runs(bench: &Bench, script: &str) -> bool {
    let commands = bench.processes().into_iter().map(|pid| command_line(pid).join(" "));
    commands.into_iter().any(|command| command.contains(script) && !command.contains(" __"))
}

/// A run with its lab, guard and interpreter.
fn started(bench: &Bench) -> Child {
    let child = bench.spawn(&["run", "ctypes", "-d", "30"]);
    wait_for("the interpreter", || runs(bench, "slide13_ctypes.py"));
    child
}

#[test]
fn killing_lab_and_guard_together_leaves_nothing() {
    let bench = Bench::new();
    // A child of the program, in a session of its own, would outlive it: only the kernel ends the program itself.
    let python = bench.executable("python", "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n");
    let mut lab = bench.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the program's child", || runs(&bench, "sleep 1000") && runs(&bench, "sleep 1001"));
    // All at once, as `pkill -9 busy` does.
    let is_called_busy =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("busy"));
    let called: Vec<_> = bench.processes().into_iter().filter(is_called_busy).collect();
    assert!(called.len() == 2 && called.contains(&lab.id()), "{called:?}");
    called.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    lab.wait().unwrap();
    bench.assert_nobody_left("kill -9 of lab and guard");
}

#[test]
fn a_stopped_guard_holds_nobody_up() {
    let bench = Bench::new();
    let python = bench.executable("python", "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n");
    let lab = bench.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the program", || runs(&bench, "sleep 1001"));
    bench.role("__supervisor").into_iter().for_each(|pid| signal(pid, Signal::STOP));
    let output = finish(lab, Duration::from_secs(90));
    assert!(stderr(&output).contains("supervisor process did not answer"), "{output:?}");
    bench.assert_nobody_left("SIGSTOP of the guard");
}

#[test]
fn killing_the_lab_of_a_stopped_guard_leaves_nothing() {
    let bench = Bench::new();
    let python = bench.executable("python", "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n");
    let mut lab = bench.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the program", || runs(&bench, "sleep 1001"));
    bench.role("__supervisor").into_iter().for_each(|pid| signal(pid, Signal::STOP));
    lab.kill().unwrap();
    lab.wait().unwrap();
    let give_up = Instant::now() + Duration::from_secs(90);
    while Instant::now() < give_up && !bench.processes().is_empty() {
        sleep(Duration::from_millis(100));
    }
    bench.assert_nobody_left("SIGSTOP of the guard and kill -9 of the lab");
}

#[test]
fn bounds_hold_while_the_lab_is_stopped() {
    let bench = Bench::new();
    // More than the pipe to the lab takes, then nothing for ever.
    let body = "while [ ! -e $HOME/go ]; do sleep 0.05; done; seq 60000; sleep 1000";
    let python = bench.executable("python", &format!("#!/bin/sh\n{body}\n"));
    let lab = bench.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the program", || runs(&bench, "sleep 0.05"));
    signal(lab.id(), Signal::STOP);
    fs::write(bench.path("go"), "").unwrap();
    wait_for("the program's sleep", || runs(&bench, "sleep 1000"));
    wait_for("its end", || !runs(&bench, "sleep 1000"));
    // Longer than the lab waits for a guard's last word.
    sleep(Duration::from_secs(30));
    signal(lab.id(), Signal::CONT);
    let output = finish(lab, Duration::from_secs(10));
    assert!(stderr(&output).contains("did not end within 10 s"), "{output:?}");
    bench.assert_nobody_left("a stopped lab");
}

#[test]
fn a_killed_guard_is_a_failure_that_leaves_nothing() {
    let bench = Bench::new();
    let lab = started(&bench);
    signal(bench.role("__supervisor")[0], Signal::KILL);
    // Its first case is lost; the rest of the run would take minutes.
    wait_for("the next case", || runs(&bench, "slide13_ctypes.py two"));
    signal(lab.id(), Signal::INT);
    let output = lab.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("supervisor process was killed") || output.status.code() == Some(130), "{said}");
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
        serde_json::from_str(&interrupted("1", "slide13_ctypes.py two-internal")).unwrap();
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
