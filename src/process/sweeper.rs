//! Removes a folder when the command that has created it ends, even if that is killed.

use super::roles::SWEEPER;
use super::signals;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{File, remove_dir_all};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

/// The process that removes a folder. Dropping it removes the folder.
pub struct Sweeper {
    process: Child,
    /// The end of this pipe is what the process waits for.
    pipe: Option<ChildStdin>,
}

impl Sweeper {
    /// Starts the process for `folder`.
    ///
    /// # Errors
    /// This command can't be executed again.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // A process group of its own: Ctrl-C at the terminal is not for it.
        command.arg(SWEEPER).arg(folder).process_group(0).current_dir("/");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { pipe: process.stdin.take(), process })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}

/// Waits for the end of stdin, and removes the folder `args[0]`.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let [folder] = args else { return ExitCode::from(2) };
    signals::block_all();
    // `pkill busy` spares a process of this name, which then removes the folder.
    let _ = rustix::thread::set_name(c"sweeper");
    // Until the end of this process, nobody else takes the folder for abandoned.
    let _lock = File::open(folder).inspect(|folder| _ = flock(folder, FlockOperation::LockShared));
    let _ = io::copy(&mut io::stdin().take(u64::MAX), &mut io::sink());
    // A recorded process may create a file meanwhile.
    for _ in 0..5 {
        if remove_dir_all(folder).is_ok() || !Path::new(folder).exists() {
            break;
        }
    }
    ExitCode::SUCCESS
}
