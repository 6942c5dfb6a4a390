//! The descendants of this command that run a Python and have no log, each with the reason.

use super::environment::{FOLDER, LIBBUSY, PRELOAD};
use crate::process::{descendants, parent};
use crate::provision::installation::RECORD_LIBRARY;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A Python that is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The process id.
    pub pid: u32,
    /// That of its parent; 0 if it is unknown.
    pub parent: u32,
    /// The executable; empty if another user's rights hide it.
    pub executable: PathBuf,
    /// The reason why it has no log.
    pub reason: String,
}

/// Looks for them.
#[derive(Default)]
pub struct Unrecorded {
    /// The descendants without a log at the last look.
    known: HashMap<u32, Known>,
}

/// A descendant without a log.
enum Known {
    /// It was seen once with this program, and may begin its log at any moment.
    New { executable: PathBuf },
    /// It has no Python.
    Other { executable: PathBuf },
    /// A Python that has run without a log for a while. A forked child begins its log only when it uses the GIL.
    Pending(Found),
}

impl Unrecorded {
    /// Looks at the descendants of this process, whose logs are in `folder`. Returns the Pythons that have ended without one.
    pub fn look(&mut self, folder: &Path, has_log: impl Fn(u32) -> bool) -> Vec<Found> {
        let mut before = std::mem::take(&mut self.known);
        for pid in descendants().into_iter().filter(|pid| !has_log(*pid)) {
            let executable = match fs::read_link(format!("/proc/{pid}/exe")) {
                Ok(executable) => executable,
                // Another user's rights hide it.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => PathBuf::new(),
                // It has ended, and its parent has not waited for it.
                Err(_) => continue,
            };
            let now = match before.remove(&pid) {
                Some(Known::Pending(found)) => Known::Pending(found),
                Some(Known::Other { executable: known }) if known == executable => Known::Other { executable },
                Some(Known::New { executable: known }) if known == executable => {
                    if !runs_python(pid, &executable) {
                        Known::Other { executable }
                    } else if let Some(reason) = reason(pid, folder) {
                        Known::Pending(Found { pid, parent: parent(pid), executable, reason })
                    } else {
                        continue;
                    }
                }
                _ => Known::New { executable },
            };
            self.known.insert(pid, now);
        }
        before.into_values().filter_map(Known::found).filter(|found| !has_log(found.pid)).collect()
    }

    /// Returns the Pythons that still have no log.
    pub fn finish(self, has_log: impl Fn(u32) -> bool) -> Vec<Found> {
        self.known.into_values().filter_map(Known::found).filter(|found| !has_log(found.pid)).collect()
    }
}

impl Known {
    fn found(self) -> Option<Found> {
        if let Self::Pending(found) = self { Some(found) } else { None }
    }
}

/// Returns true if the process seems to run a Python: by the name of its program, or of a library.
fn runs_python(pid: u32, executable: &Path) -> bool {
    let is_named = |path: &Path, start: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().starts_with(start))
    };
    // Hidden from other users, unlike the kernel's name of the process.
    if executable.as_os_str().is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return is_named(Path::new(name.trim_end()), "python");
    }
    is_named(executable, "python") || maps(pid).lines().any(|line| is_named(Path::new(line), "libpython"))
}

/// Returns the reason why the process has no log in `folder`; None if it has ended.
fn reason(pid: u32, folder: &Path) -> Option<String> {
    const OTHER_USER: &str = "it has the rights of another user, for example since its program is setuid";
    let environment = match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => environment,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Some(OTHER_USER.into());
        }
        Err(_) => return None,
    };
    let has = |name: &str, value: &str| {
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.any(|variable| {
            variable.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).is_some_and(|all| all.contains(value))
        })
    };
    let maps = maps(pid);
    let user = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    Some(if !has(PRELOAD, RECORD_LIBRARY) {
        format!("its environment lacks {PRELOAD}, which busy had set")
    } else if let Some(name) = [FOLDER, LIBBUSY].into_iter().find(|name| !has(name, "")) {
        format!("its environment lacks {name}, which busy had set")
    } else if !has(FOLDER, &folder.to_string_lossy()) {
        "another busy records it".into()
    } else if user != rustix::process::geteuid().as_raw() {
        OTHER_USER.into()
    } else if maps.contains("/libbusy.so") {
        "its Python has not run any code, or has no GIL".into()
    } else if maps.contains(RECORD_LIBRARY) {
        "its Python was loaded at run time (dlopen(3)), or libbusy could not be loaded there".into()
    } else {
        format!("ld.so(8) did not load {RECORD_LIBRARY} there: it is static, or for musl or another architecture")
    })
}

fn maps(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default()
}
