//! The command `busy`.

use std::process::ExitCode;

fn main() -> ExitCode {
    busy_lab::command::main(std::env::args_os())
}
