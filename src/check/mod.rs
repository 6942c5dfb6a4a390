//! `busy check`: does a statement release the GIL? Asked of each interpreter in a child process of its own
//! (experiments/check.py), under a guard.

mod outcome;
mod text;

use crate::cli::CheckArguments;
use crate::guard::GuardError;
use crate::interpreter::Interpreter;
use crate::measure::{MeasureError, Order, Schedule};
use crate::output::OutputError;
use crate::results::{Case, CheckResult, Status, Verdict};
use crate::session::{Session, SessionError};
use crate::told::{Bounds, ask};
use crate::{interrupt, output};
use indicatif::ProgressBar;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Something that every measurement needs is not there.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The guard failed, or Ctrl-C.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The results can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Checks the statement on each interpreter and shows what came out.
///
/// # Errors
/// What keeps the whole from running; what goes wrong on one interpreter is a row.
pub fn check(arguments: &CheckArguments) -> Result<ExitCode, CheckError> {
    let mut session = Session::open(&arguments.python, arguments.json.as_deref())?;
    let mut document = session.document();
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(250));
    for interpreter in &session.interpreters {
        progress.set_message(interpreter.title());
        match row(arguments, interpreter, session.libbusy.path(), &session.scripts.join("check.py")) {
            Ok(result) => document.results.push(result),
            // What was found so far is shown.
            Err(GuardError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        }
    }
    progress.finish_and_clear();
    let interrupted = interrupt::requested();
    if interrupted {
        output::note(&format!("busy: interrupted, with {} rows checked", document.results.len()));
    }
    if document.results.is_empty() {
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    session.output.write(&document, || text::render(&document))?;
    Ok(ExitCode::from(if interrupted { interrupt::EXIT_CODE } else { outcome::exit_code(&document.results) }))
}

/// One interpreter's answer.
fn row(
    arguments: &CheckArguments,
    interpreter: &Interpreter,
    libbusy: &Path,
    script: &Path,
) -> Result<CheckResult, GuardError> {
    let (setup, statement) = (arguments.setup.join("\n"), arguments.statement.join("\n"));
    let order = serde_json::json!({ "setup": setup, "statement": statement, "libbusy": libbusy.display().to_string() });
    let order = Order {
        interpreter,
        script,
        case: "check",
        variant: None,
        schedule: Schedule { seconds: 0, hz: NonZero::<u32>::MIN },
        arguments: vec![order.to_string()],
    };
    let mut result = CheckResult {
        kind: "check".into(),
        setup,
        statement,
        interpreter: interpreter.clone(),
        status: Status::Ok,
        verdict: None,
        expected: arguments.expect,
        max_stall_s: arguments.max_stall.map(|most| most.as_secs_f64()),
        held_share: None,
        longest_hold_s: None,
        longest_stall_s: None,
        calls: None,
        reason: None,
        missing: BTreeMap::new(),
    };
    match ask(&order, &Bounds::new(arguments.timeout.as_secs_f64())) {
        Ok(case) => fill(&mut result, &case),
        Err(MeasureError::Guard(error)) => return Err(error),
        Err(MeasureError::Skipped(why)) => (result.status, result.reason) = (Status::Skipped, Some(why)),
        Err(MeasureError::Failed(why)) => (result.status, result.reason) = (Status::Failed, Some(why)),
    }
    Ok(result)
}

/// Takes over what the script told.
fn fill(result: &mut CheckResult, case: &Case) {
    let verdict = case.metrics.get("verdict").and_then(|verdict| Verdict::deserialize(verdict).ok());
    if let (Some(why), _) | (None, (None, why)) = (case.text("failed"), (verdict, "it told no verdict")) {
        (result.status, result.reason) = (Status::Failed, Some(why.into()));
        return;
    }
    result.verdict = verdict;
    result.reason = case.text("reason").map(Into::into);
    result.calls = case.metrics.get("calls").and_then(serde_json::Value::as_u64);
    let mut figure = |name: &'static str| {
        let value = case.number(name);
        if value.is_none() {
            let why = result.reason.clone().unwrap_or_else(|| "the script did not tell it".into());
            result.missing.insert(name.into(), why);
        }
        value
    };
    result.held_share = figure("held_share");
    result.longest_hold_s = figure("longest_hold_s");
    result.longest_stall_s = figure("longest_stall_s");
}
