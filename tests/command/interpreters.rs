//! Interpreters as they occur on users' machines: behind wrappers, with start-up files that print, in folders of any
//! name.

use crate::harness::{Sandbox, json, real_python, stderr, stdout};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// Returns the JSON of `busy pythons`, run with `variables` in its environment.
fn pythons(sandbox: &Sandbox, variables: &[(&str, &OsStr)]) -> Value {
    let output = sandbox.command(&["pythons", "--json", "-"]).envs(variables.iter().copied()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
}

/// Runs `ctypes` on `python`, which must succeed. Returns the interpreter of the result.
fn interpreter_of_run(sandbox: &Sandbox, python: &OsStr) -> Value {
    let file = sandbox.path("result.json");
    let mut command = sandbox.command(&["run", "ctypes", "-d", "1", "--json", file.to_str().unwrap(), "-p"]);
    let output = command.arg(python).output().unwrap();
    assert!(file.is_file(), "{}", stderr(&output));
    let result = json(&file)["results"][0].clone();
    assert_eq!((result["status"].as_str(), result["cases"].as_array().unwrap().len()), (Some("ok"), 4), "{result:#}");
    result["interpreter"].clone()
}

#[test]
fn a_wrapper_is_run_rather_than_the_interpreter_behind_it() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    let text = format!("#!/bin/sh\necho \"$1\" >>'{}'\nexec '{}' \"$@\"\n", log.display(), real_python());
    let wrapper = sandbox.executable("wrapper", &text);
    let interpreter = interpreter_of_run(&sandbox, wrapper.as_ref());
    assert_eq!(
        (interpreter["command"].as_str(), interpreter["path"].as_str()),
        (Some(&*wrapper), Some(&*real_python()))
    );
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().filter(|line| line.ends_with("slide13_ctypes.py")).count(), 4, "{log}");
}

#[test]
fn the_path_of_an_interpreter_may_contain_any_bytes() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("").join(OsStr::from_bytes(b"caf\xc3\xa9 \xff"));
    fs::create_dir(&folder).unwrap();
    let python = folder.join("python3");
    symlink(real_python(), &python).unwrap();
    let interpreter = interpreter_of_run(&sandbox, python.as_os_str());
    for key in ["path", "command"] {
        assert!(interpreter[key].as_str().unwrap().ends_with("/café \\xff/python3"), "{interpreter:#}");
    }
    fs::remove_file(&python).unwrap();
    let output = sandbox.command(&["run", "-p"]).arg(&python).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/café \\xff/python3\"; -p takes"), "{}", stderr(&output));
}

#[test]
fn interpreters_are_identified_despite_start_up_files_and_variables() {
    let sandbox = Sandbox::new();
    let site = sandbox.path("site");
    fs::create_dir(&site).unwrap();
    // Prints before and after the answer, leaves a line without its end, and sets sys.stdout to None.
    let text = r#"
import atexit, os, sys
print("{}")
sys.stdout.write("hello")
sys.stdout.flush()
atexit.register(os.write, 1, b"bye\n{}\n")
sys.stdout = None
"#;
    fs::write(site.join("sitecustomize.py"), text).unwrap();
    let own = fs::canonicalize(real_python()).unwrap();
    for variables in [&[("PYTHONPATH", site.as_os_str())][..], &[("PYTHONIOENCODING", "utf-16".as_ref())]] {
        let list = pythons(&sandbox, variables);
        let found = list["interpreters"].as_array().unwrap();
        let paths = found.iter().map(|one| fs::canonicalize(one["path"].as_str().unwrap()).unwrap());
        assert!(paths.into_iter().any(|path| path == own), "{variables:?}: {list:#}");
    }
}

