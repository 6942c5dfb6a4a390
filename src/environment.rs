//! What an experiment needs from the Python package index: installed at first use, pinned, into a folder of its own in
//! the user's cache, apart for each interpreter.

use crate::guard::{GuardError, Guarded, Spec};
use crate::interpreter::Interpreter;
use crate::unpack::{self, CacheError};
use rustix::fs::{FlockOperation, flock};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Packages that an experiment imports.
pub struct Need {
    /// What people call it.
    pub name: &'static str,
    /// Which releases serve which Pythons; the first that fits is taken.
    pub pins: &'static [Pin],
    /// True if they are to come built: a compiler is not to be needed for it.
    pub built: bool,
}

/// Releases for some Python versions.
pub struct Pin {
    /// The first version, major and minor.
    pub from: (u32, u32),
    /// The last one.
    pub to: (u32, u32),
    /// As pip takes them: `gevent==26.9.0`.
    pub requirements: &'static [&'static str],
}

/// Why there is no such folder. All but `Guard` and `Cache` mean that the package is not to be had here.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No release serves this interpreter.
    #[error("no release of {name} serves {interpreter}")]
    NoRelease {
        /// The package.
        name: &'static str,
        /// The interpreter.
        interpreter: String,
    },
    /// pip failed: no network, most likely, or nothing built for this interpreter.
    #[error("{requirements} could not be installed: {why}")]
    NotInstalled {
        /// What was asked of pip.
        requirements: String,
        /// What it said.
        why: String,
    },
    /// No place to put it.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The lab was stopped, or its guard was.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// How long an installation may take.
const PATIENCE_S: f64 = 600.0;

/// The folder from which `interpreter` imports `need`; `tell` is told if it is to be installed first.
///
/// # Errors
/// See [`EnvironmentError`].
pub fn prepare(interpreter: &Interpreter, need: &Need, tell: &dyn Fn(&str)) -> Result<PathBuf, EnvironmentError> {
    let version = interpreter.version_info;
    let pin = need.pins.iter().find(|pin| (pin.from..=pin.to).contains(&version));
    let Some(pin) = pin else {
        return Err(EnvironmentError::NoRelease { name: need.name, interpreter: interpreter.title() });
    };
    let key = (&interpreter.command, &interpreter.version, &interpreter.build_flags, pin.requirements);
    let folder = unpack::folder("environments", key)?;
    let in_cache = |error| CacheError::from((folder.clone(), error));
    // One lab at a time: the lock goes with the process, so what another left half-made can be told from its work.
    let lock = File::create(folder.join("lock")).map_err(in_cache)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| in_cache(error.into()))?;
    let ready = folder.join("packages");
    if ready.is_dir() {
        return Ok(ready);
    }
    tell(&format!("installing {}", pin.requirements.join(" ")));
    let passing = folder.join("passing");
    remove(&passing).map_err(in_cache)?;
    let installed = install(interpreter, pin, need.built, &passing)?;
    if let Err(why) = installed {
        remove(&passing).map_err(in_cache)?;
        return Err(EnvironmentError::NotInstalled { requirements: pin.requirements.join(" "), why });
    }
    fs::rename(&passing, &ready).map_err(in_cache)?;
    Ok(ready)
}

/// By the interpreter's own pip; where it has none, as Debian's have not, by that of the machine's `python3`.
fn install(interpreter: &Interpreter, pin: &Pin, built: bool, target: &Path) -> Result<Result<(), String>, GuardError> {
    let path = interpreter.command.as_os_str();
    let mut why = String::new();
    for pip in [
        vec![path, "-m".as_ref(), "pip".as_ref()],
        vec!["python3".as_ref(), "-m".as_ref(), "pip".as_ref(), "--python".as_ref(), path],
    ] {
        let mut command: Vec<OsString> = pip.into_iter().map(OsStr::to_owned).collect();
        let quiet = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"];
        // Without a network every package of every interpreter is asked for in vain: not for long.
        command.extend(quiet.into_iter().chain(["--retries", "1"]).map(OsString::from));
        if built {
            command.push("--only-binary=:all:".into());
            command.extend(abi(interpreter).into_iter().map(OsString::from));
        }
        command.extend(["--target".into(), target.into()]);
        command.extend(pin.requirements.iter().map(OsString::from));
        let mut spec = Spec::new(command, PATIENCE_S);
        spec.max_processes = 256;
        let output = Guarded::start(&spec)?.output()?;
        // What pip says last is that there is no such release.
        let is_offline = output.ended.stderr.contains("WARNING: Retrying (");
        match output.success() {
            Ok(_) => return Ok(Ok(())),
            Err(said) if said.contains("No module named pip") => why = said,
            Err(_) if is_offline => {
                return Ok(Err(
                    "pip can't reach the package index; run again with a network (or PIP_INDEX_URL set)".into()
                ));
            }
            Err(said) => return Ok(Err(said)),
        }
    }
    Ok(Err(why))
}

/// The ABI of a free-threaded build, which pip before 24.1 takes for that of the other build, whose modules it can't load.
fn abi(interpreter: &Interpreter) -> Vec<String> {
    if !interpreter.free_threaded {
        return Vec::new();
    }
    let (major, minor) = interpreter.version_info;
    let version = format!("{major}.{minor}");
    let abi = format!("cp{major}{minor}t");
    ["--implementation", "cp", "--python-version", &version, "--abi", &abi].map(str::to_owned).into()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
