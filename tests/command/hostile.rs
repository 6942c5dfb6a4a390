//! Programs that try their bounds: each ends, leaves nothing, and is told for what it was.

use crate::harness::{BUSY, Bench, finish, signal, stderr};
use busy_lab::process::{Event, How, Spec};
use rustix::process::{Signal, geteuid};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `busy run` says of a program that does `body` instead of saying which Python it is.
fn said_of(bench: &Bench, body: &str) -> String {
    let python = bench.executable("python", &format!("#!/bin/sh\n{body}\n"));
    let output = finish(bench.spawn(&["run", "ctypes", "-p", &python]), Duration::from_secs(90));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    bench.assert_nobody_left(body);
    stderr(&output)
}

#[test]
fn output_over_the_cap_by_a_hair_is_over_the_cap() {
    let bench = Bench::new();
    // The last bytes are still in the pipe when the program has gone.
    for body in ["head -c 1048577 /dev/zero", "head -c 1048577 /dev/zero >&2"] {
        for _ in 0..5 {
            let said = said_of(&bench, body);
            assert!(said.contains("wrote more than 1048576 bytes"), "{body}: {said}");
        }
    }
    let said = said_of(&bench, "head -c 1048576 /dev/zero; exit 3");
    assert!(said.contains("it exited with 3"), "{said}");
}

#[test]
fn a_program_that_forks_ever_more_is_ended_whole() {
    let bench = Bench::new();
    // As a fork bomb grows, but finite, so that a failure harms nobody: each process becomes two, ten times over. In
    // one process group; in groups of their own, which no one signal reaches; and in sessions of their own, which get
    // their own shares of the processor.
    for two in ["b & b &", "set -m; b & b &", "setsid $0 & setsid $0 &"] {
        let body = format!("b() {{ [ ${{N:=10}} = 0 ] && exec sleep 1000; export N=$((N-1)); {two} wait; }}; b");
        let said = said_of(&bench, &body);
        assert!(said.contains("more than 64 processes"), "{body}: {said}");
    }
}

#[test]
fn a_program_that_kills_or_stops_its_parent_is_ended() {
    let bench = Bench::new();
    let said = said_of(&bench, "setsid sleep 1000 & kill -KILL $PPID; sleep 1001");
    assert!(said.contains("its parent process"), "{said}");
    let said = said_of(&bench, "setsid sleep 1000 & kill -STOP $PPID; sleep 1001");
    assert!(said.contains("did not end within 10 s"), "{said}");
}

#[test]
fn a_process_that_cannot_be_killed_is_named_and_holds_nobody_up() {
    const NOBODY: u32 = 65534;
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make a process that another user can't kill");
        return;
    }
    let bench = Bench::new();
    chown(bench.home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_root = bench.path("as-root");
    fs::copy("/usr/bin/setpriv", &as_root).unwrap();
    fs::set_permissions(&as_root, Permissions::from_mode(0o4755)).unwrap();
    let as_root = as_root.to_str().unwrap();
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let may = |words: &[&str]| {
        Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !may(&[&as_nobody[..], &[as_root, "--reuid=0", "true"]].concat())
        || !may(&[&as_nobody[..], &[BUSY, "list"]].concat())
    {
        eprintln!(
            "skipped: setuid programs don't work in {}, or nobody may not run {BUSY}",
            bench.home.path().display()
        );
        return;
    }
    // Holds the pipes, too.
    let python = bench.executable("python", &format!("#!/bin/sh\n{as_root} --reuid=0 sleep 200 &\nsleep 0.5\n"));
    let lab = bench.under(&as_nobody, &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let output = finish(lab, Duration::from_secs(90));
    let left = bench.processes();
    left.iter().for_each(|pid| signal(*pid, Signal::KILL));
    let [sleeper] = left[..] else { panic!("expected one process to be left, found {left:?}: {output:?}") };
    assert!(stderr(&output).contains(&format!("can't be killed: sleep ({sleeper})")), "{output:?}");
    bench.assert_nobody_left("its own end");
}

#[test]
fn a_path_that_is_no_utf8_reaches_the_program_as_it_is() {
    let bench = Bench::new();
    let folder = bench.home.path().join(std::ffi::OsString::from_vec(b"f\xfflder".to_vec()));
    fs::create_dir(&folder).unwrap();
    let program = folder.join("program");
    fs::write(&program, "#!/bin/sh\nprintf %s \"$0$1$VALUE\" | od -An -tx1 | tr -d ' \\n'\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let mut spec = Spec::new([program.clone().into_os_string(), std::ffi::OsString::from_vec(vec![0xfe])], 10.0);
    spec.env.insert("VALUE".into(), std::ffi::OsString::from_vec(vec![0xfd]));

    // As the lab starts it.
    let mut guard = bench.command(&["__supervisor"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = guard.stdin.take().unwrap();
    writeln!(stdin, "{}", serde_json::to_string(&spec).unwrap()).unwrap();
    let output = finish(guard, Duration::from_secs(20));
    drop(stdin);
    let events: Vec<Event> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let expected: Vec<u8> = [program.into_os_string().into_vec(), vec![0xfe, 0xfd]].concat();
    let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(events.contains(&Event::Line(expected)), "{events:?}");
    assert!(matches!(events.last(), Some(Event::Ended(ended)) if ended.how == How::Exited(0)), "{events:?}");
}
