//! What `pip install` of the wheel brings, in environments that have no Rust and no source tree: the wheel that `make build`
//! leaves, or with BUSY_WHEELS those in that folder (`make wheels`).

use crate::harness::{Sandbox, json, stderr, stdout};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the wheel for CPythons with a GIL.
fn wheel() -> Option<PathBuf> {
    let folder = env::var_os("BUSY_WHEELS").map_or(Path::new(ROOT).join("build/wheel"), PathBuf::from);
    let files = fs::read_dir(&folder).into_iter().flatten().map(|file| file.unwrap().path());
    let found = files.into_iter().find(|path| path.to_string_lossy().contains("-cp310-abi3-"));
    if found.is_none() {
        eprintln!("skipped: no wheel in {}; run `make build`", folder.display());
    }
    found
}

/// Returns the CPythons that the wheel serves.
fn pythons(sandbox: &Sandbox) -> Vec<String> {
    let found: serde_json::Value = serde_json::from_slice(&sandbox.run(&["pythons", "--json", "-"]).stdout).unwrap();
    let found = found["interpreters"].as_array().unwrap().iter();
    let serves = |python: &&serde_json::Value| {
        let minor = |text: &str| text.strip_prefix("3.")?.split('.').next()?.parse::<u32>().ok();
        let is_new = python["version"].as_str().and_then(minor).is_some_and(|minor| minor >= 10);
        python["implementation"] == "cpython" && python["gil"] == true && is_new
    };
    found.filter(serves).map(|python| python["path"].as_str().unwrap().to_owned()).collect()
}

/// An environment in which only `python`, the system's programs, and what is installed into it are on PATH.
struct Environment {
    folder: PathBuf,
}

impl Environment {
    fn new(folder: PathBuf, python: &str) -> Self {
        let made = Command::new(python).args(["-m", "venv", "--without-pip"]).arg(&folder).output().unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs pip, that of the machine, for this environment.
    fn pip(&self, arguments: &[&str]) {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "--python"]).arg(self.path("bin/python"));
        succeeds(pip.args(arguments).arg("--root-user-action=ignore"));
    }

    fn install(&self, wheel: &Path, arguments: &[&str]) {
        self.pip(&[&["install", "--no-index", "--no-deps"], arguments, &[&*wheel.to_string_lossy()]].concat());
    }

    /// Returns a program of the environment, or the one with this path, activated, with a home of its own.
    fn program(&self, sandbox: &Sandbox, name: impl AsRef<Path>) -> Command {
        let mut program = Command::new(self.path("bin").join(name));
        program.env_clear().env("HOME", sandbox.home.path()).env("VIRTUAL_ENV", &self.folder);
        program.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display())).current_dir(&self.folder);
        program
    }

    fn python(&self, sandbox: &Sandbox, code: &str) -> String {
        stdout(&succeeds(self.program(sandbox, "python").args(["-c", code])))
    }
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}{}", stdout(&output), stderr(&output));
    output
}

fn files_of(sandbox: &Sandbox, folder: &Path) -> Vec<PathBuf> {
    sandbox.files().into_iter().filter(|file| file.starts_with(folder)).collect()
}

#[test]
fn an_installed_wheel_has_everything_and_leaves_nothing() {
    let Some(wheel) = wheel() else { return };
    let sandbox = Sandbox::new();
    for (number, python) in pythons(&sandbox).iter().enumerate() {
        let environment = Environment::new(sandbox.path(&format!("environment {number}")), python);
        let before = files_of(&sandbox, &environment.folder);
        environment.install(&wheel, &[]);
        let version = format!("busy {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(stdout(&succeeds(environment.program(&sandbox, "busy").arg("--version"))), version, "{python}");
        let module = succeeds(environment.program(&sandbox, "python").args(["-m", "busy", "--version"]));
        assert_eq!(stdout(&module), version, "{python}");
        assert!(stdout(&succeeds(environment.program(&sandbox, "busy").arg("list"))).contains("ctypes"));
        // Without -p, the environment's own interpreter.
        let mut check = environment.program(&sandbox, "busy");
        check.args(["check", "--json", "check.json", "import time; time.sleep(0.02)"]);
        let output = check.output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}{}", stdout(&output), stderr(&output));
        let found = json(&environment.path("check.json"))["results"][0]["interpreter"]["command"].clone();
        assert_eq!(found.as_str(), environment.path("bin/python").to_str(), "{python}");
        let recorded =
            environment.program(&sandbox, "busy").args(["record", "-o", "x.busy", "--", "python", "-c", ""]).output();
        let recorded = recorded.unwrap();
        assert!(recorded.status.success() && environment.path("x.busy").is_file(), "{python}: {}", stderr(&recorded));
        fs::remove_file(environment.path("x.busy")).unwrap();
        let code = "import busy; from importlib.metadata import entry_points\n\
                    assert busy.with_lock(0.001) > 0\n\
                    print([one.value for one in entry_points(group='pytest11') if one.name == 'busy'])";
        assert_eq!(environment.python(&sandbox, code), "['busy.pytest_plugin']\n", "{python}");
        fs::remove_file(environment.path("check.json")).unwrap();
        environment.pip(&["uninstall", "--yes", "busy-gil"]);
        assert_eq!(files_of(&sandbox, &environment.folder), before, "{python}");
    }
}

