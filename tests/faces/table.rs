//! The table of cases, the request that a face receives for a case, and the form of a reply.

use std::fmt;

/// A line of cases.txt.
pub struct Case {
    pub name: String,
    pub call: String,
    pub cancel: String,
    pub ns: String,
    seconds: String,
    outcomes: [String; 3],
}

/// The column of a case's expected outcome. ctypes shares a column with C; both functions of the module share one.
#[derive(Clone, Copy)]
pub enum Column {
    Rust,
    C,
    Python,
}

/// Returns the table. On a machine without an invariant time stamp counter, it leaves out the cases that need one.
pub fn cases() -> Vec<Case> {
    let has_tsc = busy_core::busy_wait_tsc(std::time::Duration::ZERO, || true).is_ok();
    let lines = include_str!("cases.txt").lines().filter(|line| !line.starts_with('#'));
    let cases: Vec<_> = lines.map(Case::parse).filter(|case| has_tsc || case.call != "tsc").collect();
    if !has_tsc {
        eprintln!("skipped: the cases of the time stamp counter, which this machine does not have");
    }
    cases
}

impl Case {
    fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let [name, call, cancel, ns, seconds, rust, c, python] =
            words.try_into().unwrap_or_else(|_| panic!("expected eight words, found {line:?}"));
        Self { name, call, cancel, ns, seconds, outcomes: [rust, c, python] }
    }

    pub fn expected(&self, column: Column) -> &str {
        &self.outcomes[column as usize]
    }

    /// Returns `case call cancel length`, with the length in the unit of the face.
    pub fn request(&self, column: Column) -> String {
        let Self { name, call, cancel, ns, seconds, .. } = self;
        let length = if matches!(column, Column::Python) { seconds } else { ns };
        format!("{name} {call} {cancel} {length}")
    }
}

/// The reply of a face to a case: `case status elapsed count`.
///
/// - status: `ok`, `cancelled`, or the status or exception of the error.
/// - elapsed: according to CLOCK_MONOTONIC, `passed` if the requested time had passed, and `early` if it had not;
///   `impossible` if the face reports more time than has passed.
/// - count: `some` or `none`.
///
/// After an error, elapsed and count are `-`, or `written` if a result was written nevertheless.
pub struct Reply {
    pub case: String,
    status: String,
    elapsed: String,
    count: String,
}

impl Reply {
    pub fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let [case, status, elapsed, count] =
            words.try_into().unwrap_or_else(|_| panic!("expected a reply of four words, found {line:?}"));
        Self { case, status, elapsed, count }
    }

    /// Returns true if the reply matches `outcome` of the table.
    pub fn is(&self, outcome: &str) -> bool {
        let [status, elapsed, counts] = match outcome {
            "ok" => ["ok", "passed", "some"],
            "done" => ["ok", "passed", "some none"],
            "at-once" => ["ok", "passed", "none"],
            "cancelled" => ["cancelled", "early", "some"],
            "cancelled-0" => ["cancelled", "early", "none"],
            "interrupted" => ["cancelled", "early", "-"],
            refusal => [refusal, "-", "-"],
        };
        self.status == status && self.elapsed == elapsed && counts.split(' ').any(|count| self.count == count)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, status, elapsed, count } = self;
        write!(out, "{case} {status} {elapsed} {count}")
    }
}
