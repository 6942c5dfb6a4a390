//! Runs that are killed, stopped or interrupted: no process is left, and no result file is damaged.

use crate::harness::{Sandbox, command_line, finish, signal, some_at_a_time, stderr, wait_for};
use rustix::process::Signal;
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Returns whether a process of `sandbox`, other than one in a hidden role, has `text` in its command line.
fn runs(sandbox: &Sandbox, text: &str) -> bool {
    let commands = sandbox.processes().into_iter().map(|pid| command_line(pid).join(" "));
    commands.into_iter().any(|command| command.contains(text) && !command.contains(" __"))
}

/// Starts a run, and waits until the lab, the supervisor and an interpreter are running.
fn spawn_run(sandbox: &Sandbox) -> Child {
    let child = sandbox.spawn(&["run", "ctypes", "-d", "30"]);
    wait_for("the start of the interpreter", || runs(sandbox, "slide13_ctypes.py"));
    child
}

#[test]
fn killing_lab_and_supervisor_at_once_leaves_no_process() {
    let sandbox = Sandbox::new();
    // The kernel ends only the program itself, by its parent-death signal. The program's child, in a session of its
    // own, would outlive it.
    let python = sandbox.executable("python", "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n");
    let mut lab = sandbox.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the start of the program and of its child", || {
        runs(&sandbox, "sleep 1000") && runs(&sandbox, "sleep 1001")
    });
    // Kills them at once, as `pkill -9 busy` does.
    let has_busy_in_name =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("busy"));
    let victims: Vec<_> = sandbox.processes().into_iter().filter(has_busy_in_name).collect();
    assert!(victims.len() == 2 && victims.contains(&lab.id()), "{victims:?}");
    victims.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    lab.wait().unwrap();
    sandbox.assert_no_process_left("kill -9 of lab and supervisor");
}

#[test]
fn what_is_stopped_blocks_no_other_process() {
    let tests: [fn(); 3] = [
        a_stopped_supervisor_does_not_block_the_lab,
        killing_the_lab_of_a_stopped_supervisor_leaves_no_process,
        the_time_out_applies_while_the_lab_is_stopped,
    ];
    some_at_a_time(&tests, |test| test());
}

fn a_stopped_supervisor_does_not_block_the_lab() {
    let sandbox = Sandbox::new();
    let python = sandbox.executable("python", "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n");
    let lab = sandbox.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the start of the program", || runs(&sandbox, "sleep 1001"));
    sandbox.processes_in_role("__supervisor").into_iter().for_each(|pid| signal(pid, Signal::STOP));
    let output = finish(lab, Duration::from_secs(90));
    assert!(stderr(&output).contains("supervisor process did not answer"), "{output:?}");
    sandbox.assert_no_process_left("SIGSTOP of the supervisor");
}

fn killing_the_lab_of_a_stopped_supervisor_leaves_no_process() {
    let sandbox = Sandbox::new();
    let python = sandbox.executable("python", "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n");
    let mut lab = sandbox.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the start of the program", || runs(&sandbox, "sleep 1001"));
    sandbox.processes_in_role("__supervisor").into_iter().for_each(|pid| signal(pid, Signal::STOP));
    lab.kill().unwrap();
    lab.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    while Instant::now() < deadline && !sandbox.processes().is_empty() {
        sleep(Duration::from_millis(100));
    }
    sandbox.assert_no_process_left("SIGSTOP of the supervisor and kill -9 of the lab");
}

fn the_time_out_applies_while_the_lab_is_stopped() {
    let sandbox = Sandbox::new();
    // Writes more than the pipe to the lab holds, then sleeps.
    let body = "while [ ! -e $HOME/go ]; do sleep 0.05; done; seq 60000; sleep 1000";
    let python = sandbox.executable("python", &format!("#!/bin/sh\n{body}\n"));
    let lab = sandbox.spawn(&["run", "ctypes", "-p", &python]);
    wait_for("the start of the program", || runs(&sandbox, "sleep 0.05"));
    signal(lab.id(), Signal::STOP);
    fs::write(sandbox.path("go"), "").unwrap();
    wait_for("the start of the program's sleep", || runs(&sandbox, "sleep 1000"));
    wait_for("the end of the program", || !runs(&sandbox, "sleep 1000"));
    // Longer than the lab waits for the last event of a supervisor.
    sleep(Duration::from_secs(30));
    signal(lab.id(), Signal::CONT);
    let output = finish(lab, Duration::from_secs(10));
    assert!(stderr(&output).contains("did not end within 10 s"), "{output:?}");
    sandbox.assert_no_process_left("SIGSTOP of the lab");
}

#[test]
fn a_killed_supervisor_is_reported_and_leaves_no_process() {
    let sandbox = Sandbox::new();
    let lab = spawn_run(&sandbox);
    signal(sandbox.processes_in_role("__supervisor")[0], Signal::KILL);
    // The first case is lost. The remaining cases would take minutes, so the run is interrupted.
    wait_for("the start of the next case", || runs(&sandbox, "slide13_ctypes.py two"));
    signal(lab.id(), Signal::INT);
    let output = lab.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("supervisor process was killed") || output.status.code() == Some(130), "{stdout}");
    sandbox.assert_no_process_left("kill -9 of the supervisor");
}

#[test]
fn ctrl_c_ends_the_run_and_keeps_finished_cases() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("result.json");
    fs::write(&file, "earlier").unwrap();
    let interrupt = |duration: &str, script: &str| {
        let child = sandbox.spawn(&["run", "ctypes", "extension", "-d", duration, "--json", file.to_str().unwrap()]);
        wait_for(script, || runs(&sandbox, script));
        let start = Instant::now();
        signal(child.id(), Signal::INT);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "ended {:?} after Ctrl-C", start.elapsed());
        sandbox.assert_no_process_left("Ctrl-C");
        fs::read_to_string(&file).unwrap()
    };
    assert_eq!(interrupt("30", "slide13_ctypes.py"), "earlier", "no case was finished, so the earlier file must stay");
    let document: serde_json::Value = serde_json::from_str(&interrupt("1", "slide15_extension.py")).unwrap();
    let names: Vec<_> = document["results"].as_array().unwrap().iter().map(|result| &result["experiment"]).collect();
    assert_eq!(names, ["ctypes"]);

    let document: serde_json::Value = serde_json::from_str(&interrupt("1", "slide13_ctypes.py two-internal")).unwrap();
    let result = &document["results"][0];
    assert_eq!(result["cases"].as_array().unwrap().len(), 1, "the finished case is kept");
    assert_eq!(result["missing"]["two-internal"], "interrupted");
    assert_eq!(result["missing"]["internal+external"], "interrupted");
}

#[test]
fn the_processes_that_a_program_starts_end_with_it() {
    let sandbox = Sandbox::new();
    // Two processes would outlive the program: one has a session of its own, the other ignores three signals.
    let python = sandbox.fake_interpreter("setsid sleep 1000 & (trap '' TERM INT HUP; sleep 1000) & sleep 0.3; exit 3");
    let output = sandbox.run(&["run", "ctypes", "-d", "1", "-p", &python]);
    assert_eq!(output.status.code(), Some(1));
    sandbox.assert_no_process_left("a program that starts other processes");
}
