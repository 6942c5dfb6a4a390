//! An installed busy, and C programs compiled against it as its users compile theirs.

use crate::common::{libbusy, printed};
use std::env::consts::ARCH;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// What `make install` makes, in links, and room for what is compiled against it.
pub struct Prefix(pub TempDir);

impl Prefix {
    pub fn new() -> Self {
        let prefix = Self(tempfile::tempdir().unwrap());
        let library = libbusy();
        for folder in ["include", "lib/pkgconfig"] {
            fs::create_dir_all(prefix.path(folder)).unwrap();
        }
        for header in ["busy.h", "busy_gil.h"] {
            symlink(source(&format!("ffi/include/{header}")), prefix.path("include").join(header)).unwrap();
        }
        symlink(&library, prefix.path("lib/libbusy.so.1")).unwrap();
        symlink("libbusy.so.1", prefix.path("lib/libbusy.so")).unwrap();
        symlink(library.with_extension("a"), prefix.path("lib/libbusy.a")).unwrap();
        let description = fs::read_to_string(source("ffi/busy.pc.in")).unwrap();
        let description = description.replace("@PREFIX@", &text(prefix.0.path())).replace("@VERSION@", "0");
        fs::write(prefix.path("lib/pkgconfig/busy.pc"), description).unwrap();
        prefix
    }

    /// Where the file `name` is, or is to be, in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Links with the shared library, and finds it again when run.
    pub fn shared(&self) -> [String; 3] {
        let folder = text(&self.path("lib"));
        [format!("-L{folder}"), "-lbusy".into(), format!("-Wl,-rpath,{folder}")]
    }

    /// Compiles `source` without a warning into the file `name`.
    pub fn compile<Argument: AsRef<OsStr>>(
        &self,
        source: &Path,
        standard: &str,
        name: &str,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> PathBuf {
        let output = self.path(name);
        let mut command = compiler(standard.starts_with("c++"));
        command.arg(format!("-std={standard}")).args(STRICT).arg("-I").arg(self.path("include"));
        // The libraries go last: a linker takes from them what was asked for before.
        command.arg("-o").arg(&output).arg(source).args(arguments);
        assert_eq!(printed(&mut command), "");
        output
    }
}

/// The compiler of C or C++.
pub fn compiler(cpp: bool) -> Command {
    // A build script would be told the target; a test runs on the machine that it was built for.
    let triple = format!("{ARCH}-unknown-linux-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" });
    let mut build = cc::Build::new();
    build.cpp(cpp).target(&triple).host(&triple).opt_level(2).debug(false).cargo_metadata(false);
    build.try_get_compiler().unwrap().to_command()
}

/// The file `name` of this repository.
pub fn source(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
