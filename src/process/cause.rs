//! The line of a program's stderr that names the cause of its end.

/// The largest number of characters of a cause.
const LONGEST: usize = 200;

/// Returns the cause that `stderr` names; None if it is empty. Most programs name it in their last line, but launchers that
/// found no command (`is_launcher`) in the first one. CPython's fatal errors, tracebacks, and the messages of Rust's and C++'s
/// runtime are recognized, since more lines follow the one with the cause.
pub(super) fn cause(stderr: &str, is_launcher: bool) -> Option<String> {
    let lines: Vec<&str> = stderr.trim().lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let line = if is_launcher {
        (*lines.first()?).to_owned()
    } else {
        [fatal_error, exception, panic, terminate]
            .iter()
            .find_map(|find| find(&lines))
            .or(Some((*lines.last()?).to_owned()))?
    };
    Some(line.trim().chars().take(LONGEST).collect())
}

/// CPython's fatal error, which is followed by the stacks of all threads.
fn fatal_error(lines: &[&str]) -> Option<String> {
    lines.iter().rfind(|line| line.starts_with("Fatal Python error")).map(|line| (*line).to_owned())
}

/// The exception at the end of the last traceback, whose own lines are indented. Lines of `atexit` or of other threads may follow.
fn exception(lines: &[&str]) -> Option<String> {
    let start = lines.iter().rposition(|line| line.ends_with("Traceback (most recent call last):"))?;
    // The lines of an exception group are indented as well, except its first one, which has the mark of a group.
    let is_exception = |line: &&&str| !line.starts_with(' ') || line.trim_start().starts_with("| ExceptionGroup");
    let line = lines[start + 1..].iter().find(is_exception)?;
    Some(line.trim_start().trim_start_matches("| ").to_owned())
}

/// The message of a Rust panic, which stands below the place.
fn panic(lines: &[&str]) -> Option<String> {
    let start = lines.iter().rposition(|line| line.starts_with("thread '") && line.contains(" panicked at "))?;
    let message = lines.get(start + 1).filter(|line| !line.starts_with("note: ")).map_or("", |line| line.trim());
    Some(format!("{} {message}", lines[start]))
}

/// The exception that ended a C++ program, with its message in the next line.
fn terminate(lines: &[&str]) -> Option<String> {
    let start = lines.iter().rposition(|line| line.starts_with("terminate called after throwing"))?;
    let message = lines.get(start + 1).filter(|line| line.trim_start().starts_with("what():"));
    Some(format!("{} {}", lines[start], message.map_or("", |line| line.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_names_the_cause_is_found() {
        for (stderr, expected) in [
            ("", None),
            ("\n \n", None),
            ("first\nlast\n\n", Some("last")),
            (
                "Traceback (most recent call last):\n  File \"x.py\", line 1\n    f()\nValueError: bad\nmore\n",
                Some("ValueError: bad"),
            ),
            (
                "Traceback (most recent call last):\n  a\nKeyError: 1\n\nDuring handling of the above exception, another exception \
                 occurred:\n\nTraceback (most recent call last):\n  b\nOSError: 2\nsys:1: ResourceWarning: unclosed file",
                Some("OSError: 2"),
            ),
            (
                "Exception ignored in: <function f at 0x1>\nTraceback (most recent call last):\n  a\nTypeError: 3\n",
                Some("TypeError: 3"),
            ),
            (
                "  + Exception Group Traceback (most recent call last):\n  |   File \"x\", line 1\n  | ExceptionGroup: two (2 \
                 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | ValueError: 1\n    +------------------------------------",
                Some("ExceptionGroup: two (2 sub-exceptions)"),
            ),
            (
                "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File \"x\", line 1 in f\n",
                Some("Fatal Python error: Segmentation fault"),
            ),
            (
                "thread 'main' panicked at src/a.rs:1:2:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1`",
                Some("thread 'main' panicked at src/a.rs:1:2: index out of bounds"),
            ),
            (
                "terminate called after throwing an instance of 'std::runtime_error'\n  what():  boom\n",
                Some("terminate called after throwing an instance of 'std::runtime_error' what():  boom"),
            ),
            ("Traceback (most recent call last):\n  File \"x.py\", line 1", Some("File \"x.py\", line 1")),
        ] {
            assert_eq!(cause(stderr, false).as_deref(), expected, "{stderr:?}");
        }
        assert_eq!(cause("pyenv: 3.1 not found\nhint", true).as_deref(), Some("pyenv: 3.1 not found"));
        assert_eq!(cause(&"\u{e4}".repeat(300), false).unwrap().chars().count(), LONGEST);
    }
}
