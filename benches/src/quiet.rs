//! Runs rounds on a machine that is as quiet as possible. A round disturbed by other processes is repeated.

use crate::child::Trouble;
use crate::row::Round;
use busy_core::cpu::{CoreUsage, cores};
use busy_lab::measure::host::{busy_percent, settle};
use busy_lab::results::TOO_LOADED_PERCENT;
use procfs::process::Process;
use std::time::{Duration, Instant};

/// Completed rounds.
pub struct Rounds {
    /// The report of each round.
    pub rounds: Vec<Round>,
    /// Number of rounds that are disturbed in spite of the repetitions.
    pub disturbed: usize,
}

/// The number of rounds, and the maximum wait for a quiet machine.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Number of rounds.
    pub rounds: usize,
    /// Maximum wait before the first round.
    pub patience: Duration,
}

/// Runs `plan.rounds` rounds.
///
/// A round is disturbed if other processes use more than a tenth of a core during it. Disturbed rounds are repeated;
/// the total number of repetitions is at most half the number of rounds. If too few rounds are quiet, the least
/// disturbed ones are kept.
pub fn rounds(plan: Plan, mut one: impl FnMut() -> Result<Round, Trouble>) -> Result<Rounds, Trouble> {
    settle(plan.patience)?;
    let mut done: Vec<(f64, Round)> = Vec::new();
    let quiet = |done: &[(f64, Round)]| done.iter().filter(|(others, _)| *others <= TOO_LOADED_PERCENT).count();
    while quiet(&done) < plan.rounds && done.len() < plan.rounds + plan.rounds / 2 {
        let before = Usage::now()?;
        let round = one()?;
        done.push((before.others_since()?, round));
    }
    Ok(quietest(plan.rounds, done))
}

fn quietest(count: usize, mut done: Vec<(f64, Round)>) -> Rounds {
    // The sort is stable, so the quiet rounds keep their order.
    done.sort_by(|(one, _), (other, _)| one.max(TOO_LOADED_PERCENT).total_cmp(&other.max(TOO_LOADED_PERCENT)));
    done.truncate(count);
    let disturbed = done.iter().filter(|(others, _)| *others > TOO_LOADED_PERCENT).count();
    Rounds { rounds: done.into_iter().map(|(_, round)| round).collect(), disturbed }
}

/// The CPU time of all processes, and of this process with its reaped descendants.
struct Usage {
    time: Instant,
    cores: Vec<CoreUsage>,
    own: Duration,
}

impl Usage {
    fn now() -> Result<Self, Trouble> {
        Ok(Self { time: Instant::now(), cores: cores()?, own: own()? })
    }

    /// Returns the CPU utilization of other processes since `self`, in percent of one core. It includes time that the
    /// hypervisor ran something else (steal time).
    fn others_since(&self) -> Result<f64, Trouble> {
        let now = Self::now()?;
        let span = now.time - self.time;
        let steal = |cores: &[CoreUsage]| cores.iter().map(|core| core.steal).sum::<Duration>();
        let taken = busy_percent(&self.cores, &now.cores, span)
            + 100.0 * steal(&now.cores).saturating_sub(steal(&self.cores)).div_duration_f64(span);
        Ok(taken - 100.0 * now.own.saturating_sub(self.own).div_duration_f64(span))
    }
}

/// Returns the CPU time of this process and of its reaped descendants. The supervisor reaps all processes that it
/// starts.
fn own() -> Result<Duration, Trouble> {
    let stat = Process::myself().and_then(|own| own.stat()).map_err(|error| Trouble::Failed(error.to_string()))?;
    let ticks = stat.utime + stat.stime + stat.cutime.unsigned_abs() + stat.cstime.unsigned_abs();
    Ok(Duration::from_secs(1).mul_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(name: &str) -> Round {
        Round { figures: [(name.to_owned(), vec![1.0])].into(), ..Round::default() }
    }

    fn names(rounds: &Rounds) -> String {
        rounds.rounds.iter().flat_map(|round| round.figures.keys().cloned()).collect()
    }

    #[test]
    fn quiet_rounds_keep_their_order_and_the_least_disturbed_follow() {
        let done = [(3.0, "a"), (90.0, "b"), (0.0, "c"), (20.0, "d")].map(|(others, name)| (others, round(name)));
        let both = quietest(3, done.to_vec());
        assert_eq!((names(&both).as_str(), both.disturbed), ("acd", 1));
        let quiet = quietest(2, done.to_vec());
        assert_eq!((names(&quiet).as_str(), quiet.disturbed), ("ac", 0));
    }

    #[test]
    fn the_planned_number_of_rounds_is_run_on_a_loaded_machine_too() {
        let mut run = 0;
        let plan = Plan { rounds: 4, patience: Duration::ZERO };
        let found = rounds(plan, || {
            run += 1;
            Ok(round("a"))
        });
        assert_eq!(found.unwrap().rounds.len(), 4);
        assert!((4..=6).contains(&run), "{run}");
    }

    #[test]
    fn own_cpu_time_includes_reaped_children() {
        let spent = Duration::from_millis(200);
        let before = own().unwrap();
        let start = busy_core::cpu::current_thread();
        while busy_core::cpu::current_thread() - start < spent {}
        let between = own().unwrap();
        // The kernel reports both in steps of 10 ms.
        let step = Duration::from_millis(10);
        assert!(between - before >= spent - 2 * step, "{:?}", between - before);

        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; times";
        assert!(std::process::Command::new("sh").args(["-c", script]).output().unwrap().status.success());
        assert!(own().unwrap() > between + 2 * step, "a loop of 200,000 rounds in a shell takes more than 20 ms");
    }
}
