//! `busy record --pid`: a running process is sampled, and goes on.

use crate::harness::{Sandbox, finish, json, real_python, signal, stderr, stdout, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_running_process_is_sampled_until_the_time_is_over_or_ctrl_c() {
    let sandbox = Sandbox::new();
    let text = "import threading, time\n\
                def work():\n    while True: sum(range(10000))\n\
                def rest():\n    while True: time.sleep(0.01)\n\
                for target in (work, work, rest): threading.Thread(target=target, daemon=True).start()\n\
                print('ready', flush=True)\ntime.sleep(60)\n";
    let ready = sandbox.path("ready");
    let mut command = Command::new(real_python());
    let mut child = command.args(["-c", text]).stdout(fs::File::create(&ready).unwrap()).spawn().unwrap();
    wait_for("the program", || fs::read_to_string(&ready).is_ok_and(|text| text.contains("ready")));
    let (pid, figures) = (child.id().to_string(), sandbox.path("r.json"));
    let arguments = ["record", "--pid", &pid, "--json", figures.to_str().unwrap()];
    let page = sandbox.path("r.html");
    for by_signal in [false, true] {
        let output = if by_signal {
            let recorder = sandbox.spawn(&arguments);
            sleep(Duration::from_millis(1500));
            signal(recorder.id(), Signal::INT);
            finish(recorder, Duration::from_secs(20))
        } else {
            sandbox.run(&[&arguments[..], &["--for", "1s", "-o", page.to_str().unwrap()]].concat())
        };
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stderr(&output).contains("sampled 1000 times a second"), "{output:?}");
        assert!(stderr(&output).contains("by samples: shares are estimates"), "{output:?}");
        let result = &json(&figures)["results"][0];
        let process = &result["processes"][0];
        assert_eq!((&result["sampled"], &process["ended"]), (&true.into(), &"running".into()), "{result:#}");
        assert!(process["held_share"].as_f64().unwrap() > 0.5, "{result:#}");
        // Two threads hold in turn and wait for each other; one sleeps.
        let threads = process["threads"].as_array().unwrap();
        let number = |thread: &Value, key: &str| thread[key].as_f64().unwrap_or_else(|| panic!("{key}: {result:#}"));
        for thread in &threads[..2] {
            assert!(number(thread, "held_s") > 0.1 && number(thread, "waited_s") > 0.1, "{result:#}");
        }
        let slept = threads.iter().map(|thread| number(thread, "sleeping_s")).fold(0.0, f64::max);
        assert!(slept > 0.5 * number(process, "metered_s"), "{result:#}");
        for key in ["longest_hold_s", "longest_wait_s", "acquisitions", "stalls"] {
            assert!(process["missing"][key].is_string(), "{key}: {result:#}");
            assert!(process.get(key).is_none() && threads[0].get(key).is_none(), "{key}: {result:#}");
        }
        assert!(process["samples"]["count"].as_u64().unwrap() > 200, "{result:#}");
        // The two threads that hold the GIL are in work().
        let calls = process["calls"].as_array().unwrap_or_else(|| panic!("{result:#}"));
        let in_work =
            calls.iter().filter(|call| call["stack"][0].as_str().is_some_and(|frame| frame.ends_with(" work")));
        let sum = |key: &str| in_work.clone().map(|call| call[key].as_f64().unwrap()).sum::<f64>();
        assert!(sum("held_s") > 0.1 && sum("lost_s") > 0.1 && sum("samples") > 4.0, "{result:#}");
        assert!(stderr(&output).contains("<string>:3 work"), "{output:?}");
    }
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("Calls that held the GIL, by samples") && html.contains(":3 work</td>"), "{html}");
    assert!(html.contains("What held the GIL, by function") && html.contains("<svg"), "{html}");
    let report = sandbox.run(&["report", figures.to_str().unwrap()]);
    assert!(stdout(&report).contains("<string>:3 work"), "{report:?}");
    assert!(child.try_wait().unwrap().is_none(), "the process must go on");
    child.kill().unwrap();
    child.wait().unwrap();
    let output = sandbox.run(&arguments);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("there is no process"), "{output:?}");
    let output = sandbox.run(&["record", "--pid", "1", "-o", "r.busy"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("expected -o FILE.html"), "{output:?}");
    let twice = sandbox.run(&["record", "--pid", "1", "-o", "r.html", "--json", "r.html"]);
    assert!(twice.status.code() == Some(2) && stderr(&twice).contains("named for two outputs"), "{twice:?}");
    let output = sandbox.run(&["record", "--for", "1s", "--", "true"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--for"), "{output:?}");
}

#[test]
fn sampling_ends_with_the_process() {
    let sandbox = Sandbox::new();
    for is_killed in [false, true] {
        let mut child = Command::new(real_python()).args(["-c", "import time; time.sleep(2)"]).spawn().unwrap();
        sleep(Duration::from_millis(500));
        let recorder = sandbox.spawn(&["record", "--pid", &child.id().to_string(), "--json", "-"]);
        if is_killed {
            sleep(Duration::from_millis(500));
            child.kill().unwrap();
        }
        child.wait().unwrap();
        let output = finish(recorder, Duration::from_secs(20));
        let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        // Samples do not show a signal, and a fast exit only if one falls into Python's finalisation.
        let process = &document["results"][0]["processes"][0];
        let is_unknown = process["ended"] == "unknown" && process["missing"]["ended"].is_string();
        assert!(is_unknown || !is_killed && process["ended"] == "exited", "{document:#}");
    }
}
