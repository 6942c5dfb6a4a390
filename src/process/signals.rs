//! Signal dispositions and masks that this process inherited across execve(2).

use nix::sys::signal::SigSet;
use signal_hook::consts::FORBIDDEN;
use signal_hook::flag;
use std::fs;

/// Returns the signals that are ignored, as nohup, `trap ''` and a shell's `&` set them. Empty without a Linux /proc.
pub fn ignored() -> Vec<i32> {
    // proc_pid_status(5): a mask in hexadecimal, with signal 1 as the lowest bit.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

/// Stops ignoring `signals`. They are caught and do nothing, so that programs executed from here on have the default
/// disposition (signal(7): an ignored signal stays ignored across execve, a caught one does not).
pub fn stop_ignoring(signals: impl IntoIterator<Item = i32>) {
    for signal in signals.into_iter().filter(|signal| !FORBIDDEN.contains(signal)) {
        // Fails for the signals that libc reserves.
        let _ = flag::register(signal, std::sync::Arc::default());
    }
}

/// Blocks all signals that can be blocked.
pub fn block_all() {
    // Fails only for an invalid mask.
    let _ = SigSet::all().thread_block();
}

/// Unblocks all signals that the parent of this process had blocked.
pub fn unblock_all() {
    // Fails only for an invalid mask.
    let _ = SigSet::all().thread_unblock();
}
