//! Threads that change their stacks all the time: whatever is read is a function that exists, in its file, at its line.

use crate::parked::threads;
use crate::pythons::{Talker, alone, with_gil};
use busy_gil::remote::{Frame, StackReader};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const CHURN: &str = include_str!("churn.py");
/// The functions of churn.py that are called before or by a made one, and those of the modules that it uses.
const KNOWN: [&str; 24] = [
    "<module>",
    "made",
    "recurse",
    "count",
    "generate",
    "<genexpr>",
    "churn",
    "run",
    "_bootstrap",
    "_bootstrap_inner",
    "randrange",
    "choice",
    "_randbelow",
    "_randbelow_with_getrandbits",
    "__init__",
    "seed",
    "current_thread",
    "currentThread",
    "_ident",
    "get_ident",
    "__bootstrap",
    "__bootstrap_inner",
    "ident",
    "getrandbits",
];

/// Checks a frame: the numbers of a made function, of its file and of its line belong together. In a stack that moved,
/// a frame may have been overwritten by another function's while it was read, so that its line has no meaning.
fn check(frame: &Frame, moved: bool) -> Result<(), String> {
    let name = frame.function.rsplit('.').next().unwrap();
    let number = |text: &str, prefix: &str| text.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok());
    let line = frame.line.unwrap_or(0);
    let lies_in = |lines: RangeInclusive<u32>| moved || lines.contains(&line);
    match (number(name, "made_"), number(&frame.file, "made ")) {
        // The line of `def`, before the first instruction of the function, and the following one. A thread that has lost
        // its core while it began the call still has the instruction of an earlier frame there, which may be outside of
        // this function, and then has no line (`_PyFrame_InitializeSpecials`, Include/internal/pycore_frame.h).
        (Some(name), Some(file))
            if name == file && (frame.line.is_none() || lies_in(name % 50 + 1..=name % 50 + 2)) =>
        {
            Ok(())
        }
        // The code of the file defines the function. From 3.11 on its first instruction has no line.
        (None, Some(file)) if name == "<module>" && lies_in(0..=file % 50 + 1) => Ok(()),
        (None, None) if KNOWN.contains(&name) && lies_in(0..=2000) => Ok(()),
        _ => Err(format!("{frame:?}")),
    }
}

#[test]
fn only_functions_that_exist_are_read_from_threads_that_never_rest() {
    const READS: usize = 2000;
    let _alone = alone();
    for python in with_gil() {
        let talker = Talker::script(&python, CHURN, &[Path::new("4")]);
        let mut reader = StackReader::attach(talker.pid()).unwrap();
        let (mut threads, mut listed) = (threads(&mut reader), Instant::now());
        let (mut good, mut torn, mut moved, mut incomplete, mut made) = (0, 0, 0, 0, 0);
        let (mut time, mut started) = (Duration::ZERO, HashSet::new());
        while good + torn < READS {
            // The threads go on, even if this one has taken the core of one.
            sleep(Duration::from_micros(500));
            for thread in &threads {
                let start = Instant::now();
                let found = reader.read(thread.state);
                time += start.elapsed();
                match found {
                    Ok(stack) => {
                        good += 1;
                        moved += usize::from(stack.moved);
                        for frame in &stack.frames {
                            check(frame, stack.moved)
                                .unwrap_or_else(|frame| panic!("{}: {frame} in {stack:#?}", python.name));
                            made += usize::from(frame.file.starts_with("made "));
                        }
                        // From the outside in: the frames of threading, then `churn`; the main thread has one frame.
                        let outer = stack.frames.iter().rev().find(|frame| frame.file.starts_with("<string>"));
                        let whole = outer.is_some_and(|frame| ["churn", "<module>"].contains(&&*frame.function));
                        incomplete += usize::from(!whole);
                        // A thread that was just started has no frame yet, or those of threading only, but never again.
                        if whole {
                            started.insert(thread.state);
                        } else if !started.contains(&thread.state) {
                            continue;
                        }
                        // A stack that did not move has the frames of one moment.
                        assert!(whole || stack.moved, "{}: {stack:#?}", python.name);
                    }
                    Err(error) if error.is_torn() => torn += 1,
                    Err(error) => panic!("{}: {error}", python.name),
                }
            }
            if listed.elapsed() > Duration::from_secs(1) {
                (threads, listed) = (crate::parked::threads(&mut reader), Instant::now());
            }
        }
        assert!(good > READS / 2 && made > 100, "{}: {good} good, {torn} torn, {made} made", python.name);
        let mean = time / (good + torn) as u32;
        println!(
            "{}: {good} read, of which {moved} moved and {incomplete} incomplete; {torn} torn; mean {mean:?}",
            python.name
        );
    }
}
