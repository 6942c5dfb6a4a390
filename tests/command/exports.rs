//! `busy record` writes a recording for other viewers, as their own readers see it.

use crate::harness::{Sandbox, json, real_python, stderr};
use busy_lab::trace::{Recording, State};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One thread dumps JSON, in C code that keeps the GIL, while two others request it.
const STALLS: &str = r"
import json, threading, time
def took():
    start = time.thread_time()
    json.dumps(data)
    return time.thread_time() - start
data = list(range(100000))
data = list(range(int(100000 * 0.05 / took())))
stop = []
def dump():
    for _ in range(10):
        json.dumps(data)
        time.sleep(0.02)
def victim():
    while not stop:
        time.sleep(0.001)
victims = [threading.Thread(target=victim) for _ in range(2)]
for thread in victims: thread.start()
dump()
stop.append(1)
for thread in victims: thread.join()
";

/// Returns the path of a tool that `make` installs for the tests; None if it is not there.
fn tool(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/venv/bin").join(name);
    let is_there = path.is_file();
    if !is_there {
        eprintln!("skipped: there is no {name} in build/venv; `make test` installs it");
    }
    is_there.then_some(path)
}

/// Records the program, with the exports in these files of the sandbox. Returns the recording.
fn record(sandbox: &Sandbox, exports: &[(&str, &str)], program: &[&str]) -> Recording {
    let file = sandbox.path("r.busy");
    let exports: Vec<String> =
        exports.iter().map(|(option, name)| format!("--{option}={}", sandbox.path(name).display())).collect();
    let mut arguments = vec!["record", "-o", file.to_str().unwrap()];
    arguments.extend(exports.iter().map(String::as_str));
    let output = sandbox.run(&[&arguments[..], &["--"], program].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).lines().all(|line| !line.starts_with("busy:")), "{output:?}");
    Recording::read(&file).unwrap()
}

fn script(sandbox: &Sandbox) -> String {
    let script = sandbox.path("stalls.py");
    fs::write(&script, STALLS).unwrap();
    script.display().to_string()
}

/// Holds or waits, by thread id: their starts and ends in nanoseconds since the start of the recording.
type Stretches = BTreeMap<u64, BTreeSet<(u64, u64)>>;

