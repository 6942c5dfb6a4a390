//! The groups of rows. The rows of a group are measured together.

mod bench;
mod calls;
mod cancel;
pub mod gil;
mod gil_truth;
mod import;
mod load;
mod record;
mod sampler;
mod waits;

pub use bench::Bench;

use crate::child::Trouble;
use crate::quiet::Rounds;
use crate::row::Row;

/// Rows that are measured together.
#[derive(Clone, Copy)]
pub struct Group {
    /// The name on the command line.
    pub name: &'static str,
    /// Returns the rows without values.
    pub rows: fn() -> Vec<Row>,
    /// Runs the rounds. A row belongs to the first `Rounds` that covers it.
    pub measure: fn(&Bench) -> Result<Vec<Rounds>, Trouble>,
}

/// All groups, in the order of the table.
pub const ALL: [Group; 8] = [
    Group { name: "waits", rows: waits::rows, measure: waits::measure },
    Group { name: "cancel", rows: cancel::rows, measure: cancel::measure },
    Group { name: "load", rows: load::rows, measure: load::measure },
    Group { name: "calls", rows: calls::rows, measure: calls::measure },
    Group { name: "import", rows: import::rows, measure: import::measure },
    Group { name: "sampler", rows: sampler::rows, measure: sampler::measure },
    Group { name: "gil", rows: gil::rows, measure: gil::measure },
    Group { name: "record", rows: record::rows, measure: record::measure },
];

impl Group {
    /// Measures the group, and returns its rows with values or with the reasons why they are missing.
    ///
    /// # Errors
    /// The user pressed Ctrl-C.
    pub fn run(&self, bench: &Bench) -> Result<Vec<Row>, Trouble> {
        let mut rows = (self.rows)();
        let measured = match (self.measure)(bench) {
            Ok(measured) => Ok(measured),
            Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
            Err(Trouble::Failed(why)) => Err(why),
        };
        for row in &mut rows {
            row.group = self.name.into();
            match &measured {
                Ok(measured) => {
                    let own = measured.iter().find(|rounds| rounds.rounds.iter().any(|round| round.covers(&row.row)));
                    match own {
                        Some(own) => row.fill(&own.rounds, own.disturbed),
                        None => row.set_missing("not measured"),
                    }
                }
                Err(why) => row.set_missing(why),
            }
        }
        Ok(rows)
    }
}
