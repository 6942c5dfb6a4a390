//! A set of namespaces in which nothing else lives, so that whatever is left there is told for sure, whoever it is.

use crate::harness::wait_for;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Processes, network, mounts and IPC of its own, and a /dev/shm of its own.
pub struct Cell {
    /// unshare(1); with it dies all that is in the cell.
    outer: Child,
    /// The cell's first process.
    init: u32,
}

impl Cell {
    /// None where namespaces are not allowed.
    pub fn new() -> Option<Self> {
        // Without ip(8) experiments that need the loopback fail there, and that is all.
        let script = "mount -t tmpfs tmpfs /dev/shm && { ip link set lo up; echo ready; exec sleep infinity; }";
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net", "--ipc"]);
        command.args(["sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut outer = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(outer.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            outer.wait().unwrap();
            return None;
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id())).unwrap();
        Some(Self { outer, init: children.trim().parse().unwrap() })
    }

    /// What to put before a command, so that it runs in the cell.
    pub fn enter(&self) -> Vec<String> {
        let target = self.init.to_string();
        ["nsenter", "--target", &target, "--pid", "--mount", "--net", "--ipc"].map(str::to_owned).to_vec()
    }

    /// No process but the first, no socket, no shared memory.
    pub fn assert_empty(&self) {
        wait_for("the end of all processes in the cell", || self.processes().is_empty());
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let table = fs::read_to_string(format!("/proc/{}/net/{table}", self.init)).unwrap_or_default();
            // State 06 is TIME_WAIT: both ends are closed, and the kernel alone remembers.
            let open = table.lines().skip(1).filter(|line| line.split_ascii_whitespace().nth(3) != Some("06"));
            assert_eq!(open.count(), 0, "a port is left open:\n{table}");
        }
        let root = PathBuf::from(format!("/proc/{}", self.init)).join("root");
        let shared = fs::read_dir(root.join("dev/shm")).unwrap();
        let shared: Vec<_> = shared.map(|entry| entry.unwrap().file_name()).collect();
        assert!(shared.is_empty(), "shared memory is left: {shared:?}");
    }

    /// The processes of the cell but the first, which reaps none: zombies don't count.
    fn processes(&self) -> Vec<u32> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.init).expect("the cell's first process");
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let lives = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
        };
        pids.filter(|pid| *pid != self.init && namespace(*pid).as_ref() == Some(&own) && lives(*pid)).collect()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}
