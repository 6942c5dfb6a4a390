//! Compiles each C example against an installed busy and checks its behaviour. Checks that busy.h serves C and C++.

#![cfg(target_os = "linux")]

mod common;
#[path = "common/prefix.rs"]
mod prefix;

#[path = "../ffi/src/abi.rs"]
mod abi;

use abi::{BUSY_ABI_MAJOR as MAJOR, BUSY_ABI_MINOR as MINOR};
use common::{Python, describe, printed, pythons, run};
use prefix::{Prefix, compiler, source, text};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The environment with the tools of the tests, of which cffi is one.
const PYTHON_WITH_CFFI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/build/venv/bin/python");

impl Prefix {
    /// Returns the words in the value of `key` in busy.pc.
    fn pkg_config(&self, key: &str) -> Vec<String> {
        let description = fs::read_to_string(self.path("lib/pkgconfig/busy.pc")).unwrap();
        let value = description.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.unwrap().split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles the example `name`.c and returns the program.
    fn example<Argument: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = Argument>) -> PathBuf {
        self.compile(&source(&format!("c-examples/{name}.c")), "c11", name, arguments)
    }

    /// Compiles python_extension.c for the interpreter `python`. Returns the folder from which it can be imported.
    fn python_extension(&self, python: &Path) -> TempDir {
        let folder = TempDir::new_in(self.0.path()).unwrap();
        let suffix = evaluate(python, "sysconfig.get_config_var('EXT_SUFFIX') or '.so'");
        let module = folder.path().join(format!("busy_c{suffix}"));
        // -isystem suppresses warnings about Python's own headers; they are not about this file.
        let include = evaluate(python, "sysconfig.get_paths()['include']");
        let arguments = ["-shared", "-fPIC", "-isystem", &include].map(str::to_owned).into_iter();
        let source_file = source("c-examples/python_extension.c");
        self.compile(&source_file, "c11", &text(&module), arguments.chain(self.shared()).chain(["-lm".into()]));
        folder
    }

    /// Compiles `code` into a shared library that imitates libbusy.
    fn fake_library(&self, code: &str) -> PathBuf {
        let source = self.path("fake.c");
        fs::write(&source, format!("#include <busy.h>\n{code}\n")).unwrap();
        self.compile(&source, "c11", "libfake.so", ["-shared", "-fPIC"])
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: {program} not found");
    }
    found
}

/// Runs `link` and checks the values that it prints.
fn assert_waited(link: &Path) {
    assert_shows_a_wait(Command::new(link).arg("1500"));
}

/// Runs a program that waits for 1500 us, and checks the values that it prints, one per line.
fn assert_shows_a_wait(program: &mut Command) {
    let shown = printed(program);
    let value = |key: &str| -> u64 {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}: {shown}"));
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(value("requested"), 1_500_000);
    assert!(value("elapsed") >= 1_500_000 && value("cpu") > 0 && value("count") > 0, "{shown}");
}

#[test]
fn link_runs_on_the_shared_library() {
    let prefix = Prefix::new();
    let link = prefix.example("link", prefix.shared());
    assert_waited(&link);

    // The program names the soname, not the file that it was linked with.
    fs::remove_file(prefix.path("lib/libbusy.so")).unwrap();
    assert_waited(&link);
    fs::remove_file(prefix.path("lib/libbusy.so.1")).unwrap();
    assert!(!run(&mut Command::new(&link)).status.success());
}

/// Returns true if the program `language` ends well with these arguments, which ask for what an example needs.
fn serves(language: &str, arguments: &[&str]) -> bool {
    let found = Command::new(language).args(arguments).output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: `{language} {}` failed", arguments.join(" "));
    }
    found
}

