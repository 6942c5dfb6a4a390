//! The command `busy`.

use std::process::ExitCode;

fn main() -> ExitCode {
    busy_lab::main(std::env::args_os())
}
