//! `busy run`: the figures that it measures, prints and keeps, and its reports of interpreters that fail during a run.

use crate::harness::{Sandbox, json, some_at_a_time, stderr, stdout};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn every_case_is_measured_printed_and_kept() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("result.json");
    let output = sandbox.run(&["run", "ctypes", "-d", "1", "--json", file.to_str().unwrap()]);
    // On a loaded machine the figures may be inconclusive, but they must be present.
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{}", stderr(&output));
    for part in [
        "Python/s",
        "one-internal",
        "two-internal",
        "internal+external",
        "2.95 M",
        "118",
        "Kept as",
        "The page of these results: ",
    ] {
        assert!(stdout(&output).contains(part), "{part:?} is not in:\n{}", stdout(&output));
    }

    let document = json(&file);
    assert_eq!(document["schema"], 1);
    let result = &document["results"][0];
    assert_eq!(result["libbusy"], env!("CARGO_PKG_VERSION"));
    assert!(result["host"]["cpu"].is_string() && result["host"]["others_percent"].is_number());
    assert_eq!((result["kind"].as_str(), result["status"].as_str()), (Some("run"), Some("ok")), "{result:#}");
    let host = &result["host"];
    assert!(host["topology"]["cores"].as_u64() >= Some(1) || host["missing"]["topology"].is_string(), "{host:#}");
    assert!(result["interpreter"]["version"].is_string());
    let cases = result["cases"].as_array().unwrap();
    let names: Vec<_> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(names, ["one-internal", "two-internal", "internal+external", "control"]);
    for case in cases {
        assert!((1.0..6.0).contains(&case["wall_s"].as_f64().unwrap()), "{case:#}");
        assert!(case["cpu_percent"].as_f64().unwrap() > 1.0, "{case:#}");
        for thread in case["threads"].as_array().unwrap() {
            assert!(thread["count"].as_u64().unwrap() > 0 && thread["cpu_percent"].as_f64().unwrap() > 0.1, "{case:#}");
        }
        assert!(case["judgement"]["summary"].as_str().unwrap().contains('%'));
        assert!(!case["timeline"].as_array().unwrap().is_empty() && !case["cores"].as_array().unwrap().is_empty());
        assert_eq!(case["sampler"]["hz"], 10);
    }

    assert!(cases[3]["metrics"]["control_cpu_percent"].as_f64().unwrap() > 1.0, "{:#}", cases[3]);

    // The page of the run is beside it.
    let is_kept = |path: &PathBuf| {
        path.extension().is_some_and(|name| name == "json") && path.parent().unwrap().ends_with("runs")
    };
    let kept = sandbox.files().into_iter().find(is_kept).expect("a kept copy");
    assert_eq!(json(&kept), document);
    sandbox.assert_no_process_left("a run");
}

#[test]
fn json_on_stdout_is_one_document() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", "ctypes", "-d", "1", "--json", "-"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("stdout is one JSON document");
    assert_eq!(document["results"][0]["experiment"], "ctypes");
}

#[test]
fn the_timeline_has_the_requested_rate_and_the_sampler_reports_its_cost() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", "ctypes", "-d", "1", "--hz", "500", "--json", "-"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = document["results"][0]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let (sampler, wall_s) = (&case["sampler"], case["wall_s"].as_f64().unwrap());
        let cost = sampler["cost_percent"].as_f64().unwrap();
        assert!(sampler["hz"] == 500 && cost > 0.0 && cost < 101.0, "{sampler}");
        let (timeline, most) = (case["timeline"].as_array().unwrap(), (500.0 * wall_s) as usize);
        let missed = sampler["missed"].as_u64().unwrap() as usize;
        assert!(timeline.len() <= most + 1 && timeline.len() + missed + 3 >= most, "{} in {wall_s} s", timeline.len());
        let times: Vec<f64> = timeline.iter().map(|step| step["t_s"].as_f64().unwrap()).collect();
        assert!(times.is_sorted() && times[0] >= 0.0 && *times.last().unwrap() <= wall_s);
        // The kernel's figures per core are too coarse for this rate: the steps between two readings have none, and the
        // case reports the reason.
        let with_cores = timeline.iter().filter(|step| step["cores"].is_array()).count();
        assert!((1..=(20.0 * wall_s) as usize + 1).contains(&with_cores), "{with_cores} in {wall_s} s");
        let reason = case["missing"]["timeline.cores"].as_str().unwrap_or_default();
        assert_eq!(reason.contains("10 ms"), with_cores < timeline.len(), "{}", case["missing"]);
    }
}

