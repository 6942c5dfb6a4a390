//! Programs that exceed their bounds or resist being ended: each is ended, leaves no process, and is reported with the
//! reason.

use crate::harness::{BUSY, Sandbox, finish, signal, stderr};
use busy_lab::process::{Event, How, Spec};
use rustix::process::{Signal, geteuid};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Returns the stderr of `busy run` on an "interpreter" that runs `body` instead of reporting its version.
fn stderr_of_run(sandbox: &Sandbox, body: &str) -> String {
    let python = sandbox.executable("python", &format!("#!/bin/sh\n{body}\n"));
    let output = finish(sandbox.spawn(&["run", "ctypes", "-p", &python]), Duration::from_secs(90));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    sandbox.assert_no_process_left(body);
    stderr(&output)
}

#[test]
fn one_byte_over_the_cap_on_output_is_detected() {
    let sandbox = Sandbox::new();
    // When the program ends, its last bytes are still in the pipe.
    for body in ["head -c 1048577 /dev/zero", "head -c 1048577 /dev/zero >&2"] {
        for _ in 0..5 {
            let stderr = stderr_of_run(&sandbox, body);
            assert!(stderr.contains("wrote more than 1048576 bytes"), "{body}: {stderr}");
        }
    }
    let stderr = stderr_of_run(&sandbox, "head -c 1048576 /dev/zero; exit 3");
    assert!(stderr.contains("it exited with 3"), "{stderr}");
}

#[test]
fn all_processes_of_a_fork_bomb_are_ended() {
    let sandbox = Sandbox::new();
    // These grow as a fork bomb does, but end by themselves, so that a failure does no harm: each process starts two
    // others, for ten generations. They run in one process group; in a group each, so that no single signal reaches
    // all of them; and in a session each, so that each has its own share of CPU time.
    for start_two in ["b & b &", "set -m; b & b &", "setsid $0 & setsid $0 &"] {
        let body = format!("b() {{ [ ${{N:=10}} = 0 ] && exec sleep 1000; export N=$((N-1)); {start_two} wait; }}; b");
        let stderr = stderr_of_run(&sandbox, &body);
        assert!(stderr.contains("more than 64 processes"), "{body}: {stderr}");
    }
}

#[test]
fn a_program_that_kills_or_stops_its_parent_is_ended() {
    let sandbox = Sandbox::new();
    let stderr = stderr_of_run(&sandbox, "setsid sleep 1000 & kill -KILL $PPID; sleep 1001");
    assert!(stderr.contains("its parent process"), "{stderr}");
    let stderr = stderr_of_run(&sandbox, "setsid sleep 1000 & kill -STOP $PPID; sleep 1001");
    assert!(stderr.contains("did not end within 10 s"), "{stderr}");
}

#[test]
fn a_process_that_cannot_be_killed_is_named_and_does_not_block_the_lab() {
    const NOBODY: u32 = 65534;
    if !geteuid().is_root() {
        eprintln!("skipped: only root can start a process that another user can't kill");
        return;
    }
    let sandbox = Sandbox::new();
    chown(sandbox.home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_root = sandbox.path("as-root");
    fs::copy("/usr/bin/setpriv", &as_root).unwrap();
    fs::set_permissions(&as_root, Permissions::from_mode(0o4755)).unwrap();
    let as_root = as_root.to_str().unwrap();
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let succeeds = |words: &[&str]| {
        Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !succeeds(&[&as_nobody[..], &[as_root, "--reuid=0", "true"]].concat())
        || !succeeds(&[&as_nobody[..], &[BUSY, "list"]].concat())
    {
        eprintln!(
            "skipped: setuid programs don't work in {}, or user 65534 may not run {BUSY}",
            sandbox.home.path().display()
        );
        return;
    }
    // The process that is left also keeps the pipes open.
    let python = sandbox.executable("python", &format!("#!/bin/sh\n{as_root} --reuid=0 sleep 200 &\nsleep 0.5\n"));
    let lab = sandbox.command_under(&as_nobody, &["run", "ctypes", "-p", &python]).spawn().unwrap();
    let output = finish(lab, Duration::from_secs(90));
    let left = sandbox.processes();
    left.iter().for_each(|pid| signal(*pid, Signal::KILL));
    let [sleeper] = left[..] else { panic!("expected one process to be left, found {left:?}: {output:?}") };
    assert!(stderr(&output).contains(&format!("can't be killed: sleep ({sleeper})")), "{output:?}");
    sandbox.assert_no_process_left("the kill of the remaining process");
}

#[test]
fn paths_arguments_and_variables_need_not_be_utf8() {
    let sandbox = Sandbox::new();
    let folder = sandbox.home.path().join(std::ffi::OsString::from_vec(b"f\xfflder".to_vec()));
    fs::create_dir(&folder).unwrap();
    let program = folder.join("program");
    fs::write(&program, "#!/bin/sh\nprintf %s \"$0$1$VALUE\" | od -An -tx1 | tr -d ' \\n'\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let mut spec = Spec::new([program.clone().into_os_string(), std::ffi::OsString::from_vec(vec![0xfe])], 10.0);
    spec.env.insert("VALUE".into(), std::ffi::OsString::from_vec(vec![0xfd]));

    // Starts the supervisor as the lab does.
    let mut supervisor = sandbox.command(&["__supervisor"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = supervisor.stdin.take().unwrap();
    writeln!(stdin, "{}", serde_json::to_string(&spec).unwrap()).unwrap();
    let output = finish(supervisor, Duration::from_secs(20));
    drop(stdin);
    let events: Vec<Event> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let expected: Vec<u8> = [program.into_os_string().into_vec(), vec![0xfe, 0xfd]].concat();
    let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(events.contains(&Event::Line(expected)), "{events:?}");
    assert!(matches!(events.last(), Some(Event::Ended(ended)) if ended.how == How::Exited(0)), "{events:?}");
}
