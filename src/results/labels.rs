//! Names for interpreters that differ even if their versions are the same.

use super::Interpreter;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The labels of the interpreters that are shown together.
pub struct Labels(BTreeMap<PathBuf, String>);

impl Labels {
    /// Chooses a label for each interpreter: its name, and if several have the same name, also the shortest part of its path
    /// that the others' paths do not have.
    pub fn new<'a>(interpreters: impl IntoIterator<Item = &'a Interpreter>) -> Self {
        let names: BTreeMap<&Path, String> =
            interpreters.into_iter().map(|one| (one.command.as_path(), one.name())).collect();
        let label = |(path, name): (&&Path, &String)| {
            let others = names.iter().filter(|(other, its_name)| *other != path && *its_name == name);
            let others: Vec<Vec<&str>> = others.map(|(other, _)| parts(other)).collect();
            let label =
                if others.is_empty() { name.clone() } else { format!("{name} ({})", shortest(&parts(path), &others)) };
            (path.to_path_buf(), label)
        };
        Self(names.iter().map(label).collect())
    }

    /// Returns the label of `interpreter`.
    pub fn of(&self, interpreter: &Interpreter) -> String {
        self.0.get(&interpreter.command).cloned().unwrap_or_else(|| interpreter.name())
    }

    /// Returns true if there is only one interpreter.
    pub fn is_single(&self) -> bool {
        self.0.len() == 1
    }
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

    fn labels(all: &[(&str, &str)]) -> Vec<String> {
        let interpreter = |(version, path): &(&str, &str)| Interpreter {
            command: path.into(),
            ..Interpreter::example(version, (3, 11))
        };
        let all: Vec<Interpreter> = all.iter().map(interpreter).collect();
        let labels = Labels::new(&all);
        all.iter().map(|one| labels.of(one)).collect()
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
