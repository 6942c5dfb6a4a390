//! The steps of one thread: the life of the meter, its sessions and windows.

use super::documented::{Documented, Interval, reason};
use super::header::*;
use super::memory::{Array, untouched};
use super::object::Object;
use super::python::{Holder, python};
use super::readings::{LATEST_SESSION, check_totals, now};
use super::steps::{Step, WindowNumber};
use crate::common::assert_documented;
use crate::common::header::*;
use std::ops::RangeInclusive;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Numbers from here on are never those of windows, since no sequence opens so many.
const INVENTED: u32 = 1 << 16;

/// What all threads of an input may still do, because it takes milliseconds.
#[derive(Debug)]
pub struct Budget {
    /// The number of starts that may begin a session.
    pub sessions: AtomicUsize,
    /// The number of objects that may learn to read stacks.
    pub readers: AtomicUsize,
}

impl Budget {
    /// Takes one of `left`. Returns false if there is none.
    pub fn spend(left: &AtomicUsize) -> bool {
        left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

/// What a thread knows of the calls of other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// No other thread runs.
    None,
    /// Other threads run too, but the meter runs throughout.
    KeepTheMeterOn,
    /// Other threads may start and stop the meter.
    StartAndStop,
}

/// A thread that takes steps.
pub struct Run<'a> {
    pub others: Others,
    pub holder: Holder,
    /// The number of this thread's starts minus that of its stops.
    pub starts: i64,
    /// The number of the GIL under which the session has begun.
    pub session_gil: usize,
    pub session: Interval,
    /// The windows that this thread has opened, and the numbers of those that it has closed.
    pub windows: Vec<Interval>,
    closed: Vec<u32>,
    pub counters: [Option<Counters>; 2],
    pub shared: &'a [Object],
    pub budget: &'a Budget,
    pub objects: Vec<Object>,
    has_spun: bool,
}

impl<'a> Run<'a> {
    pub fn new(others: Others, session_gil: usize, shared: &'a [Object], budget: &'a Budget) -> Self {
        Self {
            others,
            holder: Holder::new(),
            starts: 0,
            session_gil,
            session: Interval::default(),
            windows: Vec::new(),
            closed: Vec::new(),
            counters: [None; 2],
            shared,
            budget,
            objects: Vec::new(),
            has_spun: false,
        }
    }

    pub fn is_alone(&self) -> bool {
        self.others == Others::None
    }

    /// Returns whether the meter is running, if this thread knows it.
    pub fn is_on(&self) -> Option<bool> {
        match self.others {
            _ if python().is_none() => Some(false),
            Others::None => Some(self.starts > 0),
            Others::KeepTheMeterOn => Some(true),
            Others::StartAndStop => None,
        }
    }

