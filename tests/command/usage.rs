//! Wrong usage: exit code 2, and a message that says what was expected, what was found, what to do.

use crate::harness::{Bench, real_python, stderr, stdout};
use std::process::Command;
use std::time::{Duration, Instant};

fn assert_refused(arguments: &[&str], words: &[&str]) {
    let bench = Bench::new();
    let output = bench.run(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?} does not say {word:?}: {said}");
    }
    assert_eq!(stdout(&output), "", "{arguments:?}");
    bench.assert_nobody_left(&format!("{arguments:?}"));
}

#[test]
fn the_list_names_every_experiment_also_as_json() {
    let bench = Bench::new();
    let output = bench.run(&["list"]);
    assert!(output.status.success());
    for word in ["ctypes", "13-14", "extension", "15-17"] {
        assert!(stdout(&output).contains(word));
    }
    let output = bench.run(&["list", "--json", "-"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = list["experiments"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert!(names.contains(&&"ctypes".into()) && names.contains(&&"no-gil".into()), "{names:?}");
}

#[test]
fn wrong_words_are_refused() {
    assert_refused(&["run", "ctype"], &["ctype", "busy list", "ctypes, extension"]);
    assert_refused(&["walk"], &["walk"]);
    for seconds in ["0", "-1", "nan", "1e300", "0.5", "99999999999999999999", ""] {
        assert_refused(&["run", &format!("-d={seconds}")], &["--duration"]);
    }
}

#[test]
fn a_rate_that_cannot_be_had_is_refused() {
    for hz in ["0", "-1", "1001", "1.5", "nan", ""] {
        assert_refused(&["run", &format!("--hz={hz}")], &["--hz", "from 1 to 1000"]);
    }
    // Each look is kept until the row ends. What follows would be refused as well, but later.
    let arguments = ["run", "--hz", "1000", "-d", "251", "-p", "/no/such/python"];
    assert_refused(&arguments, &["250000", "251 s at 1000 Hz", "-d", "--hz"]);
}

#[test]
fn what_is_no_interpreter_is_told_at_once() {
    assert_refused(&["run", "-p", "/no/such/python"], &["/no/such/python", "No such file", "-p"]);
    assert_refused(&["run", "-p", "/tmp"], &["/tmp", "Permission denied"]);
    assert_refused(&["run", "-p", "9.99"], &["no Python 9.99", "-p"]);
    assert_refused(&["run", "-p", "/bin/true"], &["/bin/true", "answered"]);
    assert_refused(&["run", "-p", "/bin/false"], &["/bin/false", "exited with 1"]);
    assert_refused(&["run", "-p", ""], &["not a Python"]);
}

#[test]
fn an_interpreter_that_crashes_prints_garbage_or_hangs_is_told() {
    let bench = Bench::new();
    for (body, words) in [
        ("kill -SEGV $$", vec!["killed by", "11"]),
        ("echo '{\"version\": 3}'", vec!["answered", "version"]),
        ("echo not found >&2; exit 127", vec!["exited with 127", "not found"]),
        ("yes", vec!["wrote more than"]),
        ("sleep 1000", vec!["did not end within"]),
    ] {
        let path = bench.executable("python", &format!("#!/bin/sh\n{body}\n"));
        let start = Instant::now();
        let output = bench.run(&["run", "-p", &path]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{body}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{body}: {said}");
        assert!(start.elapsed() < Duration::from_secs(60), "{body} was not bounded");
        bench.assert_nobody_left(body);
    }
}

#[test]
fn a_result_file_that_cannot_be_written_is_told_before_anything_is_measured() {
    for path in ["/no/such/folder/result.json", "/proc/result.json", "/"] {
        assert_refused(&["run", "--json", path], &["can't write", path]);
    }
}

#[test]
fn a_missing_or_wrong_libbusy_is_told() {
    let bench = Bench::new();
    let with = |folder: &std::path::Path| {
        let output = bench.command(&["run"]).env("BUSY_LIBDIR", folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    let folder = bench.path("lib");
    std::fs::create_dir(&folder).unwrap();
    assert!(with(&folder).contains("BUSY_LIBDIR"), "missing");

    std::fs::write(folder.join("libbusy.so"), "no library").unwrap();
    assert!(with(&folder).contains("can't load"), "not a library");

    let build = |source: &str| {
        let file = folder.join("fake.c");
        std::fs::write(&file, source).unwrap();
        let mut compiler = Command::new("cc");
        compiler.arg("-I").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/ffi/include")).arg("-shared");
        let status = compiler.arg("-o").arg(folder.join("libbusy.so")).arg(&file).status();
        assert!(status.unwrap().success());
    };
    build("int other;");
    assert!(with(&folder).contains("not libbusy"), "another library");
    build("unsigned busy_abi_version(void) { return 0; }");
    assert!(with(&folder).contains("ABI 0.0"), "too old");
    build("#include <busy.h>\nuint32_t busy_abi_version(void) { return BUSY_ABI_MAJOR << 16 | BUSY_ABI_MINOR; }");
    assert!(with(&folder).contains("lacks a function"), "incomplete");
}

#[test]
fn the_interpreters_are_found_and_named_as_they_are_asked_for() {
    let bench = Bench::new();
    let output = bench.run(&["pythons", "--json", "-"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let interpreters = list["interpreters"].as_array().unwrap();
    let file = |path: &str| std::fs::canonicalize(path).unwrap();
    let own = file(&real_python());
    assert!(interpreters.iter().any(|one| file(one["path"].as_str().unwrap()) == own), "{list:#}");
    let table = stdout(&bench.run(&["pythons"]));
    assert!(interpreters.iter().all(|one| table.contains(one["name"].as_str().unwrap())), "{table}");
}

#[test]
fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
    let bench = Bench::new();
    let run = |shell: &str| Command::new("sh").args(["-c", shell, env!("CARGO_BIN_EXE_busy")]).output().unwrap();
    let output = run("\"$0\" list | true");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let output = run("\"$0\" list >/dev/full");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("can't write to stdout"), "{}", stderr(&output));
    let output = bench.run(&["list", "--json", "/dev/null"]);
    assert!(output.status.success() && stdout(&output).contains("ctypes"));
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}
