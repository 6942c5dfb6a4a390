//! The stalls of a recording: the worst one, the calls that cost other threads most, and what they mean. At most eight lines.

use super::{BOLD, indented_after_first, one_line, width};
use crate::results::{RecordResult, RecordedStall};
use crate::units::duration;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The number of calls that are shown.
const CALLS: usize = 3;
/// The text for a stall of which no stack was read.
pub(super) const NO_STACK: &str = "(no stack was read)";

/// The folders of Python's library and of installed packages: Fedora, RHEL and openSUSE have the library in lib64.
const LIBRARIES: [&str; 4] = ["/lib/python", "/lib64/python", "/site-packages/", "/dist-packages/"];

/// The stalls by one call: those with the same innermost frame, and the same caller.
pub(super) struct Call<'a> {
    /// The innermost frame, or [`NO_STACK`].
    pub(super) frame: &'a str,
    /// The innermost frame outside of the library, if it is another one.
    pub(super) caller: Option<&'a str>,
    pub(super) lost_s: f64,
    pub(super) stalls: Vec<&'a RecordedStall>,
}

/// Returns the text; empty if there are no stalls.
pub fn stalls(result: &RecordResult) -> String {
    let all: Vec<&RecordedStall> =
        result.processes.iter().flat_map(|process| process.stalls.iter().flatten()).collect();
    let (number, total) = sums(result);
    let Some(worst) = all.iter().max_by(|one, other| one.lost_s.total_cmp(&other.lost_s)) else { return String::new() };
    let mut text = String::new();
    let count = format!("{number} {}", if number == 1 { "stall" } else { "stalls" });
    let threshold = duration(result.stall_threshold_s.unwrap_or(0.0));
    line(&mut text, &format!("{count} with waits of {threshold} or more: other threads lost {}", duration(total)));
    let worst_line = indented_after_first(&one_line(&described(worst)));
    writeln!(text, "{BOLD}worst{BOLD:#}{}", worst_line.trim_start_matches("worst")).unwrap();
    line(&mut text, &format!("  {}", called(worst)));

    let calls = calls(&all);
    for call in calls.iter().take(CALLS) {
        let stalls = format!("{}x", call.stalls.len());
        let start = format!("lost {:>8} {stalls:>6}  ", duration(call.lost_s));
        call_line(&mut text, &start, (call.frame, call.caller));
    }
    if let Some(call) = calls.first().filter(|call| call.frame != NO_STACK) {
        let (share, meaning) = (100.0 * call.lost_s / total, meaning(call));
        call_line(&mut text, &format!("{share:.0} % of the time lost in stalls: "), (call.frame, call.caller));
        line(&mut text, &format!("  {meaning}"));
    }
    text
}

/// Returns the number of all stalls, and how long other threads waited in them, in all.
pub(super) fn sums(result: &RecordResult) -> (u64, f64) {
    let more = || result.processes.iter().filter_map(|process| process.more_stalls);
    let listed = || result.processes.iter().flat_map(|process| process.stalls.iter().flatten());
    let count = listed().count() as u64 + more().map(|more| more.count).sum::<u64>();
    // The sum of no numbers is -0.
    let lost_s =
        listed().map(|stall| stall.lost_s).chain(more().map(|more| more.lost_s)).fold(0.0, |sum, one| sum + one);
    (count, lost_s)
}

/// Returns the time of a stall, its length, and what other threads lost.
fn described(stall: &RecordedStall) -> String {
    let (at, holder, held, lost) = (stall.at_s, stall.holder, duration(stall.held_s), duration(stall.lost_s));
    let lost = match stall.waiters.len() {
        1 => format!("1 thread lost {lost}"),
        more => format!("{more} threads lost {lost}"),
    };
    let what = match stall.cause.as_deref() {
        // They are those of several threads.
        Some("many short holds") => format!("{lost} to many short holds, {held} of them by {holder}"),
        cause => format!("{holder} held for {held}, {lost} ({})", cause.unwrap_or("cause uncertain")),
    };
    format!("worst, at {at:.3} s: {what}")
}

