//! C programs that embed an interpreter and use libbusy, compiled into the cache at first use.

use super::cache;
use super::extension::{CompileError, HEADER, compile, compile_key, require_headers};
use super::scripts::{Text, unpack_texts};
use crate::interpreter::{Embedding, InterpreterError, embedding};
use crate::process::SupervisorError;
use crate::results::Interpreter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The source of a program, which is embedded in this executable.
pub struct Program {
    /// The name of the executable.
    name: &'static str,
    /// The file to compile, which is one of `files`.
    source: &'static str,
    files: [Text; 2],
}

/// A program with threads that each have their own interpreter.
pub const INTERPRETERS: Program = Program {
    name: "interpreters",
    source: "interpreters.c",
    files: [("interpreters.c", include_str!("../../c-examples/interpreters.c")), HEADER],
};

/// A program that was built.
pub struct Built {
    /// The executable.
    pub program: PathBuf,
    /// The PYTHONHOME that it needs.
    pub python_home: OsString,
}

/// The reason why a program was not built.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// There is no library to link with.
    #[error(
        "{interpreter} has no shared library ({name}): build it with --enable-shared, or install a package such as libpython3-dev"
    )]
    NoLibrary {
        /// The interpreter.
        interpreter: String,
        /// The name of the library.
        name: String,
    },
    /// The interpreter did not name its files.
    #[error(transparent)]
    Interpreter(InterpreterError),
    /// The program could not be compiled.
    #[error(transparent)]
    NotBuilt(CompileError),
    /// The lab was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(SupervisorError),
}

impl From<InterpreterError> for EmbedderError {
    fn from(error: InterpreterError) -> Self {
        match error {
            InterpreterError::Supervisor(error) => Self::Supervisor(error),
            other => Self::Interpreter(other),
        }
    }
}

impl From<CompileError> for EmbedderError {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Supervisor(error) => Self::Supervisor(error),
            other => Self::NotBuilt(other),
        }
    }
}

/// Builds `program` for `interpreter`, CPython 3.12 or later, against `libbusy`.
///
/// # Errors
/// See [`EmbedderError`].
pub fn build(program: &Program, interpreter: &Interpreter, libbusy: &Path) -> Result<Built, EmbedderError> {
    require_headers(interpreter)?;
    let Embedding { library, name, loader, libc, home } = embedding(interpreter)?;
    let Some(library) = library else {
        return Err(EmbedderError::NoLibrary { interpreter: interpreter.title(), name });
    };
    let sources = unpack_texts("sources", &program.files).map_err(CompileError::from)?;
    let key = compile_key(&program.files, interpreter, libbusy).with(&library);
    let folder = cache::entry("programs", key, &|_| (), |folder: &Path| {
        let source = sources.join(program.source);
        let flags = flags(&library, loader.as_deref(), libc.as_deref());
        compile(program.source, &source, &sources, interpreter, libbusy, &folder.join(program.name), &flags)
    })?;
    Ok(Built { program: folder.join(program.name), python_home: home.into() })
}

/// Returns the linker flags. The interpreter may have been built for a newer C library than the compiler's. So its
/// symbols are resolved only at run time, in the interpreter's C library and by the dynamic linker of that library.
fn flags(library: &Path, loader: Option<&Path>, libc: Option<&Path>) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec!["-pthread".into(), library.into(), "-Wl,--allow-shlib-undefined".into()];
    // Each word is passed separately, since -Wl splits its argument at commas.
    let mut linker = |word: &str, path: &Path| {
        for word in [word.as_ref(), path.as_os_str()] {
            flags.extend(["-Xlinker".into(), word.to_owned()]);
        }
    };
    for file in [Some(library), libc].into_iter().flatten() {
        if let Some(folder) = file.parent() {
            linker("-rpath", folder);
        }
    }
    if let Some(loader) = loader {
        linker("--dynamic-linker", loader);
    }
    flags
}
