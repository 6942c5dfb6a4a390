//! Namespaces that only one run of the command uses: every process, socket and shared memory left in them is left by
//! that run.

use crate::harness::wait_for;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// New PID, network, mount and IPC namespaces, with a /dev/shm of their own.
pub struct Namespaces {
    /// unshare(1). If it is killed, the kernel kills every process in the namespaces.
    unshare: Child,
    /// The first process in the PID namespace.
    init: u32,
}

impl Namespaces {
    /// Creates the namespaces. Returns None if that is not permitted.
    pub fn new() -> Option<Self> {
        // If ip(8) is missing, only the experiments that need the loopback fail.
        let script = "mount -t tmpfs tmpfs /dev/shm && { ip link set lo up; echo ready; exec sleep infinity; }";
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net", "--ipc"]);
        command.args(["sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut unshare = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            unshare.wait().unwrap();
            return None;
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.id())).unwrap();
        Some(Self { unshare, init: children.trim().parse().unwrap() })
    }

    /// Returns the words to put before a command so that it runs in the namespaces.
    pub fn enter(&self) -> Vec<String> {
        let target = self.init.to_string();
        ["nsenter", "--target", &target, "--pid", "--mount", "--net", "--ipc"].map(str::to_owned).to_vec()
    }

    /// Waits until only the first process is left, then checks that no socket and no shared memory is left.
    pub fn assert_empty(&self) {
        wait_for("the end of all processes in the namespaces", || self.processes().is_empty());
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let table = fs::read_to_string(format!("/proc/{}/net/{table}", self.init)).unwrap_or_default();
            // State 06 is TIME_WAIT: both ends are closed, and only the kernel still keeps the connection.
            let open = table.lines().skip(1).filter(|line| line.split_ascii_whitespace().nth(3) != Some("06"));
            assert_eq!(open.count(), 0, "a socket is left open:\n{table}");
        }
        let root = PathBuf::from(format!("/proc/{}", self.init)).join("root");
        let shared = fs::read_dir(root.join("dev/shm")).unwrap();
        let shared: Vec<_> = shared.map(|entry| entry.unwrap().file_name()).collect();
        assert!(shared.is_empty(), "shared memory is left: {shared:?}");
    }

    /// Returns the processes of the namespaces, without the first one. Zombies do not count: the first process does not
    /// reap them.
    fn processes(&self) -> Vec<u32> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.init).expect("the first process is running");
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_alive = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
        };
        pids.filter(|pid| *pid != self.init && namespace(*pid).as_ref() == Some(&own) && is_alive(*pid)).collect()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
