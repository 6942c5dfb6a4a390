//! A document with results of any kind, for those who show what others measured.

use super::{CheckResult, RecordResult, RunResult, SCHEMA};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A result of any kind.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AnyResult {
    /// An experiment.
    Run(Box<RunResult>),
    /// A check.
    Check(Box<CheckResult>),
    /// A recording.
    Record(Box<RecordResult>),
}

/// The reason why a document can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("can't read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file holds something else.
    #[error("{0} is not a file of results: expected the JSON of busy run, check or record, or a recording: {1}")]
    NotResults(PathBuf, serde_json::Error),
    /// The file is a page, from which no result can be read again.
    #[error(
        "{0} is a page, to be opened in a browser: expected what a page is made from, such as the FILE.busy of `busy record -o FILE.busy`"
    )]
    Page(PathBuf),
    /// The file is of a later version of busy.
    #[error(
        "{0} has schema {1}, but this version of busy reads schemas up to {SCHEMA}; read it with the busy that wrote it"
    )]
    Newer(PathBuf, u64),
    /// A result is of another kind.
    #[error("{0} has a result of kind {1:?}: expected run, check or record")]
    OtherKind(PathBuf, String),
}

/// How a page of HTML begins.
const PAGE: &[u8] = b"<!doctype html";

#[derive(Deserialize)]
struct Layout {
    schema: u64,
    results: Vec<Value>,
}

/// Returns the results in the file at `path`.
///
/// # Errors
/// See [`ReadError`].
pub fn read_results(path: &Path) -> Result<Vec<AnyResult>, ReadError> {
    let text = fs::read(path).map_err(|error| ReadError::Unreadable(path.to_path_buf(), error))?;
    if text.get(..PAGE.len()).is_some_and(|head| head.eq_ignore_ascii_case(PAGE)) {
        return Err(ReadError::Page(path.to_path_buf()));
    }
    let not_results = |error| ReadError::NotResults(path.to_path_buf(), error);
    let Layout { schema, results } = serde_json::from_slice(&text).map_err(not_results)?;
    if schema > u64::from(SCHEMA) {
        return Err(ReadError::Newer(path.to_path_buf(), schema));
    }
    let result = |value: Value| {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(match kind.as_str() {
            "run" => AnyResult::Run(serde_json::from_value(value).map_err(not_results)?),
            "check" => AnyResult::Check(serde_json::from_value(value).map_err(not_results)?),
            "record" => AnyResult::Record(serde_json::from_value(value).map_err(not_results)?),
            _ => return Err(ReadError::OtherKind(path.to_path_buf(), kind)),
        })
    };
    results.into_iter().map(result).collect()
}
