//! Compiles the talk's extension module, python_extension.c, for an interpreter: into the user's cache, at first use.

use crate::guard::{GuardError, Guarded, Spec};
use crate::interpreter::Interpreter;
use crate::loader::soname;
use crate::unpack::{self, CacheError};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The name that the C source gives its module.
pub const MODULE: &str = "busy_c";

const SOURCES: [(&str, &str); 2] = [
    ("python_extension.c", include_str!("../c-examples/python_extension.c")),
    ("busy.h", include_str!("../ffi/include/busy.h")),
];

/// Why there is no extension module.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The interpreter came without its headers.
    #[error("no Python.h in {0}: install this interpreter's headers (python3-dev or the like)")]
    NoHeaders(PathBuf),
    /// The compiler failed, or there is none.
    #[error("`{compiler}` could not compile python_extension.c: {why}; a C compiler is needed (cc, or name one in CC)")]
    NotCompiled {
        /// The compiler.
        compiler: String,
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

/// The folder from which `interpreter` can `import busy_c`, a module that uses `libbusy`.
///
/// # Errors
/// What is missing for it.
pub fn build(interpreter: &Interpreter, libbusy: &Path) -> Result<PathBuf, ExtensionError> {
    if !interpreter.include.join("Python.h").is_file() {
        return Err(ExtensionError::NoHeaders(interpreter.include.clone()));
    }
    let sources = unpack::files("sources", &SOURCES)?;
    let key = (&SOURCES, &interpreter.path, &interpreter.version, &interpreter.build_flags, libbusy);
    let folder = unpack::folder("extensions", key)?;
    let module = folder.join(format!("{MODULE}{}", interpreter.suffix));
    if module.is_file() {
        return Ok(folder);
    }
    // The soname that the module asks for, beside the module itself.
    let soname = folder.join(soname());
    let in_cache = |error| CacheError::from((folder.clone(), error));
    if !soname.exists() {
        symlink(libbusy, &soname).or_else(|error| if soname.exists() { Ok(()) } else { Err(in_cache(error)) })?;
    }

    let passing = folder.join(format!(".{MODULE}-{}", std::process::id()));
    let compiler = std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".into());
    // An old-style run path comes before LD_LIBRARY_PATH (ld.so(8)): the libbusy that was proven, and no other.
    let mut command: Vec<OsString> = compiler.split_whitespace().map(OsString::from).collect();
    command.extend(["-shared", "-fPIC", "-O2", "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"].map(OsString::from));
    command.extend(["-I".into(), sources.clone().into(), "-I".into(), interpreter.include.clone().into()]);
    command.extend(["-o".into(), passing.clone().into(), sources.join("python_extension.c").into(), soname.into()]);
    // fma(3).
    command.push("-lm".into());
    let compiled = Guarded::start(&Spec::new(command, 120.0))?.output()?.success();
    if let Err(why) = compiled {
        let _ = fs::remove_file(&passing);
        return Err(ExtensionError::NotCompiled { compiler, why });
    }
    fs::rename(&passing, &module).map_err(in_cache)?;
    Ok(folder)
}
