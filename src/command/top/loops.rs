//! Shows the state again and again: on the screen, or as lines.

use super::error::TopError;
use super::keys::{Action, press};
use super::screen::{Keyboard, Screen};
use super::source::Source;
use crate::command::output::{is_printed, note};
use crate::show::live::{Order, Shown, State, View, draw, lines};
use ratatui::crossterm::event::KeyEvent;
use rustix::process::{Signal, getpgid, getpid, getppid, getsid, kill_process};
use signal_hook::consts::SIGTSTP;
use signal_hook::flag;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The time between two refreshes of the screen.
const REFRESH: Duration = Duration::from_millis(100);
/// The time after which the threads are sorted anew, and between two reports as lines.
const SECOND: Duration = Duration::from_secs(1);

/// Prints the state once a second. Once stdout is closed (`| head`), a program still runs to its end, but a process is left,
/// with exit code 0.
///
/// # Errors
/// See [`TopError`].
pub fn as_lines(source: &mut impl Source, has_program: bool) -> Result<ExitCode, TopError> {
    source.state()?;
    let mut is_open = true;
    let mut next = Instant::now() + SECOND;
    loop {
        if let Some(code) = source.wait(next, None)? {
            return Ok(code);
        }
        if Instant::now() < next {
            continue;
        }
        let mut state = source.state()?;
        Order::default().renew(&mut state.threads, View::default().sort);
        is_open = is_open && is_printed(&lines(&state))?;
        if !is_open && !has_program {
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(reason) = source.end() {
            return Err(reason);
        }
        next = (next + SECOND).max(Instant::now());
    }
}

/// Shows the state on the screen, ten times a second. `output` is the place where the program's output goes, if there is a
/// program.
///
/// # Errors
/// See [`TopError`]. If the terminal disappears, a program still runs to its end.
pub fn on_screen(source: &mut impl Source, keyboard: Keyboard, output: Option<String>) -> Result<ExitCode, TopError> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    flag::register(SIGTSTP, Arc::clone(&is_stopped)).map_err(TopError::System)?;
    let has_program = output.is_some();
    let screen = match Screen::enter() {
        Ok(screen) => Some(screen),
        Err(error) if !has_program => return Err(TopError::Terminal(error)),
        Err(error) => {
            note(&format!("busy: the program runs without a screen: {}", TopError::Terminal(error)));
            None
        }
    };
    let mut looped = Loop {
        source,
        screen,
        keyboard,
        view: View { output, ..View::default() },
        order: Order::default(),
        state: None,
        shown: Shown { rows: 0, scroll: 0 },
        is_stopped,
        is_terminated: false,
    };
    loop {
        match looped.run() {
            Ok(code) => return Ok(code),
            Err(TopError::Terminal(error)) if !has_program => return Err(TopError::Terminal(error)),
            // The program's end is waited for without a screen.
            Err(TopError::Terminal(_)) => looped.screen = None,
            Err(other) => return Err(other),
        }
    }
}

struct Loop<'a, S> {
    source: &'a mut S,
    /// None once the terminal has disappeared.
    screen: Option<Screen>,
    keyboard: Keyboard,
    view: View,
    order: Order,
    state: Option<State>,
    shown: Shown,
    /// Set by SIGTSTP.
    is_stopped: Arc<AtomicBool>,
    /// True once the program was sent SIGTERM.
    is_terminated: bool,
}

impl<S: Source> Loop<'_, S> {
    /// Runs until the program or the process ends, or the user leaves.
    fn run(&mut self) -> Result<ExitCode, TopError> {
        let (mut refresh, mut sort) = (Instant::now(), Instant::now());
        loop {
            let keys = self.screen.is_some().then(|| self.keyboard.descriptor());
            if let Some(code) = self.source.wait(refresh, keys)? {
                return Ok(code);
            }
            let mut is_due = false;
            for key in self.keys()? {
                is_due = true;
                if let Some(code) = self.press(key)? {
                    return Ok(code);
                }
            }
            if self.is_stopped.swap(false, Ordering::Relaxed) {
                self.stop()?;
                is_due = true;
            }
            let now = Instant::now();
            if now >= refresh {
                refresh = (refresh + REFRESH).max(now);
                let state = self.source.state()?;
                if let Some(end) = self.source.end() {
                    return Err(end);
                }
                if !self.view.is_paused || self.state.is_none() {
                    self.show(state, now >= sort);
                }
                if now >= sort {
                    sort = now + SECOND;
                }
                is_due = true;
            }
            if is_due {
                self.draw()?;
            }
        }
    }

    fn keys(&mut self) -> Result<Vec<KeyEvent>, TopError> {
        if self.screen.is_some() { self.keyboard.read().map_err(TopError::Terminal) } else { Ok(Vec::new()) }
    }

    /// Executes the command of a key. Returns the exit code if the user leaves.
    fn press(&mut self, key: KeyEvent) -> Result<Option<ExitCode>, TopError> {
        // From where the screen has scrolled to, and not beyond the end.
        self.view.scroll = self.shown.scroll;
        match press(&mut self.view, key, self.shown.rows, self.is_terminated) {
            Action::Show => {}
            Action::Sort => {
                if let Some(state) = self.state.take() {
                    self.show(state, true);
                }
            }
            Action::Redraw => self.clear()?,
            Action::Leave => return Ok(Some(ExitCode::SUCCESS)),
            Action::Terminate => {
                self.is_terminated = true;
                self.source.send(Signal::TERM);
            }
            Action::Kill => _ = self.source.send(Signal::KILL),
            Action::Interrupt => return Ok((!self.source.send(Signal::INT)).then_some(ExitCode::SUCCESS)),
            Action::Stop => self.is_stopped.store(!is_orphan(), Ordering::Relaxed),
        }
        Ok(None)
    }

    fn show(&mut self, mut state: State, is_sorted_anew: bool) {
        if is_sorted_anew {
            self.order.renew(&mut state.threads, self.view.sort);
        } else {
            self.order.keep(&mut state.threads);
        }
        self.state = Some(state);
    }

    fn draw(&mut self) -> Result<(), TopError> {
        let (Some(screen), Some(state)) = (&mut self.screen, &self.state) else { return Ok(()) };
        let (view, shown) = (&self.view, &mut self.shown);
        screen.draw(|frame| *shown = draw(frame, state, view)).map_err(TopError::Terminal)
    }

    fn clear(&mut self) -> Result<(), TopError> {
        self.screen.as_mut().map_or(Ok(()), Screen::clear).map_err(TopError::Terminal)
    }

    /// Stops the program and this command until the shell continues this command, with the terminal as it was.
    fn stop(&mut self) -> Result<(), TopError> {
        let had_screen = self.screen.take().is_some();
        self.source.send(Signal::TSTP);
        // SIGTSTP itself is caught.
        let _ = kill_process(getpid(), Signal::STOP);
        self.source.send(Signal::CONT);
        if had_screen {
            self.screen = Some(Screen::enter().map_err(TopError::Terminal)?);
        }
        Ok(())
    }
}

/// Returns true if no shell would notice that this command is stopped, and continue it (setpgid(2), "orphaned").
fn is_orphan() -> bool {
    let Some(parent) = getppid() else { return true };
    let is_of_shell =
        getsid(Some(parent)).ok() == getsid(None).ok() && getpgid(Some(parent)).ok() != getpgid(None).ok();
    !is_of_shell
}
