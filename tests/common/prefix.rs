//! An installed busy, and C programs that are compiled against it in the same way as users compile them.

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

/// A temporary folder with the files that `make install` installs, and with the programs compiled against them.
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
        let mut archive = Command::new(source("packaging/archive.sh"));
        printed(archive.arg(library.with_extension("a")).arg(prefix.path("lib/libbusy.a")));
        let mut description = fs::read_to_string(source("ffi/busy.pc.in")).unwrap();
        let root = text(prefix.0.path());
        for (place, value) in
            [("PREFIX", &*root), ("LIBDIR", "${prefix}/lib"), ("INCLUDEDIR", "${prefix}/include"), ("VERSION", "0")]
        {
            description = description.replace(&format!("@{place}@"), value);
        }
        fs::write(prefix.path("lib/pkgconfig/busy.pc"), description).unwrap();
        prefix
    }

    /// Returns the path of the file `name` in the folder, whether or not it exists.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns the arguments that link a program with the shared library and let the program find the library at run
    /// time.
    pub fn shared(&self) -> [String; 3] {
        let folder = text(&self.path("lib"));
        [format!("-L{folder}"), "-lbusy".into(), format!("-Wl,-rpath,{folder}")]
    }

    /// Compiles `source` into the file `name`, and returns its path. Fails if the compiler warns.
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
        // The libraries go last: the linker takes from a library only the symbols that earlier files need.
        command.arg("-o").arg(&output).arg(source).args(arguments);
        assert_eq!(printed(&mut command), "");
        output
    }
}

/// Returns the compiler of C, or of C++ if `cpp`.
pub fn compiler(cpp: bool) -> Command {
    // Cargo passes the target only to build scripts. A test runs on the machine for which it was built.
    let triple = format!("{ARCH}-unknown-linux-{}", if cfg!(target_env = "musl") { "musl" } else { "gnu" });
    let mut build = cc::Build::new();
    build.cpp(cpp).target(&triple).host(&triple).opt_level(2).debug(false).cargo_metadata(false);
    build.try_get_compiler().unwrap().to_command()
}

/// Returns the path of the file `name` in this repository.
pub fn source(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
