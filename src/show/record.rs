//! The result of a recording: a row for each thread, in at most 25 lines.

use super::sampled::sampled_calls;
use super::stalls::stalls;
use super::waits::short_waits;
use super::{BOLD, one_line, signal, table, wrapped};
use crate::results::{RecordResult, RecordedProcess, RecordedThread, TOO_LOADED_PERCENT};
use crate::units::duration;
use std::fmt::Write;
use std::path::Path;

/// The number of rows of threads that are shown, and that of rows and lines below them.
const ROWS: usize = 15;
const ROWS_AND_LINES: usize = 16;
/// The number of processes whose missing figures are explained.
const REASONS: usize = 2;

/// The header of the table: of a recording, and of samples.
const RECORDED: [&str; 7] = ["process", "thread", "held", "waited", "longest\nhold", "longest\nwait", "acquires"];
const SAMPLED: [&str; 7] = ["process", "thread", "held", "waited", "ran, no GIL", "no CPU", "slept"];

/// The reason why no Python was seen.
pub const NO_PYTHON: &str = "the program started none (PyPy is not metered), gave it an environment without LD_PRELOAD, \
                              or runs a `busy record` of its own";

/// Returns the whole text, with ANSI styles that the writer may have to strip. The recording is in the file `path`, if it
/// was kept.
pub fn record(result: &RecordResult, path: Option<&Path>) -> String {
    let mut text = String::new();
    let metered: Vec<&RecordedProcess> =
        result.processes.iter().filter(|process| process.metered_s.is_some()).collect();
    let mut rows: Vec<(&RecordedProcess, &RecordedThread)> =
        metered.iter().flat_map(|process| process.threads.iter().map(move |thread| (*process, thread))).collect();
    let used = |thread: &RecordedThread| thread.held_s + thread.waited_s;
    rows.sort_by(|(_, one), (_, other)| used(other).total_cmp(&used(one)));
    let place = path.map_or_else(String::new, |path| format!(" {}", one_line(&path.display().to_string())));
    let hz = metered.iter().find_map(|process| process.samples.as_ref()).map(|samples| samples.hz);
    let how = hz.map_or_else(|| "recorded".into(), |hz| format!("sampled {hz} times a second"));
    let line = format!(
        "{BOLD}record{BOLD:#}{place}: {} with {} {how} in {}",
        count(metered.len(), "process", "processes"),
        count(rows.len(), "thread", "threads"),
        duration(result.duration_s)
    );
    let end = result.signal.map_or_else(String::new, |number| format!("; the program was ended by {}", signal(number)));
    writeln!(text, "{}", wrapped(&format!("{line}{end}"))).unwrap();
    let mut below = stalls(result) + &sampled_calls(result);
    for paragraph in [short_waits(result), load(result).unwrap_or_default()] {
        if !paragraph.is_empty() {
            writeln!(below, "{}", wrapped(&one_line(&paragraph))).unwrap();
        }
    }
    let most = most_rows(rows.len(), below.lines().count());
    // Whoever waited most is what the recording is about.
    let waits_most = (0..rows.len()).max_by(|one, other| rows[*one].1.waited_s.total_cmp(&rows[*other].1.waited_s));
    if let Some(waits_most) = waits_most.filter(|index| *index >= most && most > 0) {
        rows[most - 1..=waits_most].rotate_right(1);
    }
    if !rows.is_empty() {
        let mut table = table(if result.sampled { SAMPLED } else { RECORDED });
        rows.iter().take(most).for_each(|(process, thread)| _ = table.add_row(row(process, thread)));
        writeln!(text, "{table}").unwrap();
    }
    if rows.len() > most {
        let rest: f64 = rows[most..].iter().map(|(_, thread)| thread.held_s).sum();
        let waited: f64 = rows[most..].iter().map(|(_, thread)| thread.waited_s).sum();
        let line =
            format!("{} more threads held {} and waited {}", rows.len() - most, duration(rest), duration(waited));
        writeln!(text, "{line}").unwrap();
    }
    text += &below;
    if result.sampled {
        text += "by samples: shares are estimates, and there are no longest holds and no stalls\n";
    }
    let why = |process: &RecordedProcess, key: &str, what: &str| {
        let reason = process.missing.get(key)?;
        Some(format!("{}: {what}{reason}", name(process)))
    };
    let not_recorded = |process: &RecordedProcess| if process.metered_s.is_none() { "not recorded: " } else { "" };
    let reasons = result.processes.iter().filter_map(|process| {
        why(process, "held_share", not_recorded(process)).or_else(|| why(process, "stack", "no stacks: "))
    });
    let reasons: Vec<String> = reasons.collect();
    for reason in reasons.iter().take(REASONS) {
        writeln!(text, "{}", wrapped(&one_line(reason))).unwrap();
    }
    if let Some(more) = reasons.len().checked_sub(REASONS).filter(|more| *more > 0) {
        writeln!(text, "and {more} more; the JSON (--json) has all").unwrap();
    }
    if result.processes.is_empty() && !result.sampled {
        writeln!(text, "{}", wrapped(&format!("no CPython was recorded: {NO_PYTHON}"))).unwrap();
    }
    text
}

