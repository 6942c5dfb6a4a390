//! The C ABI of busy: one thin function for each operation of the core and of the GIL meter, behind a boundary that
//! stops panics and printing. `include/busy.h` and `include/busy_gil.h` are generated from the signatures and comments
//! of this crate.

#![allow(non_camel_case_types, unsafe_code, reason = "the public names are C names; a C ABI needs unsafe")]

mod abi;
mod boundary;
mod cancel;
mod cpu;
mod gil;
mod gil_copy;
mod gil_counters;
mod gil_stall_reader;
mod gil_stalls;
mod gil_state;
mod load;
mod options;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod record;
mod status;
mod version;
mod wait;
