//! The sampler on real interpreters, which hold the GIL for known times.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "../../../ffi/tests/common/mod.rs"]
mod library;
mod lives;
mod pythons;
mod refusals;
mod share;
mod states;
