//! The order of the threads, which must not change at each refresh: a line that jumps can't be read.

use super::state::Thread;
use super::view::Sort;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The order in which the threads were last sorted.
#[derive(Debug, Clone, Default)]
pub struct Order {
    ranks: HashMap<(u32, u32, u32), usize>,
}

impl Order {
    /// Sorts the threads by their figures.
    pub fn renew(&mut self, threads: &mut [Thread], sort: Sort) {
        threads.sort_by(|one, other| compare(one, other, sort));
        self.ranks = threads.iter().enumerate().map(|(rank, thread)| (thread.key(), rank)).collect();
    }

    /// Sorts the threads as they were last sorted. New ones are at the end.
    pub fn keep(&self, threads: &mut [Thread]) {
        threads.sort_by_cached_key(|thread| {
            (self.ranks.get(&thread.key()).copied().unwrap_or(usize::MAX), thread.pid, thread.tid)
        });
    }
}

fn compare(one: &Thread, other: &Thread, sort: Sort) -> Ordering {
    let largest = |one: Option<f64>, other: Option<f64>| other.unwrap_or(-1.0).total_cmp(&one.unwrap_or(-1.0));
    let length = |thread: &Thread| thread.stall.map(|stall| stall.length_s);
    let by_sort = match sort {
        Sort::Cpu => largest(one.cpu, other.cpu),
        Sort::Held => largest(one.held, other.held).then(largest(one.waiting, other.waiting)),
        Sort::Waiting => largest(one.waiting, other.waiting),
        Sort::Stall => largest(length(one), length(other)),
        Sort::Name => one.name.cmp(&other.name),
    };
    by_sort.then(one.key().cmp(&other.key()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::live::Wait;

    fn thread(tid: u32, name: &str, figures: [f64; 3], stall: Option<f64>) -> Thread {
        let [cpu, held, waiting] = figures.map(Some);
        let stall = stall.map(|length_s| Wait { length_s, goes_on: false });
        Thread { pid: 1, tid, name: name.into(), cpu, held, waiting, stall, ..Thread::default() }
    }

    #[test]
    fn threads_are_sorted_by_a_figure_and_keep_their_places_until_it_is_renewed() {
        let mut threads = [
            thread(1, "b", [0.3, 0.1, 0.0], None),
            thread(2, "c", [0.1, 0.3, 0.1], Some(0.2)),
            thread(3, "a", [0.2, 0.2, 0.5], Some(0.1)),
        ];
        threads[0].waiting = None;
        let mut order = Order::default();
        let tids = |threads: &[Thread]| threads.iter().map(|thread| thread.tid).collect::<Vec<_>>();
        for (sort, expected) in [
            (Sort::Cpu, [1, 3, 2]),
            (Sort::Held, [2, 3, 1]),
            (Sort::Waiting, [3, 2, 1]),
            (Sort::Stall, [2, 3, 1]),
            (Sort::Name, [3, 1, 2]),
        ] {
            order.renew(&mut threads, sort);
            assert_eq!(tids(&threads), expected, "{sort:?}");
        }
        threads.reverse();
        order.keep(&mut threads);
        assert_eq!(tids(&threads), [3, 1, 2]);
        let mut more = vec![thread(9, "new", [9.0; 3], None)];
        more.extend(threads);
        order.keep(&mut more);
        assert_eq!(tids(&more), [3, 1, 2, 9]);
    }
}
