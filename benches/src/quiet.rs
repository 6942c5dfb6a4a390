//! Rounds, as far as possible while nobody else works: what other processes take spoils a round, which is then repeated.

use crate::child::Trouble;
use crate::row::Round;
use busy_core::cpu::{CoreUsage, cores};
use busy_lab::measure::host::{busy_percent, settle};
use busy_lab::results::TOO_LOADED_PERCENT;
use procfs::process::Process;
use std::time::{Duration, Instant};

/// Rounds, and how many of them others disturbed.
pub struct Rounds {
    /// What each told.
    pub rounds: Vec<Round>,
    /// So many were disturbed, for as often as they were repeated.
    pub disturbed: usize,
}

/// How many rounds, and how long to wait for a quiet machine.
#[derive(Clone, Copy)]
pub struct Plan {
    /// How many.
    pub rounds: usize,
    /// How long to wait before the first, at the most.
    pub patience: Duration,
}

/// `plan.rounds` rounds. One in which others used more than a tenth of a core is run again, half as many in all as
/// there are rounds; of the disturbed ones the least disturbed are then kept.
pub fn rounds(plan: Plan, mut one: impl FnMut() -> Result<Round, Trouble>) -> Result<Rounds, Trouble> {
    settle(plan.patience)?;
    let mut seen: Vec<(f64, Round)> = Vec::new();
    let quiet = |seen: &[(f64, Round)]| seen.iter().filter(|(others, _)| *others <= TOO_LOADED_PERCENT).count();
    while quiet(&seen) < plan.rounds && seen.len() < plan.rounds + plan.rounds / 2 {
        let before = Usage::now()?;
        let round = one()?;
        seen.push((before.others_since()?, round));
    }
    Ok(kept(plan.rounds, seen))
}

fn kept(count: usize, mut seen: Vec<(f64, Round)>) -> Rounds {
    // Stable: those equally quiet stay in their order.
    seen.sort_by(|(one, _), (other, _)| one.max(TOO_LOADED_PERCENT).total_cmp(&other.max(TOO_LOADED_PERCENT)));
    seen.truncate(count);
    let disturbed = seen.iter().filter(|(others, _)| *others > TOO_LOADED_PERCENT).count();
    Rounds { rounds: seen.into_iter().map(|(_, round)| round).collect(), disturbed }
}

/// What all, and what this process with its ended children, have used so far.
struct Usage {
    time: Instant,
    cores: Vec<CoreUsage>,
    own: Duration,
}

impl Usage {
    fn now() -> Result<Self, Trouble> {
        Ok(Self { time: Instant::now(), cores: cores()?, own: own()? })
    }

    /// What others used of a core since, in percent; time that the hypervisor took counts as theirs.
    fn others_since(&self) -> Result<f64, Trouble> {
        let now = Self::now()?;
        let span = now.time - self.time;
        let steal = |cores: &[CoreUsage]| cores.iter().map(|core| core.steal).sum::<Duration>();
        let taken = busy_percent(&self.cores, &now.cores, span)
            + 100.0 * steal(&now.cores).saturating_sub(steal(&self.cores)).div_duration_f64(span);
        Ok(taken - 100.0 * now.own.saturating_sub(self.own).div_duration_f64(span))
    }
}

/// This process and its children that have ended, theirs included: the guard waits for all that it started.
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
    fn quiet_rounds_are_kept_in_their_order_and_then_the_least_disturbed() {
        let seen = [(3.0, "a"), (90.0, "b"), (0.0, "c"), (20.0, "d")].map(|(others, name)| (others, round(name)));
        let both = kept(3, seen.to_vec());
        assert_eq!((names(&both).as_str(), both.disturbed), ("acd", 1));
        let quiet = kept(2, seen.to_vec());
        assert_eq!((names(&quiet).as_str(), quiet.disturbed), ("ac", 0));
    }

    #[test]
    fn there_are_as_many_rounds_as_planned_however_loaded_the_machine_is() {
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
    fn own_work_is_that_of_this_process_and_of_its_ended_children() {
        let spent = Duration::from_millis(200);
        let before = own().unwrap();
        let start = busy_core::cpu::current_thread();
        while busy_core::cpu::current_thread() - start < spent {}
        let between = own().unwrap();
        // Both in steps of 10 ms.
        let step = Duration::from_millis(10);
        assert!(between - before >= spent - 2 * step, "{:?}", between - before);

        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; times";
        assert!(std::process::Command::new("sh").args(["-c", script]).output().unwrap().status.success());
        assert!(own().unwrap() > between + 2 * step, "a loop of 200,000 rounds in a shell takes longer");
    }
}
