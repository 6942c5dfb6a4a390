//! `make install` and `make uninstall`.

use crate::harness::{Sandbox, real_python, stderr, stdout};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a target of the Makefile with `prefix`, which must succeed.
fn make(target: &str, prefix: &str) -> Output {
    let prefix = format!("PREFIX={prefix}");
    let output = Command::new("make").args(["-C", ROOT, target, "DESTDIR=", &prefix]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

#[test]
fn the_installed_module_brings_its_pytest_plugin_and_uninstall_removes_it() {
    if !Path::new(ROOT).join("target/release/python/busy/__init__.py").is_file() {
        eprintln!("skipped: nothing to install; run `make build`");
        return;
    }
    let sandbox = Sandbox::new();
    // A folder of the same metadata that an earlier version has left.
    let python = sandbox.path("prefix/lib/busy/python");
    fs::create_dir_all(python.join("busy_gil-0.0.1.dist-info")).unwrap();
    let prefix = sandbox.path("prefix").display().to_string();
    make("install", &prefix);
    let code = "from importlib.metadata import distribution, entry_points\n\
                print([one.value for one in entry_points(group='pytest11') if one.name == 'busy'])\n\
                print(distribution('busy-gil').version)";
    let output = Command::new(real_python()).args(["-c", code]).env("PYTHONPATH", &python).output().unwrap();
    let expected = format!("['busy.pytest_plugin']\n{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    // The module meters by the installed libbusy.
    let code = "import busy, os\n\
                with busy.watch(): pass\n\
                maps = [line.split()[-1] for line in open('/proc/self/maps') if 'libbusy' in line]\n\
                print(sorted(set(maps)))";
    let output = Command::new(real_python()).args(["-c", code]).env("PYTHONPATH", &python).output().unwrap();
    let library = fs::canonicalize(sandbox.path("prefix/lib/libbusy.so.1")).unwrap();
    assert_eq!(stdout(&output), format!("['{}']\n", library.display()), "{}", stderr(&output));
    make("uninstall", &prefix);
    let files: Vec<_> = sandbox.files().into_iter().filter(|file| file.starts_with(&prefix)).collect();
    assert!(files.is_empty(), "{files:?}");
}
