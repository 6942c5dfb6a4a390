//! The terminal: the screen, which is left as it was found, and the keys.

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, IsTerminal, Stdout, stdin, stdout};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// True while the terminal has the screen.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal that the keys come from: that of stdin, or else the controlling one.
pub struct Keyboard(Option<File>);

impl Keyboard {
    /// Returns the terminal, if there is one.
    pub fn open() -> Option<Self> {
        if stdin().is_terminal() { Some(Self(None)) } else { File::open("/dev/tty").ok().map(|file| Self(Some(file))) }
    }

    /// Returns what is readable once a key was pressed. It does not borrow the terminal, so that this can be drawn to.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Some(file) => file.as_fd(),
            None => rustix::stdio::stdin(),
        }
    }

    /// Returns the keys that were pressed since the last call.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn read(&self) -> io::Result<Vec<KeyEvent>> {
        let mut watched = [PollFd::from_borrowed_fd(self.descriptor(), PollFlags::IN)];
        poll(&mut watched, Some(&Timespec::default()))?;
        let found = watched[0].revents();
        if found.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "it was closed"));
        }
        let mut keys = Vec::new();
        while found.contains(PollFlags::IN) && event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// The screen. Dropping it restores the terminal; so does a panic of the thread that has entered it.
pub struct Screen {
    // Never dropped: it would panic if the terminal is gone, as it then reports on stderr that it can't show the cursor.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl Screen {
    /// Enters the screen.
    ///
    /// # Errors
    /// stdout or the keyboard is no terminal.
    pub fn enter() -> io::Result<Self> {
        restore_on_panic();
        // Set before, so that whatever fails is undone.
        IS_ENTERED.store(true, Ordering::Relaxed);
        let entered = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match entered {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal) }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws the screen, in its present size.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Draws everything anew at the next call of [`Self::draw`].
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal for the position of its cursor, and wait for an answer.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was, if the screen was entered.
fn restore() {
    if IS_ENTERED.swap(false, Ordering::Relaxed) {
        // If the terminal is gone, nothing is left to restore.
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Restores the terminal before a panic of this thread is reported, so that the report is not lost with the screen.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (main, report) = (thread::current().id(), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == main {
                restore();
            }
            report(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
    use std::io::Read;
    use std::process::Command;

    /// Set in the process that panics.
    const PANICS: &str = "BUSY_TEST_PANICS";

    #[test]
    fn a_panic_is_reported_after_the_terminal_was_restored() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::enter().unwrap();
            screen.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
            panic!("planted");
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let modes = || format!("{:?}", tcgetattr(&slave).unwrap());
        let (before, stream) = (modes(), || slave.try_clone().unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "command::top::screen::tests::a_panic_is_reported_after_the_terminal_was_restored";
        command.args(["--exact", name, "--nocapture"]).env(PANICS, "1");
        let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        drop(command);
        assert!(!child.wait().unwrap().success());
        assert_eq!(modes(), before);
        drop(slave);
        let mut written = Vec::new();
        // Fails with EIO once all is read.
        let _ = File::from(master).read_to_end(&mut written);
        let written = String::from_utf8_lossy(&written);
        let (screen, after) = written.rsplit_once("\x1b[?1049l").expect("the screen was left");
        assert!(screen.contains("drawn") && !screen.contains("planted"), "{written:?}");
        assert!(after.contains("\x1b[?25h") && after.contains("planted"), "{written:?}");
    }
}
