//! Wrong usage: exit code 2, and a message with the expected value, the value found and the remedy. Also the lists that
//! the command prints.

use crate::harness::{Sandbox, finish, real_python, signal, stderr, stdout};
use rustix::process::Signal;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Checks that the command fails with exit code 2, prints all of `parts` on stderr, and prints nothing on stdout.
fn assert_usage_error(arguments: &[&str], parts: &[&str]) -> String {
    let sandbox = Sandbox::new();
    let output = sandbox.run(arguments);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{arguments:?}: {part:?} is not in the message: {stderr}");
    }
    assert_eq!(stdout(&output), "", "{arguments:?}");
    sandbox.assert_no_process_left(&format!("{arguments:?}"));
    stderr
}

#[test]
fn the_list_names_the_experiments_as_text_and_as_json() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["list"]);
    assert!(output.status.success());
    for part in ["ctypes", "13-14", "extension", "15-17"] {
        assert!(stdout(&output).contains(part));
    }
    let output = sandbox.run(&["list", "--json", "-"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = list["experiments"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert!(names.contains(&&"ctypes".into()) && names.contains(&&"no-gil".into()), "{names:?}");
}

#[test]
fn unknown_names_and_invalid_durations_fail_with_exit_code_2() {
    assert_usage_error(&["run", "ctype"], &["ctype", "busy list", "ctypes, extension"]);
    assert_usage_error(&["walk"], &["walk"]);
    for seconds in ["0", "-1", "nan", "1e300", "0.5", "99999999999999999999", "", "1.5s", "2h"] {
        assert_usage_error(&["run", &format!("-d={seconds}")], &["--duration", "expected"]);
    }
    // A duration with a unit is accepted; the interpreter is checked later.
    for time in ["3", "3s", "2min", "1500 ms"] {
        let expected = if time == "1500 ms" { "found 1.5 s" } else { "no file, folder or command \"/no/such/python\"" };
        assert_usage_error(&["run", "-d", time, "-p", "/no/such/python"], &[expected]);
    }
}

#[test]
fn an_impossible_sampling_rate_fails_with_exit_code_2() {
    for hz in ["0", "-1", "1001", "1.5", "nan", ""] {
        assert_usage_error(&["run", &format!("--hz={hz}")], &["--hz", "from 1 to 1000"]);
    }
    // All samples of a case are kept until it ends, so their number is limited. The interpreter does not exist either,
    // but it is checked later.
    let arguments = ["run", "--hz", "1000", "-d", "251", "-p", "/no/such/python"];
    assert_usage_error(&arguments, &["250000", "251 s at 1000 Hz", "-d", "--hz"]);
}

#[test]
fn a_path_or_version_without_interpreter_fails_with_exit_code_2() {
    assert_usage_error(&["run", "-p", "/no/such/python"], &["no file, folder or command \"/no/such/python\"", "-p"]);
    assert_usage_error(&["run", "-p", "/tmp"], &["/tmp has no bin/python", "virtual environment"]);
    assert_usage_error(&["run", "-p", "9.99"], &["no Python 9.99", "-p"]);
    assert_usage_error(&["run", "-p", "/bin/true"], &["/bin/true", "answered"]);
    assert_usage_error(&["run", "-p", "/bin/false"], &["/bin/false", "exited with 1"]);
    // The query is not shown, although ls names its arguments.
    let output = assert_usage_error(&["run", "-p", "/bin/ls"], &["/bin/ls", "exited with"]);
    assert!(!output.contains("platform"), "{output}");
    assert_usage_error(&["run", "-p", ""], &["no file, folder or command \"\""]);
}

#[test]
fn an_interpreter_that_fails_its_query_fails_with_exit_code_2() {
    let sandbox = Sandbox::new();
    for (body, parts) in [
        ("kill -SEGV $$", vec!["killed by", "11"]),
        ("echo '{\"version\": 3}'", vec!["answered", "version"]),
        ("echo not found >&2; exit 127", vec!["exited with 127", "not found"]),
        ("yes", vec!["wrote more than"]),
        ("sleep 1000", vec!["did not end within"]),
    ] {
        let path = sandbox.executable("python", &format!("#!/bin/sh\n{body}\n"));
        let start = Instant::now();
        let output = sandbox.run(&["run", "-p", &path]);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{body}: {stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{body}: {stderr}");
        assert!(start.elapsed() < Duration::from_secs(60), "{body} was not bounded");
        sandbox.assert_no_process_left(body);
    }
}

#[test]
fn a_time_may_be_longer_than_any_clock_counts() {
    let sandbox = Sandbox::new();
    for arguments in
        [["check", "--patience=9999999999999999999s", "1"], ["run", "--patience=9999999999999999999s", "csp"]]
    {
        let mut child = sandbox.spawn(&arguments);
        // On a loaded machine, it waits for ever.
        for _ in 0..30 {
            if child.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(100));
            }
        }
        signal(child.id(), Signal::INT);
        let output = finish(child, Duration::from_secs(60));
        assert!(!stderr(&output).contains("panicked"), "{output:?}");
    }
}

#[test]
fn a_result_file_that_cannot_be_written_fails_before_any_measurement() {
    for path in ["/no/such/folder/result.json", "/proc/result.json", "/", "result/", "result/."] {
        assert_usage_error(&["run", "--json", path], &["can't write", path]);
    }
}

#[test]
fn a_missing_or_wrong_libbusy_fails_with_exit_code_2() {
    let sandbox = Sandbox::new();
    let run_with = |folder: &std::path::Path| {
        let output = sandbox.command(&["run"]).env("BUSY_LIBDIR", folder).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        stderr(&output)
    };
    let folder = sandbox.path("lib");
    std::fs::create_dir(&folder).unwrap();
    assert!(run_with(&folder).contains("BUSY_LIBDIR"), "missing");

    std::fs::write(folder.join("libbusy.so"), "no library").unwrap();
    assert!(run_with(&folder).contains("can't load"), "not a library");

    let build = |source: &str| {
        let file = folder.join("fake.c");
        std::fs::write(&file, source).unwrap();
        let mut compiler = Command::new("cc");
        compiler.arg("-I").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/ffi/include")).arg("-shared");
        let status = compiler.arg("-o").arg(folder.join("libbusy.so")).arg(&file).status();
        assert!(status.unwrap().success());
    };
    build("int other;");
    assert!(run_with(&folder).contains("not libbusy"), "another library");
    build("unsigned busy_abi_version(void) { return 0; }");
    assert!(run_with(&folder).contains("ABI 0.0"), "too old");
    build("#include <busy.h>\nuint32_t busy_abi_version(void) { return BUSY_ABI_MAJOR << 16 | BUSY_ABI_MINOR; }");
    assert!(run_with(&folder).contains("lacks a function"), "incomplete");
}

#[test]
fn pythons_lists_the_interpreters_as_json_and_as_a_table() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["pythons", "--json", "-"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let interpreters = list["interpreters"].as_array().unwrap();
    let file = |path: &str| std::fs::canonicalize(path).unwrap();
    let own = file(&real_python());
    assert!(interpreters.iter().any(|one| file(one["path"].as_str().unwrap()) == own), "{list:#}");
    let table = stdout(&sandbox.run(&["pythons"]));
    assert!(interpreters.iter().all(|one| table.contains(one["name"].as_str().unwrap())), "{table}");
}

#[test]
fn a_closed_stdout_is_no_error_but_a_full_one_is() {
    let sandbox = Sandbox::new();
    let run = |shell: &str| Command::new("sh").args(["-c", shell, env!("CARGO_BIN_EXE_busy")]).output().unwrap();
    let output = run("\"$0\" list | true");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let output = run("\"$0\" list >/dev/full");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("can't write to stdout"), "{}", stderr(&output));
    let output = sandbox.run(&["list", "--json", "/dev/null"]);
    assert!(output.status.success() && stdout(&output).contains("ctypes"));
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}