#[test]
fn a_c_program_is_built_by_busy_config_and_by_pkg_config() {
    let Some(wheel) = wheel() else { return };
    let sandbox = Sandbox::new();
    let Some(python) = pythons(&sandbox).pop() else { return eprintln!("skipped: no CPython that the wheel serves") };
    let environment = Environment::new(sandbox.path("environment"), &python);
    environment.install(&wheel, &[]);
    let config = |arguments: &[&str]| {
        let output = succeeds(environment.program(&sandbox, "busy-config").args(arguments));
        stdout(&output).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let compile = |flags: &[String]| {
        let program = environment.path("link");
        succeeds(Command::new("cc").arg(Path::new(ROOT).join("c-examples/link.c")).args(flags).arg("-o").arg(&program));
        let waited = stdout(&succeeds(Command::new(&program).arg("1000")));
        assert!(!waited.is_empty());
        fs::remove_file(program).unwrap();
    };
    compile(&config(&["--cflags", "--libs"]));
    let output = environment.program(&sandbox, "busy-config").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let [folder] = &config(&["--pkgconfigdir"])[..] else { panic!("one folder") };
    let Ok(output) =
        Command::new("pkg-config").args(["--cflags", "--libs", "busy"]).env("PKG_CONFIG_PATH", folder).output()
    else {
        return eprintln!("skipped: pkg-config is not installed");
    };
    let library = environment.python(&sandbox, "import busy; print(busy.get_library())");
    let flags = format!("{} -Wl,-rpath,{library}", stdout(&output));
    compile(&flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn a_moved_environment_and_a_target_folder_find_their_parts() {
    let Some(wheel) = wheel() else { return };
    let sandbox = Sandbox::new();
    let Some(python) = pythons(&sandbox).pop() else { return eprintln!("skipped: no CPython that the wheel serves") };
    let environment = Environment::new(sandbox.path("environment"), &python);
    environment.install(&wheel, &[]);
    let target = sandbox.path("target");
    environment.install(&wheel, &["--target", target.to_str().unwrap()]);
    let moved = Environment { folder: sandbox.path("moved") };
    fs::rename(&environment.folder, &moved.folder).unwrap();
    // This experiment loads libbusy's Python module into a child interpreter.
    for program in [moved.path("bin/busy"), target.join("bin/busy")] {
        let mut busy = moved.program(&sandbox, &program);
        let output = busy.args(["run", "extension", "-d", "1", "--json", "run.json", "-p", &python]).output().unwrap();
        let result = json(&moved.path("run.json"))["results"][0].clone();
        let cases = result["cases"].as_array().into_iter().flatten();
        let measured = cases.filter(|case| case["variant"] == "pyo3" && case["cpu_percent"].is_number()).count();
        assert_eq!(measured, 2, "{program:?}: {}{result:#}", stderr(&output));
    }
    let module = ["-m", "busy", "--version"];
    succeeds(moved.program(&sandbox, "python").args(module));
    succeeds(Command::new(&python).args(module).env("PYTHONPATH", &target));
}

#[test]
fn an_install_for_the_user_by_pipx_or_by_uv_has_the_command() {
    let Some(wheel) = wheel() else { return };
    let sandbox = Sandbox::new();
    let Some(python) = pythons(&sandbox).pop() else { return eprintln!("skipped: no CPython that the wheel serves") };
    let (wheel, home) = (wheel.display().to_string(), sandbox.home.path());
    // `make wheels` installs pipx and uv.
    let tools = Path::new(ROOT).join("build/wheels/venv/bin");
    let busy = home.join(".local/bin/busy").display().to_string();
    let version = ["--version"];
    for (installer, install, run) in [
        (
            &*python,
            &["-m", "pip", "install", "--user", "--no-index", "--no-warn-script-location", &wheel][..],
            &[&*busy][..],
        ),
        ("pipx", &["install", "--force", "--python", &python, &wheel], &[&busy]),
        ("uv", &["tool", "install", "--force", "--offline", "--python", &python, &wheel], &[&busy]),
        ("uvx", &[], &["uvx", "--offline", "--python", &python, "--from", &wheel, "busy"]),
    ] {
        let command = |words: &[&str]| {
            let program = if words[0].contains('/') { PathBuf::from(words[0]) } else { tools.join(words[0]) };
            let mut command = Command::new(program);
            command.args(&words[1..]).env_clear().envs(env::vars().filter(|(name, _)| name.starts_with("PIP_")));
            command.env("HOME", home).env("PATH", "/usr/bin:/bin").current_dir(home);
            command
        };
        if !installer.contains('/') && !tools.join(installer).is_file() {
            eprintln!("skipped: {installer} is not in {}", tools.display());
            continue;
        }
        if !install.is_empty() {
            succeeds(&mut command(&[&[installer], install].concat()));
        }
        let found = stdout(&succeeds(&mut command(&[run, &version].concat())));
        assert_eq!(found, format!("busy {}\n", env!("CARGO_PKG_VERSION")), "{installer}");
        let check = ["check", "--patience=0", "--json", "check.json", "-p", &python, "sum(range(10000))"];
        let output = command(&[run, &check].concat()).output().unwrap();
        let result = json(&home.join("check.json"))["results"][0].clone();
        assert_eq!(result["status"], "ok", "{installer}: {}{result:#}", stderr(&output));
        if !install.is_empty() {
            fs::remove_dir_all(home.join(".local")).unwrap();
        }
    }
}
