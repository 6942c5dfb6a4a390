//! Provides the files that an interpreter needs before it is measured: the scripts, libbusy, packages from the package
//! index, and modules and programs that are compiled at first use.

mod cache;
pub mod embedder;
pub mod extension;
pub mod installation;
pub mod loader;
pub mod packages;
pub mod scripts;

pub use cache::{CacheError, UnpackError};
