//! `busy record`: the program is not disturbed, its figures are right, and a kill leaves a readable file.

use crate::harness::{BUSY, Sandbox, finish, json, real_python, signal, stderr, stdout, wait_for};
use busy_lab::trace::{FileError, Kind, Recording, State};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Runs `busy record` on `program`, and returns its output and the result in its JSON.
pub fn record(sandbox: &Sandbox, program: &[&str]) -> (Output, Value) {
    let (file, figures) = (sandbox.path("r.busy"), sandbox.path("r.json"));
    let options = ["record", "-o", file.to_str().unwrap(), "--json", figures.to_str().unwrap(), "--"];
    let output = sandbox.run(&[&options, program].concat());
    assert!(figures.exists(), "{output:?}");
    let document = json(&figures);
    (output, document["results"][0].clone())
}

/// Returns the processes of a result of which figures are known.
pub fn metered(result: &Value) -> Vec<&Value> {
    result["processes"].as_array().unwrap().iter().filter(|process| process["metered_s"].is_f64()).collect()
}

/// Returns the CPythons of this machine that can be metered, each with its path.
pub fn pythons(sandbox: &Sandbox) -> Vec<(String, String)> {
    let found: Value = serde_json::from_str(&stdout(&sandbox.run(&["pythons", "--json", "-"]))).unwrap();
    let all = found["interpreters"].as_array().unwrap().iter();
    let metered = all.filter(|python| {
        let version = (python["version_info"][0].as_u64(), python["version_info"][1].as_u64());
        python["implementation"] == "cpython" && python["gil"] == true && version != (Some(3), Some(6))
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metered.map(|python| (text(&python["version"]), text(&python["command"]))).collect()
}

#[test]
fn the_program_has_its_own_exit_code_streams_and_arguments() {
    let sandbox = Sandbox::new();
    let python = real_python();
    let script = sandbox.path("script.py");
    let text =
        "import os, sys\nprint(sys.argv[1:], sys.stdin.read(), os.getcwd())\nsys.stderr.write('err\\n')\nsys.exit(3)\n";
    fs::write(&script, text).unwrap();
    let file = sandbox.path("r.busy");
    let mut command =
        sandbox.command(&["record", "-o", file.to_str().unwrap(), "--", &python, script.to_str().unwrap(), "-o", "x"]);
    let mut child = command.stdin(Stdio::piped()).current_dir(sandbox.home.path()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in").unwrap();
    let output = finish(child, Duration::from_secs(60));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let folder = sandbox.home.path().canonicalize().unwrap();
    assert_eq!(stdout(&output), format!("['-o', 'x'] in {}\n", folder.display()));
    assert!(stderr(&output).starts_with("err\nrecord "), "{output:?}");
    assert!(stderr(&output).lines().count() <= 25 + 1, "{output:?}");
}

#[test]
fn a_file_that_another_recorder_writes_is_refused() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("r.busy");
    let arguments = ["record", "-o", file.to_str().unwrap(), "cat"];
    // cat has no Python: it ends with its stdin.
    let mut first = sandbox.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    first.stdin.as_mut().unwrap().write_all(b"in").unwrap();
    // Once cat answers, the file is open.
    let mut answer = [0; 2];
    first.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    let second = sandbox.run(&arguments);
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert!(stderr(&second).contains("another recorder writes to it; name another file"), "{second:?}");
    drop(first.stdin.take());
    assert_eq!(finish(first, Duration::from_secs(60)).status.code(), Some(0));
    assert!(file.metadata().unwrap().len() > 0);
    assert_eq!(sandbox.run(&arguments).status.code(), Some(0), "the first recorder has ended");
}

#[test]
fn a_program_that_a_signal_ends_has_the_exit_code_of_a_shell() {
    let sandbox = Sandbox::new();
    let python = real_python();
    for (number, code, name) in [(9, 137, "SIGKILL"), (15, 143, "SIGTERM"), (11, 139, "SIGSEGV")] {
        let statement = format!("import os; os.kill(os.getpid(), {number})");
        let (output, result) = record(&sandbox, &[&python, "-c", &statement]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!((&result["signal"], &result["exit_code"]), (&number.into(), &Value::Null));
        assert_eq!(metered(&result)[0]["ended"], "abrupt", "{result:#}");
        let shown = stderr(&output).replace('\n', " ");
        assert!(shown.contains(&format!("the program was ended by signal {number} ({name})")), "{shown}");
    }
}

#[test]
fn a_python_that_acquires_the_gil_only_at_its_start_is_recorded() {
    let sandbox = Sandbox::new();
    for (version, python) in pythons(&sandbox) {
        // Without the module site and without a script's file, Python waits for nothing once it is initialised.
        let (_, result) = record(&sandbox, &[&python, "-S", "-c", "for _ in range(3 * 10**6): pass"]);
        let process = metered(&result)[0];
        let [held, metered] = [&process["held_share"], &process["metered_s"]].map(|figure| figure.as_f64().unwrap());
        assert!(held > 0.5 && metered > 0.02, "{version}: {result:#}");
    }
}

#[test]
fn a_program_that_cannot_be_executed_leaves_no_recording() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("r.busy");
    for (program, code) in [(sandbox.path("missing"), 127), (sandbox.home.path().to_path_buf(), 126)] {
        let output = sandbox.run(&["record", "-o", file.to_str().unwrap(), "--", program.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stderr(&output).contains("can't execute") && !file.exists(), "{output:?}");
    }
    let script = sandbox.path("app.py");
    fs::write(&script, "pass").unwrap();
    let output = sandbox.run(&["record", script.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(126), "{output:?}");
    assert!(stderr(&output).contains(&format!("name its Python: python3 {}", script.display())), "{output:?}");
    assert_eq!(sandbox.run(&["record"]).status.code(), Some(2));
    let output = sandbox.run(&["record", "-o", "/no/such/folder/r.busy", "--", "true"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("can't write the recording"), "{output:?}");
}

#[test]
fn a_program_without_python_is_run_as_it_is() {
    let sandbox = Sandbox::new();
    let (output, result) = record(&sandbox, &["sh", "-c", "echo out; exit 5"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(5), "out\n"), "{output:?}");
    assert_eq!(result["processes"].as_array().unwrap().len(), 0);
    assert!(stderr(&output).contains("no CPython was recorded"), "{output:?}");
}

#[test]
fn a_module_a_forked_child_and_a_subprocess_are_recorded() {
    let sandbox = Sandbox::new();
    let text = "import os, subprocess, sys, time\n\
                if os.fork() == 0:\n    time.sleep(0.05)\n    os._exit(0)\n\
                os.wait()\n\
                subprocess.check_call([sys.executable, '-c', 'import time; time.sleep(0.05)'])\n\
                subprocess.check_call(['true'])\n\
                print(os.getpid())\n";
    fs::write(sandbox.path("mine.py"), text).unwrap();
    let python_path = sandbox.home.path().display().to_string();
    for (version, python) in pythons(&sandbox) {
        let program = ["env", &format!("PYTHONPATH={python_path}"), &python, "-m", "mine"];
        let (output, result) = record(&sandbox, &program);
        assert_eq!(output.status.code(), Some(0), "{version}: {output:?}");
        // 2.7 runs Python code between fork and exec.
        let mut processes = metered(&result);
        processes.retain(|process| process["ended"] != "executed");
        assert_eq!(processes.len(), 3, "{version}: {result:#}");
        let main: u64 = stdout(&output).trim().parse().unwrap();
        assert_eq!(processes[0]["pid"], main, "{version}");
        for child in &processes[1..] {
            assert_eq!((&child["parent"], &child["threads"][0]["tid"]), (&main.into(), &child["pid"]), "{version}");
        }
        for process in processes {
            assert_eq!(process["interpreter"]["version"], version);
        }
    }
}

/// Two threads: one holds the GIL in native calls, the other one waits for it after each of its own. Each prints what it
/// knows: by its calls' own clocks.
const TRUTH: &str = r"
import ctypes, json, sys, threading, time
library = sys.argv[1]
hold, release = ctypes.PyDLL(library).busy_wait_ns, ctypes.CDLL(library).busy_wait_ns
for function in (hold, release):
    function.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p]
now = getattr(time, 'perf_counter', time.time)
truth = {}
def elapsed(function, ms):
    result = (ctypes.c_uint64 * 2)()
    function(ms * 1000000, None, ctypes.addressof(result))
    return result[1] / 1e9
def holder():
    truth['holder'] = ctypes.CDLL(None).syscall(186)
    truth['held_s'] = 0.0
    for _ in range(10):
        # First without the GIL: the other thread must have started before the first hold.
        elapsed(release, 20)
        truth['held_s'] += elapsed(hold, 30)
def waiter():
    truth['waiter'] = ctypes.CDLL(None).syscall(186)
    truth['waited_s'] = 0.0
    for _ in range(20):
        start = now()
        took = elapsed(release, 10)
        truth['waited_s'] += now() - start - took
threads = [threading.Thread(target=function) for function in (holder, waiter)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(truth))
";

#[test]
fn held_and_waited_times_are_those_of_a_program_that_knows_them() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("truth.py");
    fs::write(&script, TRUTH).unwrap();
    let library = Path::new(BUSY).with_file_name("libbusy.so");
    for (version, python) in pythons(&sandbox) {
        // Another process may take the core of a thread between its call and its clock.
        let tries: Vec<String> = (0..5).map_while(|_| differences(&sandbox, &python, &script, &library)).collect();
        assert!(tries.len() < 5, "{version}: {tries:#?}");
    }
}

/// Runs the program once. Returns None if the figures are those that it knows, within 0.01 of its time.
fn differences(sandbox: &Sandbox, python: &str, script: &Path, library: &Path) -> Option<String> {
    let (output, result) = record(sandbox, &[python, script.to_str().unwrap(), library.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let truth: Value = serde_json::from_str(stdout(&output).trim()).unwrap();
    let process = metered(&result)[0];
    let thread = |role: &str| {
        let threads = process["threads"].as_array().unwrap().iter();
        threads.into_iter().find(|thread| thread["tid"] == truth[role]).unwrap_or_else(|| panic!("{role}: {result:#}"))
    };
    let number = |value: &Value| value.as_f64().unwrap();
    let bound = 0.01 * number(&process["metered_s"]);
    let held = number(&thread("holder")["held_s"]) - number(&truth["held_s"]);
    let waited = number(&thread("waiter")["waited_s"]) - number(&truth["waited_s"]);
    assert!(number(&thread("holder")["longest_hold_s"]) >= 0.03, "{result:#}");
    let file = Recording::read(&sandbox.path("r.busy")).unwrap();
    assert_lanes_agree(&file, &result);
    let is_near = held.abs() <= bound && waited.abs() <= bound;
    (!is_near).then(|| format!("held {held:+.6} s, waited {waited:+.6} s, allowed {bound:.6} s"))
}

/// Checks that the events in the file add up to the figures.
fn assert_lanes_agree(file: &Recording, result: &Value) {
    assert_eq!((file.rest.bytes, file.end.is_some()), (0, true));
    for process in file.processes.values() {
        for thread in process.threads.values() {
            if thread.events.iter().any(|event| event.kind == Kind::Lost) {
                continue;
            }
            let lane = thread.lane(file.end_of(process));
            let sum = |state: State| {
                let own = lane.iter().filter(|stretch| stretch.state == state);
                own.map(|stretch| stretch.to_ns - stretch.from_ns).sum::<u64>() as f64 / 1e9
            };
            let figures = file.figures(process, thread);
            for (name, lane, total) in
                [("held", sum(State::Holds), figures.held_s), ("waited", sum(State::Waits), figures.waited_s)]
            {
                assert!(
                    (lane - total).abs() < 0.001,
                    "thread {} {name}: {lane} by its events, {total} in all; {result:#}",
                    thread.thread.tid
                );
            }
        }
    }
}

#[test]
fn ctrl_c_and_sigterm_are_the_programs() {
    let sandbox = Sandbox::new();
    let python = real_python();
    let file = sandbox.path("r.busy").display().to_string();
    // Short sleeps: a signal that arrives just before a sleep does not end it.
    let text = "import signal, sys, time\n\
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(6))\n\
                try:\n    print('ready', flush=True)\n\
                \x20   while True: time.sleep(0.1)\n\
                except KeyboardInterrupt: sys.exit(7)\n";
    for (number, code) in [(Signal::INT, 7), (Signal::TERM, 6)] {
        let ready = sandbox.path("ready");
        let mut command = sandbox.command(&["record", "-o", &file, "--", &python, "-c", text]);
        let child = command.stdout(fs::File::create(&ready).unwrap()).spawn().unwrap();
        wait_for("the program", || fs::read_to_string(&ready).is_ok_and(|text| text.contains("ready")));
        signal(child.id(), number);
        let output = finish(child, Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stderr(&output).contains("1 process with 1 thread recorded"), "{output:?}");
        assert!(Recording::read(Path::new(&file)).unwrap().end.is_some());
    }
}

/// Returns the folders of recordings of that command in shared memory.
pub fn folders(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_str().is_some_and(|path| path.contains(&format!("busy-record-{pid}-")))).collect()
}

#[test]
fn killing_the_program_or_the_recorder_leaves_a_readable_file_and_nothing_in_shared_memory() {
    let kills = crate::kills::kills();
    let text = "import threading, time\n\
                def work():\n    for _ in range(5000): time.sleep(0.0005)\n\
                for _ in range(3): threading.Thread(target=work).start()\n";
    let mut readable = 0;
    for seed in 0..kills {
        let sandbox = Sandbox::new();
        let path = sandbox.path("r.busy");
        let child = sandbox.spawn(&["record", "-o", path.to_str().unwrap(), "--", &real_python(), "-c", text]);
        let recorder = child.id();
        sleep(Duration::from_millis(fastrand::Rng::with_seed(seed).u64(0..800)));
        let programs = || sandbox.processes().into_iter().filter(|pid| *pid != recorder && !is_busy(*pid));
        if seed % 3 != 1 {
            programs().for_each(|pid| signal(pid, Signal::KILL));
        }
        if seed % 3 != 0 {
            signal(recorder, Signal::KILL);
        }
        let output = finish(child, Duration::from_secs(20));
        wait_for("the folder's removal", || folders(recorder).is_empty());
        programs().for_each(|pid| signal(pid, Signal::KILL));
        sandbox.assert_no_process_left("the kill");
        match Recording::read(&path) {
            Ok(recording) => {
                readable += 1;
                assert_eq!(recording.start.unwrap().command[1], "-c");
                // If both are killed, the recorder may have come to its end before.
                if seed % 3 < 2 {
                    assert_eq!(recording.end.is_some(), seed % 3 == 0, "{seed}: {output:?}");
                }
            }
            // The recorder was killed before its first block.
            Err(FileError::Empty(_) | FileError::NoRecording(_) | FileError::Unreadable(..)) => {}
        }
    }
    assert!(readable > kills / 2, "only {readable} of {kills} recordings are readable");
}

/// Returns true if the process is the command itself.
fn is_busy(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == Path::new(BUSY))
}

#[test]
fn the_summary_of_many_threads_and_processes_has_25_lines() {
    let sandbox = Sandbox::new();
    let text = "import threading, time\n\
                threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(40)]\n\
                for thread in threads: thread.start()\nfor thread in threads: thread.join()\n";
    let (output, result) = record(&sandbox, &[&real_python(), "-c", text]);
    assert_eq!(metered(&result)[0]["threads"].as_array().unwrap().len(), 41, "{result:#}");
    assert!(stderr(&output).lines().count() <= 25 && stderr(&output).contains(" more threads held"), "{output:?}");
}

#[test]
fn without_shared_memory_the_program_runs_on_and_the_result_says_what_is_missing() {
    let sandbox = Sandbox::new();
    let python = real_python();
    let (file, figures) = (sandbox.path("r.busy"), sandbox.path("r.json"));
    let (file, figures) = (file.to_str().unwrap(), figures.to_str().unwrap());
    let text = "import threading, time\n\
                threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(3)]\n\
                for thread in threads: thread.start()\nfor thread in threads: thread.join()\nprint('done')\n";
    // There is room for no log, for one without events, for the events of one thread.
    for (size, is_metered) in [("200k", false), ("400k", false), ("600k", true)] {
        let mount = format!("mount -t tmpfs -o size={size} tmpfs /dev/shm && exec \"$0\" \"$@\"");
        let wrapper = ["unshare", "--mount", "sh", "-c", &mount];
        let options = ["record", "-o", file, "--json", figures, "--", &python, "-c", text];
        let output = sandbox.command_under(&wrapper, &options).output().unwrap();
        if stderr(&output).contains("unshare") {
            eprintln!("skipped: this user may not mount: {}", stderr(&output));
            return;
        }
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "done\n"), "{size}: {output:?}");
        let result = &json(Path::new(figures))["results"][0];
        let processes = result["processes"].as_array().unwrap();
        let python: Vec<_> = processes.iter().filter(|process| process["missing"]["held_share"].is_string()).collect();
        let reason = python.last().unwrap_or_else(|| panic!("{size}: {result:#}"))["missing"]["held_share"].as_str();
        assert!(reason.is_some_and(|reason| reason.contains("memory")), "{size}: {result:#}");
        assert_eq!(metered(result).len(), usize::from(is_metered), "{size}: {result:#}");
        assert!(stderr(&output).contains("memory"), "{size}: {output:?}");
    }
}

#[test]
fn a_python_that_cannot_be_recorded_is_named_with_the_reason() {
    let sandbox = Sandbox::new();
    let text = "
import subprocess, sys
other = subprocess.Popen(['sleep', '3'])
subprocess.run([sys.executable, '-c', 'import time; time.sleep(2.5)'], env={})
other.kill()
";
    let (output, result) = record(&sandbox, &[&real_python(), "-c", text]);
    let processes = result["processes"].as_array().unwrap();
    let [named] = &processes.iter().filter(|process| process["metered_s"].is_null()).collect::<Vec<_>>()[..] else {
        panic!("{result:#}");
    };
    let reason = named["missing"]["held_share"].as_str().unwrap();
    assert!(reason.contains("lacks LD_PRELOAD"), "{reason}");
    assert_eq!((processes.len(), &named["parent"]), (2, &metered(&result)[0]["pid"]), "{result:#}");
    assert!(stderr(&output).contains("): not recorded: its environment lacks LD_PRELOAD"), "{output:?}");
}

#[test]
fn a_watch_in_a_recorded_program_joins_the_meter_of_the_recording() {
    let module = Path::new(BUSY).with_file_name("python");
    if !module.join("busy/__init__.py").is_file() {
        eprintln!("skipped: there is no Python module; run `make build`");
        return;
    }
    let sandbox = Sandbox::new();
    let text = "
import busy, time
busy.counters()
with busy.watch() as watch:
    for _ in range(20):
        busy.with_lock(.005)
        time.sleep(.005)
print(watch.held_share * watch.wall_s, busy.counters().held_s, busy.check(busy.without_lock, .005).verdict)
";
    let path = format!("PYTHONPATH={}", module.display());
    let (output, result) = record(&sandbox, &["env", &path, &real_python(), "-c", text]);
    let text = stdout(&output);
    let [watched, counted, verdict] = text.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{output:?}") };
    let (watched, counted): (f64, f64) = (watched.parse().unwrap(), counted.parse().unwrap());
    let [process] = metered(&result)[..] else { panic!("{result:#}") };
    let recorded = process["held_share"].as_f64().unwrap() * process["metered_s"].as_f64().unwrap();
    // A holder that has no CPU holds for longer, and a loaded machine may leave the verdict open.
    assert!(watched >= 0.1 && ["releases", "inconclusive"].contains(&verdict), "{output:?}");
    // Each contains the one before: the counters also what is around the watch, the recording also the import of busy.
    assert!(watched <= counted && counted <= recorded, "{output:?}, {recorded} s recorded");
}

#[test]
fn a_program_that_can_not_be_started_costs_no_earlier_recording() {
    let sandbox = Sandbox::new();
    let earlier = sandbox.path("earlier.busy");
    fs::write(&earlier, "earlier").unwrap();
    let unexecutable = sandbox.path("unexecutable");
    fs::write(&unexecutable, "").unwrap();
    let options = ["record", "-o", earlier.to_str().unwrap(), "--"];
    let folder = sandbox.home.path().to_str().unwrap();
    // Its interpreter does not exist, which only the kernel reports.
    let uninterpreted = sandbox.executable("uninterpreted", "#!/no/such/interpreter\n");
    let top = ["top", "-o", earlier.to_str().unwrap(), "--"];
    for (program, code) in [
        ("no-such-program", 127),
        ("./no/such/program", 127),
        ("", 127),
        (unexecutable.to_str().unwrap(), 126),
        ("unexecutable", 126),
        (folder, 126),
        (&uninterpreted, 127),
    ] {
        for options in [options, top] {
            if options == top && program == uninterpreted {
                continue;
            }
            let mut busy = sandbox.command(&[&options[..], &[program]].concat());
            let output = busy.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap())).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{program}: {output:?}");
            assert_eq!(fs::read_to_string(&earlier).unwrap(), "earlier", "{program}: {options:?}");
        }
    }
    // As execvp(3) does, a program in a later folder is found.
    fs::write(sandbox.path("true"), "").unwrap();
    let mut busy = sandbox.command(&["record", "-o", "other.busy", "--", "true"]);
    busy.current_dir(folder).env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
    assert_eq!(busy.output().unwrap().status.code(), Some(0));
    // A part of the installation is missing.
    let library = Path::new(BUSY).with_file_name("libbusy_record.so");
    fs::create_dir(sandbox.path("libraries")).unwrap();
    fs::copy(library, sandbox.path("libraries/libbusy_record.so")).unwrap();
    let mut busy = sandbox.command(&[&options[..], &["true"]].concat());
    let output = busy.env("BUSY_LIBDIR", sandbox.path("libraries")).output().unwrap();
    assert!(stderr(&output).contains("libbusy.so not found"), "{output:?}");
    assert_eq!(fs::read_to_string(&earlier).unwrap(), "earlier");
}
