//! The states of one thread over time, from its events.

use super::event::Event;
use busy_gil::log::Kind;

/// What a thread does with its GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It holds the GIL.
    Holds,
    /// It waits for the GIL.
    Waits,
    /// It does neither: it runs without the GIL, or sleeps.
    Released,
    /// Events are missing.
    Unknown,
    /// Its events were merged: for these shares of the time, it was in the other states.
    Merged(Shares),
}

/// The shares of a stretch in which a thread held the GIL, waited for it, and for which events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    holds: u16,
    waits: u16,
    unknown: u16,
}

impl Shares {
    pub(super) fn new(holds: u16, waits: u16, unknown: u16) -> Self {
        Self { holds, waits, unknown }
    }

    /// Returns a part of `whole` as a share.
    pub(super) fn share(part: u64, whole: u64) -> u16 {
        (u128::from(part) * u128::from(u16::MAX) / u128::from(whole.max(1))) as u16
    }

    /// Returns how much of `ns` is in each of these states. Their sum is at most `ns`.
    pub fn of(self, ns: u64) -> [(State, u64); 3] {
        let part = |share: u16| (u128::from(ns) * u128::from(share) / u128::from(u16::MAX)) as u64;
        [(State::Holds, part(self.holds)), (State::Waits, part(self.waits)), (State::Unknown, part(self.unknown))]
    }
}

/// An uninterrupted state, in nanoseconds since the start of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The state.
    pub state: State,
    /// The start.
    pub from_ns: u64,
    /// The end.
    pub to_ns: u64,
}

/// The states of one thread, without gaps, from its first event on.
pub type Lane = Vec<Stretch>;

/// Returns the lane of the thread with these events, after the `earlier` ones, up to `end_ns`.
///
/// A thread that was forced to drop the GIL first waits until another thread has acquired it (`drop_gil`,
/// FORCE_SWITCHING), then for the GIL: both are one wait, as in the meter's accounts.
pub(super) fn lane(earlier: Lane, events: &[Event], end_ns: u64) -> Lane {
    let mut lane = earlier;
    // Nothing is known of the time between them.
    let mut now: Option<(State, u64)> = lane.last().map(|last| (State::Unknown, last.to_ns));
    for event in events {
        let (state, at) = match event.kind {
            Kind::Acquired => (State::Holds, event.at),
            Kind::Released | Kind::Dropped | Kind::HoldEnded | Kind::WaitEnded => (State::Released, event.at),
            Kind::WaitBegan => (State::Waits, event.at),
            // From the last known event on.
            Kind::Lost => (State::Unknown, now.map_or(0, |(_, since)| since)),
        };
        // The scale of the clock is measured anew for each batch (gil/src/log/scale.rs), so the next may begin too early.
        let at = now.map_or(at, |(_, since)| at.max(since));
        if let Some((state, since)) = now {
            push(&mut lane, Stretch { state, from_ns: since, to_ns: at });
        }
        now = Some((state, at));
    }
    if let Some((state, since)) = now {
        push(&mut lane, Stretch { state, from_ns: since, to_ns: end_ns.max(since) });
    }
    lane
}

/// The longest time, in nanoseconds, between the end of a wait for the hand-over and the start of a wait for the GIL that
/// are one wait, as the meter has it (`SAME_WAIT`, gil/src/exact/counting/account.rs).
pub(super) const SAME_WAIT_NS: u64 = 100_000;

fn push(lane: &mut Lane, stretch: Stretch) {
    let length = lane.len();
    if let (State::Waits, [.., Stretch { state: State::Waits, .. }, gap]) = (stretch.state, &lane[..])
        && gap.state == State::Released
        && gap.to_ns - gap.from_ns <= SAME_WAIT_NS
    {
        lane.truncate(length - 1);
        lane[length - 2].to_ns = stretch.to_ns;
        return;
    }
    if stretch.to_ns > stretch.from_ns {
        lane.push(stretch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &[(Kind, u64)]) -> Vec<(State, u64, u64)> {
        let events: Vec<Event> = events.iter().map(|(kind, at)| Event { kind: *kind, at: *at }).collect();
        lane(Lane::new(), &events, 1_000_000).iter().map(|one| (one.state, one.from_ns, one.to_ns)).collect()
    }

    #[test]
    fn a_thread_holds_releases_and_waits() {
        let found = of(&[(Kind::Acquired, 10), (Kind::Released, 30), (Kind::WaitBegan, 50), (Kind::Acquired, 90)]);
        let expected =
            [(State::Holds, 10, 30), (State::Released, 30, 50), (State::Waits, 50, 90), (State::Holds, 90, 1_000_000)];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_hand_over_is_the_beginning_of_the_wait() {
        let found = of(&[
            (Kind::Acquired, 10),
            (Kind::Dropped, 30),
            (Kind::WaitBegan, 31),
            (Kind::WaitEnded, 40),
            (Kind::WaitBegan, 45),
            (Kind::Acquired, 90),
        ]);
        let expected =
            [(State::Holds, 10, 30), (State::Released, 30, 31), (State::Waits, 31, 90), (State::Holds, 90, 1_000_000)];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_stretch_begins_before_the_end_of_the_one_before() {
        let found = of(&[(Kind::Acquired, 10), (Kind::Dropped, 30), (Kind::WaitBegan, 28), (Kind::Acquired, 90)]);
        assert_eq!(found, [(State::Holds, 10, 30), (State::Waits, 30, 90), (State::Holds, 90, 1_000_000)]);
    }

    #[test]
    fn what_was_lost_is_unknown() {
        let found = of(&[(Kind::Acquired, 10), (Kind::Released, 30), (Kind::Lost, 7), (Kind::Acquired, 90)]);
        assert_eq!(found, [(State::Holds, 10, 30), (State::Unknown, 30, 90), (State::Holds, 90, 1_000_000)]);
    }
}
