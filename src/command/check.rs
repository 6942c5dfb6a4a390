//! `busy check`: does a statement release the GIL? One row for each interpreter on each host.

use super::arguments::CheckArguments;
use super::hosts::{self, HostsError};
use super::output::{Output, OutputError, note};
use super::session::{Session, SessionError};
use crate::measure::{self, Answer, MeasureError};
use crate::process::{SupervisorError, interrupt};
use crate::provision::scripts;
use crate::results::{CheckResult, Document, Host, Interpreter, Name, Status, exit_code, now};
use crate::show::{self, visible};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// The reason why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Something that every measurement needs is not there.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The cluster can't be used.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// The command was interrupted, or a supervisor was lost.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The results can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Checks the statement on each interpreter and shows the verdicts.
///
/// # Errors
/// See [`CheckError`]. What goes wrong on one interpreter is a row.
pub fn check(arguments: &CheckArguments) -> Result<ExitCode, CheckError> {
    let (document, mut output) = match &arguments.hosts.scheduler {
        Some(scheduler) => on_cluster(arguments, scheduler)?,
        None => here(arguments)?,
    };
    let interrupted = interrupt::exit_code();
    if interrupted.is_some() {
        let rows = document.results.len();
        note(&format!("busy: interrupted, with {rows} {} checked", if rows == 1 { "row" } else { "rows" }));
    }
    if document.results.is_empty() {
        return Ok(ExitCode::from(interrupted.unwrap_or_default()));
    }
    output.write(&document, || show::checks(&document))?;
    let code = exit_code(document.results.iter().map(CheckResult::row));
    Ok(ExitCode::from(interrupted.unwrap_or(code)))
}

/// Checks the statement on one worker of each host of the cluster with this scheduler.
fn on_cluster(arguments: &CheckArguments, scheduler: &str) -> Result<(Document<CheckResult>, Output), CheckError> {
    let output = Output::open(arguments.json.as_deref())?;
    let seconds = |time: Duration| format!("{}s", time.as_secs_f64());
    let mut options: Vec<String> = ["check", "--json", "-"].map(str::to_owned).into();
    options.extend([
        format!("--patience={}", seconds(arguments.patience)),
        format!("--retries={}", arguments.retries),
        format!("--timeout={}", seconds(arguments.timeout)),
    ]);
    options.extend(arguments.setup.iter().map(|line| format!("--setup={line}")));
    options.extend(arguments.expect.iter().map(|verdict| format!("--expect={verdict}")));
    options.extend(arguments.max_stall.map(|most| format!("--max-stall={}", seconds(most))));
    let operands = ["--".to_owned()].into_iter().chain(arguments.statement.iter().cloned()).collect();
    let order = hosts::Order {
        scheduler,
        timeout: arguments.hosts.host_timeout,
        units: vec![hosts::unit(options, &arguments.python, operands)],
    };
    let blank = |_| blank(arguments, Host::default(), String::new(), Interpreter::default());
    Ok((hosts::on_hosts(&order, blank, |_| ())?, output))
}

/// Checks the statement on each interpreter of this machine.
fn here(arguments: &CheckArguments) -> Result<(Document<CheckResult>, Output), CheckError> {
    let session = Session::open(&arguments.python, arguments.json.as_deref(), arguments.patience)?;
    let mut document = Document::new();
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(250));
    for interpreter in &session.interpreters {
        progress.set_message(visible(&interpreter.title()));
        match row(arguments, interpreter, &session) {
            Ok(result) => document.results.push(result),
            // The rows so far are shown.
            Err(SupervisorError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        }
    }
    progress.finish_and_clear();
    Ok((document, session.output))
}

/// Returns the result of a check that has not begun.
fn blank(arguments: &CheckArguments, host: Host, libbusy: String, interpreter: Interpreter) -> CheckResult {
    CheckResult {
        kind: "check".into(),
        setup: arguments.setup.join("\n"),
        statement: arguments.statement.join("\n"),
        started_at: now(),
        host,
        libbusy,
        interpreter,
        status: Status::Ok,
        verdict: None,
        expected: arguments.expect.clone(),
        max_stall_s: arguments.max_stall.map(|most| most.as_secs_f64()),
        held_share: None,
        longest_hold_s: None,
        longest_stall_s: None,
        lower_bounds: BTreeMap::new(),
        calls: None,
        reason: None,
        missing: BTreeMap::new(),
    }
}

/// Checks the statement on one interpreter.
fn row(
    arguments: &CheckArguments,
    interpreter: &Interpreter,
    session: &Session,
) -> Result<CheckResult, SupervisorError> {
    let mut result = blank(arguments, session.host.clone(), session.libbusy.version(), interpreter.clone());
    let script = session.scripts.join(scripts::CHECK);
    let check = || {
        let (setup, statement) = (&result.setup, &result.statement);
        let libbusy = session.libbusy.path();
        measure::check(interpreter, &script, libbusy, setup, statement, arguments.patience, arguments.timeout)
    };
    let mut answer = check();
    for _ in 0..arguments.retries {
        // Only other processes are a reason to expect another answer.
        if !answer.as_ref().is_ok_and(|answer| answer.disturbed) {
            break;
        }
        answer = check();
    }
    match answer {
        Ok(answer) => accept(&mut result, answer),
        Err(MeasureError::Supervisor(error)) => return Err(error),
        Err(MeasureError::Skipped(reason)) => (result.status, result.reason) = (Status::Skipped, Some(reason)),
        Err(MeasureError::Failed(reason)) => (result.status, result.reason) = (Status::Failed, Some(reason)),
    }
    Ok(result)
}

/// Moves the answer into the result. A figure without a value is missing for the reason of the verdict.
fn accept(result: &mut CheckResult, answer: Answer) {
    result.verdict = Some(answer.verdict);
    (result.held_share, result.longest_hold_s) = (answer.held_share, answer.longest_hold_s);
    (result.longest_stall_s, result.calls) = (answer.longest_stall_s, Some(answer.calls));
    result.lower_bounds = answer.lower_bounds;
    let figures: [(Name, Option<f64>); 3] = [
        ("held_share".into(), answer.held_share),
        ("longest_hold_s".into(), answer.longest_hold_s),
        ("longest_stall_s".into(), answer.longest_stall_s),
    ];
    let reason = answer.reason.clone().unwrap_or_else(|| "the check reports none for this verdict".into());
    let missing = figures.into_iter().filter(|(_, figure)| figure.is_none());
    result.missing.extend(missing.map(|(name, _)| (name, reason.clone())));
    result.reason = answer.reason;
}
