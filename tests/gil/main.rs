//! Tests the GIL meter of libbusy through ctypes inside real interpreters: against known holds and waits, in random
//! lives with forks, with interpreters that have their own GIL, and in interpreters in which it must refuse to start.
//!
//! The scripts print figures, which are shown and compared with wide bounds. docs/measuring.md contains the figures of
//! a quiet machine.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

#[allow(dead_code, reason = "`busy pythons` finds more than common::pythons")]
#[path = "../common/mod.rs"]
mod common;
mod forks;
mod memory;
#[allow(dead_code, reason = "nothing here is linked with libbusy")]
#[path = "../common/prefix.rs"]
mod prefix;

use common::{describe, libbusy, printed, run};
use prefix::Prefix;
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An interpreter, as `busy pythons` describes it.
struct Python {
    name: String,
    path: PathBuf,
    version: (u64, u64),
    is_metered: bool,
}

/// Returns all interpreters found, each once.
fn pythons() -> &'static [Python] {
    static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let listed = printed(Command::new(env!("CARGO_BIN_EXE_busy")).args(["pythons", "--json", "-"]));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let python = |listed: &Value| {
            let version = (listed["version_info"][0].as_u64().unwrap(), listed["version_info"][1].as_u64().unwrap());
            let is_served = version == (2, 7) || version >= (3, 7);
            Python {
                name: listed["name"].as_str().unwrap().into(),
                path: listed["path"].as_str().unwrap().into(),
                version,
                is_metered: listed["implementation"] == "cpython" && listed["gil"] == true && is_served,
            }
        };
        listed["interpreters"].as_array().unwrap().iter().map(python).collect()
    })
}

/// Returns the interpreters whose GIL is metered, from version `oldest` on.
fn metered(oldest: (u64, u64)) -> Vec<&'static Python> {
    let found: Vec<_> = pythons().iter().filter(|python| python.is_metered && python.version >= oldest).collect();
    if found.is_empty() {
        eprintln!("skipped: no CPython with a GIL from {}.{} on was found", oldest.0, oldest.1);
    }
    found
}

fn script(python: &Python, name: &str) -> Command {
    let mut command = Command::new(&python.path);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gil").join(name);
    // 3.12 warns about forks in a process with threads. -B prevents files among the sources.
    command.args(["-W", "ignore", "-B"]).arg(script).arg(libbusy());
    command
}

fn figures(command: &mut Command) -> Value {
    serde_json::from_str(&printed(command)).unwrap()
}

/// Compiles the generator of known holds and releases.
fn generator(prefix: &Prefix) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/c/gil_generator.c");
    // Strict C99 hides the POSIX functions.
    prefix.compile(&source, "c99", "generator.so", ["-shared", "-fPIC", "-D_POSIX_C_SOURCE=200809L"])
}

#[test]
fn holds_and_releases_of_one_thread_are_metered() {
    let prefix = Prefix::new();
    let generator = generator(&prefix);
    for python in metered((2, 7)) {
        let found = figures(script(python, "truth.py").arg(&generator));
        eprintln!("{}: {found}", python.name);
        let [mean, max] = ["mean", "max"].map(|key| found[key].as_f64().unwrap());
        assert!(mean < 0.005 && max < 0.05, "{}: {found}", python.name);
    }
}

#[test]
fn holds_and_waits_of_four_threads_are_metered_for_each() {
    let prefix = Prefix::new();
    let generator = generator(&prefix);
    for python in metered((2, 7)) {
        let found = figures(script(python, "../../benches/python/gil_contention.py").arg(&generator));
        eprintln!("{}: {found}", python.name);
        let each = |figure: &str| -> Vec<f64> {
            let values = found["figures"][figure].as_array().unwrap();
            values.iter().map(|value| value.as_f64().unwrap()).collect()
        };
        for figure in ["held", "waited"] {
            let errors = each(figure);
            assert!(errors.len() == 4 && errors.iter().all(|error| *error < 10.0), "{}: {found}", python.name);
        }
        // Each thread did wait, and no wait is longer than all of them.
        assert!(each("waits").iter().all(|waits| *waits >= 1.0), "{}: {found}", python.name);
        let sums = each("sum");
        assert!(sums.iter().all(|sum| *sum > 0.0), "{}: {found}", python.name);
        assert!(each("longest").iter().zip(&sums).all(|(wait, sum)| *wait <= sum + 5.0), "{}: {found}", python.name);
    }
}

#[test]
fn the_counters_are_the_sums_of_all_threads() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "counters.py")).trim(), "sums", "{}", python.name);
    }
}

