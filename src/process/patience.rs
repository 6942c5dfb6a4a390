//! How long the processes of the chain wait for each other.

use std::time::Duration;

/// The time between SIGTERM and SIGKILL. It lets a process that cleans up after others finish, such as multiprocessing's
/// resource tracker (Lib/multiprocessing/resource_tracker.py), which removes their shared memory.
pub(super) const END_PATIENCE: Duration = Duration::from_secs(1);
/// The time that killed processes have to disappear; one in an uninterruptible wait may never do so.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// The time that the reaper has to end everything and report it.
pub(super) const REAPER_PATIENCE: Duration = Duration::from_secs(13);
/// The time that the supervisor has for its last event: it may have waited for the reaper in vain, and then kill the processes itself.
pub(super) const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(27);
