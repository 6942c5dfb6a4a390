//! The calls in which the threads of a sampled process held the GIL.

use crate::results::RecordedCall;
use crate::trace::stack_lines;
use busy_gil::remote::HolderStack;
use std::collections::HashMap;

/// The number of different stacks that are counted. A sample of a further one counts as one without a stack.
const MOST: usize = 10_000;

/// The samples of each holder with each stack.
#[derive(Default)]
pub struct Calls {
    seen: HashMap<(u32, Vec<String>), Sums>,
}

#[derive(Default)]
struct Sums {
    samples: u64,
    held_ns: u64,
    lost_ns: u64,
}

impl Calls {
    /// Adds a sample.
    pub fn add(&mut self, found: &HolderStack) {
        let stack = found.stack.iter().flat_map(stack_lines).collect();
        self.count(found.tid, stack, found.for_ns, found.waiting as u64);
    }

    fn count(&mut self, tid: u32, stack: Vec<String>, for_ns: u64, waiting: u64) {
        let mut key = (tid, stack);
        if self.seen.len() >= MOST && !self.seen.contains_key(&key) {
            key.1.clear();
        }
        let sums = self.seen.entry(key).or_default();
        sums.samples += 1;
        sums.held_ns += for_ns;
        sums.lost_ns += for_ns * waiting;
    }

    /// Returns the calls, those that cost others most first.
    pub fn into_results(self) -> Vec<RecordedCall> {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let call = |((holder, stack), sums): ((u32, Vec<String>), Sums)| RecordedCall {
            holder,
            stack,
            samples: sums.samples,
            held_s: seconds(sums.held_ns),
            lost_s: seconds(sums.lost_ns),
        };
        let mut calls: Vec<RecordedCall> = self.seen.into_iter().map(call).collect();
        calls.sort_by(|one, other| {
            let by_time = other.lost_s.total_cmp(&one.lost_s).then(other.held_s.total_cmp(&one.held_s));
            by_time.then_with(|| one.stack.cmp(&other.stack))
        });
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_the_same_stack_are_added_up_and_the_costliest_call_comes_first() {
        let mut calls = Calls::default();
        for (tid, name, waiting) in [(1, "long", 0), (2, "stalls", 3), (1, "long", 0), (2, "stalls", 1)] {
            calls.count(tid, vec![name.to_owned()], 500_000_000, waiting);
        }
        let found = calls.into_results();
        let found: Vec<_> = found
            .iter()
            .map(|call| (call.holder, call.stack[0].as_str(), call.samples, call.held_s, call.lost_s))
            .collect();
        assert_eq!(found, [(2, "stalls", 2, 1.0, 2.0), (1, "long", 2, 1.0, 0.0)]);
    }

    #[test]
    fn stacks_beyond_the_most_count_without_their_frames() {
        let mut calls = Calls::default();
        for number in 0..MOST + 5 {
            calls.count(1, vec![number.to_string()], 1, 0);
        }
        let found = calls.into_results();
        let without: Vec<_> = found.iter().filter(|call| call.stack.is_empty()).map(|call| call.samples).collect();
        assert_eq!((found.len(), without), (MOST + 1, vec![5]));
    }
}
