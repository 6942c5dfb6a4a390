//! The results of the workers of a cluster, as results of one document.

use super::{CheckResult, Document, Host, Interpreter, RunResult, SCHEMA, Status, Worker, now};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// A result that names its host, and that can stand for one which a host did not give.
pub trait OnHost: DeserializeOwned {
    /// Returns the host.
    fn host_mut(&mut self) -> &mut Host;

    /// Makes this the row of a worker that gave no result, for this reason.
    fn fail(&mut self, worker: Worker, reason: &str);
}

/// Returns what is missing without a result of a worker.
fn unknown(reason: &str) -> impl Iterator<Item = (String, String)> {
    ["interpreter", "libbusy"].into_iter().map(|what| (what.to_owned(), reason.to_owned()))
}

impl OnHost for CheckResult {
    fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    fn fail(&mut self, worker: Worker, reason: &str) {
        self.host = Host::unknown(worker, reason);
        (self.interpreter, self.libbusy) = (Interpreter::default(), String::new());
        (self.status, self.reason) = (Status::Failed, Some(reason.into()));
        self.missing = unknown(reason).map(|(what, reason)| (what.into(), reason)).collect();
    }
}

impl OnHost for RunResult {
    fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    fn fail(&mut self, worker: Worker, reason: &str) {
        self.host = Host::unknown(worker, reason);
        (self.interpreter, self.libbusy) = (Interpreter::default(), String::new());
        (self.status, self.reason) = (Status::Failed, Some(reason.into()));
        self.missing = unknown(reason).collect::<BTreeMap<_, _>>();
    }
}

/// The layout of a document.
#[derive(Deserialize)]
struct Layout {
    schema: u32,
}

/// The results of the workers of a cluster, each of which is given the same number of units of work.
pub struct Merged<R> {
    started_at: String,
    workers: Vec<Worker>,
    /// The results, by the numbers of the worker and of the unit.
    rows: BTreeMap<(usize, usize), Vec<R>>,
}

impl<R: OnHost + Clone> Merged<R> {
    /// Returns one without results, started now.
    pub fn new(workers: Vec<Worker>) -> Self {
        Self { started_at: now(), workers, rows: BTreeMap::new() }
    }

    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns the number of units that have results, of all workers together.
    pub fn units(&self) -> usize {
        self.rows.len()
    }

    /// Returns the name of a worker for people: that of its host, and its address.
    pub fn name(&self, worker: usize) -> String {
        let Some(Worker { address, host_name }) = self.workers.get(worker) else { return String::new() };
        host_name.as_ref().map_or_else(|| address.clone(), |name| format!("{name} ({address})"))
    }

    /// Adds the document that the busy of a worker wrote for a unit. If it has no results that can be read, the row has
    /// failed, as it has if there is only a reason; it is then made of `blank`. Numbers of no worker are ignored.
    pub fn add(&mut self, worker: usize, unit: usize, found: Result<Value, String>, blank: R) {
        let Some(its) = self.workers.get(worker) else { return };
        let results = found.and_then(|document| results_of(its, document)).unwrap_or_else(|reason| {
            let mut failed = blank;
            failed.fail(its.clone(), &reason);
            vec![failed]
        });
        self.rows.insert((worker, unit), results);
    }

    /// Makes the first `units` units failed rows where they have no results.
    pub fn fail_rest(&mut self, units: usize, reason: &str, blank: impl Fn(usize) -> R) {
        let all = (0..self.workers.len()).flat_map(|worker| (0..units).map(move |unit| (worker, unit)));
        let rest: Vec<_> = all.filter(|key| !self.rows.contains_key(key)).collect();
        rest.into_iter().for_each(|(worker, unit)| self.add(worker, unit, Err(reason.into()), blank(unit)));
    }

    /// Returns one document with all results, in the order of the workers and units.
    pub fn document(&self) -> Document<R> {
        let results = self.rows.values().flatten().cloned().collect();
        Document { schema: SCHEMA, started_at: self.started_at.clone(), results }
    }
}

