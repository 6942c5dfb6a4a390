//! Compiles an extension module that uses libbusy for an interpreter: into the user's cache, at first use.

use crate::guard::{GuardError, Guarded, Spec};
use crate::interpreter::Interpreter;
use crate::loader::soname;
use crate::unpack::{self, CacheError};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The source of an extension module, which travels inside this executable.
pub struct Module {
    /// What Python imports.
    pub name: &'static str,
    /// What is compiled, of the files below.
    source: &'static str,
    files: [(&'static str, &'static str); 2],
}

const HEADER: (&str, &str) = ("busy.h", include_str!("../ffi/include/busy.h"));

/// The talk's module, by hand in C.
pub const C: Module = Module {
    name: "busy_c",
    source: "python_extension.c",
    files: [("python_extension.c", include_str!("../c-examples/python_extension.c")), HEADER],
};

/// The same in Cython.
pub const CYTHON: Module = Module {
    name: "slide12_cython",
    source: "slide12_cython.pyx",
    files: [("slide12_cython.pyx", include_str!("../experiments/slide12_cython.pyx")), HEADER],
};

/// Why there is no extension module.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The interpreter came without its headers.
    #[error("no Python.h in {0}: install this interpreter's headers (python3-dev or the like)")]
    NoHeaders(PathBuf),
    /// The compiler failed, or there is none.
    #[error("`{compiler}` could not compile {source_file}: {why}; a C compiler is needed (cc, or name one in CC)")]
    NotCompiled {
        /// The compiler.
        compiler: String,
        /// What it was given.
        source_file: &'static str,
        /// What it said.
        why: String,
    },
    /// Cython failed.
    #[error("Cython could not translate {source_file} into C: {why}")]
    NotTranslated {
        /// What it was given.
        source_file: &'static str,
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

/// The folder from which `interpreter` can import `module`, compiled against `libbusy`; `cython` is the folder from which
/// it imports Cython, for a module that needs it.
///
/// # Errors
/// What is missing for it.
pub fn build(
    module: &Module,
    interpreter: &Interpreter,
    libbusy: &Path,
    cython: Option<&Path>,
) -> Result<PathBuf, ExtensionError> {
    if !interpreter.include.join("Python.h").is_file() {
        return Err(ExtensionError::NoHeaders(interpreter.include.clone()));
    }
    let sources = unpack::files("sources", &module.files)?;
    let key = (&module.files, &interpreter.path, &interpreter.version, &interpreter.build_flags, libbusy, cython);
    let folder = unpack::folder("extensions", key)?;
    let ready = folder.join(format!("{}{}", module.name, interpreter.suffix));
    if ready.is_file() {
        return Ok(folder);
    }
    // The soname that the module asks for, beside the module itself.
    let soname = folder.join(soname());
    let in_cache = |error| CacheError::from((folder.clone(), error));
    if !soname.exists() {
        symlink(libbusy, &soname).or_else(|error| if soname.exists() { Ok(()) } else { Err(in_cache(error)) })?;
    }

    let passing = folder.join(format!(".{}-{}", module.name, std::process::id()));
    let translated = passing.with_extension("c");
    let source = sources.join(module.source);
    let made = match cython {
        Some(cython) => translate(module, interpreter, cython, &source, &translated)
            .and_then(|()| compile(module, interpreter, &sources, &translated, &soname, &passing)),
        None => compile(module, interpreter, &sources, &source, &soname, &passing),
    };
    let _ = fs::remove_file(&translated);
    if let Err(error) = made {
        let _ = fs::remove_file(&passing);
        return Err(error);
    }
    fs::rename(&passing, &ready).map_err(in_cache)?;
    Ok(folder)
}

fn compile(
    module: &Module,
    interpreter: &Interpreter,
    headers: &Path,
    source: &Path,
    soname: &Path,
    target: &Path,
) -> Result<(), ExtensionError> {
    let compiler = std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".into());
    // An old-style run path comes before LD_LIBRARY_PATH (ld.so(8)): the libbusy that was proven, and no other.
    let mut command: Vec<OsString> = compiler.split_whitespace().map(OsString::from).collect();
    command.extend(["-shared", "-fPIC", "-O2", "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"].map(OsString::from));
    command.extend(["-I".into(), headers.into(), "-I".into(), interpreter.include.clone().into()]);
    command.extend(["-o".into(), target.into(), source.into(), soname.into()]);
    // fma(3).
    command.push("-lm".into());
    let compiled = Guarded::start(&Spec::new(command, 120.0))?.output()?.success();
    compiled.map_err(|why| ExtensionError::NotCompiled { compiler, source_file: module.source, why })?;
    Ok(())
}

fn translate(
    module: &Module,
    interpreter: &Interpreter,
    cython: &Path,
    source: &Path,
    target: &Path,
) -> Result<(), ExtensionError> {
    let mut command: Vec<OsString> = vec![interpreter.command.clone().into(), "-m".into(), "cython".into()];
    command.extend(["-o".into(), target.into(), source.into()]);
    let mut spec = Spec::new(command, 120.0);
    spec.env.insert("PYTHONPATH".into(), cython.into());
    let translated = Guarded::start(&spec)?.output()?.success();
    translated.map_err(|why| ExtensionError::NotTranslated { source_file: module.source, why })?;
    Ok(())
}
