//! The picture of a recording: a lane for each thread, in as many details as a page can hold.
//!
//! A recording may have ten million events, and a screen some thousand columns. So each lane has the shares of its states
//! in equal buckets ([`LanePicture::overview`]), in more of them for the busiest lanes ([`LanePicture::fine`]), and the
//! states themselves where they are few, and around the worst stalls ([`LanePicture::exact`]).

use super::lane::{Lane, State, Stretch};
use super::recording::{ProcessRecord, Recording, ThreadRecord};
use super::stall::Stall;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// The number of buckets of each lane, and of the busiest lanes.
pub const OVERVIEW: usize = 256;
/// See [`OVERVIEW`].
pub const FINE: usize = 4096;
/// The number of lanes that a page can hold.
const LANES: usize = 2000;
/// The number of busiest lanes.
const FINE_LANES: usize = 16;
/// The number of stretches in lanes that are exact as a whole, and in those that are exact around the stalls.
const WHOLE: usize = 60_000;
/// See [`WHOLE`].
const AROUND: usize = 60_000;
/// The number of stalls that are shown.
const STALLS: usize = 200;
/// The largest number of buckets for the CPU time.
const CPU_BUCKETS: usize = 512;
/// The time between two readings of the CPU times is at least this long.
const CPU_STEP_NS: u64 = 100_000_000;
/// A stall is shown with its surroundings: half of its length, or this if it is longer.
const MARGIN_NS: u64 = 1_000_000;

/// The picture of a part of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The part, in nanoseconds since the start of the recording.
    pub from_ns: u64,
    /// See `from_ns`.
    pub to_ns: u64,
    /// The lanes; those that held the GIL or waited for it the longest come first.
    pub lanes: Vec<LanePicture>,
    /// The number of threads without a lane, since there are too many.
    pub left_out: usize,
    /// The stalls that cost other threads most, by their indices in the recording; the worst ones come first.
    pub stalls: Vec<usize>,
    /// How busy the cores were.
    pub cores: Vec<CorePicture>,
}

/// The picture of one thread with one GIL.
#[derive(Debug, Clone, PartialEq)]
pub struct LanePicture {
    /// The process, by its number.
    pub process: u32,
    /// The thread, by its row.
    pub row: u64,
    /// The time in each state, in nanoseconds.
    pub totals: Times,
    /// The times in [`OVERVIEW`] equal buckets; empty if the whole lane is exact.
    pub overview: Vec<Times>,
    /// The times in [`FINE`] equal buckets, if it is one of the busiest lanes that are not exact.
    pub fine: Vec<Times>,
    /// The parts of the lane that are exact, in order, each without gaps.
    pub exact: Vec<Lane>,
    /// What the thread did while it neither held the GIL nor waited for it, in equal buckets; None where it is unknown.
    /// Empty if its CPU time is unknown.
    pub released: Vec<Option<Released>>,
}

/// The time in each state, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// It held the GIL.
    pub holds: u64,
    /// It waited for the GIL.
    pub waits: u64,
    /// It did neither.
    pub released: u64,
    /// Events are missing.
    pub unknown: u64,
    /// The thread had not used the GIL yet, or had ended.
    pub absent: u64,
}

/// What a thread did while it neither held the GIL nor waited for it, as shares of this time. For the rest, it slept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Released {
    /// It ran.
    pub ran: f64,
    /// It was runnable without a CPU.
    pub no_cpu: f64,
}

/// How busy one core was.
#[derive(Debug, Clone, PartialEq)]
pub struct CorePicture {
    /// The number of the core.
    pub core: u32,
    /// The share of the time for which it was busy, in equal buckets; None where it is unknown.
    pub busy: Vec<Option<f64>>,
}

