//! Finds the missing right if the kernel denies access to another process (ptrace(2), "Ptrace access mode checking").

use std::fs;

/// Returns the missing right and how to get it, as far as /proc shows them.
pub(super) fn missing(pid: u32) -> String {
    let owner = effective_uid(pid);
    let own = effective_uid(std::process::id());
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok().and_then(|text| text.trim().parse().ok());
    explain(own, owner, scope)
}

/// Returns the effective user id, which is the second id in the line `Uid:` of proc_pid_status(5).
fn effective_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the missing right and how to get it. `own` and `owner` are the effective user ids of this process and of the
/// other one. `scope` is Yama's ptrace_scope, or `None` if the kernel has no Yama.
fn explain(own: Option<u32>, owner: Option<u32>, scope: Option<u32>) -> String {
    const WITH: &str = "with CAP_SYS_PTRACE (setcap cap_sys_ptrace+ep FILE; in a container --cap-add=SYS_PTRACE)";
    // Root that lacks the right has lost the capability, as in a container.
    let as_root = if own == Some(0) { format!("run this {WITH}") } else { format!("run this as root, or {WITH}") };
    if let (Some(own), Some(owner)) = (own, owner)
        && own != owner
        && own != 0
    {
        return format!(
            "it belongs to user {owner}, and this process to user {own}. Run this as the same user; or {as_root}"
        );
    }
    match scope {
        Some(1) => format!(
            "Yama's ptrace_scope is 1, so a process can read only its own descendants. Start the program from here; \
             or {as_root}; or, for all programs of a user, sysctl kernel.yama.ptrace_scope=0"
        ),
        Some(2) => format!("Yama's ptrace_scope is 2, so this needs CAP_SYS_PTRACE: {as_root}"),
        Some(3) => {
            "Yama's ptrace_scope is 3: no process can be read until the system boots with a lower one".to_owned()
        }
        _ => format!(
            "this needs the right to ptrace(2) it. The program must belong to the same user, must not have disabled \
             tracing (setuid, PR_SET_DUMPABLE), and must not run in a user namespace above this one. Otherwise this \
             needs CAP_SYS_PTRACE in that namespace: {as_root}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_right_and_how_to_get_it_are_named() {
        let other = explain(Some(1000), Some(1001), Some(1));
        assert!(other.contains("user 1001") && other.contains("user 1000"), "{other}");
        assert!(!other.contains("ptrace_scope"), "{other}");
        let child_only = explain(Some(1000), Some(1000), Some(1));
        assert!(child_only.contains("ptrace_scope is 1") && child_only.contains("ptrace_scope=0"), "{child_only}");
        let root = explain(Some(0), Some(0), None);
        assert!(root.contains("run this with CAP_SYS_PTRACE") && !root.contains("as root"), "{root}");
        for (scope, way) in [(Some(2), true), (Some(3), false), (Some(0), true), (None, true)] {
            let text = explain(Some(1000), Some(1000), scope);
            assert_eq!(text.contains("CAP_SYS_PTRACE"), way, "{text}");
        }
    }

    #[test]
    fn the_effective_user_is_read() {
        assert_eq!(effective_uid(std::process::id()), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(effective_uid(u32::MAX), None);
    }
}