fn stretches(recording: &Recording, state: State) -> Stretches {
    let mut found = Stretches::new();
    for process in recording.processes.values() {
        for thread in process.threads.values() {
            let lane = thread.lane(recording.end_of(process)).into_iter();
            let own = lane.filter(|one| one.state == state).map(|one| (one.from_ns, one.to_ns));
            found.entry(thread.thread.tid.into()).or_default().extend(own);
        }
    }
    found.retain(|_, own| !own.is_empty());
    found
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn perfettos_own_bindings_find_every_slice_flow_and_stack() {
    let Some(python) = tool("python") else { return };
    let sandbox = Sandbox::new();
    let recording = record(&sandbox, &[("perfetto", "r.pftrace")], &[&real_python(), &script(&sandbox)]);
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command/viewers/read_perfetto.py");
    let output = Command::new(python).arg(reader).arg(sandbox.path("r.pftrace")).output().unwrap();
    if stderr(&output).contains("No module named 'perfetto'") {
        eprintln!("skipped: build/venv has no perfetto; `make test` installs it");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let trace: Value = serde_json::from_slice(&output.stdout).unwrap();
    let slices = trace["slices"].as_array().unwrap();
    let start_ns = recording.start.as_ref().unwrap().monotonic_ns;
    for (name, state) in [("holds the GIL", State::Holds), ("waits for the GIL", State::Waits)] {
        let mut found = Stretches::new();
        for slice in slices.iter().filter(|slice| slice["name"] == name) {
            let own = found.entry(number(&slice["tid"])).or_default();
            own.insert((number(&slice["from"]) - start_ns, number(&slice["to"]) - start_ns));
        }
        assert_eq!(found, stretches(&recording, state), "{name}");
    }
    let with = |key: &str, flow: &Value| {
        let ends: Vec<&Value> = slices.iter().filter(|slice| slice[key].as_array().unwrap().contains(flow)).collect();
        assert_eq!(ends.len(), 1, "{key} {flow}");
        ends[0].clone()
    };
    let flows: Vec<&Value> = slices.iter().flat_map(|slice| slice["out"].as_array().unwrap()).collect();
    for flow in &flows {
        let (giver, taker) = (with("out", flow), with("into", flow));
        assert!(giver["tid"] != taker["tid"] && taker["name"] == "holds the GIL", "{giver} {taker}");
    }
    let stalls: Vec<&Value> = slices.iter().filter(|slice| slice["tid"] == 0 && slice["lost_s"].is_number()).collect();
    assert_eq!(stalls.len(), recording.stalls.found().len());
    let frame = |stall: &&&Value| {
        stall["stack"].as_array().unwrap().iter().any(|frame| frame.as_str().unwrap().ends_with("stalls.py:12 dump"))
    };
    assert!(stalls.iter().filter(frame).count() >= 3 && flows.len() >= 6, "{} flows, {stalls:#?}", flows.len());
    assert!(trace["counters"].as_array().unwrap().iter().any(|one| one[0] == "threads that wait" && one[2] == 2));
}

#[test]
fn a_profile_for_firefox_has_no_index_out_of_range() {
    let sandbox = Sandbox::new();
    let recording = record(&sandbox, &[("firefox", "r.json")], &[&real_python(), &script(&sandbox)]);
    let profile = json(&sandbox.path("r.json"));
    let categories = profile["meta"]["categories"].as_array().unwrap().len() as u64;
    let kinds: Vec<&Value> =
        profile["meta"]["markerSchema"].as_array().unwrap().iter().map(|schema| &schema["name"]).collect();
    let (mut holds, mut stalls) = (0, 0);
    for thread in profile["threads"].as_array().unwrap() {
        let length = |table: &str| number(&thread[table]["length"]);
        let strings = thread["stringArray"].as_array().unwrap().len() as u64;
        // Each column has as many entries as its table, and each entry names one of another table.
        for (table, column, count) in [
            ("markers", "name", strings),
            ("markers", "category", categories),
            ("samples", "stack", length("stackTable")),
            ("stackTable", "frame", length("frameTable")),
            ("stackTable", "prefix", length("stackTable")),
            ("frameTable", "func", length("funcTable")),
            ("frameTable", "category", categories),
            ("funcTable", "name", strings),
        ] {
            let entries = thread[table][column].as_array().unwrap();
            assert_eq!(entries.len() as u64, length(table), "{table} {column}");
            assert!(
                entries.iter().all(|entry| entry.is_null() || number(entry) < count),
                "{table} {column}: {entries:?} of {count}"
            );
        }
        let markers = &thread["markers"];
        for (index, data) in markers["data"].as_array().unwrap().iter().enumerate() {
            let name = thread["stringArray"][number(&markers["name"][index]) as usize].as_str().unwrap();
            let [from, to] = ["startTime", "endTime"].map(|column| markers[column][index].as_f64().unwrap());
            assert!(from <= to && kinds.contains(&&data["type"]), "{name}: {data}");
            holds += usize::from(name == "Has GIL");
            stalls += usize::from(name == "Stall");
            assert!(data["cause"].is_null() || number(&data["cause"]["stack"]) < length("stackTable"), "{data}");
        }
    }
    let expected: usize = stretches(&recording, State::Holds).values().map(BTreeSet::len).sum();
    assert_eq!((holds, stalls), (expected, recording.stalls.found().len()));
}

#[test]
fn viztracer_combines_the_gil_with_the_calls_of_the_same_program() {
    let Some(viztracer) = tool("viztracer") else { return };
    let sandbox = Sandbox::new();
    let [calls, gil, both] =
        ["calls.json", "gil.json", "both.json"].map(|name| sandbox.path(name).display().to_string());
    let program = [viztracer.to_str().unwrap(), "-o", &calls, &script(&sandbox)];
    record(&sandbox, &[("chrome", "gil.json")], &program);
    let output = Command::new(&viztracer).args(["--combine", &calls, &gil, "-o", &both]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let count = |path: &str| json(Path::new(path))["traceEvents"].as_array().unwrap().len();
    assert_eq!(count(&both), count(&calls) + count(&gil));
    let document = json(Path::new(&both));
    let events = document["traceEvents"].as_array().unwrap();
    let slices = |is: fn(&&Value) -> bool| -> Vec<(f64, f64, u64)> {
        let own = events.iter().filter(|event| event["ph"] == "X").filter(is);
        let time = |event: &Value, key: &str| event[key].as_f64().unwrap();
        own.map(|one| (time(one, "ts"), time(one, "ts") + time(one, "dur"), number(&one["pid"]))).collect()
    };
    // Both have the same clock: each stall lies within the calls of the function that has caused it.
    let stalls = slices(|event| event["cat"] == "stall");
    let dumps = slices(|event| event["name"].as_str().is_some_and(|name| name.starts_with("dump ")));
    assert!(stalls.len() >= 3 && dumps.len() == 1, "{stalls:?} {dumps:?}");
    let within = stalls.iter().filter(|stall| stall.0 >= dumps[0].0 && stall.1 <= dumps[0].1 && stall.2 == dumps[0].2);
    assert!(within.count() >= 3, "{stalls:?} {dumps:?}");
}

#[test]
fn a_file_that_can_not_be_written_is_wrong_usage_before_the_program_starts() {
    let sandbox = Sandbox::new();
    let (file, started) = (sandbox.path("r.busy"), sandbox.path("started"));
    let file = file.to_str().unwrap();
    let folder = sandbox.home.path().display();
    for (arguments, expected) in [
        (["-o", file, "--perfetto=/no/such/folder/r"], "can't write /no/such/folder/r"),
        (["-o", file, "--firefox=/"], "can't write /"),
        (["-o", file, "--chrome=-"], "--chrome expects the name of a file"),
        (["-o", "-", "--rate=0"], "-o expects the name of a file"),
        (["-o", file, &format!("--chrome={file}")], "is named for two outputs"),
        (["-o", file, &format!("--json={file}")], "is named for two outputs"),
        (["-o", file, &format!("--perfetto={folder}/./r.busy")], "is named for two outputs"),
        (["-o", "/dev/null", &format!("--chrome={file}")], "/dev/null is not a regular file"),
        (["-o", &format!("{file}.html"), &format!("--chrome={file}.html")], "is named for two outputs"),
    ] {
        let program = ["--", "touch", started.to_str().unwrap()];
        let output = sandbox.run(&[&["record"], &arguments[..], &program].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
    assert!(!started.exists() && !Path::new(file).exists() && !Path::new("-").exists());
    let output = sandbox.run(&["record", "-o", file, "--perfetto=/dev/null", "--firefox=/dev/null", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "a device may be named twice: {output:?}");
}

#[test]
fn an_export_ends_where_the_recording_does() {
    let sandbox = Sandbox::new();
    // On a file system with room for two blocks.
    let folder = sandbox.path("full");
    fs::create_dir(&folder).unwrap();
    let mount = format!("mount -t tmpfs -o size=8k tmpfs {} && exec \"$0\" \"$@\"", folder.display());
    let file = folder.join("r.busy");
    let program = "import os\nfor _ in range(20000): os.stat('.')";
    let python = real_python();
    let options = ["record", "-o", file.to_str().unwrap(), "--chrome", "/dev/stdout", "--", &python, "-c", program];
    let output = sandbox.command_under(&["unshare", "--mount", "sh", "-c", &mount], &options).output().unwrap();
    if stderr(&output).contains("unshare") {
        eprintln!("skipped: this user may not mount: {}", stderr(&output));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stderr(&output);
    assert!(text.contains("ends too early") && text.contains("busy: the exports end at"), "{text}");
    let events: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(events["traceEvents"].as_array().unwrap().len() > 100, "{text}");
}