#[test]
fn with_lock_stalls_the_python_thread_and_without_lock_does_not() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", "extension", "-d", "1", "--json", "-"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &document["results"][0];
    let cases = result["cases"].as_array().unwrap();
    let count = |name: &str| {
        let case = cases.iter().find(|case| case["variant"] == "c" && case["case"] == name);
        case.unwrap_or_else(|| panic!("{name} is not in {result:#}"))["threads"][0]["count"].as_u64().unwrap()
    };
    let (held, released) = (count("internal+with_lock"), count("internal+without_lock"));
    assert!(held * 10 < released, "count beside with_lock: {held}; beside without_lock: {released}");
}

#[test]
fn the_extension_module_is_loaded_by_python_2_7_too() {
    let sandbox = Sandbox::new();
    let old = super::record::pythons(&sandbox).into_iter().filter(|(version, _)| version.starts_with("2.7"));
    for (version, python) in old {
        let output = sandbox.run(&["run", "extension", "-d", "1", "-p", &python, "--json", "-"]);
        let document: serde_json::Value =
            serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
        let result = &document["results"][0];
        assert_eq!(
            (&result["status"], result["cases"].as_array().map(Vec::len)),
            (&"ok".into(), Some(2)),
            "{version}: {result:#}"
        );
    }
}

#[test]
fn an_interpreter_that_fails_in_an_experiment_is_a_failed_row() {
    let bodies = [
        ("kill -SEGV $$", "killed by"),
        ("echo hello", "expected a line of JSON"),
        ("echo '{}'", "expected a line of JSON"),
        ("exit 0", "found none"),
        ("echo ModuleNotFoundError >&2; exit 1", "ModuleNotFoundError"),
        ("yes", "expected"),
        ("head -c 3000000 /dev/zero", "wrote more than"),
        ("yes >&2", "wrote more than"),
        ("cat >/dev/null; sleep 1000", "did not end within"),
        ("while :; do sleep 1000 & done", "more than 64 processes"),
    ];
    some_at_a_time(&bodies, |(body, expected)| {
        let sandbox = Sandbox::new();
        let python = sandbox.fake_interpreter(body);
        let file = sandbox.path("result.json");
        let start = Instant::now();
        let output = sandbox.run(&["run", "ctypes", "-d", "1", "-p", &python, "--json", file.to_str().unwrap()]);
        assert!(start.elapsed() < Duration::from_secs(120), "{body} was not bounded");
        assert_eq!(output.status.code(), Some(1), "{body}: {}", stderr(&output));
        let result = &json(&file)["results"][0];
        assert_eq!(result["status"], "failed", "{body}");
        let reason = result["reason"].as_str().unwrap();
        assert!(reason.contains(expected), "{body}: {reason}");
        assert!(stdout(&output).contains("failed: "), "{body}");
        sandbox.assert_no_process_left(body);
    });
}

#[test]
fn lines_printed_by_start_up_files_are_ignored() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("sitecustomize.py"), "print('welcome'); print('{}')\n").unwrap();
    let output = sandbox
        .command(&["run", "ctypes", "-d", "1", "--json", "-"])
        .env("PYTHONPATH", sandbox.home.path())
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &document["results"][0];
    assert_eq!((result["status"].as_str(), result["cases"].as_array().unwrap().len()), (Some("ok"), 4), "{result:#}");
}

#[test]
fn a_variant_that_cannot_be_compiled_is_missing_with_its_reason() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .command(&["run", "extension", "-d", "1", "--json", "-"])
        .env("CC", "no-such-compiler")
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = document["results"][0]["missing"]["c"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("no-such-compiler") && reason.contains("CC"), "{reason}");
}

#[test]
fn results_that_cannot_be_kept_are_still_printed() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("state"), "a file where a folder should be").unwrap();
    let output =
        sandbox.command(&["run", "ctypes", "-d", "1"]).env("XDG_STATE_HOME", sandbox.path("state")).output().unwrap();
    assert!(stdout(&output).contains("two-internal"));
    assert!(stderr(&output).contains("not kept"), "{}", stderr(&output));
}

