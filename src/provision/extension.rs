//! Extension modules that use libbusy, compiled for an interpreter into the cache at first use.

use super::cache::{self, CacheError, Key, UnpackError};
use super::scripts::{Text, unpack_texts, with_texts};
use crate::process::{Spec, Supervised, SupervisorError};
use crate::results::Interpreter;
use busy_loader::soname;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The source of an extension module, which is embedded in this executable.
pub struct Module {
    /// The name under which Python imports it.
    pub name: &'static str,
    /// The file to compile, which is one of `files`.
    source: &'static str,
    files: [Text; 2],
}

pub(super) const HEADER: Text = ("busy.h", include_str!("../../ffi/include/busy.h"));

/// The talk's module, written in C.
pub const C: Module = Module {
    name: "busy_c",
    source: "python_extension.c",
    files: [("python_extension.c", include_str!("../../c-examples/python_extension.c")), HEADER],
};

/// The same module, written in Cython.
pub const CYTHON: Module = Module {
    name: "slide12_cython",
    source: "slide12_cython.pyx",
    files: [("slide12_cython.pyx", include_str!("../../experiments/slide12_cython.pyx")), HEADER],
};

/// The reason why a module or a program was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The interpreter's headers are not installed.
    #[error("no Python.h in {0}: install this interpreter's headers (for example the package python3-dev)")]
    NoHeaders(PathBuf),
    /// The compiler failed, or there is none.
    #[error("`{compiler}` could not compile {source_file}: {reason}; install a C compiler (cc), or set CC to one")]
    NotCompiled {
        /// The compiler.
        compiler: String,
        /// The source file.
        source_file: &'static str,
        /// The compiler's message.
        reason: String,
    },
    /// Cython failed.
    #[error("Cython could not translate {source_file} into C: {reason}")]
    NotTranslated {
        /// The source file.
        source_file: &'static str,
        /// Cython's message.
        reason: String,
    },
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The lab was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

impl From<UnpackError> for CompileError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Cache(error) => Self::Cache(error),
            UnpackError::Supervisor(error) => Self::Supervisor(error),
        }
    }
}

/// Returns the folder from which `interpreter` imports `module`, compiled against `libbusy`. `cython` is the folder
/// from which the interpreter imports Cython, if the module is written in it.
///
/// # Errors
/// See [`CompileError`].
pub fn build(
    module: &Module,
    interpreter: &Interpreter,
    libbusy: &Path,
    cython: Option<&Path>,
) -> Result<PathBuf, CompileError> {
    require_headers(interpreter)?;
    let sources = unpack_texts("sources", &module.files)?;
    let key = compile_key(&module.files, interpreter, libbusy).with(cython.unwrap_or(Path::new("")));
    cache::entry("extensions", key, &|_| (), |folder: &Path| {
        let source = sources.join(module.source);
        let target = folder.join(format!("{}{}", module.name, interpreter.suffix));
        let flags = ["-shared", "-fPIC"].map(OsString::from);
        let compile = |source: &Path| compile(module.source, source, &sources, interpreter, libbusy, &target, &flags);
        let Some(cython) = cython else { return compile(&source) };
        let translated = folder.join(format!("{}.c", module.name));
        translate(module, interpreter, cython, &source, &translated)?;
        compile(&translated)?;
        fs::remove_file(&translated).map_err(|error| CacheError::at(folder, error).into())
    })
}

/// Returns the key of a compiled file, made from everything on which it depends.
pub(super) fn compile_key(files: &[Text], interpreter: &Interpreter, libbusy: &Path) -> Key {
    with_texts(Key::default(), files)
        .with(&interpreter.path)
        .with(&interpreter.version)
        .with(&interpreter.build_flags)
        .with(libbusy)
}

/// Checks that the interpreter's headers are installed.
///
/// # Errors
/// There is no Python.h.
pub(super) fn require_headers(interpreter: &Interpreter) -> Result<(), CompileError> {
    if interpreter.include.join("Python.h").is_file() {
        return Ok(());
    }
    Err(CompileError::NoHeaders(interpreter.include.clone()))
}

/// Compiles `source` for `interpreter` into the file `target`, linked with `libbusy`; `flags` select the kind of target.
///
/// # Errors
/// The compiler failed, or there is none.
pub(super) fn compile(
    source_file: &'static str,
    source: &Path,
    headers: &Path,
    interpreter: &Interpreter,
    libbusy: &Path,
    target: &Path,
    flags: &[OsString],
) -> Result<(), CompileError> {
    // The target requests libbusy by its soname, and the dynamic linker finds it in the target's folder.
    let soname = target.with_file_name(soname());
    symlink(libbusy, &soname).map_err(|error| CacheError::at(&soname, error))?;
    let compiler = std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".into());
    // A run path of the old kind (DT_RPATH) is searched before LD_LIBRARY_PATH (ld.so(8)). So the tested libbusy is
    // loaded, not another one.
    let mut command: Vec<OsString> = compiler.split_whitespace().map(OsString::from).collect();
    command.extend(["-O2", "-Wl,-rpath,$ORIGIN", "-Wl,--disable-new-dtags"].map(OsString::from));
    command.extend(["-I".into(), headers.into(), "-I".into(), interpreter.include.clone().into()]);
    command.extend(["-o".into(), target.into(), source.into(), soname.into()]);
    command.extend_from_slice(flags);
    // The library of fma(3).
    command.push("-lm".into());
    let compiled = Supervised::start(&Spec::new(command, 120.0))?.output()?.success();
    compiled.map(drop).map_err(|reason| CompileError::NotCompiled { compiler, source_file, reason })
}

fn translate(
    module: &Module,
    interpreter: &Interpreter,
    cython: &Path,
    source: &Path,
    target: &Path,
) -> Result<(), CompileError> {
    let mut command: Vec<OsString> = vec![interpreter.command.clone().into(), "-m".into(), "cython".into()];
    command.extend(["-o".into(), target.into(), source.into()]);
    let mut spec = Spec::new(command, 120.0);
    spec.env.insert("PYTHONPATH".into(), cython.into());
    let translated = Supervised::start(&spec)?.output()?.success();
    translated.map(drop).map_err(|reason| CompileError::NotTranslated { source_file: module.source, reason })
}
