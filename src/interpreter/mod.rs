//! Finds interpreters and identifies them: by asking the interpreter itself, never by its name.

mod discovery;
mod embedding;
mod error;
mod query;
mod resolve;

pub use discovery::{Broken, Found, discover};
pub use embedding::{Embedding, embedding};
pub use error::InterpreterError;
pub use resolve::{Resolved, identify, resolve};
