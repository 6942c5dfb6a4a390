//! The exit code of a command with several results.

/// How one result counts for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// As expected, or nothing was expected.
    Expected,
    /// Not as expected, or failed.
    Unexpected,
    /// Disturbed, so that no outcome can be stated.
    Inconclusive,
    /// Something that it needs is not available.
    Skipped,
}

/// Returns the exit code of several results: 1 if one is unexpected, else 3 if one is inconclusive or all were skipped, else 0.
pub fn exit_code(rows: impl IntoIterator<Item = Row>) -> u8 {
    let rows: Vec<Row> = rows.into_iter().collect();
    match () {
        () if rows.contains(&Row::Unexpected) => 1,
        () if rows.contains(&Row::Inconclusive) || rows.iter().all(|row| *row == Row::Skipped) => 3,
        () => 0,
    }
}