#[test]
fn other_languages_wait_by_the_c_abi_alone() {
    let prefix = Prefix::new();
    let (root, library) = (text(prefix.0.path()), text(&prefix.path("lib/libbusy.so.1")));
    for (language, needs, example, target) in [
        ("ruby", &["-e", "require 'fiddle/import'"][..], "wait.rb", &library),
        ("luajit", &["-e", "require('ffi')"], "wait.lua", &library),
        ("node", &["-e", "require('koffi')"], "wait.js", &library),
        ("perl", &["-e", "use FFI::Platypus 2.00; use FFI::Platypus::Record"], "wait.pl", &library),
        (PYTHON_WITH_CFFI, &["-c", "import cffi, setuptools"], "wait_cffi.py", &format!("abi {root}")),
        (PYTHON_WITH_CFFI, &["-c", "import cffi, setuptools"], "wait_cffi.py", &format!("api {root}")),
    ] {
        if serves(language, needs) {
            let example = source(&format!("c-examples/languages/{example}"));
            let mut command = Command::new(language);
            assert_shows_a_wait(command.arg(example).args(target.split(' ')).arg("1500"));
        }
    }
    if serves("go", &["version"]) {
        let mut command = Command::new("go");
        command.env("PKG_CONFIG_PATH", prefix.path("lib/pkgconfig")).env("GOCACHE", prefix.path("go"));
        command.env("CGO_LDFLAGS", format!("-Wl,-rpath,{root}/lib")).env("GO111MODULE", "off");
        assert_shows_a_wait(command.arg("run").arg(source("c-examples/languages/wait.go")).arg("1500"));
    }
}

#[test]
fn link_runs_on_the_static_library() {
    let prefix = Prefix::new();
    let mut libraries = vec![text(&prefix.path("lib/libbusy.a"))];
    libraries.extend(prefix.pkg_config("Libs.private"));
    let link = prefix.example("link", libraries);
    fs::remove_dir_all(prefix.path("lib")).unwrap();
    assert_waited(&link);
}

#[test]
fn the_static_library_has_no_global_symbols_but_those_of_the_abi() {
    let prefix = Prefix::new();
    let archive = text(&prefix.path("lib/libbusy.a"));
    let shown = printed(Command::new("nm").args(["--extern-only", "--defined-only", "--format=posix", &archive]));
    let mut found: Vec<_> = shown.lines().filter_map(|line| line.split_once(' ')).map(|(name, _)| name).collect();
    found.retain(|name| !name.starts_with(&archive) && !name.contains('['));
    found.sort_unstable();
    let listed = fs::read_to_string(source("ffi/abi/symbols.txt")).unwrap();
    assert_eq!(found, listed.lines().collect::<Vec<_>>());
}

/// A program that uses libbusy and another library written in Rust, each of which carries the standard library.
const TWO_LIBRARIES: &str = "
    #include <busy.h>
    #include <stdio.h>
    int other_panics(void);
    int main(void)
    {
        busy_wait_result result;
        if (busy_wait_ns(1000, NULL, &result) != BUSY_OK)
            return 1;
        return other_panics() == 7 ? 0 : 2;
    }
";