impl Times {
    fn add(&mut self, state: Option<State>, ns: u64) {
        *match state {
            Some(State::Holds) => &mut self.holds,
            Some(State::Waits) => &mut self.waits,
            Some(State::Released) => &mut self.released,
            Some(State::Unknown) => &mut self.unknown,
            Some(State::Merged(shares)) => {
                let parts = shares.of(ns);
                parts.into_iter().for_each(|(state, part)| self.add(Some(state), part));
                let rest = ns - parts.iter().map(|(_, part)| part).sum::<u64>();
                return self.add(Some(State::Released), rest);
            }
            None => &mut self.absent,
        } += ns;
    }

    /// Returns the whole time.
    pub fn sum(&self) -> u64 {
        self.holds + self.waits + self.released + self.unknown + self.absent
    }
}

impl LanePicture {
    /// Returns the times in `count` equal buckets of the picture. A bucket of a lane that is not exact has the times of the
    /// nearest bucket of the overview.
    pub fn buckets(&self, picture: &Picture, count: usize) -> Vec<Times> {
        if self.overview.is_empty() {
            let window = Stretch { state: State::Unknown, from_ns: picture.from_ns, to_ns: picture.to_ns };
            return times(self.exact.first().map_or(&[], Vec::as_slice), window, count);
        }
        (0..count).map(|bucket| self.overview[(2 * bucket + 1) * self.overview.len() / (2 * count)]).collect()
    }
}

/// Returns the picture of the part of `recording` from `from_ns` to `to_ns`. The recording has its events.
pub fn picture(recording: &Recording, from_ns: u64, to_ns: u64) -> Picture {
    let to_ns = to_ns.min(recording.known_until_ns).max(from_ns + 1);
    let window = Stretch { state: State::Unknown, from_ns, to_ns };
    let threads: Vec<(&ProcessRecord, &ThreadRecord)> = recording
        .processes
        .values()
        .flat_map(|process| process.threads.values().map(move |thread| (process, thread)))
        .collect();
    let mut found: Vec<(Times, usize, usize)> = Vec::with_capacity(threads.len());
    for (index, (process, thread)) in threads.iter().enumerate() {
        let lane = cut(&thread.lane(recording.end_of(process)), from_ns, to_ns);
        // What was merged has only shares, as the buckets of the overview have.
        let count = if lane.iter().any(is_merged) { WHOLE + 1 } else { lane.len() };
        found.push((times(&lane, window, 1)[0], count, index));
    }
    found.sort_by_key(|(times, _, index)| (Reverse(times.holds + times.waits), *index));
    let left_out = found.len().saturating_sub(LANES);
    found.truncate(LANES);

    let mut counts: Vec<(usize, usize)> = found.iter().map(|(_, count, index)| (*count, *index)).collect();
    counts.sort_unstable();
    let mut used = 0;
    let whole = |(count, _): &&(usize, usize)| {
        used += count;
        used <= WHOLE
    };
    let whole: BTreeSet<usize> = counts.iter().take_while(whole).map(|(_, index)| *index).collect();
    let stalls = worst(recording, from_ns, to_ns);
    let around = surroundings(recording, &stalls);
    let each = AROUND / around.len().max(1);

    let mut fine_left = FINE_LANES;
    let mut lanes = Vec::with_capacity(found.len());
    for (totals, _, index) in &found {
        let (process, thread) = threads[*index];
        let lane = cut(&thread.lane(recording.end_of(process)), from_ns, to_ns);
        let key = (process.process.number, thread.thread.row);
        let released = released(process, thread, &lane, window);
        let mut picture = LanePicture {
            process: key.0,
            row: key.1,
            totals: *totals,
            overview: Vec::new(),
            fine: Vec::new(),
            exact: Vec::new(),
            released,
        };
        if whole.contains(index) {
            picture.exact.extend((!lane.is_empty()).then_some(lane));
        } else {
            picture.overview = times(&lane, window, OVERVIEW);
            if fine_left > 0 {
                fine_left -= 1;
                picture.fine = times(&lane, window, FINE);
            }
            picture.exact = parts(&lane, around.get(&key).map_or(&[], Vec::as_slice), each);
        }
        lanes.push(picture);
    }
    Picture { from_ns, to_ns, lanes, left_out, stalls, cores: cores(recording, window) }
}

