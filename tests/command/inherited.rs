//! What the command inherits from whoever starts it: signals ignored or blocked, and another namespace's /proc.

use crate::harness::{Bench, finish, signal, stderr};
use rustix::process::Signal;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn the_end_of_children_is_seen_though_sigchld_was_ignored() {
    let bench = Bench::new();
    let python = bench.executable("python", "#!/bin/sh\nexit 3\n");
    let lab = bench.under(&["env", "--ignore-signal=CHLD"], &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let output = finish(lab, Duration::from_secs(60));
    assert!(stderr(&output).contains("it exited with 3"), "{output:?}");
    bench.assert_nobody_left("a run without SIGCHLD");
}

#[test]
fn a_program_starts_with_every_signal_as_it_is_by_default() {
    let bench = Bench::new();
    let body = "echo $(sed -n 's/^Sig\\(Blk\\|Ign\\):.//p' /proc/self/status) >&2; exit 3";
    let python = bench.executable("python", &format!("#!/bin/sh\n{body}\n"));
    let wrapper = ["env", "--ignore-signal=CHLD,HUP,INT,QUIT,USR1,PIPE,TSTP", "--block-signal=TERM,USR2"];
    let lab = bench.under(&wrapper, &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let said = stderr(&finish(lab, Duration::from_secs(60)));
    let masks = said.split_once("it said: ").and_then(|(_, masks)| masks.split_once(';')).expect(&said).0;
    for mask in masks.split(' ') {
        // 32 and 33 are libc's own: nobody can change them.
        let mask = u64::from_str_radix(mask, 16).expect(&said);
        assert_eq!(mask & !(0b11 << 31), 0, "{said}");
    }
}

/// What a load of 1.5 s says of itself when it gets `sent` meanwhile.
fn load_under(wrapper: &[&str], sent: Signal) -> serde_json::Value {
    let bench = Bench::new();
    let load = bench.under(wrapper, &["load", "--load", "1%", "--for", "1500ms", "--json", "-"]).spawn().unwrap();
    sleep(Duration::from_millis(500));
    signal(load.id(), sent);
    let output = finish(load, Duration::from_secs(30));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    document["results"][0]["completed"].clone()
}

#[test]
fn what_was_ignored_on_entry_stays_ignored_as_nohup_wants_it() {
    assert_eq!(load_under(&["env", "--ignore-signal=HUP"], Signal::HUP), true);
    // A shell without job control starts `busy load &` so.
    assert_eq!(load_under(&["env", "--ignore-signal=INT"], Signal::INT), true);
    assert_eq!(load_under(&["env"], Signal::HUP), false);
}

#[test]
fn what_was_blocked_on_entry_is_heeded() {
    assert_eq!(load_under(&["env", "--block-signal=INT"], Signal::INT), false);
}

#[test]
fn a_proc_of_another_namespace_is_refused_before_anything_is_started() {
    let bench = Bench::new();
    let unshare = ["unshare", "--pid", "--fork", "--kill-child"];
    if !bench.under(&unshare, &["list"]).output().unwrap().status.success() {
        eprintln!("skipped: unshare --pid is not allowed here");
        return;
    }
    let python = bench.executable("python", "#!/bin/sh\ntouch $HOME/started\n");
    let lab = bench.under(&unshare, &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let output = finish(lab, Duration::from_secs(60));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("another PID namespace"), "{output:?}");
    assert!(!bench.path("started").exists());
    // With one of its own all is well.
    let lab =
        bench.under(&[&unshare[..], &["--mount-proc"]].concat(), &["run", "ctypes", "-p", &python]).spawn().unwrap();
    assert!(stderr(&finish(lab, Duration::from_secs(60))).contains("asked for its version"));
    assert!(bench.path("started").exists());
}
