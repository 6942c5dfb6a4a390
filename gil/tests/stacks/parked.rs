//! Threads parked in known places: their stacks are exactly those that Python itself reports.

use crate::pythons::{Python, Talker, alone, with_gil};
use busy_gil::remote::{PythonThread, Stack, StackError, StackReader};
use std::collections::BTreeMap;
use std::env::temp_dir;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PARKED: &str = include_str!("parked.py");

/// A process that runs parked.py.
pub struct Parked {
    pub talker: Talker,
    /// The places, each with its thread and its frames as `file:function:line`.
    pub places: BTreeMap<String, (u32, Vec<String>)>,
    folder: PathBuf,
}

impl Parked {
    /// Runs parked.py with the named places, or with all of them.
    pub fn start(python: &Python, only: &[&str]) -> Self {
        let folder = temp_dir().join(format!("busy-parked-{}-{}", std::process::id(), python.name.replace(' ', "-")));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(&python.path);
        command.args(["-Bc", PARKED]).arg(&folder).args(only);
        let mut parked = Self { talker: Talker::spawn(&mut command), places: BTreeMap::new(), folder };
        loop {
            let line = parked.talker.line();
            if line == "ready" {
                return parked;
            }
            let mut words = line.split(' ');
            let (place, tid) =
                (words.next().unwrap(), words.next().unwrap_or_else(|| panic!("{}: {line}", python.name)));
            let frames = words.map(|frame| {
                let fields: Vec<_> = frame.split(':').collect();
                format!("{}:{}:{}", text(fields[0]), text(fields[1]), fields[2])
            });
            parked.places.insert(place.to_owned(), (tid.parse().unwrap(), frames.collect()));
        }
    }

    /// Attaches to the process, and returns its threads by place.
    pub fn attach(&self) -> (StackReader, BTreeMap<String, PythonThread>) {
        let mut reader = StackReader::attach(self.talker.pid()).unwrap();
        let threads = threads(&mut reader);
        let state = |tid: u32| *threads.iter().find(|thread| thread.tid == tid).expect("a thread with that id");
        let states = self.places.iter().map(|(place, (tid, _))| (place.clone(), state(*tid))).collect();
        (reader, states)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Lists the threads; up to 3.6, as soon as one holds the GIL.
pub fn threads(reader: &mut StackReader) -> Vec<PythonThread> {
    let start = Instant::now();
    loop {
        match reader.threads() {
            Err(StackError::NoHolder { .. }) if start.elapsed() < Duration::from_secs(60) => {
                sleep(Duration::from_micros(50));
            }
            other => return other.unwrap(),
        }
    }
}

/// Decodes hexadecimal UTF-8.
fn text(hexadecimal: &str) -> String {
    let byte = |index: usize| u8::from_str_radix(&hexadecimal[index..index + 2], 16).unwrap();
    String::from_utf8((0..hexadecimal.len()).step_by(2).map(byte).collect()).unwrap()
}

/// Returns the frames as `file:function:line`.
pub fn frames(stack: &Stack) -> Vec<String> {
    let line = |line: Option<u32>| line.map_or("None".to_owned(), |line| line.to_string());
    stack.frames.iter().map(|frame| format!("{}:{}:{}", frame.file, frame.function, line(frame.line))).collect()
}

#[test]
fn the_stacks_of_parked_threads_are_exact() {
    let _alone = alone();
    for python in with_gil() {
        let parked = Parked::start(&python, &[]);
        let (mut reader, threads) = parked.attach();
        assert!(threads.len() > 10, "{}: {threads:?}", python.name);
        for (place, (_, expected)) in &parked.places {
            // The second time, the code objects are in the cache.
            for _ in 0..2 {
                let stack =
                    reader.read(threads[place].state).unwrap_or_else(|e| panic!("{}, {place}: {e}", python.name));
                assert!(!stack.moved, "{}, {place}", python.name);
                let kept = expected.len().min(StackReader::MOST_FRAMES);
                assert_eq!(frames(&stack), expected[..kept], "{}, {place}", python.name);
                assert_eq!(stack.cut, expected.len() - kept, "{}, {place}", python.name);
            }
        }
        assert!(parked.places["recursion"].1.len() > 5000, "{}", python.name);
        println!("{}: {} places", python.name, threads.len());
    }
}