/// Returns the results of a document that the busy of `worker` wrote, or the reason why it has none that can be read.
fn results_of<R: OnHost>(worker: &Worker, document: Value) -> Result<Vec<R>, String> {
    let other =
        |error: serde_json::Error| format!("the busy of this worker wrote no results that can be read: {error}");
    let Layout { schema } = Layout::deserialize(&document).map_err(other)?;
    if schema > SCHEMA {
        return Err(format!(
            "the busy of this worker writes schema {schema}, but this one reads schemas up to {SCHEMA}: install the same \
             release of busy-gil on both"
        ));
    }
    let mut results: Vec<R> = serde_json::from_value::<Document<R>>(document).map_err(other)?.results;
    results.iter_mut().for_each(|result| result.host_mut().worker = Some(worker.clone()));
    if results.is_empty() {
        Err("the busy of this worker wrote a document without results".into())
    } else {
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn worker(number: u32) -> Worker {
        Worker { address: format!("tcp://10.0.0.{number}:4000"), host_name: Some(format!("node{number}")) }
    }

    fn document() -> Value {
        serde_json::to_value(Document { results: vec![CheckResult::example()], ..Document::new() }).unwrap()
    }

    fn merged() -> Merged<CheckResult> {
        Merged::new(vec![worker(1), worker(2)])
    }

    #[test]
    fn results_are_in_the_order_of_the_workers_and_name_them() {
        let mut merged = merged();
        for (number, unit) in [(1, 1), (0, 1), (1, 0), (0, 0), (2, 0)] {
            let mut document = document();
            document["results"][0]["statement"] = json!(format!("{number}, {unit}"));
            merged.add(number, unit, Ok(document), CheckResult::example());
        }
        let document = merged.document();
        let found = document.results.iter().map(|result| (&*result.statement, result.host.worker.clone().unwrap()));
        let expected = [("0, 0", worker(1)), ("0, 1", worker(1)), ("1, 0", worker(2)), ("1, 1", worker(2))];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(document.results[0].host.cpu, Host::example().cpu);
        let json = serde_json::to_value(&document).unwrap();
        let expected = json!({"address": "tcp://10.0.0.2:4000", "host_name": "node2"});
        assert_eq!(json["results"][2]["host"]["worker"], expected);
    }

    #[test]
    fn a_document_that_can_not_be_read_is_a_failed_row_with_the_reason() {
        let with = |key: &str, value: Value| {
            let mut changed = document();
            changed[key] = value;
            changed
        };
        for (document, reason) in [
            (with("schema", json!(SCHEMA + 1)), "schema 2, but this one reads schemas up to 1"),
            (with("results", json!([])), "without results"),
            (with("results", json!([{"kind": "check"}])), "missing field"),
            (json!({}), "missing field `schema`"),
            (json!("text"), "no results that can be read"),
        ] {
            let mut merged = merged();
            merged.add(0, 0, Ok(document), CheckResult::example());
            let row = merged.document().results.pop().unwrap();
            assert!(row.reason.as_ref().unwrap().contains(reason), "{row:?}");
            assert_eq!((row.status, row.host.worker), (Status::Failed, Some(worker(1))));
        }
    }

    #[test]
    fn units_without_an_answer_fail_and_the_others_stay() {
        let mut merged = merged();
        merged.add(0, 0, Ok(document()), CheckResult::example());
        merged.fail_rest(2, "lost", |_| CheckResult::example());
        let rows = merged.document().results;
        let reasons: Vec<_> = rows.iter().map(|row| row.reason.as_deref()).collect();
        assert_eq!(reasons, [None, Some("lost"), Some("lost"), Some("lost")]);
    }

    #[test]
    fn a_row_that_failed_has_the_worker_and_no_figure_and_can_be_read_again() {
        let mut result = CheckResult { verdict: None, longest_stall_s: None, ..CheckResult::example() };
        result.fail(worker(1), "it died");
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!((json["status"].as_str(), json["reason"].as_str()), (Some("failed"), Some("it died")));
        assert_eq!(json["missing"], json!({"interpreter": "it died", "libbusy": "it died"}));
        let host = json["host"].as_object().unwrap();
        assert_eq!(host.keys().collect::<Vec<_>>(), ["missing", "worker"]);
        assert_eq!(host["missing"]["others_percent"], "it died");
        assert!(json.get("interpreter").is_none() && json.get("libbusy").is_none(), "{json}");
        let read: CheckResult = serde_json::from_value(json).unwrap();
        assert!(read.interpreter.is_unknown() && !read.host.is_known());
        assert_eq!(read.host.worker, Some(worker(1)));
    }
}
