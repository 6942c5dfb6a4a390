//! The waits of a recording that are no stalls.

use super::stalls;
use crate::results::RecordResult;
use crate::units::duration;
use std::collections::BTreeMap;

/// Short waits are described if they are at least this share of all waiting, and of the length of the recording.
const WORTH_TELLING: f64 = 0.1;
const WORTH_TELLING_OF_TIME: f64 = 0.01;
/// The length from which on a hold is no short one: Python code holds the GIL for a switch interval, 5 ms, if others request it.
const SHORT_S: f64 = 0.001;

/// The threads of one name that use the same GIL. They do the same, unless it is only the name of the process.
#[derive(Debug, Default, Clone, Copy)]
struct Group {
    threads: usize,
    /// True if they have the name of the main thread, as threads have that were given none.
    is_unnamed: bool,
    acquires: u64,
    held_s: f64,
    waited_s: f64,
}

impl Group {
    fn held_each_s(self) -> f64 {
        self.held_s / self.acquires.max(1) as f64
    }

    fn waited_each_s(self) -> f64 {
        self.waited_s / self.acquires.max(1) as f64
    }
}

/// Returns what the stalls do not show: how much of the waiting was shorter, and which threads of the GIL with most of it
/// held that GIL meanwhile. Empty if that is little.
pub(super) fn short_waits(result: &RecordResult) -> String {
    let Some(threshold_s) = result.stall_threshold_s else { return String::new() };
    let threads = || result.processes.iter().flat_map(|process| &process.threads);
    let waited_s = threads().fold(0.0, |sum, thread| sum + thread.waited_s);
    let rest_s = waited_s - stalls::sums(result).1;
    if rest_s < WORTH_TELLING * waited_s || rest_s < WORTH_TELLING_OF_TIME * result.duration_s || rest_s <= 0.0 {
        return String::new();
    }
    let share = 100.0 * rest_s / waited_s;
    let (rest, waited, threshold) = (duration(rest_s), duration(waited_s), duration(threshold_s));
    let text = format!(
        "{share:.0} % of the waiting ({rest} of {waited}) was in waits shorter than {threshold}, which are no stalls."
    );
    let gils = gils(result);
    let waited_for = |groups: &BTreeMap<&str, Group>| groups.values().map(|group| group.waited_s).sum::<f64>();
    let most = gils.iter().max_by(|(_, one), (_, other)| waited_for(one).total_cmp(&waited_for(other)));
    let Some(((process, _), groups)) = most else { return text };
    let place = if gils.len() > 1 { format!("In process {}, ", result.processes[*process].pid) } else { String::new() };
    format!("{text} {place}{}", described(groups))
}

/// Returns the threads by name, for each process, by its index, and GIL. A process that has executed another program is two
/// with the same id.
fn gils(result: &RecordResult) -> BTreeMap<(usize, u32), BTreeMap<&str, Group>> {
    let mut gils: BTreeMap<_, BTreeMap<&str, Group>> = BTreeMap::new();
    for (index, process) in result.processes.iter().enumerate() {
        let main = process.threads.iter().find(|thread| thread.tid == process.pid);
        for thread in &process.threads {
            let group = gils.entry((index, thread.gil)).or_default().entry(thread.title()).or_default();
            group.threads += 1;
            group.is_unnamed = main.is_some_and(|main| main.title() == thread.title());
            group.acquires += thread.acquisitions.unwrap_or(0);
            group.held_s += thread.held_s;
            group.waited_s += thread.waited_s;
        }
    }
    gils
}

