//! What this process inherited about signals, by execve(2), from whoever started it.

use nix::sys::signal::SigSet;
use signal_hook::consts::FORBIDDEN;
use signal_hook::flag;
use std::fs;

/// The signals that are ignored, as nohup, `trap ''` and a shell's `&` have it. None where there is no Linux /proc.
pub fn ignored() -> Vec<i32> {
    // proc_pid_status(5): a mask in hexadecimal, signal 1 lowest.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

/// Ignores them no longer. They are caught and do nothing, so that what is executed from here on has them as they are
/// by default (signal(7): only what is ignored stays so across an execve).
pub fn stop_ignoring(signals: impl IntoIterator<Item = i32>) {
    for signal in signals.into_iter().filter(|signal| !FORBIDDEN.contains(signal)) {
        // Fails for those that libc keeps to itself.
        let _ = flag::register(signal, std::sync::Arc::default());
    }
}

/// Blocks none any longer, whoever started this process had blocked.
pub fn unblock_all() {
    // Fails only for what is no signal mask.
    let _ = SigSet::all().thread_unblock();
}