#[test]
fn a_hold_that_makes_another_thread_wait_is_reported_with_its_stack() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "stalls.py")).trim(), "stalls", "{}", python.name);
    }
}

#[test]
fn the_hooks_leave_errno_as_it_was() {
    let prefix = Prefix::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gil/no_huge_pages.c");
    let refusing = prefix.compile(&source, "c99", "no_huge_pages.so", ["-shared", "-fPIC"]);
    for python in metered((3, 8)) {
        let found = printed(script(python, "errno.py").env("LD_PRELOAD", &refusing));
        assert_eq!(found, "kept\n", "{}", python.name);
    }
}

#[test]
fn the_time_for_which_the_machine_was_suspended_spoils_no_later_time() {
    for python in metered((3, 8)) {
        let found = printed(&mut script(python, "suspended.py"));
        eprintln!("{}: {found}", python.name);
        assert!(found == "true\n" || found.starts_with("skipped: "), "{}: {found}", python.name);
    }
}

/// Compiles the threads of tests/gil/native_threads.py.
fn native_threads(prefix: &Prefix) -> PathBuf {
    let options = ["-pthread", "-D_POSIX_C_SOURCE=200809L"];
    compiled(prefix, "short_threads.c", "short_threads.so", &options)
}

#[test]
fn short_threads_without_number_are_metered_in_bounded_memory() {
    let prefix = Prefix::new();
    let library = native_threads(&prefix);
    for python in metered((3, 8)) {
        let found = figures(script(python, "short_threads.py").arg(&library).arg("3000"));
        eprintln!("{}: {found}", python.name);
        assert!(found["off"].as_f64().unwrap() < 0.001, "{}: {found}", python.name);
        assert!(found["growth"].as_i64().unwrap() < 1 << 20, "{}: {found}", python.name);
    }
}

#[test]
fn the_figures_of_many_living_threads_add_up() {
    let prefix = Prefix::new();
    let library = native_threads(&prefix);
    for python in metered((3, 8)) {
        let found = figures(script(python, "many_threads.py").arg(&library).args(["500", "2000"]));
        eprintln!("{}: {found}", python.name);
    }
}

/// BUSY_WATCHES (by default 10) watches of threads with the ids of others.
#[test]
fn a_thread_that_gets_the_id_of_another_one_has_its_own_figures() {
    let Some(module) = module() else { return };
    let watches = std::env::var("BUSY_WATCHES").unwrap_or_else(|_| "20".into());
    for python in metered((3, 10)) {
        let mut command = script(python, "reused_ids.py");
        command.env("PYTHONPATH", &module).arg(&watches);
        match printed(&mut command).trim() {
            "no right" => return eprintln!("skipped: the system's latest thread id can't be set"),
            found => assert_eq!(found, "reused", "{}", python.name),
        }
    }
}

#[test]
fn the_dynamic_linker_overwrites_no_hook() {
    let prefix = Prefix::new();
    let library = compiled(&prefix, "slow_binding.c", "slow_binding.so", &["-pthread"]);
    for python in metered((3, 7)) {
        let found = printed(script(python, "slow_binding.py").env("LD_PRELOAD", &library));
        assert_eq!(found, "bound\n", "{}", python.name);
    }
}

#[test]
fn a_stop_restores_every_entry_and_invalid_calls_are_refused() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "off.py")), "off\n", "{}", python.name);
    }
}

#[test]
fn a_thread_that_joins_the_running_meter_holds_the_gil() {
    for python in metered((2, 7)) {
        assert_eq!(printed(&mut script(python, "joins.py")), "joined\n", "{}", python.name);
    }
}

/// Compiles a library of tests/gil. Strict C99 hides what it uses.
fn compiled(prefix: &Prefix, source: &str, library: &str, flags: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gil");
    let map = format!("-Wl,--version-script={}", folder.join("preload.map").display());
    let flags: Vec<_> = flags.iter().map(|flag| if *flag == "MAP" { map.as_str() } else { flag }).collect();
    prefix.compile(&folder.join(source), "c99", library, [&["-shared", "-fPIC"], &flags[..]].concat())
}

#[test]
fn three_copies_of_the_library_report_the_truth_in_every_order() {
    for python in metered((2, 7)) {
        let worst = figures(&mut script(python, "copies.py"));
        let worst = worst.as_object().unwrap().values().filter_map(Value::as_f64).fold(0.0, f64::max);
        eprintln!("{}: largest error of the held share {worst}", python.name);
    }
}

