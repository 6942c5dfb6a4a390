//! Watches the threads of one process that wait for a GIL. Once one has waited for half of a stall's length, and again
//! after each further length, the Python stack of the holder is read from outside.

use crate::trace::{Block, HolderSample, Sample, Sighting, Stacks, Thread, stack_lines};
use busy_core::cpu::run_delay;
use busy_gil::log::{Holder, Reader, Waiter};
use busy_gil::remote::{Frame, PythonThread, RemoteError, Stack, StackError, StackReader};
use std::collections::BTreeMap;

/// How often stacks are tried to be read before the reason why they can't counts.
const ATTEMPTS: u32 = 3;
/// The number of stacks that are kept of one hold.
const MOST_SAMPLES: usize = 1000;
/// The number of threads that are named at once, and of those whose stacks are read while they wait.
const MOST_NAMES: usize = 16;
const MOST_WAITERS: usize = 16;
/// Two readings of the same time may differ by the scale of the time stamp counter.
const SAME_TIME_NS: u64 = 100_000;

/// Watches one process.
pub struct Watcher {
    pid: u32,
    number: u32,
    /// The start of the recording on CLOCK_MONOTONIC.
    start_ns: u64,
    threshold_ns: u64,
    /// Whether the stacks of the threads that wait are read as well.
    reads_waiters: bool,
    stacks: Option<StackReader>,
    attempts: u32,
    /// The reason why stacks can't be read.
    reason: Option<String>,
    gils: BTreeMap<u32, Gil>,
}

/// What is watched.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// The length of a stall.
    pub threshold_ns: u64,
    /// Whether the stacks of the threads that wait are read as well.
    pub waiters: bool,
}

/// A hold that goes on, for which another thread waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoingOn {
    /// The process, by its number in the recording.
    pub process: u32,
    /// The index of the GIL.
    pub gil: u32,
    /// The thread that holds it.
    pub tid: u32,
    /// The start of the hold, since the start of the recording.
    pub since_ns: u64,
    /// The latest stack that was read, the innermost frame first, as `file:line function`.
    pub stack: Vec<String>,
}

/// Where a watch looks: the log of the process, and its threads by row.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The log.
    pub log: &'a Reader,
    /// The threads.
    pub threads: &'a BTreeMap<u64, Thread>,
}

/// The watch over one GIL.
#[derive(Default)]
struct Gil {
    /// The oldest wait at the last look, and the time of the next stack.
    wait: Option<Waiter>,
    next_ns: u64,
    seen: Vec<Seen>,
}

/// A hold of which stacks were read.
struct Seen {
    holder: Holder,
    /// The holder's run delay at the first stack, its growth from there to the last stack, and the time of that one.
    delay_before_ns: Option<u64>,
    delay_so_far_ns: Option<u64>,
    last_ns: u64,
    /// Its growth to the end of the hold.
    run_delay_ns: Option<u64>,
    /// For how long of it the holder was in fork(2).
    forked_ns: u64,
    has_ended: bool,
    samples: Vec<Taken>,
    /// The last stacks of the threads that waited, by their rows.
    waiters: BTreeMap<u64, Stack>,
}

/// The stack of a holder.
struct Read {
    hold: Holder,
    delay_before_ns: Option<u64>,
    /// The start of the reading.
    at_ns: u64,
    stack: Stack,
    /// True if the hold went on until the end of the reading.
    is_of_one_hold: bool,
    /// True if the same thread held the GIL then, perhaps again.
    is_of_one_thread: bool,
}

/// A stack of a hold for which a thread waits.
struct Taken {
    at_ns: u64,
    /// The wait for which it was read. It is kept if that wait is a stall.
    wait: Waiter,
    is_kept: bool,
    stack: Stack,
}

impl Watcher {
    /// Watches process `pid`, which has this number in the recording that began at `start_ns`.
    pub fn new(pid: u32, number: u32, start_ns: u64, what: Watched) -> Self {
        let (stacks, attempts, reason, gils) = (None, 0, None, BTreeMap::new());
        let Watched { threshold_ns, waiters: reads_waiters } = what;
        Self { pid, number, start_ns, threshold_ns, reads_waiters, stacks, attempts, reason, gils }
    }

