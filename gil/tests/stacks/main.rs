//! The Python stacks of other processes, compared with what the programs themselves and py-spy report.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod churn;
mod parked;
mod peer;
#[path = "../remote/pythons.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod pythons;
mod refused;
mod running;
