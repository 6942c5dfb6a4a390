//! Compiles a C program that embeds an interpreter and uses libbusy: into the user's cache, at first use.

use crate::extension::{ExtensionError, HEADER, compile, need_headers, once};
use crate::guard::GuardError;
use crate::interpreter::{Embedding, Interpreter, InterpreterError};
use crate::unpack;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The source of a program, which travels inside this executable.
pub struct Program {
    /// What it is called.
    name: &'static str,
    /// What is compiled, of the files below.
    source: &'static str,
    files: [(&'static str, &'static str); 2],
}

/// Threads with an interpreter each.
pub const INTERPRETERS: Program = Program {
    name: "interpreters",
    source: "interpreters.c",
    files: [("interpreters.c", include_str!("../c-examples/interpreters.c")), HEADER],
};

/// A program that was built.
pub struct Built {
    /// Its file.
    pub program: PathBuf,
    /// The PYTHONHOME that it needs.
    pub python_home: OsString,
}

/// Why there is no such program.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// Nothing to link with.
    #[error(
        "{interpreter} is not to be had as a shared library ({name}): a build with --enable-shared has it, or a package such as libpython3-dev"
    )]
    NoLibrary {
        /// The interpreter.
        interpreter: String,
        /// What the library would be called.
        name: String,
    },
    /// The interpreter could not say where it is.
    #[error(transparent)]
    Interpreter(InterpreterError),
    /// It could not be compiled.
    #[error(transparent)]
    NotBuilt(ExtensionError),
    /// The lab was stopped, or its guard was.
    #[error(transparent)]
    Guard(GuardError),
}

impl From<InterpreterError> for EmbedderError {
    fn from(error: InterpreterError) -> Self {
        match error {
            InterpreterError::Guard(error) => Self::Guard(error),
            other => Self::Interpreter(other),
        }
    }
}

impl From<ExtensionError> for EmbedderError {
    fn from(error: ExtensionError) -> Self {
        match error {
            ExtensionError::Guard(error) => Self::Guard(error),
            other => Self::NotBuilt(other),
        }
    }
}

/// `program` for `interpreter`, CPython 3.12 or later, compiled against `libbusy`.
///
/// # Errors
/// What is missing for it.
pub fn build(program: &Program, interpreter: &Interpreter, libbusy: &Path) -> Result<Built, EmbedderError> {
    need_headers(interpreter)?;
    let Embedding { library, name, loader, libc, home } = interpreter.embedding()?;
    let Some(library) = library else {
        return Err(EmbedderError::NoLibrary { interpreter: interpreter.title(), name });
    };
    let sources = unpack::files("sources", &program.files).map_err(ExtensionError::from)?;
    let key = (&program.files, &interpreter.path, &interpreter.version, &interpreter.build_flags, libbusy, &library);
    let folder = unpack::folder("programs", key).map_err(ExtensionError::from)?;
    let program_file = once(&folder, program.name, |passing| {
        let source = sources.join(program.source);
        let flags = flags(&library, loader.as_deref(), libc.as_deref());
        compile(program.source, &source, &sources, interpreter, libbusy, passing, &flags)
    })?;
    Ok(Built { program: program_file, python_home: home.into() })
}

/// The interpreter may have been built for a newer C library than the compiler's: its symbols are looked for at run time
/// only, in the C library that it runs on itself, under the dynamic linker that belongs to that one.
fn flags(library: &Path, loader: Option<&Path>, libc: Option<&Path>) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec!["-pthread".into(), library.into(), "-Wl,--allow-shlib-undefined".into()];
    // One by one, since -Wl takes a comma for the next.
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