#[test]
fn a_start_beside_a_metering_copy_of_another_abi_is_refused_by_name() {
    let prefix = Prefix::new();
    let older = compiled(&prefix, "patcher.c", "older.so", &["-DOLDER_COPY"]);
    for python in metered((2, 7)) {
        assert_eq!(printed(script(python, "older_copy.py").arg(&older)), "refused\n", "{}", python.name);
    }
}

#[test]
fn beside_another_tool_each_figure_is_true_or_refused_and_the_tool_sees_every_call() {
    let prefix = Prefix::new();
    let [one, two] = ["patcher.so", "patcher2.so"].map(|name| compiled(&prefix, "patcher.c", name, &[]));
    for python in metered((2, 7)) {
        eprintln!("{}: {}", python.name, figures(script(python, "patchers.py").arg(&one).arg(&two)));
    }
}

#[test]
fn a_preloaded_library_sees_every_call() {
    let prefix = Prefix::new();
    let libraries = [
        compiled(&prefix, "preload.c", "unversioned.so", &[]),
        compiled(&prefix, "preload.c", "versioned.so", &["-DVERSIONED", "MAP"]),
    ];
    for python in metered((2, 7)) {
        for library in &libraries {
            let mut command = script(python, "preloaded.py");
            command.arg(library).env("LD_PRELOAD", library);
            assert_eq!(printed(&mut command), "seen\n", "{}, {}", python.name, library.display());
        }
    }
}

#[test]
fn a_wait_for_the_mutex_of_the_gil_is_a_wait_for_the_gil() {
    let prefix = Prefix::new();
    let library = compiled(&prefix, "mutex.c", "mutex.so", &["-pthread"]);
    for python in metered((3, 7)) {
        let mut command = script(python, "mutex.py");
        command.arg(&library).env("LD_PRELOAD", &library);
        assert_eq!(printed(&mut command), "waited\n", "{}", python.name);
    }
}

#[test]
fn where_a_process_may_not_read_itself_by_one_call_the_meter_reads_otherwise_or_names_the_call() {
    for python in metered((3, 7)) {
        assert_eq!(printed(&mut script(python, "forbidden.py")), "metered\n", "{}", python.name);
        let reason = printed(script(python, "forbidden.py").arg("all"));
        assert!(reason.contains("process_vm_readv") && reason.contains("not permitted"), "{}: {reason}", python.name);
    }
}

/// Returns the folder of the Python module, which `make build` builds with maturin before the tests.
fn module() -> Option<PathBuf> {
    let module = libbusy().with_file_name("python");
    if !module.is_dir() {
        eprintln!("skipped: the Python module was not built");
    }
    Some(module).filter(|module| module.is_dir())
}

/// Runs the script of `command` with random seeds in each of `pythons`, BUSY_LIVES times (by default 3).
fn live(pythons: &[&Python], command: impl Fn(&Python) -> Command) {
    let lives: u64 = std::env::var("BUSY_LIVES").map_or(3, |lives| lives.parse().unwrap());
    for python in pythons {
        for _ in 0..lives {
            let seed = fastrand::u32(..).to_string();
            let output = run(command(python).arg(&seed));
            assert!(output.status.success(), "{}, seed {seed}: {}", python.name, describe(&output));
        }
        eprintln!("{}: {lives} lives", python.name);
    }
}

#[test]
fn the_accounts_add_up_in_any_life() {
    live(&metered((2, 7)), |python| script(python, "life.py"));
}

/// Two copies of libbusy in one process: the second start joins the meter of the first, or is refused by name.
#[test]
fn two_copies_never_report_a_wrong_figure_in_any_life() {
    let folder = tempfile::tempdir().unwrap();
    // The dynamic linker recognises a library by its inode, so a link would be the same copy.
    let copy = folder.path().join("libother.so");
    std::fs::copy(libbusy(), &copy).unwrap();
    live(&metered((2, 7)), |python| {
        let mut command = script(python, "copies_life.py");
        command.arg(&copy);
        command
    });
}

#[test]
fn watches_add_up_in_any_life() {
    let Some(module) = module() else { return };
    live(&metered((3, 10)), |python| {
        let mut command = script(python, "watches.py");
        command.env("PYTHONPATH", &module);
        command
    });
}

#[test]
fn an_interrupt_anywhere_in_a_watch_leaves_threading_as_it_was() {
    let Some(module) = module() else { return };
    for python in metered((3, 10)) {
        let mut command = script(python, "interrupts.py");
        assert_eq!(printed(command.env("PYTHONPATH", &module)), "interrupted\n", "{}", python.name);
    }
}

