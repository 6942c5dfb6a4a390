//! Where the library under test is. The root package's tests use this file too.

use std::fs;
use std::path::{Path, PathBuf};

/// The libbusy.so of the profile under test: target/<profile>/libbusy.so, above this executable's folder deps/.
///
/// Cargo builds no cdylib for a test, not even its own package's; a test of an older library would prove nothing.
pub fn libbusy() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let library = executable.ancestors().nth(2).unwrap().join("libbusy.so");
    let Some(built) = modified(&library) else {
        panic!("{} is missing: run `cargo build` first, with --release if this is so", library.display());
    };
    // Cargo's own list of what went into it, as a Makefile would have it.
    let sources = fs::read_to_string(library.with_extension("d")).unwrap();
    for source in sources.split_whitespace().skip(1) {
        let fresh = modified(Path::new(source)).is_none_or(|changed| changed <= built);
        assert!(fresh, "{} is older than {source}: run `cargo build` first", library.display());
    }
    library
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}
