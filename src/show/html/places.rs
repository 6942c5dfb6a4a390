//! Where results were measured: interpreters, and machines if there are several.

use crate::results::{Host, Interpreter, Labels, path_text};

/// The machines and interpreters of some results.
pub(super) struct Places {
    labels: Labels,
    /// The titles of the machines, each once.
    hosts: Vec<String>,
    /// The titles of the interpreters, each once.
    interpreters: Vec<(String, String)>,
}

impl Places {
    pub(super) fn new<'a>(all: impl Iterator<Item = (&'a Host, &'a Interpreter)> + Clone) -> Self {
        let labels = Labels::new(all.clone());
        let hosts = labels.host_titles(all.clone().map(|(host, _)| host));
        let mut interpreters = Vec::new();
        for (host, interpreter) in all {
            let title =
                (labels.of(host, interpreter), format!("{}: {}", interpreter.title(), path_text(&interpreter.command)));
            if !interpreter.is_unknown() && !interpreters.contains(&title) {
                interpreters.push(title);
            }
        }
        Self { labels, hosts, interpreters }
    }

    /// Returns the name of the interpreter, with the name of the host or the number of the machine if there are several.
    pub(super) fn of(&self, host: &Host, interpreter: &Interpreter) -> String {
        let name = self.labels.of(host, interpreter);
        let title = self.labels.host_title(host);
        match self.hosts.iter().position(|known| *known == title) {
            Some(place) if self.hosts.len() > 1 && self.labels.host(host).is_none() => {
                format!("{name} on machine {}", place + 1)
            }
            _ => name,
        }
    }

    /// Returns what is known about the places, with the first and the last of these times and another fact.
    pub(super) fn facts<'a>(
        &self,
        started: impl Iterator<Item = &'a str> + Clone,
        more: &str,
    ) -> Vec<(String, String)> {
        let mut facts: Vec<(String, String)> = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let key = if self.hosts.len() > 1 { format!("machine {}", index + 1) } else { "machine".into() };
            facts.push((key, host.clone()));
        }
        facts.extend(self.interpreters.iter().cloned());
        if let (Some(first), Some(last)) = (started.clone().min(), started.max()) {
            facts.push(("started".into(), if first == last { first.into() } else { format!("{first} to {last}") }));
        }
        if !more.is_empty() {
            facts.push(("duration".into(), more.into()));
        }
        facts
    }
}
