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

pub(crate) const HEADER: (&str, &str) = ("busy.h", include_str!("../ffi/include/busy.h"));

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
    need_headers(interpreter)?;
    let sources = unpack::files("sources", &module.files)?;
    let key = (&module.files, &interpreter.path, &interpreter.version, &interpreter.build_flags, libbusy, cython);
    let folder = unpack::folder("extensions", key)?;
    once(&folder, &format!("{}{}", module.name, interpreter.suffix), |passing| {
        let source = sources.join(module.source);
        let compile = |source: &Path| {
            let flags = ["-shared", "-fPIC"].map(OsString::from);
            compile(module.source, source, &sources, interpreter, libbusy, passing, &flags)
        };
        let Some(cython) = cython else { return compile(&source) };
        let translated = folder.join(format!(".{}-{}.c", module.name, std::process::id()));
        let made = translate(module, interpreter, cython, &source, &translated).and_then(|()| compile(&translated));
        let _ = fs::remove_file(&translated);
        made
    })?;
    Ok(folder)
}

/// # Errors
/// There is no Python.h.
pub(crate) fn need_headers(interpreter: &Interpreter) -> Result<(), ExtensionError> {
    if interpreter.include.join("Python.h").is_file() {
        return Ok(());
    }
    Err(ExtensionError::NoHeaders(interpreter.include.clone()))
}

/// The file `name` in `folder`; if it is not there yet, what `make` makes under a passing name.
///
/// # Errors
/// What `make` says, or there is no room for it.
pub(crate) fn once(
    folder: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), ExtensionError>,
) -> Result<PathBuf, ExtensionError> {
    let ready = folder.join(name);
    if ready.is_file() {
        return Ok(ready);
    }
    let passing = folder.join(format!(".{name}-{}", std::process::id()));
    if let Err(error) = make(&passing) {
        let _ = fs::remove_file(&passing);
        return Err(error);
    }
    fs::rename(&passing, &ready).map_err(|error| CacheError::from((folder.to_path_buf(), error)))?;
    Ok(ready)
}

/// Compiles `source` for `interpreter` into `target`, linked with `libbusy`; `flags` say into what and with what else.
///
/// # Errors
/// The compiler failed, or there is none.
pub(crate) fn compile(
    source_file: &'static str,
    source: &Path,
    headers: &Path,
    interpreter: &Interpreter,
    libbusy: &Path,
    target: &Path,
    flags: &[OsString],
) -> Result<(), ExtensionError> {
    // The soname that it asks for, beside it.
    let soname = target.with_file_name(soname());
    if !soname.exists() {
        let made = symlink(libbusy, &soname).or_else(|error| if soname.exists() { Ok(()) } else { Err(error) });
        made.map_err(|error| CacheError::from((soname.clone(), error)))?;
    }
    let compiler = std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".into());
    // An old-style run path comes before LD_LIBRARY_PATH (ld.so(8)): the libbusy that was proven, and no other.
    let mut command: Vec<OsString> = compiler.split_whitespace().map(OsString::from).collect();
    command.extend(["-O2", "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"].map(OsString::from));
    command.extend(["-I".into(), headers.into(), "-I".into(), interpreter.include.clone().into()]);
    command.extend(["-o".into(), target.into(), source.into(), soname.into()]);
    command.extend_from_slice(flags);
    // fma(3).
    command.push("-lm".into());
    let compiled = Guarded::start(&Spec::new(command, 120.0))?.output()?.success();
    compiled.map_err(|why| ExtensionError::NotCompiled { compiler, source_file, why })?;
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
