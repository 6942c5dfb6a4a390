//! The table of cases, the question that each face is asked for a case, and the one form of an answer.

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

/// Which outcome of a case is meant: ctypes shares one with C, both functions of the module share one.
#[derive(Clone, Copy)]
pub enum Column {
    Rust,
    C,
    Python,
}

/// The table, but for the time stamp counter where this machine has none to wait on.
pub fn cases() -> Vec<Case> {
    let has_tsc = busy_core::busy_wait_tsc(std::time::Duration::ZERO, || true).is_ok();
    let lines = include_str!("cases.txt").lines().filter(|line| !line.starts_with('#'));
    let cases: Vec<_> = lines.map(Case::parse).filter(|case| has_tsc || case.call != "tsc").collect();
    if !has_tsc {
        eprintln!("skipped: the cases of the time stamp counter, which this machine has not got");
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

    /// `case call cancel length`, the length in the unit that the face takes.
    pub fn question(&self, column: Column) -> String {
        let Self { name, call, cancel, ns, seconds, .. } = self;
        let length = if matches!(column, Column::Python) { seconds } else { ns };
        format!("{name} {call} {cancel} {length}")
    }
}

/// What a face says came of a case: `case status elapsed count`.
///
/// status: `ok`, `cancelled`, or how it was refused. elapsed, by CLOCK_MONOTONIC: `passed` if all of the time asked for
/// had, else `early`; `impossible` if the face reports more than passed. count: `some` or `none`. After a refusal both
/// are `-`, or `written` if a result was written all the same.
pub struct Answer {
    pub case: String,
    status: String,
    elapsed: String,
    count: String,
}

impl Answer {
    pub fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let [case, status, elapsed, count] =
            words.try_into().unwrap_or_else(|_| panic!("expected an answer of four words, found {line:?}"));
        Self { case, status, elapsed, count }
    }

    /// Is it the outcome that the table names?
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

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, status, elapsed, count } = self;
        write!(out, "{case} {status} {elapsed} {count}")
    }
}
