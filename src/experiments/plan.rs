//! The plan of an experiment: the cases that can be measured on an interpreter, and the reasons for those that can't.

use crate::measure::{Bounds, MeasureError};
use crate::provision::loader::Libbusy;
use crate::provision::packages::{self, Need, PackagesError};
use crate::results::Interpreter;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The interpreter and the run that an experiment plans its cases for.
pub(super) struct Setting<'a> {
    pub(super) interpreter: &'a Interpreter,
    pub(super) libbusy: &'a Libbusy,
    pub(super) seconds: u32,
    /// Reports progress to the user.
    pub(super) report: &'a dyn Fn(&str),
}

/// A case to run.
pub(super) struct Step {
    pub(super) case: &'static str,
    /// Its variant, if there are several: mostly the kind of native code.
    pub(super) variant: Option<&'static str>,
    /// The script's arguments after case and seconds.
    pub(super) arguments: Vec<String>,
    pub(super) kind: Kind,
}

/// How a case gets its figures.
pub(super) enum Kind {
    /// The lab watches the script's threads.
    Watched,
    /// The script reports them, within these bounds.
    SelfReported(Bounds),
}

/// The cases of one experiment on one interpreter.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The reasons for the cases that can't be measured, by case, variant or package.
    pub(super) missing: BTreeMap<String, String>,
}

impl Plan {
    /// Returns the folder to import `need` from. If it can't be installed, records the reason and returns None.
    pub(super) fn need(&mut self, setting: &Setting, need: &Need) -> Result<Option<PathBuf>, MeasureError> {
        match packages::prepare(setting.interpreter, need, setting.report) {
            Ok(folder) => Ok(Some(folder)),
            Err(PackagesError::Supervisor(error)) => Err(error.into()),
            Err(error) => {
                self.missing.insert(need.name.into(), error.to_string());
                Ok(None)
            }
        }
    }
}