    /// Returns the reason why stacks could not be read.
    pub fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    /// Returns the holds that go on and for which a thread has waited long enough for a stack.
    pub fn going_on(&self) -> impl Iterator<Item = GoingOn> {
        self.gils.iter().filter_map(|(gil, watched)| {
            let seen = watched.seen.iter().rfind(|seen| !seen.has_ended)?;
            let stack = stack_lines(&seen.samples.last()?.stack).collect();
            let since_ns = seen.holder.since_ns.saturating_sub(self.start_ns);
            Some(GoingOn { process: self.number, gil: *gil, tid: seen.holder.tid, since_ns, stack })
        })
    }

    /// Looks at the threads that wait now. Returns true if any does.
    pub fn look(&mut self, at: At<'_>, now_ns: u64, stacks: &mut Stacks, blocks: &mut Vec<Block>) -> bool {
        // A damaged log is noticed when its events are read.
        let waiters = at.log.waiters().unwrap_or_default();
        if waiters.is_empty() && self.gils.is_empty() {
            return false;
        }
        let mut oldest: BTreeMap<u32, Waiter> = BTreeMap::new();
        for waiter in &waiters {
            let first = oldest.entry(waiter.gil).or_insert(*waiter);
            if waiter.since_ns < first.since_ns {
                *first = *waiter;
            }
        }
        oldest.keys().for_each(|gil| _ = self.gils.entry(*gil).or_default());
        let mut gils = std::mem::take(&mut self.gils);
        for (index, gil) in &mut gils {
            let wait = oldest.get(index).copied();
            let holder = at.log.holder(*index as usize).ok().flatten();
            self.follow(gil, (*index, at.log), now_ns, wait, holder);
            self.write(*index, gil, stacks, blocks);
            if let Some(wait) = wait
                && self.is_due(gil, now_ns, wait)
            {
                self.sample(gil, *index, now_ns, wait, at);
            }
            gil.wait = wait;
        }
        gils.retain(|_, gil| gil.wait.is_some() || !gil.seen.is_empty());
        self.gils = gils;
        !waiters.is_empty()
    }

    /// Ends the watch, as the process has ended.
    pub fn end(&mut self, log: &Reader, now_ns: u64, stacks: &mut Stacks, blocks: &mut Vec<Block>) {
        for (index, mut gil) in std::mem::take(&mut self.gils) {
            self.follow(&mut gil, (index, log), now_ns, None, None);
            self.write(index, &mut gil, stacks, blocks);
        }
    }

    /// Notices the end of holds and waits.
    fn follow(
        &self,
        gil: &mut Gil,
        (index, log): (u32, &Reader),
        now_ns: u64,
        wait: Option<Waiter>,
        holder: Option<Holder>,
    ) {
        for seen in &mut gil.seen {
            if !seen.has_ended && holder.is_none_or(|holder| holder.sequence != seen.holder.sequence) {
                seen.has_ended = true;
                seen.forked_ns = seen.forked_ns.max(forked_ns(log, index, seen.holder));
                seen.run_delay_ns = seen.run_delay(self.run_delay(seen.holder.tid), now_ns);
            }
            let is_long = |since_ns: u64| now_ns.saturating_sub(since_ns) >= self.threshold_ns;
            seen.samples.iter_mut().for_each(|taken| taken.is_kept |= is_long(taken.wait.since_ns));
            let goes_on = |taken: &Taken| wait.is_some_and(|wait| is_same(wait, taken.wait));
            seen.samples.retain(|taken| taken.is_kept || goes_on(taken));
        }
        gil.seen.retain(|seen| !seen.samples.is_empty());
    }

