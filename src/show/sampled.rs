//! The calls in which the threads of a sampled process held the GIL: those that cost other threads most. At most four lines.

use super::stalls::{call_line, line, named};
use crate::results::{RecordResult, RecordedCall};
use crate::units::duration;
use std::collections::BTreeMap;

/// The number of calls that are shown.
const CALLS: usize = 3;

/// The samples of one call: those with the same innermost frame, and the same caller.
pub(super) struct SampledCall<'a> {
    /// The innermost frame, or what stands for none.
    pub(super) frame: &'a str,
    /// The innermost frame outside of the library, if it is another one.
    pub(super) caller: Option<&'a str>,
    pub(super) samples: u64,
    pub(super) held_s: f64,
    pub(super) lost_s: f64,
}

/// Returns the text; empty if the holder of the GIL was never found.
pub(super) fn sampled_calls(result: &RecordResult) -> String {
    let calls = calls(result);
    let samples: u64 = calls.iter().map(|call| call.samples).sum();
    let mut text = String::new();
    if samples > 0 {
        line(&mut text, &format!("calls that held the GIL, and what other threads lost to them, by {samples} samples"));
    }
    for call in calls.iter().take(CALLS) {
        let start = format!("lost {:>8}  held {:>8}  ", duration(call.lost_s), duration(call.held_s));
        call_line(&mut text, &start, (call.frame, call.caller));
    }
    text
}

/// Returns the calls; the one that cost other threads most comes first.
pub(super) fn calls(result: &RecordResult) -> Vec<SampledCall<'_>> {
    let mut calls: BTreeMap<(&str, Option<&str>), SampledCall<'_>> = BTreeMap::new();
    for RecordedCall { stack, samples, held_s, lost_s, .. } in
        result.processes.iter().flat_map(|process| process.calls.iter().flatten())
    {
        let (frame, caller) = named(stack);
        let new = || SampledCall { frame, caller, samples: 0, held_s: 0.0, lost_s: 0.0 };
        let call = calls.entry((frame, caller)).or_insert_with(new);
        call.samples += samples;
        call.held_s += held_s;
        call.lost_s += lost_s;
    }
    let mut calls: Vec<SampledCall<'_>> = calls.into_values().collect();
    calls.sort_by(|one, other| other.lost_s.total_cmp(&one.lost_s).then(other.held_s.total_cmp(&one.held_s)));
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_calls_that_cost_others_most_are_listed_whatever_thread_made_them() {
        let call = |holder: u32, stack: &[&str], held_s: f64, lost_s: f64| json!({"holder": holder, "stack": stack, "samples": 10, "held_s": held_s, "lost_s": lost_s});
        let dump = ["/usr/lib/python3.11/json/encoder.py:258 iterencode", "/app.py:41 dump"];
        let calls = [
            call(1, &dump, 0.1, 0.2),
            call(2, &dump, 0.1, 0.3),
            call(1, &["/app.py:7 f"], 2.0, 0.0),
            call(1, &[], 0.1, 0.1),
        ];
        let interpreter = json!({"version": "3.11.7", "implementation": "cpython", "path": "/python", "build": ""});
        let process = json!({"pid": 1, "parent": 0, "interpreter": interpreter, "ended": "running", "threads": [], "calls": calls});
        let result = json!({"kind": "record", "started_at": "", "command": [], "sampled": true, "duration_s": 3.0,
            "exit_code": null, "processes": [process]});
        assert_eq!(
            sampled_calls(&serde_json::from_value(result).unwrap()),
            "calls that held the GIL, and what other threads lost to them, by 40 samples\n\
             lost   500 ms  held   200 ms  encoder.py:258 iterencode, called from app.py:41 dump\n\
             lost   100 ms  held   100 ms  (no stack was read)\n\
             lost      0 s  held      2 s  app.py:7 f\n"
        );
    }
}