/// Returns the calls that made the stalls; the one that cost other threads most comes first.
pub(super) fn calls<'a>(stalls: &[&'a RecordedStall]) -> Vec<Call<'a>> {
    let mut calls: BTreeMap<(&str, Option<&str>), Call<'_>> = BTreeMap::new();
    for stall in stalls {
        let (frame, caller) = named(&stall.stack);
        let new = || Call { frame, caller, lost_s: 0.0, stalls: Vec::new() };
        let call = calls.entry((frame, caller)).or_insert_with(new);
        call.lost_s += stall.lost_s;
        call.stalls.push(stall);
    }
    let mut calls: Vec<Call<'_>> = calls.into_values().collect();
    calls.sort_by(|one, other| other.lost_s.total_cmp(&one.lost_s));
    calls
}

/// Returns the meaning of the causes of a call's stalls, if they agree for most of the time lost.
pub(super) fn meaning(call: &Call<'_>) -> String {
    let by = |cause: &str| {
        let own = call.stalls.iter().filter(|stall| stall.cause.as_deref() == Some(cause));
        own.map(|stall| stall.lost_s).sum::<f64>() / call.lost_s
    };
    const MEANINGS: [(&str, &str); 5] = [
        ("native call", "in a native call that keeps the GIL: busy check can confirm it"),
        ("holder off CPU", "while the holder was runnable without a CPU"),
        ("fork", "in fork(2), which copies the page tables of the process"),
        ("Python code", "in Python code, which drops the GIL once per switch interval and acquires it again"),
        ("many short holds", "where threads held the GIL in turn, each for a short time"),
    ];
    match MEANINGS.iter().find(|(cause, _)| by(cause) > 0.8) {
        Some((cause, meaning)) if by(cause) > 0.995 => (*meaning).to_owned(),
        Some((cause, meaning)) => format!("for {:.0} % of it {meaning}", 100.0 * by(cause)),
        None => "for reasons that differ or are uncertain".to_owned(),
    }
}

/// Returns the innermost frame and the innermost one outside of the library.
pub(super) fn called(stall: &RecordedStall) -> String {
    let (frame, caller) = named(&stall.stack);
    call_name(frame, caller)
}

/// Returns the innermost frame of a stack, or [`NO_STACK`]; and the innermost one outside of the library, if it is another one.
pub(super) fn named(stack: &[String]) -> (&str, Option<&str>) {
    let own = stack.iter().find(|frame| !is_library(frame));
    let caller = own.filter(|own| Some(*own) != stack.first());
    (stack.first().map_or(NO_STACK, String::as_str), caller.map(String::as_str))
}

fn call_name(frame: &str, caller: Option<&str>) -> String {
    match caller {
        Some(own) => format!("{}, called from {}", short(frame), short(own)),
        None => short(frame).into(),
    }
}

/// Returns true if the frame belongs to Python's own library or to an installed package.
pub(super) fn is_library(frame: &str) -> bool {
    frame.starts_with('<') || LIBRARIES.iter().any(|folder| frame.contains(folder))
}

/// Returns the frame without the folder of its file.
pub(super) fn short(frame: &str) -> &str {
    frame.rsplit('/').next().unwrap_or(frame)
}

/// Writes a line about a call. Of one that is too long, the end of the library's frame is cut off.
pub(super) fn call_line(text: &mut String, start: &str, (frame, caller): (&str, Option<&str>)) {
    let whole = format!("{start}{}", call_name(frame, caller));
    match caller {
        Some(own) if whole.chars().count() > width() => {
            line(text, &format!("{start}{}, in {}", short(own), short(frame)));
        }
        _ => line(text, &whole),
    }
}