fn is_merged(stretch: &Stretch) -> bool {
    matches!(stretch.state, State::Merged(_))
}

/// Returns the part of a lane from `from_ns` to `to_ns`.
fn cut(lane: &[Stretch], from_ns: u64, to_ns: u64) -> Lane {
    let first = lane.partition_point(|one| one.to_ns <= from_ns);
    let within = |one: &Stretch| Stretch { from_ns: one.from_ns.max(from_ns), to_ns: one.to_ns.min(to_ns), ..*one };
    lane[first..].iter().take_while(|one| one.from_ns < to_ns).map(within).collect()
}

/// Returns the times in `count` equal buckets of `window`. The lane is in it.
fn times(lane: &[Stretch], window: Stretch, count: usize) -> Vec<Times> {
    let mut buckets = vec![Times::default(); count];
    let length = u128::from(window.to_ns - window.from_ns);
    let edge = |bucket: usize| window.from_ns + (length * bucket as u128 / count as u128) as u64;
    let mut bucket = 0;
    let mut add = |state: Option<State>, mut from: u64, to: u64| {
        while from < to {
            while edge(bucket + 1) <= from {
                bucket += 1;
            }
            let end = to.min(edge(bucket + 1));
            buckets[bucket].add(state, end - from);
            from = end;
        }
    };
    let mut known = window.from_ns;
    for one in lane {
        add(None, known, one.from_ns);
        add(Some(one.state), one.from_ns.max(known), one.to_ns);
        known = known.max(one.to_ns);
    }
    add(None, known, window.to_ns);
    buckets
}

/// Returns the stalls that overlap the part, the worst ones first.
fn worst(recording: &Recording, from_ns: u64, to_ns: u64) -> Vec<usize> {
    let all = recording.stalls.found();
    let is_inside = |stall: &Stall| stall.at_ns < to_ns && stall.end_ns > from_ns;
    let mut found: Vec<usize> = (0..all.len()).filter(|index| is_inside(&all[*index])).collect();
    found.sort_by_key(|index| (Reverse(all[*index].lost_ns), all[*index].at_ns));
    found.truncate(STALLS);
    found
}

/// Returns the times around these stalls, by process and row, those of the worst stalls first.
fn surroundings(recording: &Recording, stalls: &[usize]) -> BTreeMap<(u32, u64), Vec<(u64, u64)>> {
    let mut found: BTreeMap<(u32, u64), Vec<(u64, u64)>> = BTreeMap::new();
    for index in stalls {
        let stall = &recording.stalls.found()[*index];
        let margin = (stall.held_ns / 2).max(MARGIN_NS);
        let around = (stall.at_ns.saturating_sub(margin), stall.end_ns + margin);
        for row in [stall.holder].iter().chain(&stall.waiters) {
            found.entry((stall.process, *row)).or_default().push(around);
        }
    }
    found
}

