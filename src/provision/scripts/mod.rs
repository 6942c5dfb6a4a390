//! The Python scripts that child interpreters run. They are embedded in this executable and unpacked into the cache.

use super::cache::{self, CacheError, Key, UnpackError};
use std::fs;
use std::path::{Path, PathBuf};

/// A text that is embedded in this executable: its file name and its content.
pub type Text = (&'static str, &'static str);

macro_rules! texts {
    ($($name:literal in $folder:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../", $folder, "/", $name)))),*]
    };
}

/// The scripts of the experiments, of `busy check` and of `--dask`, and the modules that they import.
const SCRIPTS: &[Text] = texts![
    "reporting.py" in "experiments",
    "slide04_csp.py" in "experiments",
    "slide05_pool.py" in "experiments",
    "slide06_late_worker.py" in "experiments",
    "slide08_queues.py" in "experiments",
    "slide09_pp_remote.py" in "experiments",
    "slide11_pp_disconnect.py" in "experiments",
    "pp_nodes.py" in "experiments",
    "bounded.py" in "experiments",
    "side_by_side.py" in "experiments",
    "slide13_ctypes.py" in "experiments",
    "slide15_extension.py" in "experiments",
    "slide18_generator.py" in "experiments",
    "ticks.py" in "experiments",
    "slide19_libev.py" in "experiments",
    "slide21_gevent.py" in "experiments",
    "slide21_asyncio.py" in "experiments",
    "slide22_interpreters.py" in "experiments",
    "interpreter_loops.py" in "experiments",
    "slide02_no_gil.py" in "experiments",
    "check.py" in "src/provision/scripts",
    "dask_hosts.py" in "src/provision/scripts",
    "dask_worker.py" in "src/provision/scripts",
    "_verdict.py" in "pyext/python/busy",
    "_samples.py" in "pyext/python/busy",
    "_background.py" in "pyext/python/busy",
    "_units.py" in "pyext/python/busy",
    "_refusal.py" in "pyext/python/busy",
    "_ctypes_meter.py" in "pyext/python/busy",
];

/// The script of `busy check`.
pub const CHECK: &str = "check.py";

/// The script that has the workers of a dask cluster run busy.
pub const DASK_HOSTS: &str = "dask_hosts.py";

/// Unpacks the scripts and returns their folder.
///
/// # Errors
/// See [`UnpackError`].
pub fn unpack() -> Result<PathBuf, UnpackError> {
    unpack_texts("scripts", SCRIPTS)
}

/// Unpacks `texts` into an entry of the cache of `kind`, and returns its folder.
///
/// # Errors
/// See [`UnpackError`].
pub(super) fn unpack_texts(kind: &str, texts: &[Text]) -> Result<PathBuf, UnpackError> {
    cache::entry(kind, with_texts(Key::default(), texts), &|_| (), |folder: &Path| {
        let written = texts.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text));
        written.map_err(|error| CacheError::at(folder, error).into())
    })
}

/// Adds names and contents to a key.
pub(super) fn with_texts(key: Key, texts: &[Text]) -> Key {
    texts.iter().fold(key, |key, (name, text)| key.with(name).with(text))
}
