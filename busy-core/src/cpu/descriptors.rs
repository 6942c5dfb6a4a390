//! The number of descriptors that the samplers of a process keep open.

use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// A limit on the number of files that are kept open. Clones share it.
#[derive(Debug, Clone)]
pub struct DescriptorBudget {
    left: Arc<AtomicU64>,
}

/// A file that is kept open and counts towards its budget until it is dropped.
#[derive(Debug)]
pub struct KeptFile {
    // The file is closed before its share returns to the budget.
    file: File,
    _share: Share,
}

#[derive(Debug)]
struct Share(DescriptorBudget);

impl DescriptorBudget {
    /// Returns a budget of `most` files.
    pub fn new(most: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(most)) }
    }

    /// Returns the budget that all samplers of this process share: a quarter of RLIMIT_NOFILE at the first call.
    pub fn of_process() -> Self {
        static BUDGET: OnceLock<DescriptorBudget> = OnceLock::new();
        let quarter = || getrlimit(Resource::Nofile).current.map_or(u64::MAX, |limit| limit / 4);
        BUDGET.get_or_init(|| Self::new(quarter())).clone()
    }

    /// Keeps `file` open if the budget allows one more. Otherwise closes it and returns `None`.
    pub fn keep(&self, file: File) -> Option<KeptFile> {
        let less = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Relaxed, Relaxed, less).ok()?;
        Some(KeptFile { file, _share: Share(self.clone()) })
    }
}

impl Deref for KeptFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_a_budget_and_a_dropped_file_returns_its_share() {
        let budget = DescriptorBudget::new(2);
        let keep = |budget: &DescriptorBudget| budget.keep(File::open("/dev/null").unwrap());
        let (first, second) = (keep(&budget), keep(&budget.clone()));
        assert!(first.is_some() && second.is_some());
        assert!(keep(&budget).is_none());
        drop(first);
        assert!(keep(&budget.clone()).is_some());
    }
}
