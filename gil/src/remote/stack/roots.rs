//! The outermost frames of threads. A thread has the same one for all its life, unless native code calls Python several
//! times, or greenlets switch. In a stack of two moments, the frames may lead to one that is no longer executed, and
//! end there: it has an unknown root.

use std::collections::HashMap;

/// The outermost frames that were seen, by the address of the PyThreadState.
#[derive(Debug, Default)]
pub(super) struct Roots(HashMap<u64, ThreadRoots>);

#[derive(Debug, Default)]
struct ThreadRoots {
    /// The latest last.
    known: Vec<u64>,
    /// Was seen once.
    candidate: Option<u64>,
}

impl Roots {
    /// More than any process has threads.
    const MOST_THREADS: usize = 1 << 16;
    /// The maximum number of roots of a thread.
    const MOST: usize = 32;

    /// Returns true if `root` is known. The first root of a thread is known when it is seen for the second time.
    pub fn is_known(&mut self, state: u64, root: u64) -> bool {
        if self.0.len() > Self::MOST_THREADS {
            self.0.clear();
        }
        let thread = self.0.entry(state).or_default();
        if thread.known.is_empty() && thread.candidate.replace(root) == Some(root) {
            thread.known.push(root);
        }
        thread.known.contains(&root)
    }

    /// Learns a root that was still there after several attempts. Another one than the first is known when two stacks
    /// in turn had it.
    pub fn learn(&mut self, state: u64, root: u64) {
        let thread = self.0.entry(state).or_default();
        if thread.candidate.replace(root) == Some(root) && !thread.known.contains(&root) {
            if thread.known.len() == Self::MOST {
                thread.known.remove(0);
            }
            thread.known.push(root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_known_when_it_was_seen_twice() {
        let mut roots = Roots::default();
        assert!(!roots.is_known(1, 8));
        assert!(roots.is_known(1, 8) && roots.is_known(1, 8) && !roots.is_known(2, 8));
        // Several attempts of one reading don't make another root known.
        assert!(!roots.is_known(1, 16) && !roots.is_known(1, 16));
        roots.learn(1, 16);
        assert!(!roots.is_known(1, 16));
        roots.learn(1, 16);
        assert!(roots.is_known(1, 16) && roots.is_known(1, 8));
        for root in 100..200 {
            roots.learn(1, root);
            roots.learn(1, root);
        }
        assert!(roots.0[&1].known.len() == Roots::MOST && roots.is_known(1, 199) && !roots.is_known(1, 8));
    }
}