    /// Appends the holds that have ended, if all waits for which their stacks were read are known to be stalls.
    fn write(&self, index: u32, gil: &mut Gil, stacks: &mut Stacks, blocks: &mut Vec<Block>) {
        let is_done = |seen: &mut Seen| seen.has_ended && seen.samples.iter().all(|taken| taken.is_kept);
        for seen in gil.seen.extract_if(.., is_done) {
            let mut number = |stack: &Stack| {
                let (stack, new) = stacks.number(stack_lines(stack));
                blocks.extend(new.map(Block::Stack));
                stack
            };
            let mut samples = Vec::with_capacity(seen.samples.len());
            for taken in seen.samples {
                let stack = number(&taken.stack);
                samples.push(Sample { at_ns: taken.at_ns.saturating_sub(self.start_ns), stack });
            }
            let waiters = seen.waiters.iter().map(|(row, stack)| (*row, number(stack))).collect();
            blocks.push(Block::Sighting(Sighting {
                process: self.number,
                gil: index,
                tid: seen.holder.tid,
                interval_ns: seen.holder.interval_ns,
                run_delay_ns: seen.run_delay_ns,
                forked_ns: seen.forked_ns,
                samples,
                waiters,
            }));
        }
    }

    /// Returns true if it is time for the next stack.
    fn is_due(&self, gil: &mut Gil, now_ns: u64, wait: Waiter) -> bool {
        if !gil.wait.is_some_and(|before| is_same(before, wait)) {
            gil.next_ns = wait.since_ns.saturating_add(self.threshold_ns / 2);
        }
        now_ns >= gil.next_ns
    }

    /// Reads the holder's stack, if it is that of one hold.
    fn sample(&mut self, gil: &mut Gil, index: u32, now_ns: u64, wait: Waiter, at: At<'_>) {
        const TRIES: u32 = 3;
        // The frames of a thread that waits for the GIL are those of the end of its last hold.
        let waits_since = |hold: Holder| {
            waiters_for(at.log, index).any(|waiter| at.threads.get(&waiter.row).is_some_and(|own| own.tid == hold.tid))
                && at.log.may_have_held_again(index as usize, hold).is_ok_and(|again| !again)
        };
        // If none is had, the next look tries again.
        gil.next_ns = now_ns;
        for _ in 0..TRIES {
            let Some(read) = self.read(at.log, index) else { return };
            if !read.is_of_one_hold && !waits_since(read.hold) {
                continue;
            }
            gil.next_ns = now_ns.saturating_add(self.threshold_ns);
            return self.keep(gil, index, wait, read, at);
        }
    }

    /// Reads the stack of the thread that holds the GIL with that index.
    fn read(&mut self, log: &Reader, index: u32) -> Option<Read> {
        let _held_forks = log.hold_forks();
        let holder = || log.holder(index as usize).ok().flatten();
        let at_ns = busy_core::clock::monotonic_ns();
        let hold = holder()?;
        let delay_before_ns = self.run_delay(hold.tid);
        let stack = self.stack(hold)?;
        let after = holder();
        Some(Read {
            hold,
            delay_before_ns,
            at_ns,
            stack,
            is_of_one_hold: after.is_some_and(|after| after.sequence == hold.sequence),
            is_of_one_thread: after.is_some_and(|after| after.tid == hold.tid),
        })
    }

    /// Keeps a stack of a hold for which a thread waits.
    fn keep(&mut self, gil: &mut Gil, index: u32, wait: Waiter, read: Read, at: At<'_>) {
        let Read { hold, delay_before_ns, at_ns, stack, .. } = read;
        let waiters = if self.reads_waiters { self.waiters(index, at) } else { Vec::new() };
        // A fork keeps a reading waiting, which may have begun before the wait.
        let at_ns = at_ns.max(hold.since_ns).max(wait.since_ns);
        let taken = Taken { at_ns, wait, is_kept: false, stack };
        match gil.seen.iter_mut().find(|seen| seen.holder.sequence == hold.sequence) {
            Some(seen) => {
                seen.waiters.extend(waiters);
                (seen.delay_so_far_ns, seen.last_ns) = (growth(seen.delay_before_ns, delay_before_ns), at_ns);
                if seen.samples.len() < MOST_SAMPLES {
                    seen.samples.push(taken);
                }
            }
            None => gil.seen.push(Seen {
                holder: hold,
                delay_before_ns,
                delay_so_far_ns: delay_before_ns.map(|_| 0),
                last_ns: at_ns,
                run_delay_ns: None,
                // At once: this hold may be over, and a later holder may fork.
                forked_ns: forked_ns(at.log, index, hold),
                has_ended: false,
                samples: vec![taken],
                waiters: waiters.into_iter().collect(),
            }),
        }
    }

