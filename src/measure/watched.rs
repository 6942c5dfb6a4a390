//! Runs an experiment's script and samples its threads from outside while they count.

use super::figures::{Report, figures};
use super::sampling::Sampling;
use super::{MeasureError, Order, excerpt};
use crate::process::{Event, How, Supervised};
use crate::results::Case;

/// Runs the case and returns its figures, not yet judged.
///
/// # Errors
/// [`MeasureError::Failed`], with the output or the end of the interpreter.
pub fn measure_watched(order: &Order) -> Result<Case, MeasureError> {
    // A run takes twice as long if with_lock runs first. The additional time is for the start of the interpreter.
    let mut spec = order.spec(2.0 * f64::from(order.schedule.seconds) + 10.0);
    spec.env.insert("BUSY_WATCHED".into(), "1".into());
    let mut child = Supervised::start(&spec)?;
    let mut sampling = None;
    let mut seen = None;
    let mut other = None;
    let ended = loop {
        match child.next()? {
            Event::Started(pid) => sampling = Some(Sampling::start(pid, order.schedule.hz)),
            // Other lines may come from code that the interpreter runs at its start (site).
            Event::Line(line) => match serde_json::from_str::<Report>(&line) {
                Ok(report) if seen.is_none() => {
                    // The script's threads have finished their work and stay alive for this last sample.
                    seen = Some((report, sampling.take().map(Sampling::finish)));
                    child.close_stdin();
                }
                Ok(_) => return Err(MeasureError::Failed("expected one report, found a second".into())),
                Err(error) => other = Some(format!("found {}: {error}", excerpt(&line))),
            },
            Event::Ended(ended) => break ended,
        }
    };
    let Some((report, sampled)) = seen else {
        let found = other.unwrap_or_else(|| "found none".into());
        return Err(MeasureError::Failed(format!("expected a line of JSON from side_by_side.py, {found}; {ended}")));
    };
    if let Some(error) =
        report.threads.iter().find_map(|thread| Some(format!("{}: {}", thread.name, thread.error.as_ref()?)))
    {
        return Err(MeasureError::Failed(error));
    }
    if ended.how != How::Exited(0) {
        return Err(MeasureError::Failed(ended.to_string()));
    }
    match sampled {
        Some(Ok(sampled)) => figures(order, &report, &sampled),
        Some(Err(error)) => Err(MeasureError::Failed(format!("its CPU time could not be read: {error}"))),
        None => Err(MeasureError::Failed("it wrote before it was started".into())),
    }
}
