//! What an experiment needs from the Python package index: installed at first use, pinned, into a folder of its own in
//! the user's cache, apart for each interpreter.

use crate::guard::{GuardError, Guarded, Spec};
use crate::interpreter::Interpreter;
use crate::interrupt;
use crate::unpack::{self, CacheError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

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

/// pip, for an interpreter that came without, as Debian's do.
const PIP: Need = Need {
    name: "pip",
    pins: &[
        Pin { from: (2, 7), to: (2, 7), requirements: &["pip==20.3.4"] },
        Pin { from: (3, 6), to: (3, 6), requirements: &["pip==21.3.1"] },
        Pin { from: (3, 7), to: (3, 9), requirements: &["pip==24.0"] },
        Pin { from: (3, 10), to: (3, 15), requirements: &["pip==26.3"] },
    ],
    built: true,
};

/// The folder from which `interpreter` imports `need`; `tell` is told if it is to be installed first.
///
/// # Errors
/// See [`EnvironmentError`].
pub fn prepare(interpreter: &Interpreter, need: &Need, tell: &dyn Fn(&str)) -> Result<PathBuf, EnvironmentError> {
    let pin = need.pin(interpreter)?;
    let key = (&interpreter.command, &interpreter.version, &interpreter.build_flags, pin.requirements);
    installed(key, pin, tell, |target| {
        let own = [interpreter.command.clone().into(), "-m".into(), "pip".into()];
        match install(&own, None, pin, need.built, target) {
            Err(EnvironmentError::NotInstalled { why, .. }) if why.contains("No module named pip") => {
                let pip = prepare_pip(interpreter, tell)?;
                install(&own, Some(&pip), pin, need.built, target)
            }
            other => other,
        }
    })
}

/// The folder from which `interpreter` imports pip: the same for all that it serves, brought by the machine's `python3`.
fn prepare_pip(interpreter: &Interpreter, tell: &dyn Fn(&str)) -> Result<PathBuf, EnvironmentError> {
    let pin = PIP.pin(interpreter)?;
    let python3 = ["python3", "-m", "pip"].map(OsString::from);
    installed(pin.requirements, pin, tell, |target| install(&python3, None, pin, PIP.built, target))
}

impl Need {
    fn pin(&self, interpreter: &Interpreter) -> Result<&'static Pin, EnvironmentError> {
        let pin = self.pins.iter().find(|pin| (pin.from..=pin.to).contains(&interpreter.version_info));
        pin.ok_or_else(|| EnvironmentError::NoRelease { name: self.name, interpreter: interpreter.title() })
    }
}

/// The folder for `key`, into which `install` puts the packages if they are not there yet.
fn installed(
    key: impl Hash,
    pin: &Pin,
    tell: &dyn Fn(&str),
    install: impl FnOnce(&Path) -> Result<(), EnvironmentError>,
) -> Result<PathBuf, EnvironmentError> {
    let folder = unpack::folder("environments", key)?;
    let in_cache = |error| CacheError::from((folder.clone(), error));
    // One lab at a time: the lock goes with the process, so what another left half-made can be told from its work.
    let lock = File::create(folder.join("lock")).map_err(in_cache)?;
    let requirements = pin.requirements.join(" ");
    while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK {
            return Err(in_cache(error.into()).into());
        }
        if interrupt::requested() {
            return Err(GuardError::Interrupted.into());
        }
        tell(&format!("waiting for another busy, which installs {requirements}"));
        thread::sleep(Duration::from_millis(100));
    }
    let ready = folder.join("packages");
    if ready.is_dir() {
        return Ok(ready);
    }
    tell(&format!("installing {requirements}"));
    let passing = folder.join("passing");
    remove(&passing).map_err(in_cache)?;
    if let Err(error) = install(&passing) {
        remove(&passing).map_err(in_cache)?;
        return Err(error);
    }
    fs::rename(&passing, &ready).map_err(in_cache)?;
    Ok(ready)
}

/// Runs `pip`, a command, which is imported from the folder `from` if there is one.
fn install(
    pip: &[OsString],
    from: Option<&Path>,
    pin: &Pin,
    built: bool,
    target: &Path,
) -> Result<(), EnvironmentError> {
    let mut command = pip.to_vec();
    let quiet = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"];
    // Without a network every package of every interpreter is asked for in vain: not for long.
    command.extend(quiet.into_iter().chain(["--retries", "1"]).map(OsString::from));
    if built {
        command.push("--only-binary=:all:".into());
    }
    command.extend(["--target".into(), target.into()]);
    command.extend(pin.requirements.iter().map(OsString::from));
    let mut spec = Spec::new(command, PATIENCE_S);
    spec.max_processes = 256;
    spec.env.extend(from.map(|folder| ("PYTHONPATH".to_owned(), folder.into())));
    let output = Guarded::start(&spec)?.output()?;
    // What pip says last is that there is no such release.
    let is_offline = output.ended.stderr.contains("WARNING: Retrying (");
    output.success().map(drop).map_err(|said| {
        let offline = "pip can't reach the package index; run again with a network (or PIP_INDEX_URL set)";
        let why = if is_offline { offline.into() } else { said };
        EnvironmentError::NotInstalled { requirements: pin.requirements.join(" "), why }
    })
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
