//! The C ABI of busy: one thin function for each thing the core can do, and the boundary that no panic and no
//! print crosses. Nothing is decided here; `include/busy.h` and `include/busy_gil.h` are generated from these
//! signatures and comments.

#![allow(non_camel_case_types, unsafe_code, reason = "C names are the public ones; unsafe belongs to a C ABI")]

mod abi;
mod boundary;
mod cancel;
mod cpu;
mod gil;
mod load;
mod options;
mod status;
mod version;
mod wait;
