//! Whether a recorded process still runs the program that opened its log.

use crate::trace::Ending;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A process, with the program that it ran when it was opened.
pub struct Running {
    pid: u32,
    /// Its executable, or the beginning of its path.
    executable: String,
    end: End,
    /// Refers to its address space. None without the right to read that.
    pages: Option<File>,
}

/// What shows the end of a process.
enum End {
    /// A descriptor that becomes readable.
    Pidfd(OwnedFd),
    /// It had ended before it was opened.
    Past,
    /// Nothing but its program: the kernel has no pidfds (before 5.3), a sandbox forbids them, or no descriptor is left.
    Unknown,
}

impl Running {
    /// Opens process `pid`, whose executable has a path that begins with `executable`.
    pub fn open(pid: u32, executable: &str) -> Self {
        let end = match Pid::from_raw(pid as i32).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(pidfd)) => End::Pidfd(pidfd),
            Some(Err(Errno::SRCH)) | None => End::Past,
            Some(Err(_)) => End::Unknown,
        };
        let pages = File::open(format!("/proc/{pid}/pagemap")).ok();
        // It may have executed another program before this was opened, whose end would be waited for then.
        let now = fs::read_link(format!("/proc/{pid}/exe"));
        let pages = pages.filter(|_| now.is_err() || now.is_ok_and(|now| has_name_of(&now, Path::new(executable))));
        Self { pid, executable: executable.to_owned(), end, pages }
    }

    /// Returns what becomes readable when the process ends, if anything does.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        if let End::Pidfd(pidfd) = &self.end { Some(pidfd.as_fd()) } else { None }
    }

    /// Returns how the program has ended, if it has: by the end of the process, or because the process has executed another
    /// one.
    pub fn ending(&self) -> Option<Ending> {
        if self.has_ended() {
            return Some(Ending::Abrupt);
        }
        let executable = || fs::read_link(format!("/proc/{}/exe", self.pid));
        if let Some(pages) = &self.pages {
            // The descriptor refers to the address space that existed when it was opened: after execve(2), and after the end
            // of the process, a read returns 0 bytes; before, EINVAL, since entries have 8 bytes (`pagemap_read` in
            // fs/proc/task_mmu.c, since Linux 4.3). Unlike /proc/PID/mem, it does not wait while the process forks.
            if !matches!(pages.read_at(&mut [0], 0), Ok(0)) {
                return None;
            }
            // A process that is ending no longer has a program (`exit_mm` in kernel/exit.c).
            let is_another = executable().is_ok() && !self.has_ended();
            return Some(if is_another { Ending::Executed } else { Ending::Abrupt });
        }
        match executable() {
            Ok(path) if path.to_string_lossy().starts_with(&self.executable) => None,
            Ok(_) => Some(Ending::Executed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Ending::Abrupt),
            // Its program is another user's.
            Err(_) => None,
        }
    }

    fn has_ended(&self) -> bool {
        match &self.end {
            End::Pidfd(pidfd) => is_readable(pidfd),
            End::Past => true,
            End::Unknown => false,
        }
    }
}

/// Returns true if the path `now` ends as `before` does. In another root, its beginning may differ; the file may have been
/// deleted, which is appended.
fn has_name_of(now: &Path, before: &Path) -> bool {
    let [now, before] = [now, before].map(|path| path.file_name().unwrap_or_default().to_string_lossy());
    now.starts_with(&*before)
}

fn is_readable(descriptor: &OwnedFd) -> bool {
    matches!(poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&Timespec::default())), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    /// Starts a shell that executes `program` when its stdin ends.
    fn shell(program: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        let child = command.args(["-c", &format!("read line; exec {program}")]).stdin(Stdio::piped()).spawn().unwrap();
        // The child executes the shell first.
        sleep(Duration::from_millis(100));
        child
    }

    /// The four ways to watch a process: with and without a pidfd, with and without its address space.
    fn ways(pid: u32) -> Vec<Running> {
        let executable = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        let open = || Running::open(pid, &executable.to_string_lossy());
        vec![
            open(),
            Running { end: End::Unknown, ..open() },
            Running { pages: None, ..open() },
            Running { end: End::Unknown, pages: None, ..open() },
        ]
    }

    fn wait_for(ways: &[Running], expected: Option<Ending>) {
        let found = || ways.iter().map(Running::ending).collect::<Vec<_>>();
        for _ in 0..2000 {
            if found().iter().all(|ending| *ending == expected) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        panic!("expected {expected:?}, found {:?}", found());
    }

    #[test]
    fn a_process_runs_until_it_executes_another_program_or_ends() {
        let mut child = shell("sleep 1000");
        let ways = ways(child.id());
        wait_for(&ways, None);
        drop(child.stdin.take());
        wait_for(&ways, Some(Ending::Executed));
        child.kill().unwrap();
        // It has ended, but nobody has waited for it.
        wait_for(&ways, Some(Ending::Abrupt));
        child.wait().unwrap();
        wait_for(&ways, Some(Ending::Abrupt));
    }

    #[test]
    fn the_same_program_executed_again_is_another_one() {
        let mut child = shell("/bin/sh -c 'kill -STOP $$'");
        // Without its address space, it can't be distinguished.
        let watched = &ways(child.id())[..2];
        wait_for(watched, None);
        drop(child.stdin.take());
        wait_for(watched, Some(Ending::Executed));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_program_that_was_executed_before_the_process_was_opened_is_another_one() {
        let mut child = shell("sleep 1000");
        assert_eq!(Running::open(child.id(), "/usr/bin/python3").ending(), Some(Ending::Executed));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_does_not_exist_has_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(Running::open(child.id(), "/bin/true").ending(), Some(Ending::Abrupt));
    }
}
