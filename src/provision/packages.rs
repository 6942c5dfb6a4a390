//! Packages from the Python package index that experiments import. pip installs them at first use, with pinned
//! versions, into the cache, with one entry for each interpreter.

use super::cache::{self, CacheError, Key};
use crate::process::{Spec, Supervised, SupervisorError};
use crate::results::Interpreter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A package that an experiment imports.
pub struct Need {
    /// The name for messages.
    pub name: &'static str,
    /// The releases for each range of Python versions. The first range that contains the interpreter's version applies.
    pub pins: &'static [Pin],
    /// True if only a built distribution may be installed, so that no compiler is needed.
    pub built: bool,
}

/// The releases for a range of Python versions.
pub struct Pin {
    /// The first version, major and minor.
    pub from: (u32, u32),
    /// The last version.
    pub to: (u32, u32),
    /// The releases, in pip's notation: `gevent==26.9.0`.
    pub requirements: &'static [&'static str],
}

/// The reason why packages are not available. Except for `Supervisor` and `Cache`, it concerns only this interpreter.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// No release supports this interpreter.
    #[error("no release of {name} supports {interpreter}")]
    NoRelease {
        /// The package.
        name: &'static str,
        /// The interpreter.
        interpreter: String,
    },
    /// pip failed. Likely reasons are a missing network, or no built distribution for this interpreter.
    #[error("{requirements} could not be installed: {reason}")]
    NotInstalled {
        /// The requirements that were passed to pip.
        requirements: String,
        /// The reason that pip printed.
        reason: String,
    },
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The lab was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

/// The time-out of an installation, in seconds.
const PATIENCE_S: f64 = 600.0;

/// pip itself, for interpreters without pip, such as Debian's.
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

/// Returns the folder from which `interpreter` imports `need`. Calls `report` with a description of each long
/// operation.
///
/// # Errors
/// See [`PackagesError`].
pub fn prepare(interpreter: &Interpreter, need: &Need, report: &dyn Fn(&str)) -> Result<PathBuf, PackagesError> {
    let pin = need.pin(interpreter)?;
    let key = Key::default().with(&interpreter.command).with(&interpreter.version).with(&interpreter.build_flags);
    installed(key, pin, report, |target| {
        let own = [interpreter.command.clone().into(), "-m".into(), "pip".into()];
        match install(&own, None, pin, need.built, target) {
            Err(PackagesError::NotInstalled { reason, .. }) if reason.contains("No module named pip") => {
                let pip = prepare_pip(interpreter, report)?;
                install(&own, Some(&pip), pin, need.built, target)
            }
            other => other,
        }
    })
}

/// Returns the folder from which `interpreter` imports pip. The machine's `python3` installs it, once for all
/// interpreters that this release of pip supports.
fn prepare_pip(interpreter: &Interpreter, report: &dyn Fn(&str)) -> Result<PathBuf, PackagesError> {
    let pin = PIP.pin(interpreter)?;
    let python3 = ["python3", "-m", "pip"].map(OsString::from);
    installed(Key::default(), pin, report, |target| install(&python3, None, pin, PIP.built, target))
}

impl Need {
    fn pin(&self, interpreter: &Interpreter) -> Result<&'static Pin, PackagesError> {
        let pin = self.pins.iter().find(|pin| (pin.from..=pin.to).contains(&interpreter.version_info));
        pin.ok_or_else(|| PackagesError::NoRelease { name: self.name, interpreter: interpreter.title() })
    }
}

/// Returns the entry for `key` and `pin`. If it does not exist yet, `install` first installs the packages into it.
fn installed(
    key: Key,
    pin: &Pin,
    report: &dyn Fn(&str),
    install: impl FnOnce(&Path) -> Result<(), PackagesError>,
) -> Result<PathBuf, PackagesError> {
    let key = pin.requirements.iter().fold(key, Key::with);
    cache::entry("packages", key, report, |folder: &Path| {
        report(&format!("installing {}", pin.requirements.join(" ")));
        install(folder)
    })
}

/// Runs the command `pip`. pip is imported from the folder `from`, if given.
fn install(pip: &[OsString], from: Option<&Path>, pin: &Pin, built: bool, target: &Path) -> Result<(), PackagesError> {
    let mut command = pip.to_vec();
    let quiet = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"];
    // Without a network, pip fails for every package of every interpreter, so it must fail quickly.
    command.extend(quiet.into_iter().chain(["--retries", "1"]).map(OsString::from));
    if built {
        command.push("--only-binary=:all:".into());
    }
    command.extend(["--target".into(), target.into()]);
    command.extend(pin.requirements.iter().map(OsString::from));
    let mut spec = Spec::new(command, PATIENCE_S);
    spec.max_processes = 256;
    spec.env.extend(from.map(|folder| ("PYTHONPATH".to_owned(), folder.into())));
    let output = Supervised::start(&spec)?.output()?;
    // Without a network, pip's last line misleadingly reports that there is no such release.
    let is_offline = output.ended.stderr.contains("WARNING: Retrying (");
    output.success().map(drop).map_err(|reason| {
        let offline = "pip can't reach the package index; run again with a network (or PIP_INDEX_URL set)";
        let reason = if is_offline { offline.into() } else { reason };
        PackagesError::NotInstalled { requirements: pin.requirements.join(" "), reason }
    })
}
