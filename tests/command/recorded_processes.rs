//! The processes of a recording: how each ends, and what a lack of file descriptors leaves of it.

use crate::harness::{Sandbox, command_line, finish, json, real_python, signal, stderr, wait_for};
use crate::record::{folders, metered, record};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_python_that_executes_itself_without_the_library_ends_there() {
    let sandbox = Sandbox::new();
    let text = "import os, sys, time\ntime.sleep(.05)\n\
                os.execve(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(1.5)'], {})";
    let (_, result) = record(&sandbox, &[&real_python(), "-c", text]);
    let [process] = metered(&result)[..] else { panic!("{result:#}") };
    assert_eq!(process["ended"], "executed", "{result:#}");
    let metered_s = process["metered_s"].as_f64().unwrap();
    assert!((0.05..1.0).contains(&metered_s), "{metered_s} s: the new program was counted as holding the GIL");
}

#[test]
fn more_processes_than_descriptors_are_recorded() {
    let sandbox = Sandbox::new();
    let (file, figures) = (sandbox.path("r.busy"), sandbox.path("r.json"));
    let text = "import subprocess, sys\n\
                code = 'import time; time.sleep(1)'\n\
                children = [subprocess.Popen([sys.executable, '-c', code]) for _ in range(12)]\n\
                sys.exit(sum(child.wait() for child in children))\n";
    let wrapper = ["sh", "-c", "ulimit -S -n 40; exec \"$0\" \"$@\""];
    let (file, figures_path) = (file.to_str().unwrap(), figures.to_str().unwrap());
    let options = ["record", "-o", file, "--json", figures_path, "--", &real_python(), "-c", text];
    let output = sandbox.command_under(&wrapper, &options).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let result = &json(&figures)["results"][0];
    let processes = metered(result);
    let is_whole = |process: &&&serde_json::Value| {
        process["ended"] == "exited" && process["metered_s"].as_f64().is_some_and(|metered_s| metered_s > 0.9)
    };
    assert_eq!(processes.iter().filter(is_whole).count(), 13, "{result:#}");
}

#[test]
fn a_thread_that_starts_without_a_free_descriptor_is_counted_and_later_ones_are_recorded() {
    let sandbox = Sandbox::new();
    let text = "
import os, resource, threading, time
def work():
    for _ in range(20): time.sleep(.001)
def run():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = []
try:
    while True: files.append(os.open('/dev/null', os.O_RDONLY))
except OSError:
    pass
run()
for file in files: os.close(file)
run()
";
    let (output, result) = record(&sandbox, &[&real_python(), "-c", text]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [process] = metered(&result)[..] else { panic!("{result:#}") };
    let threads = process["threads"].as_array().unwrap();
    let acquisitions = threads.iter().filter(|thread| thread["tid"] != process["pid"]);
    let acquisitions: Vec<_> = acquisitions.map(|thread| thread["acquisitions"].as_u64().unwrap()).collect();
    assert!(acquisitions.len() == 1 && acquisitions[0] >= 20, "{acquisitions:?}, {result:#}");
    let missing = process["missing"]["held_share"].as_str().unwrap();
    assert!(missing.starts_with("1 thread is not recorded"), "{missing}");
}

#[test]
fn a_thread_that_is_named_late_has_that_name() {
    let sandbox = Sandbox::new();
    // PR_SET_NAME is 15 (prctl(2)). CPython 3.14 names its threads so, after their first acquire.
    let text = "
import ctypes, os, threading, time
def work():
    ctypes.CDLL(None).prctl(15, b'named-late')
    while True: time.sleep(.001)
threading.Thread(target=work, daemon=True).start()
time.sleep(2.5)
os._exit(0)
";
    let (_, result) = record(&sandbox, &[&real_python(), "-c", text]);
    let [process] = metered(&result)[..] else { panic!("{result:#}") };
    let threads = process["threads"].as_array().unwrap().iter().filter(|thread| thread["tid"] != process["pid"]);
    let names: Vec<_> = threads.map(|thread| (thread["name"].as_str(), thread["runs"].as_str())).collect();
    assert_eq!(names, [(Some("named-late"), None)], "{result:#}");
}

#[test]
fn a_recorder_does_not_spin_between_the_end_of_a_process_and_the_next_reading() {
    let sandbox = Sandbox::new();
    let text = "import subprocess, sys, time\n\
                for _ in range(40): subprocess.run([sys.executable, '-S', '-c', 'pass']); time.sleep(.02)\n";
    let start = Instant::now();
    let top = sandbox.spawn(&["top", "--", &real_python(), "-c", text]);
    let (schedstat, executable) = ["schedstat", "exe"].map(|name| format!("/proc/{}/{name}", top.id())).into();
    let mut cpu = 0.0;
    // A zombie has no executable, and its schedstat may be that of nobody.
    while let Ok(now) = fs::read_to_string(&schedstat).and_then(|now| fs::read_link(&executable).map(|_| now)) {
        let ns: f64 = now.split(' ').next().unwrap().parse().unwrap();
        cpu = ns / 1e9;
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = start.elapsed().as_secs_f64();
    let output = finish(top, Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(cpu > 0.0 && cpu < 0.25 * all, "{cpu:.3} s of CPU time in {all:.3} s");
}

#[test]
fn what_a_killed_recorder_and_its_sweeper_leave_is_removed_by_the_next_one() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("r.busy");
    let ready = sandbox.path("ready");
    let text = format!("import time; open({:?}, 'w').close(); time.sleep(1000)", ready.to_str().unwrap());
    let child = sandbox.spawn(&["record", "-o", path.to_str().unwrap(), "--", &real_python(), "-c", &text]);
    let recorder = child.id();
    wait_for("the program", || ready.exists());
    let sweeper = sandbox.processes_in_role("__sweeper");
    assert_eq!(sweeper.len(), 1);
    let name = fs::read_to_string(format!("/proc/{}/comm", sweeper[0])).unwrap();
    assert_eq!(name.trim(), "sweeper", "`pkill busy` would kill it");
    assert_eq!(folders(recorder).len(), 1);
    // Not the recorder of another test.
    let beside = sandbox.path("beside.busy");
    let other = sandbox.run(&["record", "-o", beside.to_str().unwrap(), "--", "true"]);
    assert_eq!((other.status.code(), folders(recorder).len()), (Some(0), 1), "{other:?}");
    for pid in [sweeper[0], recorder] {
        signal(pid, Signal::KILL);
    }
    wait_for("the end of both", || [sweeper[0], recorder].iter().all(|pid| command_line(*pid).concat().is_empty()));
    sandbox.processes().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    finish(child, Duration::from_secs(20));
    sandbox.assert_no_process_left("the kill");
    assert_eq!(folders(recorder).len(), 1);
    let next = sandbox.run(&["record", "-o", path.to_str().unwrap(), "--", "true"]);
    assert_eq!((next.status.code(), folders(recorder).len()), (Some(0), 0), "{}", stderr(&next));
}
