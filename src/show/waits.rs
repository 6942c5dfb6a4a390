//! The waits of a recording that are no stalls.

use super::stalls;
use crate::results::RecordResult;
use crate::units::duration;
use std::collections::BTreeMap;

/// The share of the waiting from which on short waits are described.
const WORTH_TELLING: f64 = 0.1;
/// The length from which on a hold is no short one: Python code holds the GIL for a switch interval, 5 ms, if others want it.
const SHORT_S: f64 = 0.001;

/// The threads of one name. They do the same.
#[derive(Debug, Default, Clone, Copy)]
struct Group {
    threads: usize,
    acquires: u64,
    held_s: f64,
}

impl Group {
    fn mean_s(self) -> f64 {
        self.held_s / self.acquires.max(1) as f64
    }
}

/// Returns what the stalls do not show: how much of the waiting was shorter, and which threads the others waited for. Empty
/// if that is little.
pub(super) fn short_waits(result: &RecordResult) -> String {
    let Some(threshold_s) = result.stall_threshold_s else { return String::new() };
    let threads = || result.processes.iter().flat_map(|process| &process.threads);
    let waited_s = threads().fold(0.0, |sum, thread| sum + thread.waited_s);
    let rest_s = waited_s - stalls::sums(result).1;
    if rest_s < WORTH_TELLING * waited_s || rest_s <= 0.0 {
        return String::new();
    }
    let text = format!(
        "{:.0} % of the waiting ({} of {}) was in waits shorter than {}, which are no stalls.",
        100.0 * rest_s / waited_s,
        duration(rest_s),
        duration(waited_s),
        duration(threshold_s)
    );
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for thread in threads() {
        let group = groups.entry(thread.title()).or_default();
        group.threads += 1;
        group.acquires += thread.acquisitions.unwrap_or(0);
        group.held_s += thread.held_s;
    }
    let all_held_s: f64 = groups.values().map(|group| group.held_s).sum();
    let longest = groups.iter().max_by(|(_, one), (_, other)| one.held_s.total_cmp(&other.held_s));
    if let Some((name, group)) = longest.filter(|(_, group)| group.acquires > 0 && group.mean_s() >= SHORT_S) {
        return format!(
            "{text} {name} held the GIL for {:.0} % of the time that it was held, for {} on average: whoever releases the GIL \
             waits about that long to get it back.",
            100.0 * group.held_s / all_held_s,
            duration(group.mean_s())
        );
    }
    let most = groups.into_iter().max_by_key(|(_, group)| group.acquires);
    match most.filter(|(_, group)| group.acquires > 0) {
        Some((name, group)) => {
            let threads = if group.threads == 1 { String::new() } else { format!(" in {} threads", group.threads) };
            format!(
                "{text} {name} took the GIL most often: {} times{threads}, for {} on average. Many short holds in turn cost a \
                 wait each (a convoy), for example around small system calls.",
                group.acquires,
                duration(group.mean_s())
            )
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns the text for threads with these names, held and waited times and numbers of acquires.
    fn text(threads: &[(&str, f64, f64, u64)]) -> String {
        let thread = |(name, held_s, waited_s, acquisitions): &(&str, f64, f64, u64)| json!({"tid": 1, "name": name, "held_s": held_s, "waited_s": waited_s, "acquisitions": acquisitions});
        let threads: Vec<Value> = threads.iter().map(thread).collect();
        let interpreter = json!({"version": "3.11.7", "implementation": "cpython", "path": "/python", "build": ""});
        let result = json!({"kind": "record", "started_at": "", "command": [], "stall_threshold_s": 0.01, "duration_s": 3.0,
            "exit_code": 0, "processes": [{"pid": 1, "parent": 0, "interpreter": interpreter, "ended": "exited",
            "metered_s": 3.0, "stalls": [], "threads": threads}]});
        short_waits(&serde_json::from_value(result).unwrap())
    }

    #[test]
    fn short_waits_are_blamed_on_long_holds_or_on_many() {
        // The one that releases the GIL most often is not the one for which it waits.
        let found = text(&[("compute", 2.9, 0.1, 580), ("stats", 0.02, 2.9, 2700)]);
        assert!(found.starts_with("100 % of the waiting (3 s of 3 s) was in waits shorter than 10 ms"), "{found}");
        assert!(found.contains("compute held the GIL for 99 % of the time that it was held, for 5 ms"), "{found}");
        let found = text(&[("stats", 0.8, 2.0, 100_000), ("stats", 0.8, 2.0, 100_000), ("other", 0.1, 0.0, 10)]);
        assert!(found.contains("stats took the GIL most often: 200000 times in 2 threads, for 8 us"), "{found}");
        assert_eq!(text(&[("alone", 3.0, 0.0, 10)]), "");
    }
}