/// Ends processes of `python` while threads make each of `calls`: BUSY_ENDS times (by default 5) by returning, and a
/// tenth of it in each other way.
fn end(python: &Python, calls: &[&str], module: Option<&Path>) {
    let times: usize = std::env::var("BUSY_ENDS").map_or(5, |ends| ends.parse().unwrap());
    // A signal's number is negative. Up to 3.7, Ctrl-C ended Python with 1.
    let interrupted = if python.version < (3, 8) { 1 } else { -2 };
    let ends = [("return", 0), ("interrupt", interrupted), ("_exit", 7), ("exec", 8)];
    for call in calls {
        for (end, expected) in ends {
            for _ in 0..if end == "return" { times } else { times.div_ceil(10) } {
                let mut command = script(python, "ends.py");
                command.args([call, end]).envs(module.map(|module| ("PYTHONPATH", module)));
                let output = run(&mut command);
                let code = output.status.code().or(output.status.signal().map(|signal| -signal));
                // A thread that imports a module with a namedtuple evaluates a text, and in that moment CPython forgets
                // that Ctrl-C ended the main thread (`run_eval_code_obj`, Python/pythonrun.c).
                let is_forgotten = (*call, end, code) == ("first_watch", "interrupt", Some(1));
                // 3.10's take_gil uses the freed main interpreter while Python ends, without busy as well: the repair of
                // gh-96387 reads it, and it is static only since 3.11.
                let is_freed = python.version == (3, 10) && code == Some(-11);
                assert!(
                    code == Some(expected) || is_forgotten || is_freed,
                    "{}, {call}, {end}: expected {expected}, {}",
                    python.name,
                    describe(&output)
                );
            }
        }
    }
    eprintln!("{}: {times} ends of each of {calls:?}", python.name);
}

#[test]
fn a_process_ends_as_usual_while_threads_use_the_meter() {
    for python in metered((2, 7)) {
        end(python, &["start", "window"], None);
    }
}

#[test]
fn a_process_ends_as_usual_while_threads_use_the_module() {
    let Some(module) = module() else { return };
    for python in metered((3, 10)) {
        let calls = ["watch", "first_watch", "collected_watch", "without_lock", "unsettled"];
        end(python, &calls, Some(&module));
    }
}

#[test]
fn an_interpreter_that_the_module_does_not_support_is_refused_with_the_versions() {
    let Some(module) = module() else { return };
    for python in pythons().iter().filter(|python| python.version < (3, 10)) {
        let output = run(Command::new(&python.path).args(["-B", "-c", "import busy"]).env("PYTHONPATH", &module));
        let (major, minor) = python.version;
        let expected = format!("ImportError: the module busy requires CPython 3.10 or later, found {major}.{minor}\n");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.ends_with(&expected), "{}: {stderr}", python.name);
    }
}

#[test]
fn a_python_that_is_initialised_again_is_metered() {
    const QUERY: &str = "import os, sys, sysconfig; get = sysconfig.get_config_var; name = get('INSTSONAME') or ''; \
        library = os.path.join(sys.exec_prefix, 'lib', name); include = sysconfig.get_paths()['include']; \
        found = '.so' in name and os.path.exists(library) and os.path.exists(include + '/Python.h'); \
        sys.stdout.write('\\n'.join([include, library, sys.exec_prefix] if found else []))";
    let prefix = Prefix::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gil/reinitialise.c");
    for python in metered((2, 7)) {
        let found = printed(Command::new(&python.path).args(["-c", QUERY]));
        let [include, library, home] = found.lines().collect::<Vec<_>>()[..] else {
            eprintln!("skipped: {} has no headers or no shared library", python.name);
            continue;
        };
        let folder = Path::new(library).parent().unwrap().display();
        let flags = ["-isystem", include, library].map(str::to_owned).into_iter();
        let flags = flags.chain(prefix.shared()).chain([format!("-Wl,-rpath,{folder}")]);
        let program = prefix.compile(&source, "gnu11", &python.name, flags);
        for life in ["stopped", "running"] {
            let mut command = Command::new(&program);
            command.args(["5", life]).env("PYTHONHOME", home);
            assert_eq!(printed(&mut command), "as expected\n", "{}, {life}", python.name);
        }
        eprintln!("{}: as expected", python.name);
    }
}