    /// Returns the statuses of a function that needs a running meter.
    pub fn documented(&self) -> Documented {
        Documented::default().refuse(self.is_on().map(|is_on| !is_on), GIL_OFF)
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Acquire { other } => self.holder.acquire(usize::from(*other)),
            Step::Release => self.holder.release(),
            Step::AllowThreads => self.holder.allow_threads(),
            Step::RunCode => self.holder.run_code(),
            Step::Spin(us) => spin(Duration::from_micros(u64::from(us % 64))),
            Step::SpinForAStall if self.has_spun || self.is_alone() => {}
            Step::SpinForAStall => {
                self.has_spun = true;
                spin(Duration::from_micros(1100));
            }
            Step::Start => self.start(),
            Step::Stop => self.stop(),
            Step::Keep => self.keep(),
            Step::OpenWindow { has_place } => self.open_window(*has_place),
            Step::CloseWindow(number) => self.close_window(*number),
            Step::Snapshot(arguments) => self.snapshot(arguments),
            Step::OwnThread { has_place } => self.own_thread(*has_place),
            Step::Histograms(arguments) => self.histograms(arguments),
            Step::Counters(arguments) => self.counters(arguments),
            Step::Reason { has_text, capacity } => self.reason(*has_text, *capacity),
            Step::OpenStalls { threshold, has_place } => self.open_stalls(threshold.value(), *has_place),
            Step::NextStall(arguments) => self.next_stall(arguments),
            Step::StopStalls(choice) => self.stop_stalls(*choice),
            Step::CloseStalls(choice) => self.close_stalls(*choice),
        }
    }

    fn interval(&self, number: u32, begin: u64) -> Interval {
        let Holder { acquired, released, .. } = self.holder;
        Interval { number, began: (begin, now()), acquired, released, kept: None }
    }

    fn start(&mut self) {
        let may_begin_a_session = self.is_on() != Some(true) && self.holder.held().is_some();
        if may_begin_a_session && !Budget::spend(&self.budget.sessions) {
            return;
        }
        let begin = now();
        // SAFETY: the function has no arguments.
        let status = unsafe { busy_gil_start() };
        let documented = match self.holder.held() {
            _ if python().is_none() => GIL_REFUSED,
            Some(_) => OK,
            None => GIL_NOT_HELD,
        };
        assert_eq!(status, documented, "busy_gil_start(): {}", reason());
        if status != OK {
            return;
        }
        self.starts += 1;
        if self.is_alone() && self.starts == 1 {
            self.begin_session(begin);
        }
    }

    /// Undoes a start of this thread. If other threads rely on the meter, it undoes no start of theirs.
    pub fn stop(&mut self) {
        if self.others == Others::KeepTheMeterOn && self.starts == 0 {
            return;
        }
        // SAFETY: the function has no arguments.
        let status = unsafe { busy_gil_stop() };
        self.documented().check(status);
        self.starts -= i64::from(status == OK);
        if self.is_alone() && self.starts == 0 {
            self.closed.extend(self.windows.drain(..).map(|window| window.number));
        }
    }

    fn keep(&mut self) {
        // SAFETY: the function has no arguments.
        let status = unsafe { busy_gil_histograms_keep() };
        self.documented().check(status);
        if status == OK {
            self.session.kept.get_or_insert(self.holder.released);
        }
    }

    fn open_window(&mut self, has_place: bool) {
        let place = Array::new::<u32>(1, !has_place);
        let begin = now();
        // SAFETY: the pointer is NULL or has space for one number.
        let status = unsafe { busy_gil_window_open(place.pointer()) };
        self.documented().refuse(!has_place, NULL_POINTER).check(status);
        let Some(number) = place.result::<u32>(status) else { return };
        assert!((1..INVENTED).contains(&number), "window {number}");
        // If other threads stop the meter, this thread does not learn that its windows are closed.
        if self.others != Others::StartAndStop {
            assert!(self.windows.iter().all(|window| window.number != number), "window {number} is open");
        }
        let window = self.interval(number, begin);
        self.windows.push(Interval { kept: self.session.kept.map(|_| window.released), ..window });
        self.closed.retain(|closed| *closed != number);
    }

    /// Returns a number, and the interval if it is known to exist.
    pub fn window(&self, number: WindowNumber) -> (u32, Option<Interval>) {
        let number = match number {
            WindowNumber::Session => 0,
            WindowNumber::Open(index) => chosen(&self.windows, index).map_or(0, |window| window.number),
            WindowNumber::Closed(index) => chosen(&self.closed, index).copied().unwrap_or(INVENTED),
            // Another thread may have opened any other one.
            WindowNumber::Any(number) => {
                if self.is_alone() {
                    number
                } else {
                    number | INVENTED
                }
            }
        };
        let windows = self.windows.iter().chain([&self.session]);
        (number, windows.copied().find(|window| window.number == number))
    }

    /// Returns whether the window must be refused, if that is known.
    pub fn is_closed(&self, number: u32, window: Option<Interval>) -> Option<bool> {
        let is_sure = self.is_alone() || number == 0 || number >= INVENTED;
        let is_own = window.is_some() && self.others == Others::KeepTheMeterOn;
        (is_sure || is_own).then_some(window.is_none())
    }

    fn close_window(&mut self, number: WindowNumber) {
        let (mut number, mut window) = self.window(number);
        if !self.is_alone() && window.is_none() {
            // The number could be that of another thread's window, on which that thread relies.
            number |= INVENTED;
        }
        window = window.filter(|_| number != 0);
        // SAFETY: the function takes any number.
        let status = unsafe { busy_gil_window_close(number) };
        let is_refused = if number == 0 { Some(true) } else { self.is_closed(number, window) };
        Documented::default().refuse(is_refused, BAD_OPTION).check(status);
        if status == OK || self.others == Others::StartAndStop {
            self.windows.retain(|window| window.number != number);
            self.closed.push(number);
        }
    }

    /// Returns the number of GILs that have an index, as far as this thread knows it.
    pub fn gils(&self) -> RangeInclusive<u32> {
        let most = python().map_or(1, |python| python.gils() as u32);
        if !self.is_alone() || self.is_on() != Some(true) {
            return 1..=most;
        }
        let gils = session_totals().gils;
        gils..=gils
    }

    /// Begins to count what the running session counts, which has begun after `begin`.
    fn begin_session(&mut self, begin: u64) {
        let before = LATEST_SESSION.load(SeqCst);
        let gil = self.holder.held().unwrap();
        (self.session_gil, self.session, self.counters) = (gil, self.interval(0, begin), [None; 2]);
        let totals = session_totals();
        check_totals(&totals, begin);
        assert!(totals.session > before, "session {} after session {before}", totals.session);
        // The start itself releases and acquires the GIL.
        self.holder.acquired[gil] += totals.acquisitions;
        self.holder.released[gil] += totals.voluntary_releases;
    }
}

/// Returns the totals of the running session.
fn session_totals() -> Totals {
    // SAFETY: the fields are integers.
    let mut totals = Totals { size: size_of::<Totals>(), gil: 0, window: 0, ..unsafe { untouched() } };
    // SAFETY: the totals are live.
    assert_documented(unsafe { busy_gil_snapshot(&mut totals, null_mut(), 0, null_mut()) }, &[OK]);
    totals
}

/// Returns one of `values`, if there are any.
pub fn chosen<T>(values: &[T], index: u8) -> Option<&T> {
    values.get(usize::from(index).checked_rem(values.len())?)
}

fn spin(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