/// Returns who held that GIL, for how long, and who waited for it.
fn described(groups: &BTreeMap<&str, Group>) -> String {
    let with_most = |figure: fn(&Group) -> f64| {
        groups.iter().max_by(|(_, one), (_, other)| figure(one).total_cmp(&figure(other))).expect("a GIL has threads")
    };
    let (victim, waits) = with_most(|group| group.waited_s);
    let waits = format!("{victim} waited for it most, for {} per acquire", duration(waits.waited_each_s()));
    // Such threads need not do the same.
    let threads = |group: &Group| match (group.threads, group.is_unnamed) {
        (1, _) => String::new(),
        (count, false) => format!(" in {count} threads"),
        (count, true) => format!(" in {count} threads without a name of their own"),
    };
    let (longest, group) = with_most(|group| group.held_s);
    if group.held_each_s() >= SHORT_S {
        let share = 100.0 * group.held_s / groups.values().map(|group| group.held_s).sum::<f64>();
        let each = duration(group.held_each_s());
        return format!(
            "{longest} held the GIL for {share:.0} % of the time that it was held, for {each} on average; {waits}."
        );
    }
    let (most, group) = with_most(|group| group.acquires as f64);
    let (times, threads, each) = (group.acquires, threads(group), duration(group.held_each_s()));
    let convoy = if group.waited_s < group.held_s {
        ""
    } else {
        " Many short holds in turn cost a wait each (a convoy), for example around small system calls."
    };
    format!("{most} took the GIL most often: {times} times{threads}, for {each} on average; {waits}.{convoy}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    type Figures<'a> = (&'a str, f64, f64, u64);

    /// Returns the text for processes whose threads have these names, held and waited times and numbers of acquires.
    fn text(processes: &[&[Figures<'_>]]) -> String {
        text_of(processes, |index| index)
    }

    fn text_of(processes: &[&[Figures<'_>]], pid: impl Fn(usize) -> usize) -> String {
        let thread = |(name, held_s, waited_s, acquisitions): &Figures<'_>| json!({"tid": 1, "name": name, "held_s": held_s, "waited_s": waited_s, "acquisitions": acquisitions});
        let interpreter = json!({"version": "3.11.7", "implementation": "cpython", "path": "/python", "build": ""});
        let process = |(index, threads): (usize, &&[Figures<'_>])| {
            let threads: Vec<Value> = threads.iter().map(thread).collect();
            json!({"pid": pid(index), "parent": 0, "interpreter": interpreter, "ended": "exited", "metered_s": 3.0, "stalls": [],
                "threads": threads})
        };
        let processes: Vec<Value> = processes.iter().enumerate().map(process).collect();
        let result = json!({"kind": "record", "started_at": "", "command": [], "stall_threshold_s": 0.01, "duration_s": 3.0,
            "exit_code": 0, "processes": processes});
        short_waits(&serde_json::from_value(result).unwrap())
    }

    #[test]
    fn short_waits_are_blamed_on_long_holds_or_on_many() {
        // The one that releases the GIL most often is not the one for which it waits.
        let found = text(&[&[("compute", 2.9, 0.1, 580), ("stats", 0.02, 2.9, 2700)]]);
        assert!(found.starts_with("100 % of the waiting (3 s of 3 s) was in waits shorter than 10 ms"), "{found}");
        assert!(found.contains("compute held the GIL for 99 % of the time that it was held, for 5 ms"), "{found}");
        assert!(found.ends_with("; stats waited for it most, for 1.07 ms per acquire."), "{found}");
        let found = text(&[&[("stats", 0.8, 2.0, 100_000), ("stats", 0.8, 2.0, 100_000), ("other", 0.1, 0.0, 10)]]);
        assert!(found.contains("stats took the GIL most often: 200000 times in 2 threads, for 8 us"), "{found}");
        assert!(found.contains("for 20 us per acquire. Many short holds"), "{found}");
        assert_eq!(text(&[&[("alone", 3.0, 0.0, 10)]]), "");
    }

    #[test]
    fn threads_that_only_have_the_name_of_the_process_are_described_so() {
        let threads: &[Figures<'_>] =
            &[("python", 0.4, 1.0, 900), ("python", 0.4, 1.0, 900), ("other", 0.1, 0.5, 50), ("other", 0.1, 0.5, 50)];
        let found = text_of(&[threads], |_| 1);
        assert!(found.contains("python took the GIL most often: 1800 times in 2 threads without a name"), "{found}");
        let found = text_of(&[threads], |_| 2);
        assert!(found.contains("1800 times in 2 threads, for"), "the main thread has another name: {found}");
    }

    #[test]
    fn only_threads_that_share_a_gil_are_compared() {
        let alone: &[Figures<'_>] = &[("python", 0.4, 0.0, 9000)];
        let found = text(&[alone, alone, &[("python", 0.1, 0.2, 50), ("worker", 0.1, 0.0, 60)]]);
        assert!(found.contains("In process 2, "), "{found}");
        assert!(!found.contains("9000") && !found.contains("18000"), "{found}");
    }

    #[test]
    fn a_process_that_executed_another_program_shared_no_gil_with_itself() {
        let found =
            text_of(&[&[("python", 0.4, 0.0, 9000)], &[("python", 0.1, 0.2, 50), ("worker", 0.1, 0.0, 60)]], |_| 7);
        assert!(found.contains("In process 7, ") && !found.contains("90"), "{found}");
    }

    #[test]
    fn waits_that_hardly_cost_time_are_not_told() {
        assert_eq!(text(&[&[("compute", 2.9, 0.0, 580), ("stats", 0.02, 0.02, 2700)]]), "");
        let found = text(&[&[("one", 0.8, 0.1, 100_000), ("other", 0.8, 0.1, 100_000)]]);
        assert!(!found.contains("convoy"), "it hardly waited: {found}");
    }
}