/// Returns how much other programs used meanwhile, if that may have changed the figures. Without threads there are none.
pub(super) fn load(result: &RecordResult) -> Option<String> {
    result.processes.iter().find(|process| !process.threads.is_empty())?;
    let others = result.host.as_ref()?.others_percent.filter(|others| *others > TOO_LOADED_PERCENT)?;
    Some(format!(
        "Other programs used {others:.0} % of a core during the recording: some threads may have waited longer, or lacked a \
         CPU, for that reason."
    ))
}

fn row(process: &RecordedProcess, thread: &RecordedThread) -> [String; 7] {
    let share = |seconds: f64| {
        process.metered_s.map_or_else(|| "-".into(), |metered| format!("{:.1} %", 100.0 * (seconds / metered).min(1.0)))
    };
    let gil = if thread.gil == 0 { String::new() } else { format!(" (GIL {})", thread.gil) };
    let length = |seconds: Option<f64>| seconds.map_or_else(|| "-".into(), duration);
    let [first, second, third] = match &thread.states {
        Some(states) => [states.running_s, states.runnable_s, states.sleeping_s].map(share),
        None => [
            length(thread.longest_hold_s),
            length(thread.longest_wait_s),
            thread.acquisitions.map_or_else(|| "-".into(), |number| number.to_string()),
        ],
    };
    [
        process.pid.to_string(),
        one_line(&format!("{} {}{gil}", thread.tid, thread.title())),
        share(thread.held_s),
        share(thread.waited_s),
        first,
        second,
        third,
    ]
}

/// Returns how many of so many rows are shown, with so many lines below them.
fn most_rows(rows: usize, lines: usize) -> usize {
    let most = ROWS_AND_LINES.saturating_sub(lines).min(ROWS);
    // A line reports how many more there are: it is as long as one row.
    if rows == most + 1 { rows } else { most }
}

/// Returns the name of a process for people.
fn name(process: &RecordedProcess) -> String {
    match Path::new(&process.interpreter.path).file_name() {
        Some(file) => format!("process {} ({})", process.pid, file.to_string_lossy()),
        None => format!("process {}", process.pid),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Host;
    use serde_json::{Value, json};

    #[test]
    fn the_load_is_named_only_if_threads_were_recorded() {
        let result = |processes: Value| -> RecordResult {
            let host = serde_json::to_value(Host { others_percent: Some(90.0), ..Host::example() }).unwrap();
            let result = json!({"kind": "record", "started_at": "", "host": host, "command": [], "duration_s": 3.0,
                "exit_code": 5, "processes": processes});
            serde_json::from_value(result).unwrap()
        };
        let interpreter = json!({"version": "3.11.7", "implementation": "cpython", "path": "/python", "build": ""});
        let thread = json!({"tid": 1, "name": "t", "held_s": 1.0, "waited_s": 0.0, "acquisitions": 1});
        let process = json!({"pid": 1, "parent": 0, "interpreter": interpreter, "ended": "exited", "metered_s": 3.0,
            "threads": [thread]});
        assert!(record(&result(json!([process])), None).contains("Other programs used 90 % of a core"));
        let text = record(&result(json!([])), None);
        assert!(text.contains("no CPython was recorded") && !text.contains("Other programs"), "{text}");
    }

    #[test]
    fn the_thread_that_waited_most_is_shown_and_a_line_never_replaces_one_row() {
        let text = |count: usize| {
            let thread = |tid: usize| {
                json!({"tid": tid, "name": "t", "held_s": if tid == 0 { 0.0 } else { 1.0 },
                "waited_s": if tid == 0 { 0.5 } else { 0.0 }, "acquisitions": 1})
            };
            let threads: Vec<Value> = (0..count).map(thread).collect();
            let interpreter = json!({"version": "3.11.7", "implementation": "cpython", "path": "/python", "build": ""});
            let result = json!({"kind": "record", "started_at": "", "command": [], "duration_s": 3.0, "exit_code": 0,
                "processes": [{"pid": 1, "parent": 0, "interpreter": interpreter, "ended": "exited", "metered_s": 3.0,
                "threads": threads}]});
            record(&serde_json::from_value(result).unwrap(), None)
        };
        assert!(text(ROWS + 1).contains(" 0 t ") && !text(ROWS + 1).contains("more threads"));
        let many = text(ROWS + 5);
        assert!(many.contains(" 0 t ") && many.contains("5 more threads held 5 s and waited 0 s"), "{many}");
    }
}
