//! The user's cache: files that are created once and reused by later runs. An entry is a folder that is either complete
//! or absent: it is created under a temporary name, with a list of its files and their hashes, and then renamed. Later
//! runs check the files against the list, so a truncated or damaged entry is created again.
//!
//! Entries are found by a SHA-256 of their key. (std's hasher may change from one Rust version to the next.)

use crate::paths;
use crate::process::{SupervisorError, interrupt};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The name, within the entry, of the list of the entry's files.
const LIST: &str = ".busy-files.json";

/// The reason why the cache can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't write to the cache folder{}: {error}; make it writable, or set XDG_CACHE_HOME to one that is", .folder.as_ref().map_or(String::new(), |folder| format!(" {}", folder.display())))]
pub struct CacheError {
    folder: Option<PathBuf>,
    error: io::Error,
}

impl CacheError {
    /// Returns the error for a file operation in `folder`.
    pub(super) fn at(folder: &Path, error: io::Error) -> Self {
        Self { folder: Some(folder.to_path_buf()), error }
    }
}

/// The reason why texts could not be unpacked into the cache.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The lab was interrupted while another busy was unpacking them.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

/// The key of an entry, made from everything on which its content depends.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a part. The boundaries between parts count: ("ab", "c") and ("a", "bc") are different keys.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<OsStr>) -> Self {
        let bytes = part.as_ref().as_bytes();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn name(self) -> String {
        hex(&self.0.finalize()[..16])
    }
}

/// Returns the folder of the entry `key` of `kind`. If the entry is absent or damaged, `make` first fills a folder for
/// it. If two processes need the same entry at the same time, one of them creates it, and the other one waits and calls
/// `report` with the reason.
///
/// # Errors
/// The cache can't be used, the lab was interrupted while it waited, or `make` failed.
pub(super) fn entry<E: From<CacheError> + From<SupervisorError>>(
    kind: &str,
    key: Key,
    report: &dyn Fn(&str),
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let Some(cache) = paths::cache() else {
        let error = io::Error::new(io::ErrorKind::NotFound, "HOME is not set");
        return Err(CacheError { folder: None, error }.into());
    };
    entry_in(&cache.join(kind), &key.name(), report, make)
}

fn entry_in<E: From<CacheError> + From<SupervisorError>>(
    folder: &Path,
    name: &str,
    report: &dyn Fn(&str),
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let ready = folder.join(name);
    if is_whole(&ready) {
        return Ok(ready);
    }
    let cache = |error| CacheError::at(folder, error);
    fs::create_dir_all(folder).map_err(cache)?;
    // The kernel releases the lock when its process ends. So a folder under the temporary name that exists while this
    // process holds the lock was left by a killed process and may be removed.
    let lock = File::create(folder.join(format!(".{name}.lock"))).map_err(cache)?;
    while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK {
            return Err(cache(error.into()).into());
        }
        if interrupt::requested() {
            return Err(SupervisorError::Interrupted.into());
        }
        report("waiting for another busy process, which prepares the same files");
        thread::sleep(Duration::from_millis(100));
    }
    if is_whole(&ready) {
        return Ok(ready);
    }
    let temporary = folder.join(format!(".{name}.tmp"));
    remove(&temporary).map_err(cache)?;
    fs::create_dir(&temporary).map_err(cache)?;
    let made = make(&temporary).and_then(|()| seal(&temporary).map_err(|error| cache(error).into()));
    if let Err(error) = made {
        let _ = remove(&temporary);
        return Err(error);
    }
    // A program that is using the damaged entry keeps the removed files until it closes them.
    remove(&ready).and_then(|()| fs::rename(&temporary, &ready)).map_err(cache)?;
    Ok(ready)
}

/// The expected content of one file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    /// A regular file with this SHA-256.
    Sha256(String),
    /// A symbolic link, which must lead to a file.
    Link,
}