#[test]
fn interpreters_of_make_interpreters_are_found_and_a_broken_one_is_reported_once() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path(".cache/busy/interpreters/9.9/bin");
    fs::create_dir_all(&folder).unwrap();
    let python = sandbox.executable(".cache/busy/interpreters/9.9/bin/python9.9", "#!/bin/sh\nexit 3\n");
    symlink("python9.9", folder.join("python9")).unwrap();
    let output = sandbox.run(&["pythons"]);
    let stderr = stderr(&output);
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("interpreters/9.9/bin/python9")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("exited with 3"), "{stderr}");
    assert!(output.status.success() && !stdout(&output).contains(&python));

    // An interpreter that answers, but without its own path.
    let code = "import sys; sys.executable = None; exec(sys.argv[1])";
    sandbox.executable(
        ".cache/busy/interpreters/9.9/bin/python9.9",
        &format!("#!/bin/sh\nexec '{}' -c '{code}' \"$2\"\n", real_python()),
    );
    let list = pythons(&sandbox, &[]);
    let found = list["interpreters"].as_array().unwrap();
    assert!(found.iter().any(|one| fs::canonicalize(one["command"].as_str().unwrap()).unwrap() == Path::new(&python)));
}

/// Creates a virtual environment in the folder `name`, and returns its path.
fn environment(sandbox: &Sandbox, name: &str) -> String {
    let folder = sandbox.path(name).display().to_string();
    let status = Command::new(real_python()).args(["-m", "venv", "--without-pip", &folder]).status().unwrap();
    assert!(status.success());
    folder
}

/// Checks a statement with `arguments`. Returns the output, and the commands that ran.
fn checked(sandbox: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> (Output, Vec<String>) {
    let file = sandbox.path("check.json");
    let options = ["check", "import time; time.sleep(0.002)", "--json", file.to_str().unwrap()];
    let output = sandbox.command(&[&options[..], arguments].concat()).envs(variables.iter().copied()).output().unwrap();
    assert!(file.exists(), "{}", stderr(&output));
    let document = json(&file);
    let rows = document["results"].as_array().unwrap().iter();
    (output, rows.map(|row| row["interpreter"]["command"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn the_folder_of_a_virtual_environment_stands_for_its_interpreter() {
    let sandbox = Sandbox::new();
    let [one, other] = ["one", "other"].map(|name| environment(&sandbox, name));
    let (output, commands) = checked(&sandbox, &["-p", &one, "-p", &other, "-p", &one], &[]);
    assert_eq!(commands, [format!("{one}/bin/python"), format!("{other}/bin/python")], "each once");
    // They have the same version, so the tables name the folders.
    let text = stdout(&output);
    assert!(text.contains(" (one) ") && text.contains(" (other) "), "{text}");
    let output = sandbox.command(&["check", "pass", "-p", "one"]).current_dir(sandbox.home.path()).output().unwrap();
    assert!(stdout(&output).contains(&format!("{one}/bin/python")), "{output:?}");
}

#[test]
fn the_active_environment_is_the_default_and_is_named() {
    let sandbox = Sandbox::new();
    let folder = environment(&sandbox, "active");
    let (output, commands) = checked(&sandbox, &[], &[("VIRTUAL_ENV", &folder)]);
    assert_eq!(commands, [format!("{folder}/bin/python")]);
    assert!(stdout(&output).contains(&commands[0]), "{}", stdout(&output));
    let (output, commands) = checked(&sandbox, &[], &[("VIRTUAL_ENV", "")]);
    assert!(!commands[0].contains("active") && stdout(&output).contains(&commands[0]), "{}", stdout(&output));
    let output = sandbox.command(&["check", "pass"]).env("VIRTUAL_ENV", "/no/such/folder").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    for part in ["VIRTUAL_ENV", "/no/such/folder has no bin/python", "-p"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_name_without_interpreter_is_skipped_if_others_are_left() {
    let sandbox = Sandbox::new();
    let python = real_python();
    let (output, commands) = checked(&sandbox, &["-p", "9.99", "-p", &python, "-p", "/no/such/python"], &[]);
    assert_eq!(commands, [python]);
    for part in ["skipped: there is no Python 9.99", "skipped: there is no file, folder or command \"/no/such/python\""]
    {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}