    /// Reads the stacks of the threads that wait for a GIL now, by their rows.
    fn waiters(&mut self, gil: u32, at: At<'_>) -> Vec<(u64, Stack)> {
        let Ok(reader) = self.reader() else { return Vec::new() };
        let Ok(states) = reader.threads() else { return Vec::new() };
        let mut found = Vec::new();
        for waiter in waiters_for(at.log, gil).take(MOST_WAITERS) {
            let tid = at.threads.get(&waiter.row).map(|thread| thread.tid);
            let state = states.iter().find(|state| Some(state.tid) == tid).map(|state| state.state);
            let Some(Ok(stack)) = state.map(|state| reader.read(state)) else { continue };
            // It may have got the GIL meanwhile.
            if waiters_for(at.log, gil).any(|after| is_same(after, waiter)) {
                found.push((waiter.row, stack));
            }
        }
        found
    }

    /// Reads the stacks of the threads that hold a GIL now.
    pub fn sample_holders(&mut self, at: At<'_>, stacks: &mut Stacks, blocks: &mut Vec<Block>) {
        for index in at.log.held().into_iter().flatten().map(|gil| gil as u32) {
            let Some(read) = self.read(at.log, index) else { continue };
            // It may have let the GIL go meanwhile and taken it again. Without such samples, short holds would be missed.
            if !read.is_of_one_thread || read.stack.frames.is_empty() {
                continue;
            }
            let (stack, new) = stacks.number(stack_lines(&read.stack));
            blocks.extend(new.map(Block::Stack));
            let now_ns = busy_core::clock::monotonic_ns();
            let (process, at_ns) = (self.number, now_ns.saturating_sub(self.start_ns));
            let tid = read.hold.tid;
            blocks.push(Block::HolderSample(HolderSample { process, gil: index, tid, at_ns, stack, count: 1 }));
            // A fork keeps the reading waiting until a stack for the threads that wait is due.
            let oldest = waiters_for(at.log, index).min_by_key(|waiter| waiter.since_ns);
            if let Some(wait) = oldest.filter(|_| read.is_of_one_hold) {
                let mut gil = self.gils.remove(&index).unwrap_or_default();
                if self.is_due(&mut gil, now_ns, wait) {
                    gil.next_ns = now_ns.saturating_add(self.threshold_ns);
                    self.keep(&mut gil, index, wait, read, at);
                }
                gil.wait = Some(wait);
                self.gils.insert(index, gil);
            }
        }
    }

    /// Returns the functions that these threads run, of those that run Python code now.
    pub fn run_functions(&mut self, tids: &[u32]) -> Vec<(u32, String)> {
        if self.attempts >= ATTEMPTS || tids.is_empty() {
            return Vec::new();
        }
        let Ok(reader) = self.reader() else { return Vec::new() };
        let Ok(threads) = reader.threads() else { return Vec::new() };
        let wanted = threads.iter().filter(|thread| tids.contains(&thread.tid)).take(MOST_NAMES);
        let name = |thread: &PythonThread| Some((thread.tid, run_function(&reader.read(thread.state).ok()?)?));
        wanted.filter_map(name).collect()
    }

    fn reader(&mut self) -> Result<&mut StackReader, StackError> {
        Ok(match &mut self.stacks {
            Some(reader) => reader,
            none => none.insert(StackReader::attach(self.pid)?),
        })
    }

    fn stack(&mut self, holder: Holder) -> Option<Stack> {
        if self.attempts >= ATTEMPTS {
            return None;
        }
        match self.try_stack(holder) {
            Ok(found) => {
                (self.attempts, self.reason) = (0, None);
                found
            }
            // The holder has gone on meanwhile, or the process has ended.
            Err(
                StackError::Torn { .. }
                | StackError::NoThread { .. }
                | StackError::Process(
                    RemoteError::Ended { .. } | RemoteError::NoProcess { .. } | RemoteError::Replaced { .. },
                ),
            ) => None,
            Err(error) => {
                self.attempts += 1;
                self.reason = Some(error.to_string());
                None
            }
        }
    }