/// Writes the list of files, and flushes all files to disk.
fn seal(folder: &Path) -> io::Result<()> {
    let mut files = BTreeMap::new();
    list(folder, Path::new(""), &mut files)?;
    let path = folder.join(LIST);
    fs::write(&path, serde_json::to_vec(&files)?)?;
    for name in files.keys() {
        let path = folder.join(name);
        if path.is_file() {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

/// Returns true if every listed file exists and has the expected content. Other files, such as Python's bytecode, are
/// allowed.
fn is_whole(folder: &Path) -> bool {
    let Ok(list) = fs::read(folder.join(LIST)) else { return false };
    let Ok(files) = serde_json::from_slice::<BTreeMap<String, Content>>(&list) else { return false };
    files.iter().all(|(name, content)| match content {
        Content::Link => folder.join(name).exists(),
        Content::Sha256(hash) => fs::read(folder.join(name)).is_ok_and(|bytes| hex(&Sha256::digest(bytes)) == *hash),
    })
}

/// Adds the files under `folder`/`below` to `files`, by their names relative to `folder`.
fn list(folder: &Path, below: &Path, files: &mut BTreeMap<String, Content>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Python may rewrite its bytecode at any time.
            if entry.file_name() != "__pycache__" {
                list(folder, &name, files)?;
            }
            continue;
        }
        // A file whose name is not UTF-8 is not checked, since JSON can't represent the name.
        if let Some(name) = name.to_str() {
            let content = if kind.is_symlink() {
                Content::Link
            } else {
                Content::Sha256(hex(&Sha256::digest(fs::read(entry.path())?)))
            };
            files.insert(name.to_owned(), content);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Creates an entry with two files and a link, and returns its folder.
    fn make(folder: &Path, made: &AtomicU32) -> PathBuf {
        let fill = |target: &Path| -> Result<(), UnpackError> {
            made.fetch_add(1, Ordering::Relaxed);
            fs::create_dir(target.join("package")).unwrap();
            fs::write(target.join("package/module.py"), "pass\n").unwrap();
            fs::write(target.join("empty"), "").unwrap();
            symlink("empty", target.join("link")).unwrap();
            Ok(())
        };
        entry_in(folder, "entry", &|_| (), fill).unwrap()
    }

    #[test]
    fn an_entry_is_made_once_and_found_again() {
        let (folder, made) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        let entry = make(folder.path(), &made);
        assert_eq!((make(folder.path(), &made), made.load(Ordering::Relaxed)), (entry.clone(), 1));
        fs::create_dir(entry.join("package/__pycache__")).unwrap();
        fs::write(entry.join("package/__pycache__/module.pyc"), "x").unwrap();
        make(folder.path(), &made);
        assert_eq!(made.load(Ordering::Relaxed), 1, "other files must not damage the entry");
    }

    #[test]
    fn a_damaged_entry_is_made_again() {
        let (folder, made) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        let entry = make(folder.path(), &made);
        let damages: [&dyn Fn(); 6] = [
            &|| fs::write(entry.join("package/module.py"), "").unwrap(),
            &|| fs::write(entry.join("package/module.py"), "\0\0\0\0\0").unwrap(),
            &|| fs::remove_file(entry.join("empty")).unwrap(),
            &|| fs::remove_file(entry.join(LIST)).unwrap(),
            &|| fs::write(entry.join(LIST), "{").unwrap(),
            &|| fs::remove_dir_all(entry.join("package")).unwrap(),
        ];
        for (number, damage) in (2..).zip(damages) {
            damage();
            make(folder.path(), &made);
            assert_eq!(made.load(Ordering::Relaxed), number);
            assert_eq!(fs::read_to_string(entry.join("package/module.py")).unwrap(), "pass\n");
        }
    }

    #[test]
    fn a_failure_and_a_killed_run_leave_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let fail = |target: &Path| -> Result<(), UnpackError> {
            fs::write(target.join("half"), "").unwrap();
            Err(CacheError::at(target, io::ErrorKind::StorageFull.into()).into())
        };
        let error = entry_in(folder.path(), "entry", &|_| (), fail).unwrap_err();
        assert!(error.to_string().contains(".entry.tmp"), "{error}");
        assert!(!folder.path().join("entry").exists() && !folder.path().join(".entry.tmp").exists());
        // A killed process leaves such a folder.
        fs::create_dir(folder.path().join(".entry.tmp")).unwrap();
        fs::write(folder.path().join(".entry.tmp/half"), "").unwrap();
        let entry = make(folder.path(), &AtomicU32::new(0));
        assert!(!entry.join("half").exists() && !folder.path().join(".entry.tmp").exists());
    }

    #[test]
    fn an_entry_that_several_threads_need_at_once_is_made_once() {
        let (folder, made) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let entry = make(folder.path(), &made);
                    assert!(is_whole(&entry));
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_key_keeps_its_parts_apart_and_stays_the_same() {
        let name = |parts: &[&str]| parts.iter().fold(Key::default(), |key, part| key.with(part)).name();
        assert_ne!(name(&["ab", "c"]), name(&["a", "bc"]));
        assert_ne!(name(&["a"]), name(&["a", ""]));
        // The entries of earlier versions are found only if this key never changes.
        assert_eq!(name(&["busy"]), "8cf7df7ab12cc6cadfac26c8eb09eccd");
    }
}
