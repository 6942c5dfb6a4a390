//! Which functions held the GIL: samples of the holders' stacks, scaled to the exact time that each thread held it.

use super::recording::{ProcessRecord, Recording};
use crate::results::{RecordedProcess, RecordedThread};
use std::collections::BTreeMap;

/// A function, with the time for which it, and what it called, held the GIL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// The function and its file: `file function`. The root has none, its children are the threads.
    pub name: String,
    /// The time in seconds.
    pub held_s: f64,
    /// The functions that it called, those that held the GIL the longest come first.
    pub calls: Vec<Node>,
}

/// Returns what held the GILs of a process, by thread and then by function from the outermost one on. Threads of the same
/// name are one. A thread without a sample has no functions.
pub fn held_by(recording: &Recording, process: &ProcessRecord) -> Node {
    let mut threads: BTreeMap<(u32, u32), (&str, f64)> = BTreeMap::new();
    for thread in process.threads.values() {
        let entry = threads.entry((thread.thread.gil, thread.thread.tid)).or_insert((thread.thread.title(), 0.0));
        entry.1 += recording.figures(process, thread).held_s;
    }
    let mut groups: BTreeMap<(u32, &str), (Node, u32)> = BTreeMap::new();
    for ((gil, tid), (title, held_s)) in threads {
        let (node, count) = groups.entry((gil, title)).or_default();
        *count += 1;
        node.name = if *count == 1 { format!("{title} {tid}") } else { format!("{title} ({count} threads)") };
        node.held_s += held_s;
        let counts = recording.holder_samples.get(&(process.process.number, gil, tid));
        let all: u64 = counts.iter().flat_map(|counts| counts.values()).sum();
        for (stack, count) in counts.into_iter().flatten() {
            node.add(&recording.stacks.frames(*stack), held_s * *count as f64 / all as f64);
        }
    }
    let calls: Vec<Node> = groups.into_values().map(|(node, _)| node).collect();
    let mut root = Node { name: String::new(), held_s: calls.iter().map(|thread| thread.held_s).sum(), calls };
    root.sort();
    root
}

/// Returns what held the GIL of a sampled process, as [`held_by`] does: the time of each thread comes
/// from the samples of the holder, and is divided by the samples of its stack.
pub fn held_by_samples(process: &RecordedProcess) -> Node {
    let node = |thread: &RecordedThread| {
        let calls = process.calls.iter().flatten().filter(|call| call.holder == thread.tid);
        let all: u64 = calls.clone().map(|call| call.samples).sum();
        let name = format!("{} {}", thread.title(), thread.tid);
        let mut node = Node { name, held_s: thread.held_s, calls: Vec::new() };
        for call in calls {
            let frames: Vec<&str> = call.stack.iter().map(String::as_str).collect();
            node.add(&frames, thread.held_s * call.samples as f64 / all as f64);
        }
        node
    };
    let calls: Vec<Node> = process.threads.iter().filter(|thread| thread.held_s > 0.0).map(node).collect();
    let mut root = Node { name: String::new(), held_s: calls.iter().map(|thread| thread.held_s).sum(), calls };
    root.sort();
    root
}

impl Node {
    /// Adds the time of a stack, whose innermost frame comes first, to the functions that this one called.
    fn add(&mut self, frames: &[&str], held_s: f64) {
        let mut node = self;
        for frame in frames.iter().rev() {
            let name = without_line(frame);
            let place = node.calls.iter().position(|call| call.name == name).unwrap_or_else(|| {
                node.calls.push(Node { name, ..Node::default() });
                node.calls.len() - 1
            });
            node = &mut node.calls[place];
            node.held_s += held_s;
        }
    }

    fn sort(&mut self) {
        self.calls.sort_by(|one, other| other.held_s.total_cmp(&one.held_s));
        self.calls.iter_mut().for_each(Self::sort);
    }

    /// Returns the time for which the function itself held the GIL.
    pub fn own_s(&self) -> f64 {
        self.held_s - self.calls.iter().map(|call| call.held_s).sum::<f64>()
    }
}

/// Returns a frame `file:line function` without its line.
fn without_line(frame: &str) -> String {
    let parts = frame.rsplit_once(' ').and_then(|(place, function)| Some((place.rsplit_once(':')?.0, function)));
    parts.map_or_else(|| frame.to_owned(), |(file, function)| format!("{file} {function}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Block, HolderSample, NewStack, Process, Thread, Totals};

    #[test]
    fn the_time_of_a_thread_is_that_of_its_functions_by_their_samples() {
        let mut recording = Recording::new(false);
        let (executable, python) = ("python3".into(), "3.11.7".into());
        recording.apply(Block::Process(Process { number: 0, pid: 1, parent: 0, executable, python }));
        for (row, held_ns, name) in [(0, 8_000_000_000, "work"), (1, 1_000_000_000, "idle"), (2, 500_000_000, "idle")] {
            let (tid, name) = (row as u32 + 7, name.into());
            recording.apply(Block::Thread(Thread { process: 0, row, tid, gil: 0, name, runs: None, ended_ns: None }));
            recording.apply(Block::Totals { process: 0, row, totals: Totals { held_ns, ..Totals::default() } });
        }
        let names = ["/a b.py:5 <module>", "/a b.py:2 f", "/a b.py:3 f"].map(str::to_owned).to_vec();
        recording.apply(Block::Stack(NewStack { names, frames: vec![1, 0] }));
        recording.apply(Block::Stack(NewStack { names: Vec::new(), frames: vec![2, 0] }));
        recording.apply(Block::Stack(NewStack { names: Vec::new(), frames: vec![0] }));
        for stack in [0, 1, 1, 2] {
            let sample = HolderSample { process: 0, gil: 0, tid: 7, at_ns: 1 << 33, stack, count: 1 };
            assert_eq!(HolderSample::decode(&sample.encode()), Some(sample));
            recording.apply(Block::HolderSample(sample));
        }
        let root = held_by(&recording, &recording.processes[&0]);
        assert_eq!((root.held_s, root.calls.len(), root.calls[1].calls.len()), (9.5, 2, 0));
        assert_eq!([&root.calls[0].name, &root.calls[1].name], ["work 7", "idle (2 threads)"]);
        let module = &root.calls[0].calls[0];
        assert_eq!((module.name.as_str(), module.held_s, module.own_s()), ("/a b.py <module>", 8.0, 2.0));
        assert_eq!((module.calls[0].name.as_str(), module.calls[0].held_s), ("/a b.py f", 6.0));
    }
}
