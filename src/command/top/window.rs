//! The snapshots of the last second, from which shares are computed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The length of the window. Snapshots may come a little early.
const LENGTH: Duration = Duration::from_millis(950);

/// The snapshots of the last second.
#[derive(Debug)]
pub struct Window<T> {
    snapshots: VecDeque<(Instant, T)>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { snapshots: VecDeque::new() }
    }
}

impl<T> Window<T> {
    /// Adds a snapshot, and forgets those that are not needed any more.
    pub fn add(&mut self, at: Instant, snapshot: T) {
        self.snapshots.push_back((at, snapshot));
        while self.snapshots.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= LENGTH) {
            self.snapshots.pop_front();
        }
    }

    /// Returns the oldest and the newest snapshot, and the seconds between them. None before the second one.
    pub fn span(&self) -> Option<(&T, &T, f64)> {
        let ((from, oldest), (to, newest)) = (self.snapshots.front()?, self.snapshots.back()?);
        let seconds = to.duration_since(*from).as_secs_f64();
        (seconds > 0.0).then_some((oldest, newest, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_a_second_or_what_there_is() {
        let (mut window, start) = (Window::default(), Instant::now());
        let mut span = |ms: u64| {
            window.add(start + Duration::from_millis(ms), ms);
            window.span().map(|(oldest, newest, seconds)| (*oldest, *newest, seconds))
        };
        assert_eq!(span(0), None);
        assert_eq!(span(100), Some((0, 100, 0.1)));
        for ms in (200..=2000).step_by(100) {
            span(ms);
        }
        assert_eq!(span(2100), Some((1100, 2100, 1.0)));
        // After a pause, the snapshots before it still count.
        assert_eq!(span(9100).map(|(oldest, _, _)| oldest), Some(2100));
    }
}