/// Writes a line, cut to the text width.
pub(super) fn line(text: &mut String, line: &str) {
    let mut shown = one_line(line);
    if shown.chars().count() > width() {
        shown = shown.chars().take(width() - 1).chain(['…']).collect();
    }
    writeln!(text, "{shown}").unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(lost_s: f64, stack: &[&str], cause: Option<&'static str>) -> RecordedStall {
        RecordedStall {
            at_s: 1.5,
            length_s: lost_s,
            held_s: lost_s,
            holder: 7,
            waiters: vec![8],
            waiter_stacks: BTreeMap::new(),
            lost_s,
            stack: stack.iter().map(|frame| (*frame).to_owned()).collect(),
            cause: cause.map(Into::into),
        }
    }

    #[test]
    fn the_frame_outside_of_the_library_is_named_as_the_caller() {
        let stack = ["/usr/lib/python3.11/json/encoder.py:258 iterencode", "/home/me/app.py:41 dump"];
        assert_eq!(called(&stall(0.1, &stack, None)), "encoder.py:258 iterencode, called from app.py:41 dump");
        assert_eq!(called(&stall(0.1, &stack[1..], None)), "app.py:41 dump");
        for library in ["/usr/lib64/python3.13", "/opt/app/site-packages", "/usr/lib/python3/dist-packages"] {
            let stack = [&format!("{library}/json/encoder.py:258 iterencode"), stack[1]];
            assert_eq!(called(&stall(0.1, &stack, None)), "encoder.py:258 iterencode, called from app.py:41 dump");
        }
        assert_eq!(called(&stall(0.1, &[], None)), NO_STACK);
    }

    #[test]
    fn of_a_line_that_is_too_long_the_caller_stays() {
        let frame = format!("/usr/lib/python3.11/json/encoder.py:258 {}", "x".repeat(width()));
        let mut text = String::new();
        call_line(&mut text, "lost ", (&frame, Some("/home/me/app.py:41 dump")));
        assert!(text.starts_with("lost app.py:41 dump, in encoder.py:258 xxx") && text.ends_with("x…\n"), "{text}");
    }

    #[test]
    fn the_stalls_of_each_caller_are_added_up() {
        let from = |line: u32, lost_s| {
            let own = format!("/home/me/app.py:{line} f{line}");
            stall(lost_s, &["/usr/lib/python3.11/json/encoder.py:258 iterencode", &own], None)
        };
        let stalls = [from(3, 0.1), from(4, 0.2), from(3, 0.3)];
        let calls = calls(&stalls.each_ref());
        let found: Vec<_> = calls.iter().map(|call| (call_name(call.frame, call.caller), call.stalls.len())).collect();
        let name = |line: u32| format!("encoder.py:258 iterencode, called from app.py:{line} f{line}");
        assert_eq!(found, [(name(3), 2), (name(4), 1)]);
    }

    #[test]
    fn of_many_short_holds_the_holder_has_a_part() {
        let of = |cause| described(&RecordedStall { held_s: 0.3, ..stall(0.5, &[], cause) });
        assert_eq!(of(Some("native call")), "worst, at 1.500 s: 7 held for 300 ms, 1 thread lost 500 ms (native call)");
        assert_eq!(
            of(Some("many short holds")),
            "worst, at 1.500 s: 1 thread lost 500 ms to many short holds, 300 ms of them by 7"
        );
    }

    #[test]
    fn the_meaning_is_that_of_most_of_the_time_lost() {
        let [native, uncertain] = [Some("native call"), None].map(|cause| stall(0.5, &["a.py:1 f"], cause));
        let mut call = Call { frame: "a.py:1 f", caller: None, lost_s: 0.5, stalls: vec![&native] };
        assert!(meaning(&call).starts_with("in a native call"));
        let few = stall(0.05, &["a.py:1 f"], None);
        call.stalls.push(&few);
        call.lost_s = 0.55;
        assert!(meaning(&call).starts_with("for 91 % of it in a native call"), "{}", meaning(&call));
        call.stalls.push(&uncertain);
        call.lost_s = 1.05;
        assert!(meaning(&call).contains("uncertain"));
    }
}