#[test]
fn self_reported_metrics_are_printed_and_kept() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("result.json");
    let output = sandbox.run(&["run", "generator", "-d", "1", "--json", file.to_str().unwrap()]);
    let document = json(&file);
    let result = &document["results"][0];
    assert_eq!(result["status"], "ok", "{result:#}");
    let cases = result["cases"].as_array().unwrap();
    let threads = |name: &str, variant: &str| {
        let case = cases.iter().find(|case| case["case"] == name && case["variant"] == variant);
        case.unwrap_or_else(|| panic!("{name} ({variant}) is not in {result:#}"))["metrics"]["threads"].clone()
    };
    assert_eq!((threads("in-turn", "generators"), threads("in-turn", "threads")), (1.into(), 4.into()));
    assert_eq!((threads("waiting", "generators"), threads("beside-computing", "generators")), (1.into(), 1.into()));
    for part in ["steps/s", "in-turn (threads)", "Four generators take turns"] {
        assert!(stdout(&output).contains(part), "{part:?} is not in:\n{}", stdout(&output));
    }
    sandbox.assert_no_process_left("a run");
}

#[test]
fn every_case_of_interpreters_has_metrics_or_a_reason() {
    let sandbox = Sandbox::new();
    let found = sandbox.run(&["pythons", "--json", "-"]);
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let version = |python: &serde_json::Value| {
        let numbers = python["version_info"].as_array().unwrap();
        (numbers[0].as_u64().unwrap(), numbers[1].as_u64().unwrap())
    };
    let mut pythons: Vec<_> = found["interpreters"].as_array().unwrap().iter().collect();
    pythons.retain(|python| python["implementation"] == "cpython" && python["free_threaded"] == false);
    pythons.retain(|python| version(python) >= (3, 8));
    // The oldest, which may have no GIL per interpreter; the oldest that has; the newest.
    let with_own_gils = pythons.iter().find(|python| version(python) >= (3, 12));
    let mut selected: Vec<_> = [pythons.first(), with_own_gils, pythons.last()].into_iter().flatten().collect();
    selected.dedup();
    for python in selected {
        let command = python["command"].as_str().unwrap();
        let output = sandbox.run(&["run", "interpreters", "-d", "1", "-p", command, "--json", "-"]);
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{}", stderr(&output));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let result = &document["results"][0];
        assert_eq!(result["status"], "ok", "{result:#}");
        let case = |name: &str, variant: &str| {
            let mut cases = result["cases"].as_array().unwrap().iter();
            cases.find(|case| case["case"] == name && case["variant"] == variant).map(|case| &case["metrics"])
        };
        let has = |name: &str, variant: &str, metric: &str| {
            case(name, variant).is_some_and(|metrics| metrics[metric].as_f64() > Some(0.0))
        };
        let reason = |title: &str| result["missing"][title].as_str().unwrap_or_default();
        assert!(has("shared-gil", "python", "cpu_percent"), "{result:#}");
        for variant in ["threads", "processes-pipe", "processes-shared-memory"] {
            assert!(has("sharing", variant, "handover_us"), "{variant}: {result:#}");
        }
        if version(python) < (3, 12) {
            assert!(reason("own-gil").contains("PEP 684"), "{result:#}");
        } else {
            assert!(has("own-gil", "python", "cpu_percent"), "{result:#}");
            for name in ["own-gil", "shared-gil", "one-interpreter"] {
                assert!(has(name, "c-program", "cpu_percent") || !reason("c-program").is_empty(), "{name}: {result:#}");
            }
            assert!(
                has("own-gil", "ctypes", "native_per_s") || reason("own-gil (ctypes)").contains("ImportError"),
                "{result:#}"
            );
        }
        if version(python) >= (3, 13) {
            let count = |name: &str| case(name, "extension").unwrap()["counts_per_s"].as_f64().unwrap();
            assert!(
                count("shared-gil") * 10.0 < count("own-gil"),
                "with_lock must stall the interpreters that share its GIL: {result:#}"
            );
        }
        assert!(
            has("pool-executor", "interpreters", "counts_per_s")
                || reason("pool-executor (interpreters)").contains("3.14")
        );
    }
    sandbox.assert_no_process_left("a run");
}
