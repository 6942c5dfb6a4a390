//! Names for interpreters that differ even if their versions are the same, on one host or on several.

use super::{Host, Interpreter, Worker};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The labels of the interpreters that are shown together.
pub struct Labels {
    /// The names of the hosts, if there are several.
    hosts: BTreeMap<Worker, String>,
    /// The names of the interpreters, by the host and the command.
    interpreters: BTreeMap<(Option<Worker>, PathBuf), String>,
    /// True if each host has one interpreter, so that the name of the host is enough.
    is_by_host: bool,
}

impl Labels {
    /// Chooses a label for each interpreter on each host: its name, and if several of one host have the same name, also the
    /// shortest part of its path that the others' paths do not have. If there are several hosts, the host's name comes first,
    /// and stands alone if all have the same interpreter.
    pub fn new<'a>(places: impl IntoIterator<Item = (&'a Host, &'a Interpreter)>) -> Self {
        let mut by_host: BTreeMap<Option<&Worker>, BTreeMap<&Path, String>> = BTreeMap::new();
        for (host, interpreter) in places {
            let names = by_host.entry(host.worker.as_ref()).or_default();
            if !interpreter.is_unknown() {
                names.insert(&interpreter.command, interpreter.name());
            }
        }
        let hosts = if by_host.len() > 1 { host_labels(by_host.keys().copied().flatten()) } else { BTreeMap::new() };
        let different: BTreeSet<&String> = by_host.values().flat_map(BTreeMap::values).collect();
        let is_by_host = different.len() < 2 && by_host.values().all(|names| names.len() < 2);
        let mut interpreters = BTreeMap::new();
        for (worker, names) in &by_host {
            interpreters.extend(names.iter().map(|(path, name)| {
                let others = names.iter().filter(|(other, its_name)| other != &path && *its_name == name);
                let others: Vec<Vec<&str>> = others.map(|(other, _)| parts(other)).collect();
                let label = if others.is_empty() {
                    name.clone()
                } else {
                    format!("{name} ({})", shortest(&parts(path), &others))
                };
                ((worker.cloned(), path.to_path_buf()), label)
            }));
        }
        Self { hosts, interpreters, is_by_host }
    }

    /// Returns the label of `interpreter` on `host`.
    pub fn of(&self, host: &Host, interpreter: &Interpreter) -> String {
        let key = (host.worker.clone(), interpreter.command.clone());
        let name = self.interpreters.get(&key).cloned().unwrap_or_else(|| interpreter.name());
        match self.host(host) {
            Some(host) if self.is_by_host || name.is_empty() => host.to_owned(),
            Some(host) => format!("{host}: {name}"),
            None if name.is_empty() => host.worker.as_ref().map_or("unknown", Worker::name).to_owned(),
            None => name,
        }
    }

    /// Returns the name of the host, if there are several.
    pub fn host(&self, host: &Host) -> Option<&str> {
        self.hosts.get(host.worker.as_ref()?).map(String::as_str)
    }

    /// Returns the machine in one line, with the host's name before it if it is not this machine.
    pub fn host_title(&self, host: &Host) -> String {
        match self.host(host).or_else(|| host.worker.as_ref().map(Worker::name)) {
            Some(name) => format!("{name}: {}", host.title()),
            None => host.title(),
        }
    }

    /// Returns the titles of the machines, each once. One that is unknown in some of its results is known by the others.
    pub fn host_titles<'a>(&self, hosts: impl Iterator<Item = &'a Host> + Clone) -> Vec<String> {
        let mut titles = Vec::new();
        for host in hosts.clone() {
            let is_known_elsewhere = || hosts.clone().any(|other| other.is_known() && other.worker == host.worker);
            let title = self.host_title(host);
            if !titles.contains(&title) && (host.is_known() || !is_known_elsewhere()) {
                titles.push(title);
            }
        }
        titles
    }

    /// Returns true if there is only one interpreter, at the same path on each host.
    pub fn is_single(&self) -> bool {
        let paths: BTreeSet<&Path> = self.interpreters.keys().map(|(_, path)| path.as_path()).collect();
        self.is_by_host && paths.len() == 1
    }
}

/// Chooses a label for each host: the machine's own name if no other one has it, and else the worker's address.
fn host_labels<'a>(workers: impl Iterator<Item = &'a Worker> + Clone) -> BTreeMap<Worker, String> {
    let label = |worker: &Worker| {
        let with_its_name = workers.clone().filter(|other| other.host_name == worker.host_name).count();
        match &worker.host_name {
            Some(name) if with_its_name == 1 => name.clone(),
            _ => worker.place().to_owned(),
        }
    };
    workers.clone().map(|worker| (worker.clone(), label(worker))).collect()
}

/// Returns the parts of a path between its slashes. The first one is empty and stands for the root. A part that is not UTF-8
/// is empty as well, so that it distinguishes nothing.
fn parts(path: &Path) -> Vec<&str> {
    let parts = path.components().map(|part| part.as_os_str().to_str().unwrap_or_default());
    parts.map(|part| if part == "/" { "" } else { part }).collect()
}

