//! The known holds and releases of the GIL against which the meters are measured.

use super::bench::Bench;
use crate::child::{self, Trouble, compile, source, text};
use crate::spread::Spread;
use busy_lab::results::Interpreter;
use std::path::PathBuf;

/// The compiled generator of known holds and releases.
pub struct Truth<'a> {
    /// The environment.
    pub bench: &'a Bench,
    generator: PathBuf,
}

impl<'a> Truth<'a> {
    /// Compiles the generator.
    ///
    /// # Errors
    /// The compilation fails.
    pub fn new(bench: &'a Bench) -> Result<Self, Trouble> {
        let generator = bench.folder.join("libgil_generator.so");
        compile(&source("c/gil_generator.c"), &generator, &["-shared".into(), "-fPIC".into()])?;
        Ok(Self { bench, generator })
    }

    /// Measures for `seconds` at each duty and period how far `meter` is from the truth. `command` runs a meter in
    /// another process.
    ///
    /// # Errors
    /// The meter fails.
    pub fn errors(
        &self,
        meter: &str,
        python: &Interpreter,
        seconds: f64,
        command: &[String],
    ) -> Result<Errors, Trouble> {
        let mut errors = Errors::default();
        // The shortest period is the first, since it has the most releases per second.
        let periods_us: &[u32] = if self.bench.quick { &[10_000] } else { &[100, 1000, 10_000, 100_000] };
        for period_us in periods_us {
            let mut arguments = self.script("python/gil_truth.py", python);
            arguments.insert(3, meter.into());
            arguments.extend([period_us.to_string(), seconds.to_string()]);
            if !command.is_empty() {
                arguments.push(self.bench.observer.to_string());
                arguments.extend_from_slice(command);
            }
            let mut figures = child::round(self.bench.measured, &arguments)?.figures;
            let mut take = |figure: &str| figures.remove(figure).unwrap_or_default();
            errors.shares.extend(take("share"));
            errors.holds.extend(take("hold"));
            errors.costs.extend(take("cost"));
            if errors.events.is_empty() {
                (errors.events, errors.uncertainties) = (take("event"), take("uncertainty"));
            }
        }
        Ok(errors)
    }

    /// Returns the largest errors of the exact meter's held and waited shares of four threads that contend, in points.
    ///
    /// # Errors
    /// The meter fails.
    pub fn contention(&self, python: &Interpreter) -> Result<[f64; 2], Trouble> {
        let arguments = self.script("python/gil_contention.py", python);
        let figures = child::round(self.bench.measured, &arguments)?.figures;
        let [Some(held), Some(waited)] = ["held", "waited"].map(|figure| figures.get(figure)) else {
            return Err(Trouble::Failed("gil_contention.py reported no shares".into()));
        };
        Ok([held, waited].map(|values| largest(values)))
    }

    fn script(&self, name: &str, python: &Interpreter) -> Vec<String> {
        let python = [text(&python.command), "-B".into(), text(&source(name))];
        python.into_iter().chain([text(&self.bench.libbusy), text(&self.generator)]).collect()
    }
}

/// The errors of a meter.
#[derive(Default)]
pub struct Errors {
    /// Errors of the held share in points, for each duty of each period.
    shares: Vec<f64>,
    /// Errors of the longest hold in microseconds, for the points at which the GIL was released.
    holds: Vec<f64>,
    /// Errors of the held time in nanoseconds per release or acquire, for the duties of the shortest period.
    events: Vec<f64>,
    /// By how many nanoseconds the truth itself may be wrong, per release or acquire.
    uncertainties: Vec<f64>,
    /// CPU utilization of the meter in percent of a core, if it runs in a separate process.
    pub costs: Vec<f64>,
}

impl Errors {
    /// Returns the mean error of the held share.
    pub fn mean(&self) -> f64 {
        self.shares.iter().sum::<f64>() / self.shares.len() as f64
    }

    /// Returns the largest error of the held share.
    pub fn max(&self) -> f64 {
        largest(&self.shares)
    }

    /// Returns the largest error of the longest hold.
    pub fn longest_hold(&self) -> f64 {
        largest(&self.holds)
    }

    /// Returns the error of the held time per release or acquire.
    pub fn event(&self) -> f64 {
        median(&self.events)
    }

    /// Returns the uncertainty of the truth per release or acquire.
    pub fn uncertainty(&self) -> f64 {
        median(&self.uncertainties)
    }

    /// Returns the errors of the held share beside those of a peer.
    pub fn beside(&self, theirs: &Self) -> Vec<(&'static str, Vec<f64>)> {
        vec![("mean", vec![self.mean(), theirs.mean()]), ("max", vec![self.max(), theirs.max()])]
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn median(values: &[f64]) -> f64 {
    Spread::of(values).map_or(f64::NAN, |spread| spread.median)
}
