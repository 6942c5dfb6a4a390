//! Puts the text that travels inside this executable into the user's cache, where interpreters and compilers read it.

use crate::places;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::{fs, process};

/// Why the cache can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't write to the cache folder{}: {error}; make it writable, or set XDG_CACHE_HOME to one that is", .folder.as_ref().map_or(String::new(), |folder| format!(" {}", folder.display())))]
pub struct CacheError {
    folder: Option<PathBuf>,
    error: io::Error,
}

impl From<(PathBuf, io::Error)> for CacheError {
    fn from((folder, error): (PathBuf, io::Error)) -> Self {
        Self { folder: Some(folder), error }
    }
}

/// A folder of the cache for `kind`, apart for everything that `key` tells apart.
///
/// # Errors
/// There is no home, or no right to write there.
pub fn folder(kind: &str, key: impl Hash) -> Result<PathBuf, CacheError> {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let Some(cache) = places::cache() else {
        return Err(CacheError { folder: None, error: io::Error::new(io::ErrorKind::NotFound, "HOME is not set") });
    };
    let folder = cache.join(kind).join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(&folder).map_err(|error| (folder.clone(), error))?;
    Ok(folder)
}

/// The folder with these files (name, text), written if it is not there yet.
///
/// # Errors
/// As [`folder`].
pub fn files(kind: &str, files: &[(&str, &str)]) -> Result<PathBuf, CacheError> {
    let folder = folder(kind, files)?;
    for (name, text) in files {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        // By rename, so that another lab that starts now never reads half a file.
        let passing = folder.join(format!(".{name}-{}", process::id()));
        let written = fs::write(&passing, text).and_then(|()| fs::rename(&passing, &path));
        written.map_err(|error| (folder.clone(), error))?;
    }
    Ok(folder)
}