/// Returns the shortest run of `own` parts that none of `others` has. Of several, it is one without the file's own name, which
/// says less than a folder's, and the last of them.
fn shortest(own: &[&str], others: &[Vec<&str>]) -> String {
    let is_unique = |run: &&[&str]| !others.iter().any(|other| other.windows(run.len()).any(|window| window == *run));
    let run = (1..=own.len()).find_map(|length| {
        let folders = own[..own.len() - 1].windows(length).rev();
        folders.chain(own.windows(length).last()).find(is_unique)
    });
    run.unwrap_or(own).join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(version: &str, path: &str) -> Interpreter {
        Interpreter { command: path.into(), ..Interpreter::example(version, (3, 11)) }
    }

    fn labels(all: &[(&str, &str)]) -> Vec<String> {
        let here = Host::example();
        let all: Vec<Interpreter> = all.iter().map(|(version, path)| interpreter(version, path)).collect();
        let labels = Labels::new(all.iter().map(|one| (&here, one)));
        all.iter().map(|one| labels.of(&here, one)).collect()
    }

    /// The name of a host, the address of its worker, and version and path of an interpreter, if it is known.
    type Place = (&'static str, &'static str, Option<(&'static str, &'static str)>);

    fn on_hosts(all: &[Place]) -> Vec<String> {
        let place = |&(name, address, known): &Place| {
            let host_name = (!name.is_empty()).then(|| name.to_owned());
            let worker = Some(Worker { address: format!("tcp://{address}"), host_name });
            let interpreter = known.map_or_else(Interpreter::default, |(version, path)| interpreter(version, path));
            (Host { worker, ..Host::example() }, interpreter)
        };
        let all: Vec<_> = all.iter().map(place).collect();
        let labels = Labels::new(all.iter().map(|(host, interpreter)| (host, interpreter)));
        all.iter().map(|(host, interpreter)| labels.of(host, interpreter)).collect()
    }

    #[test]
    fn the_host_comes_first_if_there_are_several_and_alone_if_it_is_enough() {
        let (old, new) = (Some(("3.11.7", "/a/python")), Some(("3.12.1", "/b/python")));
        assert_eq!(on_hosts(&[("node1", "1:4", old)]), ["3.11.7"]);
        assert_eq!(on_hosts(&[("node1", "1:4", old), ("node2", "2:4", old)]), ["node1", "node2"]);
        let elsewhere = Some(("3.11.7", "/b/python"));
        assert_eq!(on_hosts(&[("node1", "1:4", old), ("node2", "2:4", elsewhere)]), ["node1", "node2"]);
        assert_eq!(on_hosts(&[("node1", "1:4", old), ("node2", "2:4", new)]), ["node1: 3.11.7", "node2: 3.12.1"]);
        let both = [("node1", "1:4", old), ("node1", "1:4", elsewhere), ("node2", "2:4", None)];
        assert_eq!(on_hosts(&both), ["node1: 3.11.7 (a)", "node1: 3.11.7 (b)", "node2"]);
    }

    #[test]
    fn a_host_whose_name_is_not_its_own_is_known_by_its_worker() {
        let python = Some(("3.11.7", "/a/python"));
        let found = on_hosts(&[("node", "127.0.0.1:4", python), ("node", "127.0.0.1:5", python), ("", "2:4", None)]);
        assert_eq!(found, ["127.0.0.1:4", "127.0.0.1:5", "2:4"]);
        assert_eq!(on_hosts(&[("", "2:4", None)]), ["2:4"]);
        assert_eq!(on_hosts(&[("node", "2:4", None)]), ["node"]);
    }

    #[test]
    fn a_version_that_occurs_once_is_enough() {
        assert_eq!(labels(&[("3.11.7", "/a/python"), ("3.12.1", "/b/python")]), ["3.11.7", "3.12.1"]);
        assert_eq!(labels(&[("3.11.7", "/a/python"), ("3.11.7", "/a/python")]), ["3.11.7", "3.11.7"]);
    }

    #[test]
    fn interpreters_of_one_version_are_distinguished_by_the_shortest_part_of_their_paths() {
        for (paths, parts) in [
            (vec!["/home/u/a/bin/python", "/home/u/b/bin/python"], vec!["a", "b"]),
            (vec!["/usr/bin/python3", "/home/u/.venv/bin/python"], vec!["usr", ".venv"]),
            (vec!["/usr/bin/python3.11", "/opt/py/a/bin/python", "/opt/py/b/bin/python"], vec!["usr", "a", "b"]),
            (vec!["/usr/bin/python3.11", "/usr/bin/python3.11-dbg"], vec!["python3.11", "python3.11-dbg"]),
            (vec!["/x/a/b/python", "/x/b/a/python"], vec!["a/b", "b/a"]),
            (vec!["/a/python", "/x/a/python"], vec!["/a", "x"]),
        ] {
            let all: Vec<_> = paths.iter().map(|path| ("3.11.7", *path)).collect();
            let expected: Vec<_> = parts.iter().map(|part| format!("3.11.7 ({part})")).collect();
            assert_eq!(labels(&all), expected, "{paths:?}");
        }
    }
}
