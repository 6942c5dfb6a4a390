//! A terminal in which a test runs the command: a pseudo-terminal (pty(7)), and what a person sees on it.

use crate::harness::{Sandbox, wait_for};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};

/// A terminal of 80 columns and 24 lines.
pub struct Terminal {
    /// None once the terminal is closed.
    master: Option<File>,
    slave: Option<File>,
    child: Child,
    seen: Arc<Mutex<Seen>>,
    /// Ends the reader.
    is_closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    before: String,
}

struct Seen {
    bytes: Vec<u8>,
    parser: vt100::Parser,
}

impl Terminal {
    /// Runs a shell's script in the terminal, with the command as its $BUSY.
    pub fn run(sandbox: &Sandbox, script: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        tcsetwinsize(&slave, size(80, 24)).unwrap();
        let before = modes(&slave);
        // Job control, as in an interactive shell.
        let own = sandbox.command(&[]);
        let mut command = Command::new("setsid");
        command.args(["--ctty", "sh", "-mc", script]).env("BUSY", own.get_program()).env("TERM", "xterm-256color");
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let stream = || slave.try_clone().unwrap();
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(Seen { bytes: Vec::new(), parser: vt100::Parser::new(24, 80, 0) }));
        let master = File::from(master);
        let is_closed = Arc::new(AtomicBool::new(false));
        let reader = spawn({
            let (seen, is_closed, master) = (Arc::clone(&seen), Arc::clone(&is_closed), master.try_clone().unwrap());
            move || read(master, &seen, &is_closed)
        });
        Self { master: Some(master), slave: Some(slave), child, seen, is_closed, reader: Some(reader), before }
    }

    /// Types these keys.
    pub fn press(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size.
    pub fn resize(&self, columns: u16, lines: u16) {
        self.seen.lock().unwrap().parser.screen_mut().set_size(lines, columns);
        tcsetwinsize(self.master.as_ref().unwrap(), size(columns, lines)).unwrap();
    }

    /// Returns the text on the screen.
    pub fn text(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    /// Waits until the screen shows a text that `is_shown`.
    pub fn wait(&self, what: &str, is_shown: impl Fn(&str) -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !is_shown(&self.text()) {
            assert!(std::time::Instant::now() < deadline, "timed out waiting for {what}:\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until the screen contains `text`.
    pub fn wait_for(&self, text: &str) {
        self.wait(&format!("{text:?}"), |shown| shown.contains(text));
    }

    /// Returns the text that is shown in reverse.
    pub fn reversed(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let screen = seen.parser.screen();
        let (lines, columns) = screen.size();
        let cells = (0..lines).flat_map(|line| (0..columns).filter_map(move |column| screen.cell(line, column)));
        cells.filter(|cell| cell.inverse()).map(vt100::Cell::contents).collect::<String>().trim().to_owned()
    }

    /// Checks that the terminal is as it was before: its modes, its cursor, and no alternate screen.
    pub fn assert_restored(&self) {
        let is_restored = || {
            let seen = self.seen.lock().unwrap();
            let screen = seen.parser.screen();
            !screen.alternate_screen() && !screen.hide_cursor() && modes(self.slave.as_ref().unwrap()) == self.before
        };
        wait_for("the terminal as it was before", is_restored);
    }

    /// Closes the terminal, as a window is closed.
    pub fn close(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        (self.master, self.slave) = (None, None);
    }

    /// Waits for the end of the script. Returns its exit code, and all that was written.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut status = None;
        wait_for("the end of the script", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        (self.slave, self.master) = (None, None);
        self.reader.take().unwrap().join().unwrap();
        let written = String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).into_owned();
        (status.code().or(status.signal().map(|signal| 128 + signal)), written)
    }
}

/// Reads what is written to the terminal, until no process has it open any more, or the test closes it.
fn read(mut master: File, seen: &Mutex<Seen>, is_closed: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !is_closed.load(Ordering::Relaxed) {
        let time = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        if poll(&mut [PollFd::new(&master, PollFlags::IN)], Some(&time)).is_ok_and(|count| count == 0) {
            continue;
        }
        // Fails with EIO once no process has it open.
        let Ok(length @ 1..) = master.read(&mut buffer) else { return };
        let mut seen = seen.lock().unwrap();
        seen.bytes.extend_from_slice(&buffer[..length]);
        seen.parser.process(&buffer[..length]);
    }
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Returns the modes of a terminal as text.
fn modes(terminal: &File) -> String {
    let Termios { input_modes, output_modes, control_modes, local_modes, special_codes, .. } =
        tcgetattr(terminal).unwrap();
    format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?} {special_codes:?}")
}