#[test]
fn a_start_that_the_end_of_python_cuts_off_is_undone() {
    let prefix = Prefix::new();
    let library = compiled(&prefix, "cut_off_start.c", "cut_off_start.so", &["-D_GNU_SOURCE"]);
    // Before 3.14, CPython itself may crash: it destroys the GIL while daemon threads wait for it.
    for python in metered((3, 14)) {
        let home = printed(Command::new(&python.path).args(["-c", "import sys; print(sys.prefix)"]));
        let mut command = Command::new(&python.path);
        command.args(["-c", "pass"]).env("LD_PRELOAD", &library).env("BUSY_LIBBUSY", libbusy());
        assert_eq!(printed(command.env("PYTHONHOME", home.trim_end())), "started in each life\n", "{}", python.name);
    }
}

#[test]
fn drops_on_request_are_distinguished_from_voluntary_releases() {
    // 3.7's time.sleep does not accept a class of numbers that the script defines.
    for python in metered((3, 8)) {
        assert_eq!(printed(&mut script(python, "forced.py")), "distinguished\n", "{}", python.name);
    }
}

#[test]
fn a_hold_ends_when_python_is_finalized() {
    let prefix = Prefix::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let include = format!("-I{}", folder.join("ffi/include").display());
    let options = [&include, "-ldl", "-D_POSIX_C_SOURCE=200809L"];
    let program = prefix.compile(&folder.join("tests/gil/finalize.c"), "c99", "finalize", options);
    const LIBRARY: &str = "import sys, sysconfig; print(sysconfig.get_config_var('Py_ENABLE_SHARED') and '%s/%s\\n%s' % \
        (sysconfig.get_config_var('LIBDIR'), sysconfig.get_config_var('INSTSONAME'), sys.prefix) or '')";
    for python in metered((3, 7)) {
        let printed_lines = printed(Command::new(&python.path).args(["-c", LIBRARY]));
        let mut lines = printed_lines.lines();
        let Some((library, home)) = lines.next().zip(lines.next()).filter(|(library, _)| Path::new(library).exists())
        else {
            eprintln!("{}: skipped: it has no libpython", python.name);
            continue;
        };
        let mut command = Command::new(&program);
        command.env("PYTHONHOME", home).arg(library).arg(libbusy());
        assert_eq!(printed(&mut command), "finalized\n", "{}", python.name);
    }
}

#[test]
fn the_meter_can_be_started_while_python_imports_site() {
    let prefix = Prefix::new();
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regrtest");
    for (number, python) in metered((3, 8)).into_iter().enumerate() {
        let log = prefix.path(&format!("{number}.log"));
        let mut command = Command::new(&python.path);
        command.args(["-B", "-c", ""]).env("PYTHONPATH", &site).env("BUSY_REGRTEST_LIBBUSY", libbusy());
        let output = run(command.env("BUSY_REGRTEST_METER", "on").env("BUSY_REGRTEST_LOG", &log));
        let logged = fs::read_to_string(&log).unwrap_or_default();
        assert!(output.status.success() && logged.ends_with(" 0\n"), "{}: {logged:?} {output:?}", python.name);
    }
}

#[test]
fn interpreters_with_a_gil_of_their_own_are_metered_separately() {
    for python in metered((3, 12)) {
        assert_eq!(printed(&mut script(python, "own_gil.py")), "separate\n", "{}", python.name);
    }
}

#[test]
fn the_first_gil_may_be_that_of_an_interpreter_which_ends_before_the_main_one() {
    for python in metered((3, 13)) {
        assert_eq!(printed(&mut script(python, "own_gil_first.py")), "first\n", "{}", python.name);
    }
}

#[test]
fn interpreters_whose_gil_is_not_metered_are_refused_with_the_reason() {
    for python in pythons().iter().filter(|python| !python.is_metered) {
        let reason = printed(&mut script(python, "refused.py"));
        eprintln!("{}: {reason}", python.name);
        let name = match &python.name {
            name if name.starts_with("pypy") => "no running CPython",
            name if name.ends_with('t') => "free-threaded",
            _ => "is not metered: 2.7 and 3.7 or later are",
        };
        assert!(reason.contains(name), "{}: {reason}", python.name);
    }
}

#[test]
fn a_free_threaded_build_with_its_gil_on_is_metered() {
    let prefix = Prefix::new();
    for python in pythons().iter().filter(|python| python.name.ends_with('t')) {
        let found = figures(script(python, "truth.py").arg(generator(&prefix)).env("PYTHON_GIL", "1"));
        eprintln!("{}: {found}", python.name);
        assert!(found["mean"].as_f64().unwrap() < 0.05, "{}: {found}", python.name);
    }
}
