//! Writes the manual pages and the completions of the shells, from the same sources as `busy --help` and the headers:
//! busy-manual FOLDER. `make build` runs it.
//!
//! The files are busy.1 and a page for each subcommand; busy_wait.3 and busy_gil.3, and for each function a page that leads
//! to one of them; busy.bash, _busy and busy.fish.

mod header;

use clap_complete::aot::{Bash, Fish, Zsh, generate_to};
use header::{Header, with_date};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const BUSY_H: &str = include_str!("../../ffi/include/busy.h");
const BUSY_GIL_H: &str = include_str!("../../ffi/include/busy_gil.h");

fn main() -> Result<(), io::Error> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected the folder for the pages"));
    };
    // Without the pages of a former build.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    write_command(&folder)?;
    let about_wait = "busy waits, a load of a given size, and the CPU time of threads";
    write_header(&folder, "busy_wait", "busy.h", BUSY_H, about_wait)?;
    write_header(&folder, "busy_gil", "busy_gil.h", BUSY_GIL_H, "the exact meter of Python's GIL")
}

fn write_command(folder: &Path) -> io::Result<()> {
    let mut command = busy_lab::command::command_line().disable_help_subcommand(true);
    clap_mangen::generate_to(command.clone(), folder)?;
    for page in fs::read_dir(folder)? {
        let page = page?.path();
        fs::write(&page, with_date(&fs::read_to_string(&page)?))?;
    }
    generate_to(Bash, &mut command, "busy", folder)?;
    generate_to(Zsh, &mut command, "busy", folder)?;
    generate_to(Fish, &mut command, "busy", folder)?;
    Ok(())
}

/// Writes the page `name` of a header, and for each function a page that leads to it.
fn write_header(folder: &Path, name: &str, file: &str, text: &str, about: &str) -> io::Result<()> {
    let header = Header::parse(text);
    fs::write(folder.join(format!("{name}.3")), header.page(name, file, about))?;
    for function in header.functions().filter(|function| *function != name) {
        fs::write(folder.join(format!("{function}.3")), format!(".so man3/{name}.3\n"))?;
    }
    Ok(())
}
