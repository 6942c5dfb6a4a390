//! `make install` and `make uninstall`.

use crate::harness::{Sandbox, real_python, stderr, stdout};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a target of the Makefile with variables, and with a umask that lets only the caller read new files.
fn make(target: &str, variables: &[String]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec make \"$@\"", "make", "--no-print-directory", "-C", ROOT, target]);
    command.args(variables).output().unwrap()
}

fn made(target: &str, variables: &[String]) {
    let output = make(target, variables);
    assert!(output.status.success(), "{}", stderr(&output));
}

fn is_built() -> bool {
    let found = Path::new(ROOT).join("build/manual/busy.1").is_file();
    if !found {
        eprintln!("skipped: nothing to install; run `make build`");
    }
    found
}

/// Returns the files of the sandbox below `folder`.
fn below(sandbox: &Sandbox, folder: &Path) -> Vec<PathBuf> {
    let files = sandbox.files().into_iter();
    files.filter_map(|file| file.strip_prefix(folder).ok().map(Path::to_path_buf)).collect()
}

#[test]
fn the_installed_module_brings_its_pytest_plugin_and_uninstall_removes_it() {
    if !is_built() {
        return;
    }
    let sandbox = Sandbox::new();
    // A folder of the same metadata that an earlier version has left.
    let python = sandbox.path("prefix/lib/busy/python");
    fs::create_dir_all(python.join("busy_gil-0.0.1.dist-info")).unwrap();
    let variables = ["DESTDIR=".into(), format!("PREFIX={}", sandbox.path("prefix").display())];
    made("install", &variables);
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
    made("uninstall", &variables);
    let files = below(&sandbox, &sandbox.path("prefix"));
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn each_folder_can_be_chosen_and_everybody_may_read_the_files() {
    if !is_built() {
        return;
    }
    let sandbox = Sandbox::new();
    // A shell would run parts of this name, and sed would replace others.
    let destination = sandbox.path("a b'c\"d&e|f;touch ran;$(touch ran)`touch ran`");
    let variables = [
        // make itself expands a dollar sign.
        format!("DESTDIR={}", destination.display().to_string().replace('$', "$$")),
        "PREFIX=/usr".into(),
        "BINDIR=/usr/games".into(),
        "LIBDIR=/usr/lib/x86_64-linux-gnu".into(),
        "INCLUDEDIR=/opt/include".into(),
        "DATADIR=/opt/share".into(),
        "ZSHDIR=/opt/zsh".into(),
    ];
    made("install", &variables);
    let installed = below(&sandbox, &destination);
    for file in [
        "usr/games/busy",
        "usr/lib/x86_64-linux-gnu/libbusy.so.1",
        "usr/lib/x86_64-linux-gnu/libbusy.so",
        "usr/lib/x86_64-linux-gnu/libbusy.a",
        "usr/lib/x86_64-linux-gnu/pkgconfig/busy.pc",
        "usr/lib/busy/python/busy/__init__.py",
        "opt/include/busy.h",
        "opt/include/busy_gil.h",
        "opt/share/man/man1/busy-check.1",
        "opt/share/man/man3/busy_wait_ns.3",
        "opt/share/bash-completion/completions/busy",
        "opt/zsh/_busy",
        "opt/share/fish/vendor_completions.d/busy.fish",
        "opt/share/doc/busy/LICENSE-MIT",
        "opt/share/doc/busy/THIRD-PARTY",
    ] {
        assert!(installed.contains(&file.into()), "{file} is missing: {installed:?}");
        let mode = fs::metadata(destination.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o444, 0o444, "{file}: {mode:o}");
    }
    assert!(!sandbox.path("ran").exists() && !Path::new(ROOT).join("ran").exists());
    // Nothing reveals where it was built.
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    for file in ["usr/games/busy", "usr/lib/x86_64-linux-gnu/libbusy.so.1", "usr/lib/x86_64-linux-gnu/libbusy.a"] {
        let bytes = fs::read(destination.join(file)).unwrap();
        for path in [ROOT, &cargo] {
            let has = bytes.windows(path.len()).any(|window| window == path.as_bytes());
            assert!(!has, "{file} contains {path}: build it by `make build`, which replaces the paths");
        }
    }
    let description = fs::read_to_string(destination.join("usr/lib/x86_64-linux-gnu/pkgconfig/busy.pc")).unwrap();
    let folders = "prefix=/usr\nlibdir=${prefix}/lib/x86_64-linux-gnu\nincludedir=/opt/include\n";
    assert!(description.starts_with(folders), "{description}");
    // The command finds libbusy and the module, wherever the whole tree lies.
    let python = real_python();
    let arguments = ["check", "--patience", "0", "sum(range(10))", "-p", &python];
    let installed = ["sh", "-c", r#"shift; exec "$INSTALLED" "$@""#, "sh"];
    let mut busy = sandbox.command_under(&installed, &arguments);
    busy.env("INSTALLED", destination.join("usr/games/busy"));
    let output = busy.output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}{}", stdout(&output), stderr(&output));
    made("uninstall", &variables);
    assert_eq!(below(&sandbox, &destination), Vec::<PathBuf>::new());
}

#[test]
fn a_folder_that_busy_pc_cannot_express_is_refused_before_anything_is_written() {
    if !is_built() {
        return;
    }
    let sandbox = Sandbox::new();
    let root = sandbox.path("root").display().to_string();
    for (variable, word) in [
        ("PREFIX=/a b", "PREFIX may have letters"),
        ("PREFIX=/a'b", "PREFIX may have letters"),
        ("PREFIX=/a|b", "PREFIX may have letters"),
        ("PREFIX=/a&touch ran", "PREFIX may have letters"),
        ("PREFIX=relative", "PREFIX must be an absolute path; it is 'relative'"),
        ("PREFIX=", "PREFIX must be an absolute path"),
        ("LIBDIR=/usr/../etc", "LIBDIR must not contain '..'"),
        ("INCLUDEDIR=/in clude", "INCLUDEDIR may have letters"),
        ("LIBDIR=/usr/lib/busy", "LIBDIR must not be in /usr/lib/busy"),
        ("DATADIR=/usr/lib/busy/share", "DATADIR must not be in /usr/lib/busy"),
        ("BINDIR=/elsewhere/bin", "BINDIR must be a folder of PREFIX, such as /usr/bin"),
    ] {
        let prefix = if variable.starts_with("PREFIX") { "LIBDIR=/lib" } else { "PREFIX=/usr" };
        for target in ["install", "uninstall"] {
            let output = make(target, &[format!("DESTDIR={root}"), prefix.into(), variable.into()]);
            assert!(!output.status.success(), "{variable}");
            assert!(stderr(&output).contains(word), "{variable}: {}", stderr(&output));
        }
    }
    assert!(!Path::new(&root).exists());
}
