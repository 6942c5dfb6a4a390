//! Runs the GIL meter in a program that embeds Python under ThreadSanitizer and under memcheck, and the C examples under
//! memcheck and under the sanitizers of the C compiler. The tools prove first that they find a planted error.
//!
//! Memcheck's tests are skipped if valgrind is not installed; `make sanitizers` installs it on Debian, and runs the test
//! with ThreadSanitizer, for which it compiles libbusy again.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

#[allow(dead_code, reason = "not all helpers are used here")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/prefix.rs"]
mod prefix;

mod instrumented;
mod memcheck;

use common::{Python, describe, pythons, run};
use instrumented::Instrumented;
use memcheck::memcheck;
use prefix::{Prefix, compiler, source, text};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An interpreter that comes as a shared library, which a program can embed.
struct Embedded {
    name: String,
    library: PathBuf,
    home: String,
}

impl Embedded {
    /// Returns the shared libraries of the interpreters from 3.8 on.
    fn all() -> Vec<Self> {
        let found: Vec<_> = pythons().iter().filter_map(Self::of).collect();
        if found.is_empty() {
            eprintln!("skipped: no CPython from 3.8 on with a shared library was found");
        }
        found
    }

    fn of(python: &Python) -> Option<Self> {
        const QUERY: &str = "import os, sys, sysconfig as s; \
            print(s.get_config_var('LIBDIR'), s.get_config_var('INSTSONAME'), sys.base_prefix, sep='\\n') \
            if sys.version_info >= (3, 8) and s.get_config_var('INSTSONAME') else None";
        let is_metered = python.name.starts_with("CPython 3.") && !python.name.ends_with('t');
        // 2.7 can't parse the query.
        let answer = run(Command::new(&python.path).args(["-c", QUERY]));
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        let [folder, soname, home] = answer.lines().collect::<Vec<_>>().try_into().ok()?;
        let library = Path::new(folder).join(soname);
        let is_shared = library.is_file() && soname.contains(".so");
        let embedded = Self { name: python.name.clone(), library, home: home.into() };
        (is_metered && is_shared).then_some(embedded)
    }

    /// Returns the arguments that link a program with the interpreter.
    fn link(&self) -> [String; 2] {
        let folder = self.library.parent().unwrap();
        [text(&self.library), format!("-Wl,-rpath,{}", text(folder))]
    }

    /// Returns the command that runs `program`, which embeds the interpreter, for at most five minutes.
    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.arg("300").args(program).env("PYTHONHOME", &self.home).env_remove("PYTHONPATH");
        // Python's own allocator reads memory that it does not own, to check whether it does (address_in_range in
        // Objects/obmalloc.c).
        command.env("PYTHONMALLOC", "malloc");
        command
    }
}

#[test]
fn thread_sanitizer_finds_no_race_in_the_meter() {
    if std::env::var_os("BUSY_TSAN").is_none() {
        return eprintln!("skipped: `make sanitizers` runs this test");
    }
    let instrumented = Instrumented::build();
    for python in Embedded::all() {
        let program = text(&instrumented.program(&source("tests/sanitizers/gil_threads.c"), &python.link()));
        let run = |arguments: &[&str]| {
            let mut command = python.command(&[&[program.as_str()], arguments].concat());
            run(command.env("TSAN_OPTIONS", instrumented::OPTIONS))
        };
        let planted = run(&["1", "race"]);
        let report = String::from_utf8_lossy(&planted.stderr);
        assert_eq!(planted.status.code(), Some(instrumented::FOUND), "{}: {}", python.name, describe(&planted));
        assert!(report.contains("data race") && report.contains("busy_gil_snapshot"), "{}: {report}", python.name);

        let output = run(&["40"]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {}", python.name, describe(&output));
        eprintln!("{}: no race in {}", python.name, String::from_utf8_lossy(&output.stdout).trim());
    }
}

#[test]
fn memcheck_finds_no_error_in_the_meter() {
    if !memcheck::is_installed() {
        return;
    }
    let prefix = Prefix::new();
    for python in Embedded::all() {
        let link = prefix.shared().into_iter().chain(python.link()).chain(["-pthread".into()]);
        let program = prefix.compile(&source("tests/sanitizers/gil_threads.c"), "gnu11", &python.name, link);
        let program = text(&program);
        let planted = memcheck(|valgrind| python.command(&[valgrind, &[program.as_str(), "1", "unset"]].concat()));
        assert!(planted.iter().any(|error| error.contains("UninitCondition")), "{}: {planted:?}", python.name);

        let errors = memcheck(|valgrind| python.command(&[valgrind, &[program.as_str(), "20"]].concat()));
        assert!(errors.is_empty(), "{}: {}", python.name, errors.join("\n"));
        eprintln!("{}: no error", python.name);
    }
}

#[test]
fn memcheck_finds_no_error_in_the_c_examples() {
    if !memcheck::is_installed() {
        return;
    }
    for (name, program, arguments) in examples(&Prefix::new(), &[]) {
        let errors = memcheck(|valgrind| {
            let mut command = Command::new("timeout");
            command.arg("300").args(valgrind).arg(&program).args(&arguments);
            command
        });
        assert!(errors.is_empty(), "{name}: {}", errors.join("\n"));
    }
}

#[test]
fn the_sanitizers_of_the_compiler_find_no_error_in_the_c_examples() {
    const FLAGS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    const ERRORS: &str = "
        #include <limits.h>
        #include <stdlib.h>
        int main(int count, char **words)
        {
            volatile char *one = malloc(1);
            free((void *)one);
            return words && count > 1 ? INT_MAX + count : *one;
        }
    ";
    let prefix = Prefix::new();
    let (planted, program) = (prefix.path("planted.c"), prefix.path("planted"));
    std::fs::write(&planted, ERRORS).unwrap();
    let compiled = run(compiler(false).args(FLAGS).arg("-o").arg(&program).arg(&planted));
    if !compiled.status.success() {
        return eprintln!("skipped: this compiler has no sanitizers: {}", describe(&compiled));
    }
    for (words, error) in [("", "heap-use-after-free"), ("1", "signed integer overflow")] {
        let output = run(Command::new(&program).args(words.split_whitespace()));
        assert!(String::from_utf8_lossy(&output.stderr).contains(error), "{}", describe(&output));
    }
    for (name, program, arguments) in examples(&prefix, &FLAGS) {
        let output = run(Command::new("timeout").arg("300").arg(&program).args(&arguments));
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", describe(&output));
    }
}

/// Compiles the C examples that need no Python, with more flags. Returns the name, the program, and its arguments.
fn examples(prefix: &Prefix, flags: &[&str]) -> Vec<(&'static str, String, Vec<String>)> {
    let library = text(&prefix.path("lib/libbusy.so.1"));
    [("link", vec!["1500".to_owned()]), ("threads", vec![]), ("dlopen", vec![library])]
        .map(|(name, arguments)| {
            let more = flags.iter().chain(&["-pthread", "-ldl"]).map(|flag| (*flag).to_owned());
            let link = prefix.shared().into_iter().chain(more);
            (name, text(&prefix.compile(&source(&format!("c-examples/{name}.c")), "c11", name, link)), arguments)
        })
        .into()
}