    fn try_stack(&mut self, holder: Holder) -> Result<Option<Stack>, StackError> {
        let reader = self.reader()?;
        let state = match holder.state {
            Some(state) => Some(state),
            None => reader.threads()?.iter().find(|thread| thread.tid == holder.tid).map(|thread| thread.state),
        };
        state.map(|state| reader.read(state)).transpose()
    }

    fn run_delay(&self, tid: u32) -> Option<u64> {
        run_delay(self.pid, tid).ok().map(|delay| delay.as_nanos() as u64)
    }
}

impl Seen {
    /// Returns the growth of the run delay, which was read as `after` after the hold. If the thread has ended meanwhile, it
    /// may have been without a core from the last stack to now: that is an upper bound, which counts only if it is less than
    /// half of the hold, so that it can't be the cause.
    fn run_delay(&self, after: Option<u64>, now_ns: u64) -> Option<u64> {
        if after.is_some() {
            return growth(self.delay_before_ns, after);
        }
        let at_most_ns = self.delay_so_far_ns?.saturating_add(now_ns.saturating_sub(self.last_ns));
        let at_least_held_ns = self.last_ns.saturating_sub(self.holder.since_ns);
        Some(at_most_ns).filter(|delay_ns| *delay_ns < at_least_held_ns / 2)
    }
}

fn growth(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// Returns how long the forks in that hold took.
fn forked_ns(log: &Reader, gil: u32, hold: Holder) -> u64 {
    log.forked_in(gil as usize, hold).unwrap_or(0)
}

fn waiters_for(log: &Reader, gil: u32) -> impl Iterator<Item = Waiter> {
    log.waiters().unwrap_or_default().into_iter().filter(move |waiter| waiter.gil == gil)
}

fn is_same(one: Waiter, other: Waiter) -> bool {
    one.row == other.row && one.since_ns.abs_diff(other.since_ns) < SAME_TIME_NS
}

/// Returns the function that a thread was started for: the outermost one outside of the module threading.
fn run_function(stack: &Stack) -> Option<String> {
    let is_start = |frame: &&Frame| !frame.file.ends_with("/threading.py");
    let start = stack.frames.iter().rev().find(is_start).filter(|_| stack.cut == 0);
    start.map(|frame| frame.function.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_delay_of_a_thread_that_has_ended_is_bounded_or_unknown() {
        const MS: u64 = 1_000_000;
        let holder = Holder { sequence: 1, tid: 2, since_ns: 0, state: None, interval_ns: None };
        let seen = |last_ns| Seen {
            holder,
            delay_before_ns: Some(7 * MS),
            delay_so_far_ns: Some(MS),
            last_ns,
            run_delay_ns: None,
            forked_ns: 0,
            has_ended: true,
            samples: Vec::new(),
            waiters: BTreeMap::new(),
        };
        assert_eq!(seen(25 * MS).run_delay(Some(9 * MS), 30 * MS), Some(2 * MS));
        assert_eq!(seen(25 * MS).run_delay(None, 30 * MS), Some(6 * MS), "1 ms, and 5 ms that nobody saw");
        assert_eq!(seen(5 * MS).run_delay(None, 12 * MS), None, "it may be half of the hold");
        assert_eq!(Seen { delay_so_far_ns: None, ..seen(25 * MS) }.run_delay(None, 30 * MS), None);
    }

    #[test]
    fn a_stack_whose_outer_frames_are_missing_names_no_start() {
        let frame = Frame { file: "a.py".into(), function: "f".into(), line: Some(3) };
        let stack = |cut| Stack { frames: vec![frame.clone()], cut, moved: false };
        assert_eq!([0, 9].map(|cut| run_function(&stack(cut))), [Some("f".to_owned()), None]);
    }
}
