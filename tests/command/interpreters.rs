//! Interpreters as people have them: behind wrappers, with talkative start-up files, in folders of any name.

use crate::harness::{Bench, json, real_python, stderr, stdout};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// `busy pythons` with these variables, as JSON.
fn pythons(bench: &Bench, variables: &[(&str, &OsStr)]) -> Value {
    let output = bench.command(&["pythons", "--json", "-"]).envs(variables.iter().copied()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
}

/// A run of `ctypes` on `python`, which must come to figures.
fn measured(bench: &Bench, python: &OsStr) -> Value {
    let file = bench.path("result.json");
    let mut command = bench.command(&["run", "ctypes", "-d", "1", "--json", file.to_str().unwrap(), "-p"]);
    let output = command.arg(python).output().unwrap();
    assert!(file.is_file(), "{}", stderr(&output));
    let result = json(&file)["results"][0].clone();
    assert_eq!((result["status"].as_str(), result["cases"].as_array().unwrap().len()), (Some("ok"), 3), "{result:#}");
    result["interpreter"].clone()
}

#[test]
fn a_wrapper_is_run_and_not_what_it_leads_to() {
    let bench = Bench::new();
    let log = bench.path("log");
    let text = format!("#!/bin/sh\necho \"$1\" >>'{}'\nexec '{}' \"$@\"\n", log.display(), real_python());
    let wrapper = bench.executable("wrapper", &text);
    let interpreter = measured(&bench, wrapper.as_ref());
    assert_eq!(
        (interpreter["command"].as_str(), interpreter["path"].as_str()),
        (Some(&*wrapper), Some(&*real_python()))
    );
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().filter(|line| line.ends_with("slide13_ctypes.py")).count(), 3, "{log}");
}

#[test]
fn a_path_may_have_any_bytes() {
    let bench = Bench::new();
    let folder = bench.path("").join(OsStr::from_bytes(b"caf\xc3\xa9 \xff"));
    fs::create_dir(&folder).unwrap();
    let python = folder.join("python3");
    symlink(real_python(), &python).unwrap();
    let interpreter = measured(&bench, python.as_os_str());
    for key in ["path", "command"] {
        assert!(interpreter[key].as_str().unwrap().ends_with("/café \\xff/python3"), "{interpreter:#}");
    }
    fs::remove_file(&python).unwrap();
    let output = bench.command(&["run", "-p"]).arg(&python).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/café \\xff/python3 is not a Python"), "{}", stderr(&output));
}

#[test]
fn start_up_files_and_variables_do_not_hide_who_an_interpreter_is() {
    let bench = Bench::new();
    let site = bench.path("site");
    fs::create_dir(&site).unwrap();
    // Before the answer and after it, without the end of a line, and through a stdout that is none.
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
        let list = pythons(&bench, variables);
        let found = list["interpreters"].as_array().unwrap();
        let paths = found.iter().map(|one| fs::canonicalize(one["path"].as_str().unwrap()).unwrap());
        assert!(paths.into_iter().any(|path| path == own), "{variables:?}: {list:#}");
    }
}

#[test]
fn what_lies_where_make_interpreters_puts_it_is_asked_and_a_broken_one_told_once() {
    let bench = Bench::new();
    let folder = bench.path(".cache/busy/interpreters/9.9/bin");
    fs::create_dir_all(&folder).unwrap();
    let python = bench.executable(".cache/busy/interpreters/9.9/bin/python9.9", "#!/bin/sh\nexit 3\n");
    symlink("python9.9", folder.join("python9")).unwrap();
    let output = bench.run(&["pythons"]);
    let said = stderr(&output);
    let told: Vec<_> = said.lines().filter(|line| line.contains("interpreters/9.9/bin/python9")).collect();
    assert!(told.len() == 1 && told[0].contains("exited with 3"), "{said}");
    assert!(output.status.success() && !stdout(&output).contains(&python));

    // One that answers, but does not know where it lies.
    let question = "import sys; sys.executable = None; exec(sys.argv[1])";
    bench.executable(
        ".cache/busy/interpreters/9.9/bin/python9.9",
        &format!("#!/bin/sh\nexec '{}' -c '{question}' \"$2\"\n", real_python()),
    );
    let list = pythons(&bench, &[]);
    let found = list["interpreters"].as_array().unwrap();
    assert!(found.iter().any(|one| fs::canonicalize(one["command"].as_str().unwrap()).unwrap() == Path::new(&python)));
}