/// Returns the parts of a lane around the stalls, in order, with at most so many stretches.
fn parts(lane: &[Stretch], around: &[(u64, u64)], most: usize) -> Vec<Lane> {
    let mut left = most;
    let mut chosen: Vec<(u64, u64)> = Vec::new();
    for (from, to) in around {
        let first = lane.partition_point(|one| one.to_ns <= *from);
        let count = lane.partition_point(|one| one.from_ns < *to).saturating_sub(first);
        if count > left || lane[first..first + count].iter().any(is_merged) {
            continue;
        }
        left -= count;
        chosen.push((*from, *to));
    }
    chosen.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in chosen {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged.into_iter().map(|(from, to)| cut(lane, from, to)).filter(|part| !part.is_empty()).collect()
}

/// Returns what the thread did while it neither held the GIL nor waited for it. A waiter uses no CPU time, and a holder all
/// of it, so what the thread used beyond its holds it used while released. A delay beyond what its holds lack was while
/// released, too.
fn released(
    process: &ProcessRecord,
    thread: &ThreadRecord,
    lane: &[Stretch],
    window: Stretch,
) -> Vec<Option<Released>> {
    let mut buckets: Vec<Option<Released>> = Vec::new();
    let mut first = 0;
    // Only in its life: a process may have many threads that live for a moment.
    let begin = lane.first().map_or(0, |one| process.usage.partition_point(|usage| usage.at_ns <= one.from_ns));
    let end = lane.last().map_or(0, |one| process.usage.partition_point(|usage| usage.at_ns < one.to_ns) + 1);
    let usage = &process.usage[begin.saturating_sub(1)..end.min(process.usage.len())];
    for [before, usage] in usage.array_windows::<2>() {
        let Some(own_buckets) = cpu_buckets_of(window, before.at_ns, usage.at_ns) else { continue };
        let (from_ns, to_ns) = (before.at_ns.max(window.from_ns), usage.at_ns.min(window.to_ns));
        // The lane from here on; the intervals come in order.
        first += lane[first..].partition_point(|one| one.to_ns <= from_ns);
        let last = first + lane[first..].partition_point(|one| one.from_ns < to_ns);
        let interval = Stretch { from_ns, to_ns, ..window };
        let times = times(&cut(&lane[first..last], from_ns, to_ns), interval, 1)[0];
        if times.released == 0 {
            continue;
        }
        // Cut at an end of the window, an interval has its part of the CPU time.
        let part = (to_ns - from_ns) as f64 / (usage.at_ns - before.at_ns).max(1) as f64;
        let own = usage.threads.iter().find(|own| own.tid == thread.thread.tid);
        let [cpu, delay] = own.map_or([0.0; 2], |own| [own.cpu_ns, own.run_delay_ns].map(|ns| ns as f64 * part));
        let (held, all) = (times.holds as f64, times.released as f64);
        let ran = (cpu - held).clamp(0.0, all);
        let no_cpu = (delay - (held - cpu).max(0.0)).clamp(0.0, all - ran);
        buckets.resize(cpu_buckets(window), None);
        buckets[own_buckets].fill(Some(Released { ran: ran / all, no_cpu: no_cpu / all }));
    }
    buckets
}

/// Returns the number of buckets for the CPU time of `window`.
fn cpu_buckets(window: Stretch) -> usize {
    ((window.to_ns - window.from_ns).div_ceil(CPU_STEP_NS) as usize).clamp(1, CPU_BUCKETS)
}

/// Returns the buckets that an interval has a part of; None if it is outside of `window`.
fn cpu_buckets_of(window: Stretch, from_ns: u64, to_ns: u64) -> Option<RangeInclusive<usize>> {
    let (from_ns, to_ns) = (from_ns.max(window.from_ns), to_ns.min(window.to_ns));
    let (length, count) = (u128::from(window.to_ns - window.from_ns), cpu_buckets(window));
    let bucket = |ns: u64| (u128::from(ns - window.from_ns) * count as u128 / length) as usize;
    (from_ns < to_ns).then(|| bucket(from_ns)..=bucket(to_ns - 1))
}

fn cores(recording: &Recording, window: Stretch) -> Vec<CorePicture> {
    let mut found: BTreeMap<u32, Vec<Option<f64>>> = BTreeMap::new();
    for [before, cores] in recording.cores.array_windows::<2>() {
        let Some(buckets) = cpu_buckets_of(window, before.at_ns, cores.at_ns) else { continue };
        for (core, busy) in &cores.busy {
            let all = found.entry(*core).or_insert_with(|| vec![None; cpu_buckets(window)]);
            all[buckets.clone()].fill(Some(f64::from(*busy) / 1000.0));
        }
    }
    found.into_iter().map(|(core, busy)| CorePicture { core, busy }).collect()
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
