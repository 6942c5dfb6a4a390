//! Tests groups from end to end: compile, run, show, save, and compare a run with itself. The tests do not judge speeds.

#![cfg(target_os = "linux")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_busy-bench")).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    output
}

fn saved(folder: &Path) -> (String, Value) {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    let [path] = found.as_slice() else { panic!("expected one saved run, found {found:?}") };
    (path.display().to_string(), serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

#[test]
fn every_row_of_a_group_gets_its_figures_and_a_place_in_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(&["waits", "--quick", "--folder", folder.path().to_str().unwrap()]);
    let (path, document) = saved(folder.path());
    let rows = document["results"].as_array().unwrap();
    let has_tsc = cfg!(target_arch = "x86_64");
    assert_eq!(rows.len(), 3 * 3 * 2 + 1);
    for row in rows.iter().filter(|row| has_tsc || !row["row"].as_str().unwrap().starts_with("tsc")) {
        for side in ["ours", "theirs"] {
            let rounds = row[side].as_array().unwrap();
            assert_eq!(rounds.len(), 2, "{row}");
            // The value would be negative if a wait ended early.
            assert!(rounds.iter().all(|round| round.as_f64().is_some_and(|value| value > 0.0)), "{row}");
        }
        let found = |figure: &str| row["found"][figure].as_f64().unwrap_or_else(|| panic!("no {figure} in {row}"));
        assert!(0.0 < found("min") && found("min") <= found("median") && found("median") <= found("max"), "{row}");
    }
    assert!(rows.iter().any(|row| row["row"] == "polls") && document["host"]["cpu"].is_string());
    let shown = String::from_utf8(output.stdout).unwrap();
    for row in rows {
        assert!(shown.contains(row["case"].as_str().unwrap()), "{row} is not in\n{shown}");
    }

    // The medians of a run lie within the range of its rounds.
    let compared = bench(&["--show", &path, "--against", &path]);
    let compared = String::from_utf8(compared.stdout).unwrap();
    assert!(compared.contains("agrees") && !compared.contains("differs"), "{compared}");
}

#[test]
fn a_missing_interpreter_makes_rows_absent_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder_name = folder.path().to_str().unwrap();
    bench(&["import", "--quick", "--python", "/no/such/python", "--folder", folder_name]);
    let (_, document) = saved(folder.path());
    let row = &document["results"][0];
    assert!(row["found"].is_null() && row["missing"]["found"].as_str().unwrap().contains("/no/such/python"), "{row}");
}

#[test]
fn an_unknown_group_or_file_is_wrong_usage() {
    for arguments in [["--quick", "nonsense"], ["--show", "/no/such/run.json"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_busy-bench")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("waits, cancel") || stderr.contains("make bench"), "{stderr}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_gil_meter_is_compared_with_the_truth_and_missing_peers_have_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(&["gil", "--quick", "--folder", folder.path().to_str().unwrap()]);
    let (_, document) = saved(folder.path());
    let row =
        |name: &str| document["results"].as_array().unwrap().iter().find(|row| row["row"] == name).unwrap().clone();
    for name in ["new-mean", "new-max", "pair", "loop"] {
        assert!(row(name)["found"]["median"].as_f64().is_some_and(f64::is_finite), "{}", row(name));
    }
    let shown = String::from_utf8(output.stdout).unwrap();
    for name in ["gilknocker-mean", "py-spy-mean", "sampler-mean"] {
        let reason = row(name)["missing"]["found"].as_str().unwrap_or_default().to_owned();
        assert!(row(name)["found"].is_object() || shown.contains(&reason) && !reason.is_empty(), "{}", row(name));
    }
}
