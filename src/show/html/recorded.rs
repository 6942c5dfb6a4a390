//! A recording, as the page and its picture need it.

use crate::results::{RecordResult, RecordedStall};
use crate::show::stalls::sums;
use crate::show::{one_line, signal};
use crate::trace::{Picture, Recording};
use crate::units::duration;

/// A recording, with its picture if the recording itself was read and not only its figures.
pub struct Recorded<'a> {
    /// The figures.
    pub result: &'a RecordResult,
    /// The recording.
    pub recording: Option<&'a Recording>,
    /// Its picture.
    pub picture: Option<Picture>,
}

impl Recorded<'_> {
    /// Returns the name of a thread: its native name and its ids.
    pub(super) fn label(&self, process: u32, row: u64) -> String {
        let thread = || Some(&self.recording?.processes.get(&process)?.threads.get(&row)?.thread);
        let name = thread().map_or_else(String::new, |thread| format!("{} {}", thread.title(), thread.tid));
        one_line(&name)
    }

    /// Returns what was recorded, in a sentence.
    pub(super) fn summary(&self) -> String {
        let result = self.result;
        let threads: usize = result.processes.iter().map(|process| process.threads.len()).sum();
        let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
        let (stalls, lost) = sums(result);
        let (processes, threads) =
            (count(result.processes.len(), "process", "processes"), count(threads, "thread", "threads"));
        let stalls = count(stalls as usize, "stall", "stalls");
        let time = duration(result.duration_s);
        let Some(threshold) = result.stall_threshold_s.map(duration) else {
            return format!(
                "{processes} with {threads} sampled for {time}: times are estimates, and no stalls are known."
            );
        };
        let end = |number| format!(" The program was ended by {}.", signal(number));
        format!(
            "{processes} with {threads} recorded for {time}: {stalls} with waits of {threshold} or more, in which other \
             threads lost {}.{}",
            duration(lost),
            result.signal.map_or_else(String::new, end)
        )
    }
}

pub(super) fn all_stalls(result: &RecordResult) -> impl Iterator<Item = &RecordedStall> {
    result.processes.iter().flat_map(|process| process.stalls.iter().flatten())
}