#[test]
fn the_static_library_links_beside_another_rust_library_in_both_orders() {
    let prefix = Prefix::new();
    let (program, other) = (prefix.path("two.c"), prefix.path("other.rs"));
    fs::write(&program, TWO_LIBRARIES).unwrap();
    fs::write(
        &other,
        "#[unsafe(no_mangle)] pub extern \"C\" fn other_panics() -> i32 {
            std::panic::catch_unwind(|| -> i32 { panic!(\"seen\") }).unwrap_or(7)
        }",
    )
    .unwrap();
    let mut compiler = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    compiler.args(["--edition=2024", "--crate-type=staticlib", "--out-dir"]).arg(prefix.0.path()).arg(&other);
    assert!(run(&mut compiler).status.success());
    let [busy, other] = ["lib/libbusy.a", "libother.a"].map(|name| text(&prefix.path(name)));
    for (name, order) in [("first", [&busy, &other]), ("last", [&other, &busy])] {
        let libraries = order.into_iter().cloned().chain(prefix.pkg_config("Libs.private"));
        let output = run(&mut Command::new(prefix.compile(&program, "c11", name, libraries)));
        assert!(output.status.success(), "{name}: {}", describe(&output));
        // Libbusy silences its own panics only.
        assert!(String::from_utf8_lossy(&output.stderr).contains("seen"), "{name}: {}", describe(&output));
    }
}

#[test]
fn a_static_executable_needs_no_library() {
    let prefix = Prefix::new();
    let link = prefix.path("link");
    // The linker warns that dlopen(3), by which the GIL meter finds a Python, serves no static executable.
    let mut compiler = compiler(false);
    compiler.arg("-static").arg("-I").arg(prefix.path("include")).arg(source("c-examples/link.c")).arg("-o").arg(&link);
    let output = run(compiler.arg(prefix.path("lib/libbusy.a")).args(prefix.pkg_config("Libs.private")));
    assert!(output.status.success(), "{}", describe(&output));
    fs::remove_dir_all(prefix.path("lib")).unwrap();
    assert_waited(&link);
}

/// Returns the path of a program that `make check` and `make test` install.
fn tool(name: &str) -> Option<PathBuf> {
    let path = source("build/venv/bin").join(name);
    if !path.is_file() {
        eprintln!("skipped: {} not found; run `make test`", path.display());
    }
    Some(path).filter(|path| path.is_file())
}

/// Checks programs that were built in `folder`. Those with the static library run without the shared one.
fn assert_built(prefix: &Prefix, folder: &Path, is_static: bool) {
    if is_static {
        fs::remove_file(prefix.path("lib/libbusy.so.1")).unwrap();
    }
    assert_waited(&folder.join("link"));
    assert!(!printed(&mut Command::new(folder.join("threads"))).is_empty());
    if !is_static {
        fs::remove_file(prefix.path("lib/libbusy.so.1")).unwrap();
        assert!(!run(&mut Command::new(folder.join("link"))).status.success(), "it does not use the installed library");
    }
}

#[test]
fn cmake_builds_the_examples() {
    let (Some(cmake), Some(ninja)) = (tool("cmake"), tool("ninja")) else { return };
    for (is_static, option) in [(false, "-DBUSY_STATIC=OFF"), (true, "-DBUSY_STATIC=ON")] {
        let (prefix, folder) = (Prefix::new(), TempDir::new().unwrap());
        let mut configure = Command::new(&cmake);
        configure.args(["-G", "Ninja", option, "-S"]).arg(source("c-examples")).arg("-B").arg(folder.path());
        configure.arg(format!("-DCMAKE_MAKE_PROGRAM={}", text(&ninja)));
        printed(configure.env("PKG_CONFIG_PATH", prefix.path("lib/pkgconfig")));
        printed(Command::new(&cmake).arg("--build").arg(folder.path()));
        assert_built(&prefix, folder.path(), is_static);
    }
}

#[test]
fn meson_builds_the_examples() {
    let (Some(meson), Some(ninja)) = (tool("meson"), tool("ninja")) else { return };
    for is_static in [false, true] {
        let (prefix, folder) = (Prefix::new(), TempDir::new().unwrap());
        let mut setup = Command::new(&meson);
        setup.args(["setup", &format!("-Dprefer_static={is_static}")]).arg(folder.path()).arg(source("c-examples"));
        setup.env("NINJA", &ninja).env("PKG_CONFIG_PATH", prefix.path("lib/pkgconfig"));
        printed(&mut setup);
        printed(Command::new(&ninja).arg("-C").arg(folder.path()));
        assert_built(&prefix, folder.path(), is_static);
    }
}

#[test]
fn link_refuses_invalid_numbers_of_microseconds() {
    let prefix = Prefix::new();
    let link = prefix.example("link", prefix.shared());
    for wrong in ["", "-1", " 1", "1x", "9223372036854776", "99999999999999999999"] {
        let output = run(Command::new(&link).arg(wrong));
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", describe(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}: {}", describe(&output));
    }
}

#[test]
fn the_headers_serve_c_and_cpp() {
    // The headers are included twice to test their include guards. The program is linked and run; in C++ this tests
    // that the headers declare extern "C".
    const USE: &str = r#"
        #include <busy_gil.h>
        #include <busy.h>
        #include <busy_gil.h>
        static busy_cancel cancel = BUSY_CANCEL_INIT;
        static void snippets(void);
        int main(void)
        {
            busy_wait_options options = BUSY_WAIT_OPTIONS_INIT;
            busy_wait_result result;
            uint64_t most = BUSY_WAIT_MAX_NS;
            busy_gil_totals totals = BUSY_GIL_TOTALS_INIT;
            busy_gil_thread threads[1];
            size_t needed = 7;
            char reason[64];
            options.cancel = &cancel;
            snippets();
            /* There is no Python in this program. */
            if (busy_gil_start() != BUSY_GIL_REFUSED || busy_gil_reason(reason, sizeof reason) < sizeof reason || reason[63] != 0)
                return 2;
            if (busy_gil_snapshot(&totals, threads, 1, &needed) != BUSY_GIL_OFF || needed != 7 || busy_gil_stop() != BUSY_GIL_OFF)
                return 3;
            if (BUSY_VERSION_MAJOR * 10000 + BUSY_VERSION_MINOR * 100 + BUSY_VERSION_PATCH < 100)
                return 4;
            if (!BUSY_ABI_COMPATIBLE(busy_abi_version()) || busy_wait_ns(most + 1, NULL, &result) != BUSY_OUT_OF_RANGE)
                return 1;
            return busy_wait_ns(1000, &options, &result) != BUSY_OK || result.elapsed_ns < 1000;
        }
    "#;
    let (prefix, program) = (Prefix::new(), format!("{USE}{}", snippets()));
    let source = prefix.path("use.c");
    fs::write(&source, &program).unwrap();
    for standard in ["c90", "c99", "c11", "c17", "c2x"] {
        // C90 has no long long, but <stdint.h> itself needs it.
        let arguments = prefix.shared().into_iter().chain((standard == "c90").then(|| "-Wno-long-long".into()));
        printed(&mut Command::new(prefix.compile(&source, standard, standard, arguments)));
    }

    if !has(compiler(true).get_program().to_str().unwrap()) {
        return;
    }
    let source = prefix.path("use.cpp");
    fs::write(&source, &program).unwrap();
    for standard in ["c++98", "c++11", "c++17", "c++20"] {
        // C++98 has no long long, but <stdint.h> itself needs it.
        let arguments = prefix.shared().into_iter().chain(["-Wno-long-long".into()]);
        printed(&mut Command::new(prefix.compile(&source, standard, standard, arguments)));
    }
}

/// Returns a C function with the code in the comments of the headers, such as `busy_cancel cancel = BUSY_CANCEL_INIT;`.
fn snippets() -> String {
    let text = ["busy.h", "busy_gil.h"].map(|name| fs::read_to_string(source(&format!("ffi/include/{name}"))).unwrap());
    let text = text.concat();
    let code = text.lines().filter_map(|line| Some(line.strip_suffix(" */")?.split_once(": ")?.1));
    let code: Vec<&str> = code.filter(|code| code.ends_with(';')).collect();
    assert_eq!(code.len(), text.matches("_INIT {").count(), "each struct with a macro has its example: {code:?}");
    let used = |code: &&str| {
        let name = code.split(" = ").next().unwrap().rsplit(' ').next().unwrap();
        format!("    {{\n        {code}\n        (void)&{name};\n    }}\n")
    };
    format!("static void snippets(void)\n{{\n{}}}\n", code.iter().map(used).collect::<String>())
}

fn version_function(major: u32, minor: u32) -> String {
    format!("uint32_t busy_abi_version(void) {{ return {}; }}", major << 16 | minor)
}

/// The functions that the example looks up before busy_wait_ns().
const OTHER_FUNCTIONS: &str = "
    const char *busy_version(void) { return \"fake\"; }
    const char *busy_strerror(busy_status status) { return status == BUSY_OK ? \"\" : NULL; }
    ";

/// Checks that `dlopen` refuses `library` with code 1, prints all of `words` on stderr, and prints nothing on stdout.
fn assert_refused(program: &Path, library: &Path, words: &[&str]) {
    let Output { status, stdout, stderr } = run(Command::new(program).arg(library));
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stdout.is_empty(), "{stdout:?}");
    let advice = format!("\nInstall libbusy {MAJOR}.{MINOR} or a later {MAJOR}.x, or give its file: ");
    for word in words.iter().copied().chain([advice.as_str(), library.to_str().unwrap()]) {
        assert!(stderr.contains(word), "{word:?} not found in {stderr:?}");
    }
}

#[test]
fn dlopen_runs_by_path_and_by_soname() {
    let prefix = Prefix::new();
    let dlopen = prefix.example("dlopen", ["-ldl"]);
    let by_path = printed(Command::new(&dlopen).arg(prefix.path("lib/libbusy.so.1")));
    let opening = format!("libbusy {}, ABI {MAJOR}.{MINOR}: ", env!("CARGO_PKG_VERSION"));
    assert!(by_path.starts_with(&opening), "{by_path}");
    fs::remove_file(prefix.path("lib/libbusy.so")).unwrap();
    let by_soname = printed(Command::new(&dlopen).env("LD_LIBRARY_PATH", prefix.path("lib")));
    assert!(by_soname.starts_with(&opening), "{by_soname}");
}

#[test]
fn dlopen_refuses_other_libraries_and_other_versions() {
    let prefix = Prefix::new();
    let dlopen = prefix.example("dlopen", ["-ldl"]);

    assert_refused(&dlopen, Path::new("libbusy-missing.so"), &["cannot open libbusy", "No such file"]);
    assert_refused(&dlopen, &source("Cargo.toml"), &["cannot open libbusy", "invalid ELF header"]);
    assert_refused(&dlopen, Path::new("libm.so.6"), &["not libbusy", "lacks busy_abi_version"]);

    let expected = format!("expected {MAJOR}.{MINOR} or a later {MAJOR}.x");
    for (major, minor) in [(0, 0), (0, 0xffff), (MAJOR - 1, 0xffff), (MAJOR + 1, 0), (0xffff, 0xffff)] {
        let fake = prefix.fake_library(&version_function(major, minor));
        assert_refused(&dlopen, &fake, &[&format!("has ABI {major}.{minor}, {expected}")]);
    }

    let fake = prefix.fake_library(&(version_function(MAJOR, MINOR) + OTHER_FUNCTIONS));
    assert_refused(&dlopen, &fake, &[&format!("reports ABI {MAJOR}.{MINOR} but lacks busy_wait_ns")]);
}

#[test]
fn dlopen_accepts_a_later_minor_version() {
    let prefix = Prefix::new();
    let dlopen = prefix.example("dlopen", ["-ldl"]);
    let wait_ns = "busy_status busy_wait_ns(uint64_t ns, const busy_wait_options *options, busy_wait_result *result)
        {
            result->count = options == NULL;
            result->elapsed_ns = ns;
            return BUSY_OK;
        }";
    let fake = prefix.fake_library(&(version_function(MAJOR, MINOR + 7) + OTHER_FUNCTIONS + wait_ns));
    let shown = printed(Command::new(dlopen).arg(fake));
    assert_eq!(shown, format!("libbusy fake, ABI {MAJOR}.{}: 1 polls in 1000000 ns\n", MINOR + 7));
}

#[test]
fn all_threads_are_cancelled() {
    let prefix = Prefix::new();
    let threads = prefix.example("threads", prefix.shared().into_iter().chain(["-pthread".into()]));
    let shown = printed(&mut Command::new(threads));
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    for line in lines {
        assert!(line.contains(": the call was cancelled, ") && line.contains("; used "), "{line}");
        eprintln!("{line}");
    }
}

/// Returns the text that the interpreter prints for `expression`.
fn evaluate(python: &Path, expression: &str) -> String {
    let code = format!("import os, sys, sysconfig; print({expression})");
    printed(Command::new(python).args(["-c", &code])).trim_end().to_owned()
}

fn has_headers(python: &Path) -> bool {
    let found = evaluate(python, "os.path.exists(sysconfig.get_paths()['include'] + '/Python.h')") == "True";
    if !found {
        eprintln!("skipped: {} has no Python.h", python.display());
    }
    found
}

#[test]
fn python_extension_serves_every_python() {
    let prefix = Prefix::new();
    for Python { path, name } in pythons() {
        if evaluate(&path, "(3, 0) <= sys.version_info < (3, 6)") == "True" {
            eprintln!("skipped: {name}, because python_extension.c requires 2.7, or 3.6 or later");
            continue;
        }
        if !has_headers(&path) {
            continue;
        }
        let folder = prefix.python_extension(&path);
        let mut check = Command::new(&path);
        check.arg(source("tests/python_extension.py")).env("PYTHONPATH", folder.path());
        assert_eq!(printed(&mut check), "all as expected\n", "{name}");
        eprintln!("{name}: as expected");
    }
}

#[test]
fn python_extension_rounds_up_and_never_down() {
    let python = Path::new("python3");
    if !has("python3") || !has_headers(python) {
        return;
    }
    let prefix = Prefix::new();
    let folder = prefix.python_extension(python);
    let reporting = prefix.fake_library(
        "busy_status busy_wait_ns(uint64_t ns, const busy_wait_options *options, busy_wait_result *result)
        {
            (void)options;
            result->count = ns;
            return BUSY_OK;
        }",
    );
    let mut check = Command::new(python);
    check.arg(source("tests/python_extension_rounding.py")).env("PYTHONPATH", folder.path());
    assert_eq!(printed(check.env("LD_PRELOAD", reporting)), "all as expected\n");
}

/// Returns the flags to compile interpreters.c with, if the interpreter comes as a shared library.
fn embedding(python: &Path) -> Option<Vec<String>> {
    if evaluate(python, "sys.version_info >= (3, 12) and sys.implementation.name == 'cpython'") != "True" {
        return None;
    }
    let library = "next((path for path in (os.path.join(folder, sysconfig.get_config_var('INSTSONAME')) for folder in \
                   (sys.base_prefix + '/lib', sysconfig.get_config_var('LIBDIR'))) if os.path.exists(path)), '')";
    let library = evaluate(python, library);
    if !library.contains(".so") {
        eprintln!("skipped: no shared libpython for {}", python.display());
        return None;
    }
    let folder = text(Path::new(&library).parent().unwrap());
    let include = evaluate(python, "sysconfig.get_paths()['include']");
    let flags = ["-pthread", "-isystem", &include, &library].map(str::to_owned).into_iter();
    Some(flags.chain([format!("-Wl,-rpath,{folder}")]).collect())
}

#[test]
fn interpreters_share_memory_and_use_one_core_per_gil() {
    let prefix = Prefix::new();
    for Python { path, name } in pythons() {
        let Some(flags) = embedding(&path).filter(|_| has_headers(&path)) else { continue };
        let gil = evaluate(&path, "getattr(sys, '_is_gil_enabled', lambda: True)()") == "True";
        let program = prefix.example("interpreters", flags.into_iter().chain(prefix.shared()));
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            run(command.env("PYTHONHOME", evaluate(&path, "sys.base_prefix")).args(arguments))
        };
        for wrong in [&[][..], &["own-gil", "1"], &["none", "1", "2"], &["own-gil", "1", "65"], &["own-gil", "0", "1"]]
        {
            let output = run(wrong);
            assert_eq!(output.status.code(), Some(2), "{name}, {wrong:?}: {}", describe(&output));
        }
        let metrics = |variant: &str| {
            let output = run(&[variant, "1", "2"]);
            assert!(output.status.success(), "{name}, {variant}: {}", describe(&output));
            let metrics = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["metrics"].take();
            let counts: Vec<_> = metrics["counts"].as_array().unwrap().iter().map(serde_json::Value::as_u64).collect();
            assert!(counts.len() == 2 && counts.iter().all(|count| *count > Some(0)), "{name}, {variant}: {metrics}");
            let number = |metric: &str| metrics[metric].as_f64().unwrap();
            (number("cpu_percent"), number("run_delay_percent"))
        };
        // Other processes may use the cores too. But a thread with a GIL of its own always runs or is runnable. The
        // hypervisor may take away CPU time, but not in every attempt.
        let is_parallel = |(cpu, run_delay): (f64, f64)| cpu + run_delay > 150.0 && cpu < 202.0;
        assert!((0..5).any(|_| is_parallel(metrics("own-gil"))), "{name}: one thread waits for the other");
        // One GIL lets one thread run at a time. A free-threaded build refuses interpreters that share one.
        for variant in ["shared-gil", "one-interpreter"].into_iter().filter(|_| gil) {
            let (cpu, _) = metrics(variant);
            assert!(cpu > 0.0 && cpu < 110.0, "{name}, {variant}: {cpu} %");
        }
        eprintln!("{name}: as expected");
    }
}

#[test]
fn the_examples_makefile_builds_and_runs_them_all() {
    if !["make", "pkg-config", "python3"].into_iter().all(has) || !has_headers(Path::new("python3")) {
        return;
    }
    let prefix = Prefix::new();
    let make = |arguments: &[&str]| {
        let mut command = Command::new("make");
        // Without this, `make test` would pass its own variables on.
        command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").arg("-C").arg(source("c-examples"));
        command.arg(format!("BUILD={}", text(&prefix.path("build")))).args(arguments);
        run(&mut command)
    };
    let output = make(&["check", &format!("PREFIX={}", text(prefix.0.path()))]);
    assert!(output.status.success(), "{}", describe(&output));
    assert!(make(&["clean", "PREFIX=/none"]).status.success());
    assert!(!prefix.path("build").exists());

    let output = make(&["PREFIX=/none"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no busy in /none"));
}

#[test]
fn the_snippets_of_the_manual_come_from_the_examples() {
    let manual = fs::read_to_string(source("docs/c-api.md")).unwrap();
    let examples = ["link", "dlopen", "threads", "python_extension"]
        .map(|name| fs::read_to_string(source(&format!("c-examples/{name}.c"))).unwrap());
    let snippets: Vec<_> = manual.split("```c\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!snippets.is_empty());
    for snippet in snippets {
        // The lines of a snippet occur in one example, in order. The indentation may differ, and lines may be left out.
        let contains = |example: &String| {
            let mut lines = example.lines().map(str::trim);
            snippet.lines().map(str::trim).all(|wanted| wanted.is_empty() || lines.any(|line| line == wanted))
        };
        assert!(examples.iter().any(contains), "docs/c-api.md shows code that is in no example:\n{snippet}");
    }
}
