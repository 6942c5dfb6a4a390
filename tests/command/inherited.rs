//! The state that the command inherits from its parent: ignored and blocked signals, and another namespace's /proc.

use crate::harness::{Sandbox, finish, signal, stderr, wait_for_load};
use rustix::process::Signal;
use std::time::Duration;

#[test]
fn the_end_of_a_child_is_detected_if_sigchld_was_ignored() {
    let sandbox = Sandbox::new();
    let python = sandbox.executable("python", "#!/bin/sh\nexit 3\n");
    let lab =
        sandbox.command_under(&["env", "--ignore-signal=CHLD"], &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let output = finish(lab, Duration::from_secs(60));
    assert!(stderr(&output).contains("it exited with 3"), "{output:?}");
    sandbox.assert_no_process_left("a run with SIGCHLD ignored");
}

#[test]
fn a_program_starts_with_default_signal_handling() {
    let sandbox = Sandbox::new();
    let body = "echo $(sed -n 's/^Sig\\(Blk\\|Ign\\):.//p' /proc/self/status) >&2; exit 3";
    let python = sandbox.executable("python", &format!("#!/bin/sh\n{body}\n"));
    let wrapper = ["env", "--ignore-signal=CHLD,HUP,INT,QUIT,USR1,PIPE,TSTP", "--block-signal=TERM,USR2"];
    let lab = sandbox.command_under(&wrapper, &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let stderr = stderr(&finish(lab, Duration::from_secs(60)));
    let masks = stderr.split_once("stderr: ").and_then(|(_, masks)| masks.split_once(';')).expect(&stderr).0;
    for mask in masks.split(' ') {
        // Signals 32 and 33 belong to libc, which lets no program change them.
        let mask = u64::from_str_radix(mask, 16).expect(&stderr);
        assert_eq!(mask & !(0b11 << 31), 0, "{stderr}");
    }
}

/// Sends `sent` to a load of 1.5 s, started by `wrapper`. Returns whether the load ran for its full duration.
fn load_completes(wrapper: &[&str], sent: Signal) -> serde_json::Value {
    let sandbox = Sandbox::new();
    let load =
        sandbox.command_under(wrapper, &["load", "--load", "1%", "--for", "1500ms", "--json", "-"]).spawn().unwrap();
    wait_for_load(load.id());
    signal(load.id(), sent);
    let output = finish(load, Duration::from_secs(30));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    document["results"][0]["completed"].clone()
}

#[test]
fn signals_ignored_at_start_stay_ignored() {
    // nohup(1) relies on this.
    assert_eq!(load_completes(&["env", "--ignore-signal=HUP"], Signal::HUP), true);
    // A shell without job control starts `busy load &` with SIGINT ignored.
    assert_eq!(load_completes(&["env", "--ignore-signal=INT"], Signal::INT), true);
    assert_eq!(load_completes(&["env"], Signal::HUP), false);
}

#[test]
fn signals_blocked_at_start_are_unblocked() {
    assert_eq!(load_completes(&["env", "--block-signal=INT"], Signal::INT), false);
}

#[test]
fn a_proc_of_another_pid_namespace_is_refused_before_any_program_starts() {
    let sandbox = Sandbox::new();
    let unshare = ["unshare", "--pid", "--fork", "--kill-child"];
    if !sandbox.command_under(&unshare, &["list"]).output().unwrap().status.success() {
        eprintln!("skipped: unshare --pid is not permitted");
        return;
    }
    let python = sandbox.executable("python", "#!/bin/sh\ntouch $HOME/started\n");
    let lab = sandbox.command_under(&unshare, &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let output = finish(lab, Duration::from_secs(60));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("another PID namespace"), "{output:?}");
    assert!(!sandbox.path("started").exists());
    // With its own /proc mounted, the run proceeds to the interpreter.
    let lab = sandbox
        .command_under(&[&unshare[..], &["--mount-proc"]].concat(), &["run", "ctypes", "-p", &python])
        .spawn()
        .unwrap();
    assert!(stderr(&finish(lab, Duration::from_secs(60))).contains("asked for its version"));
    assert!(sandbox.path("started").exists());
}
