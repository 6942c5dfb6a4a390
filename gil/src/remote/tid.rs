//! Finds the kernel's thread id for a PyThreadState.

use super::error::RemoteError;
use super::offsets::ThreadOffsets;
use super::target::Target;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

/// The offset of `tid` in glibc's struct pthread, which a pthread_t points to (nptl/descr.h). On x86-64 it has not
/// changed since glibc 2.4.
const TID_IN_PTHREAD: u64 = 720;

/// The ids of a process's threads.
#[derive(Debug)]
pub(super) struct ThreadIds {
    /// For a process in another PID namespace: maps the ids in its namespace to the ids in this one. `None` for a
    /// process in this namespace.
    by_inner: Option<HashMap<u32, u32>>,
}

impl ThreadIds {
    pub fn new(target: &Target) -> Result<Self, RemoteError> {
        let own = fs::read_link("/proc/self/ns/pid").ok();
        let other = target.link("ns/pid").ok();
        let same = match (&own, &other) {
            (Some(own), Some(other)) => own.as_os_str().as_encoded_bytes() == other,
            _ => true,
        };
        let mut ids = Self { by_inner: (!same).then(HashMap::new) };
        ids.read_inner(target)?;
        Ok(ids)
    }

    /// Returns the id of the thread of `state`, or `None` if it is not a thread of the process, which happens if the
    /// state has been freed.
    pub fn of(&mut self, target: &Target, state: u64, offsets: ThreadOffsets) -> Result<Option<u32>, RemoteError> {
        let field = |offset: u64| target.word(state.wrapping_add(offset));
        // After fork(2), 3.11 keeps the native id of the parent's thread, whereas glibc updates its copy of the id.
        let native = match offsets.native {
            Some(offset) => field(offset)?.and_then(|id| u32::try_from(id).ok()),
            None => None,
        };
        if let Some(tid) = native
            && let Some(tid) = self.thread(target, tid)?
        {
            return Ok(Some(tid));
        }
        let Some(pthread) = field(offsets.thread_id)? else { return Ok(None) };
        let Some(word) = target.word(pthread.wrapping_add(TID_IN_PTHREAD))? else { return Ok(None) };
        self.thread(target, word as u32)
    }

    /// Returns a word that differs between two threads that had the same PyThreadState, one after the other: the id of
    /// the thread in its namespace, as CPython (3.11 on) or glibc has it.
    pub fn identity(target: &Target, state: u64, offsets: ThreadOffsets) -> Result<Option<u64>, RemoteError> {
        if let Some(offset) = offsets.native {
            return target.word(state.wrapping_add(offset));
        }
        let Some(pthread) = target.word(state.wrapping_add(offsets.thread_id))? else { return Ok(None) };
        target.word(pthread.wrapping_add(TID_IN_PTHREAD))
    }

    /// Converts `inner`, an id in the process's namespace, to the id in this namespace. Returns `None` if the process
    /// has no such thread.
    fn thread(&mut self, target: &Target, inner: u32) -> Result<Option<u32>, RemoteError> {
        let lives = |tid: u32| inner > 0 && target.exists(&format!("task/{tid}"));
        let Some(by_inner) = &self.by_inner else { return Ok(lives(inner).then_some(inner)) };
        let known = by_inner.get(&inner).copied();
        if let Some(tid) = known
            && lives(tid)
        {
            return Ok(Some(tid));
        }
        self.read_inner(target)?;
        Ok(self.by_inner.as_ref().and_then(|by_inner| by_inner.get(&inner).copied()))
    }

    fn read_inner(&mut self, target: &Target) -> Result<(), RemoteError> {
        let Some(by_inner) = &mut self.by_inner else { return Ok(()) };
        by_inner.clear();
        // Opened by path, since std can't list the entries of a descriptor. If the process id has been reused, the
        // listed threads are not the target's, and the target's memory does not refer to them.
        let failed = |error: io::Error| target.failed("list /proc/PID/task", error);
        for entry in fs::read_dir(Path::new("/proc").join(target.pid.to_string()).join("task")).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(tid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let status = target.file(&format!("task/{tid}/status")).unwrap_or_default();
            if let Some(inner) = innermost(&String::from_utf8_lossy(&status)) {
                by_inner.insert(inner, tid);
            }
        }
        Ok(())
    }
}

/// Returns the last id in the line `NSpid:` of proc_pid_status(5): the id in the innermost namespace.
fn innermost(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_in_the_innermost_pid_namespace_is_the_last_one() {
        assert_eq!(innermost("Name:\tx\nNSpid:\t4711\t12\t1\nNSsid:\t9\n"), Some(1));
        assert_eq!(innermost("NSpid:\t4711\n"), Some(4711));
        assert_eq!(innermost("Name:\tx\n"), None);
    }
}
