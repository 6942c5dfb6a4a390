//! The place of the library under test. The tests of the root package use this file too.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the libbusy.so of the profile under test: target/<profile>/libbusy.so, above this executable's folder deps/.
///
/// Cargo builds no cdylib for a test, not even the one of the tested package. So the library may be older than its
/// sources, and a test of an older library would prove nothing.
pub fn libbusy() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let library = executable.ancestors().nth(2).unwrap().join("libbusy.so");
    assert_fresh(&library, &library.with_extension("d"), "cargo build");
    library
}

/// Panics if `built` is missing or older than its sources. `list` is the file in which cargo lists the sources, in the
/// format of a Makefile; `command` builds the file.
pub fn assert_fresh(built: &Path, list: &Path, command: &str) {
    let Some(time) = modified(built) else {
        panic!("{} is missing: run `{command}` first, with --release if this test was built with it", built.display());
    };
    let sources = fs::read_to_string(list).unwrap();
    for source in sources.split_whitespace().skip(1) {
        let fresh = modified(Path::new(source)).is_none_or(|changed| changed <= time);
        assert!(fresh, "{} is older than {source}: run `{command}` first", built.display());
    }
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
