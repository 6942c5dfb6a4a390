//! The state as lines of text, for a file or a pipe.

use super::call;
use super::state::{Meter, State, Thread};
use super::table::{name, share, stall};
use crate::show::one_line;
use std::fmt::Write;

/// The number of threads.
const THREADS: usize = 10;

/// Returns a line for the machine, and one for each of the first threads.
pub fn lines(state: &State) -> String {
    let mut text = String::new();
    let meter = match state.meter {
        Meter::Exact => "exact".to_owned(),
        Meter::Samples(hz) => format!("{hz} samples/s"),
    };
    write!(text, "{:.1} s, {meter}; cores", state.elapsed_s).unwrap();
    state.cores.iter().for_each(|core| write!(text, " {:.0}%", 100.0 * core.busy).unwrap());
    for process in &state.processes {
        let version = if process.version.is_empty() { String::new() } else { format!(" ({})", process.version) };
        let what = match (process.held, &process.reason) {
            (Some(held), _) => format!("GIL held {:.1}%", 100.0 * held),
            (None, Some(reason)) => reason.clone(),
            (None, None) => continue,
        };
        write!(text, "; process {}{version}: {what}", process.pid).unwrap();
    }
    text = one_line(&text) + "\n";
    let width = state.threads.iter().take(THREADS).map(|thread| name(thread).chars().count()).max().unwrap_or(0);
    state
        .threads
        .iter()
        .take(THREADS)
        .for_each(|thread| writeln!(text, "  {}", line(thread, state.meter, width)).unwrap());
    if state.threads.len() > THREADS {
        writeln!(text, "  and {} more threads", state.threads.len() - THREADS).unwrap();
    }
    text
}

fn line(thread: &Thread, meter: Meter, width: usize) -> String {
    let mut text = format!(
        "{:>7} {:>7} {:<width$}  cpu {:>5}  held {:>5}  waits {:>5}",
        thread.pid,
        thread.tid,
        name(thread),
        share(thread.cpu),
        share(thread.held),
        share(thread.waiting)
    );
    match (meter, call(&thread.stack)) {
        (Meter::Exact, call) if thread.stall.is_some() => {
            let by = call.map_or_else(String::new, |call| format!(" {call}"));
            write!(text, "  stall {}{by}", stall(thread)).unwrap();
        }
        (Meter::Samples(_), Some(call)) => write!(text, "  seen holding in {call}").unwrap(),
        _ => {}
    }
    text
}
