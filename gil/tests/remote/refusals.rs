//! Processes without a GIL that can be read.

use crate::pythons::{Python, Talker, alone, expect_to_hold, named};
use busy_gil::remote::{RemoteError, RemoteGil};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process};

const WAIT: &str = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()";
const NOBODY: u32 = 65534;

#[test]
fn a_process_without_python_is_refused() {
    let _alone = alone();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let found = RemoteGil::attach(child.id());
    child.kill().unwrap();
    // It soon becomes a zombie, until it is waited for.
    let start = Instant::now();
    let ended = |found: &Result<RemoteGil, RemoteError>| matches!(found, Err(RemoteError::Ended { .. }));
    while !ended(&RemoteGil::attach(child.id())) {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", RemoteGil::attach(child.id()));
    }
    child.wait().unwrap();
    assert!(matches!(found, Err(RemoteError::NotPython { .. })), "{found:?}");
    for pid in [child.id(), 0, u32::MAX] {
        let found = RemoteGil::attach(pid);
        assert!(matches!(found, Err(RemoteError::NoProcess { .. })), "{found:?}");
    }
    // Kernel threads have no memory.
    let found = RemoteGil::attach(2);
    assert!(found.is_err(), "{found:?}");
}

#[test]
fn the_calling_process_without_python_is_refused() {
    let _alone = alone();
    let found = RemoteGil::attach(process::id());
    assert!(matches!(found, Err(RemoteError::NotPython { .. })), "{found:?}");
}

#[test]
fn pypy_is_named() {
    let _alone = alone();
    let Some(python) = named("PyPy 3.11") else { return };
    let found = RemoteGil::attach(Talker::script(&python, WAIT, &[]).pid());
    assert!(matches!(found, Err(RemoteError::PyPy { .. })), "{found:?}");
    println!("{}", found.unwrap_err());
}

#[test]
fn a_free_threaded_build_has_no_gil_until_it_is_enabled() {
    let _alone = alone();
    let Some(python) = named("CPython 3.13t") else { return };
    let found = RemoteGil::attach(Talker::script(&python, WAIT, &[]).pid());
    assert!(matches!(found, Err(RemoteError::NoGil { .. })), "{found:?}");
    println!("{}", found.unwrap_err());

    let script = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush()\nwhile True: pass";
    let mut with = Command::new(&python.path);
    let mut talker = Talker::spawn(with.args(["-X", "gil=1", "-c", script]));
    assert_eq!(talker.line(), "ready");
    let mut gil = RemoteGil::attach(talker.pid()).unwrap();
    expect_to_hold(&mut gil, talker.pid());
}

#[test]
fn the_missing_right_is_named() {
    let _alone = alone();
    if !is_root() {
        return eprintln!("skipped: this needs root, to start a process of another user");
    }
    let talker = Talker::script(&system_python(), WAIT, &[]);
    let mut test = Command::new(env::current_exe().unwrap());
    test.args(["--exact", "--ignored", "--nocapture", "refusals::as_nobody"])
        .env("BUSY_GIL_PID", talker.pid().to_string());
    let output = test.uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).output();
    match output {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
        }
        Err(error) => eprintln!("skipped: another user can't run this test: {error}"),
    }
}

/// Runs as another user, started by the test above. That user can't read root's process, but can read its own child,
/// even without /proc/PID/map_files and without capabilities.
#[test]
#[ignore = "run by the_missing_right_is_named"]
fn as_nobody() {
    let Ok(pid) = env::var("BUSY_GIL_PID") else { return };
    let found = RemoteGil::attach(pid.parse().unwrap());
    let Err(RemoteError::Rights { reason, .. }) = &found else { panic!("{found:?}") };
    assert!(reason.contains("user 0") && reason.contains("CAP_SYS_PTRACE"), "{reason}");
    println!("{}", found.unwrap_err());
    let talker = Talker::script(&system_python(), WAIT, &[]);
    let mut gil = RemoteGil::attach(talker.pid()).unwrap();
    assert!(!gil.sample().unwrap().holder.is_held());
    assert_eq!(gil.states().unwrap().len(), 1);

    // Only root can open a removed program. Another file may have its name in /proc, even a very similar one.
    let copy = env::temp_dir().join(format!("busy-gil-python-{}", process::id()));
    fs::copy("/usr/bin/python3", &copy).unwrap();
    let talker = Talker::script(&Python { path: copy.clone(), name: "a copy".to_owned() }, WAIT, &[]);
    fs::remove_file(&copy).unwrap();
    let found = RemoteGil::attach(talker.pid());
    assert!(matches!(found, Err(RemoteError::FileChanged { .. })), "{found:?}");
    let mut other = fs::read("/usr/bin/python3").unwrap();
    // This byte is padding in the ELF header.
    other[9] = 1;
    let namesake = env::temp_dir().join(format!("busy-gil-python-{} (deleted)", process::id()));
    fs::write(&namesake, other).unwrap();
    let found = RemoteGil::attach(talker.pid());
    fs::remove_file(&namesake).unwrap();
    assert!(matches!(found, Err(RemoteError::FileChanged { .. })), "{found:?}");
    println!("{}", found.unwrap_err());
}

#[test]
fn threads_in_another_pid_namespace_have_the_ids_of_this_one() {
    let _alone = alone();
    let script = "import os, sys; sys.stdout.write('%d\\n' % os.getpid()); sys.stdout.flush()\nwhile True: pass";
    let mut unshare = Command::new("unshare");
    let mut talker =
        Talker::spawn(unshare.args(["--pid", "--fork", "--kill-child", "--"]).arg("python3").args(["-c", script]));
    if talker.line() != "1" {
        return eprintln!("skipped: a PID namespace can't be created");
    }
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", talker.pid())).unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    let mut gil = RemoteGil::attach(pid).unwrap();
    expect_to_hold(&mut gil, pid);
}

fn system_python() -> Python {
    Python { path: Path::new("/usr/bin/python3").to_owned(), name: "/usr/bin/python3".to_owned() }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