/// Checks that the table was printed, the error names `path`, and the exit code is 2.
fn assert_printed_but_not_written(output: &Output, path: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stdout(output).contains("ctypes"), "{output:?}");
    assert!(stderr(output).contains("can't write") && stderr(output).contains(path), "{output:?}");
}

#[test]
fn a_json_file_on_a_full_disk_does_not_lose_the_table() {
    let sandbox = Sandbox::new();
    assert_printed_but_not_written(&sandbox.run(&["list", "--json", "/dev/full"]), "/dev/full");
    let folder = sandbox.path("full");
    std::fs::create_dir(&folder).unwrap();
    // One page, which is the folder's own.
    let script = "mount -t tmpfs -o size=4k none \"$1\" && head -c 4096 /dev/zero >\"$1/x\"; shift; exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", script, "sh", folder.to_str().unwrap()];
    let is_permitted = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none"]).arg(&folder).status();
    if !is_permitted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: unshare --mount, or mounting a tmpfs, is not permitted");
        return;
    }
    let file = folder.join("list.json").display().to_string();
    assert_printed_but_not_written(
        &sandbox.command_under(&wrapper, &["list", "--json", &file]).output().unwrap(),
        &file,
    );
}

#[test]
fn tables_fit_80_columns_and_100_if_no_width_is_known() {
    let sandbox = Sandbox::new();
    for columns in ["80", ""] {
        let output = sandbox.command(&["list"]).env("COLUMNS", columns).output().unwrap();
        let most = columns.parse().unwrap_or(100);
        let text = stdout(&output);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(text.contains('═') && widest <= most, "{widest} columns instead of {most}:\n{text}");
    }
}

#[test]
fn the_path_of_an_interpreter_is_in_one_piece() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path(&"a".repeat(80));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(real_python(), folder.join("python3")).unwrap();
    let output =
        sandbox.command(&["pythons"]).envs([("COLUMNS", "80".as_ref()), ("PATH", folder.as_os_str())]).output();
    let output = output.unwrap();
    assert!(stdout(&output).contains(folder.join("python3").to_str().unwrap()), "{output:?}");
}
