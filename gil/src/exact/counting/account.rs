//! The account: one thread's holds of one GIL and its waits for it. Only that thread writes to the account, by plain
//! stores.

use super::atomic::Ordering::{Acquire, Relaxed, Release};
use super::atomic::wait_a_moment;
use super::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
use super::figures::{Cells, Figures, Total};
use super::histogram::Lengths;
use super::single_writer::{Sequence, add};
use super::slots::{Kind, Slot, Slots};
use std::ptr::null_mut;

/// The pointer that stands for no account.
pub(crate) const NONE: *mut Account = null_mut();

/// The maximum time, in ticks (about 100 µs), between the end of a wait for the hand-over and the start of a wait for
/// the GIL that are counted as one wait. A thread that was forced to release the GIL begins the second one at once.
const SAME_WAIT: u64 = 1 << 18;

/// The latest release was voluntary, or a wait continues the wait for the hand-over.
const RELEASED: u8 = 0;
/// The latest release was forced. Then the wait for the hand-over is the beginning of the wait for the GIL.
const FORCED: u8 = 1;
/// The wait for the hand-over after a forced release has ended.
const HANDED_OVER: u8 = 2;
/// The wait for the hand-over after a voluntary release has ended. It is a wait of its own.
const HANDED_OVER_APART: u8 = 3;

/// The holds and waits of one thread with one GIL, in ticks. Zeroed memory is an account of no thread.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(crate) struct Account {
    /// Protects the present figures. Odd during an event.
    sequence: Sequence,
    /// The cut at which `previous` was current; 0 before the first event.
    cut: AtomicU64,
    /// The number of the GIL, and the session. They don't change until the thread or the GIL ends.
    gil: AtomicU64,
    session: AtomicU64,
    /// The number of the row, which is never used again.
    id: AtomicU64,
    /// The lengths below which no hold, and no wait, is the longest of the session or of any window. 0 if lengths are
    /// counted.
    floors: [AtomicU64; 2],
    /// The state since the latest release: one of the constants above.
    release: AtomicU8,
    /// A number that belongs to the sink of the events (`super::sink`); 0 at the first event.
    mark: AtomicU32,
    // Up to here, and to the longest hold in `now`: two cache lines, which a release and an acquire use.
    now: Cells,
    /// The start and end of the latest wait for another thread to acquire the GIL.
    handover: [AtomicU64; 2],
    previous: Cells,
    tid: AtomicU32,
    /// The place of its longest hold and wait in each open window.
    number: AtomicU32,
    /// The time at which the thread ended; 0 before.
    ended: AtomicU64,
    /// Where the lengths are counted: those of the GIL. Null if they never are.
    lengths: AtomicPtr<Lengths>,
    /// The held and the waited nanoseconds that the thread itself was given last.
    reported: [AtomicU64; 2],
    /// The next account of the same thread, in a ring.
    sibling: AtomicPtr<Account>,
    pub(super) links: Links,
}

/// The lists that the account is on (`super::registry`).
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(super) struct Links {
    /// The next account among those that are free, or new.
    pub(super) free_or_new: AtomicPtr<Account>,
    /// The next account among those whose threads have just ended.
    pub(super) ending: AtomicPtr<Account>,
    pub(super) next: AtomicPtr<Account>,
    pub(super) previous: AtomicPtr<Account>,
}

impl Account {
    /// Returns an account of no thread.
    pub(super) const fn new() -> Self {
        // SAFETY: all fields are atomics, for which zeros are valid.
        unsafe { std::mem::zeroed() }
    }

    /// Makes this the account `id` of the calling thread. Nobody else uses it.
    pub(super) fn begin(&self, id: u64, gil: u64, tid: u32, session: u64) {
        [&self.cut, &self.ended].into_iter().chain(&self.reported).for_each(|time| time.store(0, Relaxed));
        self.now.store(&Figures::default());
        self.release.store(RELEASED, Relaxed);
        self.lengths.store(null_mut(), Relaxed);
        self.mark.store(0, Relaxed);
        // A fork may have interrupted the previous thread's event.
        self.sequence.end_cut_off_write();
        self.id.store(id, Relaxed);
        self.gil.store(gil, Relaxed);
        self.tid.store(tid, Relaxed);
        self.session.store(session, Relaxed);
    }

    /// Makes `lengths` the place where the lengths of its holds and waits are counted.
    pub(super) fn counts_in(&self, lengths: &'static Lengths) {
        self.lengths.store((&raw const *lengths).cast_mut(), Relaxed);
    }

    /// Returns true if this is the account with the GIL of that number in `session`.
    #[inline]
    pub(super) fn is_with(&self, gil: u64, session: u64) -> bool {
        self.gil() == gil && self.session() == session
    }

    /// Returns the number of the GIL.
    #[inline]
    pub(super) fn gil(&self) -> u64 {
        self.gil.load(Relaxed)
    }

    /// Returns the number of the row.
    pub(super) fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    /// Returns the thread's id.
    pub(super) fn tid(&self) -> u32 {
        self.tid.load(Relaxed)
    }

    /// Returns the session that the figures belong to.
    #[inline]
    pub(super) fn session(&self) -> u64 {
        self.session.load(Relaxed)
    }

    /// Returns the place of its longest hold and wait in each open window.
    pub(super) fn number(&self) -> u32 {
        self.number.load(Relaxed)
    }

    /// Sets the place of its longest hold and wait.
    pub(super) fn set_number(&self, number: u32) {
        self.number.store(number, Relaxed);
    }

    /// Returns the number that belongs to the sink.
    #[inline]
    pub(super) fn mark(&self) -> &AtomicU32 {
        &self.mark
    }

    /// Returns the time at which the thread ended.
    pub(super) fn ended(&self) -> Option<u64> {
        Some(self.ended.load(Acquire)).filter(|ended| *ended != 0)
    }

    /// Runs `body`, which records an event at `now`. If the event is the first one after a cut, keeps the figures as
    /// they stood at the cut. Passes the time of the event, which is not before the cut, and the cut.
    #[inline(always)]
    fn event<T>(&self, open: &Slots, now: u64, body: impl FnOnce(u64, u64) -> T) -> T {
        self.sequence.write(|| {
            let cut = open.cut();
            if self.cut.load(Relaxed) != cut {
                self.keep_at(cut);
            }
            body(now.max(cut), cut)
        })
    }

    #[cold]
    #[inline(never)]
    fn keep_at(&self, cut: u64) {
        self.previous.store(&self.now.load());
        // Windows may have been opened or closed.
        self.floors.iter().for_each(|floor| floor.store(0, Relaxed));
        self.cut.store(cut, Release);
    }

    /// Records an acquire, which ends the current wait for the GIL, if any. Returns the moment that counts, and whether a
    /// wait has ended.
    #[inline(always)]
    pub(super) fn acquired(&self, open: &Slots, now: u64) -> (u64, bool) {
        self.event(open, now, |now, cut| {
            let has_waited = self.ends_wait(open, cut, now, true);
            add(&self.now.acquisitions, 1);
            self.now.holds_since.store(now, Relaxed);
            (now, has_waited)
        })
    }

    /// Begins a hold whose acquire was not recorded.
    pub(super) fn holds(&self, open: &Slots, now: u64) {
        self.event(open, now, |now, _| self.now.holds_since.store(now, Relaxed));
    }

    /// Records a release, which ends the current hold. Returns the moment that counts, and the start of the hold if it is
    /// to be noted.
    #[inline]
    pub(super) fn released(&self, open: &Slots, now: u64, is_forced: bool) -> (u64, Option<u64>) {
        let found = self.event(open, now, |now, cut| {
            let noted = self.ends_hold(open, cut, now);
            add(if is_forced { &self.now.forced_drops } else { &self.now.voluntary_releases }, 1);
            (now, noted)
        });
        self.release.store(if is_forced { FORCED } else { RELEASED }, Relaxed);
        found
    }

    /// Ends the current hold, if any, without a release: the GIL is being destroyed. Returns the moment that counts.
    pub(super) fn stops_holding(&self, open: &Slots, now: u64) -> u64 {
        self.event(open, now, |now, cut| {
            self.ends_hold(open, cut, now);
            now
        })
    }

    /// Records the current hold, which ends at `now`. Returns its start if it is to be noted.
    #[inline]
    fn ends_hold(&self, open: &Slots, cut: u64, now: u64) -> Option<u64> {
        let since = self.now.holds_since.load(Relaxed);
        if since == 0 {
            return None;
        }
        // The time stamp counters of two cores may differ by a few ticks.
        let length = now.saturating_sub(since);
        add(&self.now.held, length);
        let mut noted = None;
        if length >= self.floors[0].load(Relaxed) {
            self.keeps_length(Kind::Hold, open, cut, since, now, true);
            noted = (length >= open.noted()).then_some(since);
        }
        self.now.holds_since.store(0, Relaxed);
        noted
    }

    /// Records the start of a wait, unless the thread is already waiting; then returns None. If a wait for the hand-over
    /// has just ended, the two are merged into one wait. Returns the moment from which on the wait has not been counted
    /// yet: its start, or the end of the wait for the hand-over.
    #[inline]
    pub(super) fn begins_wait_in(&self, open: &Slots, now: u64) -> Option<u64> {
        if self.now.waits_since.load(Relaxed) != 0 {
            return None;
        }
        Some(self.event(open, now, |now, _| {
            let [began, ended] = [&self.handover[0], &self.handover[1]].map(|time| time.load(Relaxed));
            if self.release.load(Relaxed) != HANDED_OVER || now.saturating_sub(ended) > SAME_WAIT {
                self.now.waits_since.store(now, Relaxed);
                return now;
            }
            self.now.waited.store(self.now.waited.load(Relaxed).saturating_sub(ended - began), Relaxed);
            self.now.waits.store(self.now.waits.load(Relaxed).saturating_sub(1), Relaxed);
            self.now.waits_since.store(began, Relaxed);
            self.release.store(RELEASED, Relaxed);
            ended
        }))
    }

    /// Records the end of a wait for the hand-over: another thread has acquired the GIL that this thread released. Returns
    /// the moment that counts, or None if there was no such wait.
    #[inline]
    pub(super) fn ends_handover(&self, open: &Slots, now: u64) -> Option<u64> {
        let since = self.now.waits_since.load(Relaxed);
        if since == 0 {
            return None;
        }
        Some(self.event(open, now, |now, cut| {
            // Another wait may continue this one. If none has until the next release, the length is counted then.
            self.ends_wait(open, cut, now, false);
            self.handover[0].store(since, Relaxed);
            self.handover[1].store(now.max(since), Relaxed);
            let is_forced = self.release.load(Relaxed) == FORCED;
            self.release.store(if is_forced { HANDED_OVER } else { HANDED_OVER_APART }, Relaxed);
            now.max(since)
        }))
    }

    /// Records the current wait, if any, which ends at `now`. Its length is counted if it ends by an acquire. Returns true if
    /// there was one.
    #[inline]
    fn ends_wait(&self, open: &Slots, cut: u64, now: u64, by_acquire: bool) -> bool {
        let since = self.now.waits_since.load(Relaxed);
        if since == 0 {
            return false;
        }
        let length = now.saturating_sub(since);
        add(&self.now.waited, length);
        add(&self.now.waits, 1);
        if length >= self.floors[1].load(Relaxed) {
            self.keeps_length(Kind::Wait, open, cut, since, now, by_acquire);
        }
        self.now.waits_since.store(0, Relaxed);
        true
    }

    /// Keeps the length of a hold or wait that may be the longest of the session or of a window. If lengths are counted,
    /// all come here, and are counted if `is_counted`.
    #[cold]
    #[inline(never)]
    fn keeps_length(&self, kind: Kind, open: &Slots, cut: u64, since: u64, now: u64, is_counted: bool) {
        let ever = [&self.now.longest_hold, &self.now.longest_wait][kind as usize];
        ever.store(ever.load(Relaxed).max(now.saturating_sub(since)), Relaxed);
        let least = open.book(self.number(), cut, kind, since, now).min(ever.load(Relaxed));
        let floor = if open.counts_lengths(cut) { 0 } else { least.saturating_add(1).min(open.noted()) };
        self.floors[kind as usize].store(floor, Relaxed);
        // SAFETY: null, or the lengths of a GIL, which are never freed.
        if let Some(lengths) = unsafe { self.lengths.load(Relaxed).as_ref() }
            && is_counted
            && open.counts_lengths(cut)
        {
            let count = |kind, ticks| lengths.count(kind, self.session(), cut, open.whole_us(ticks));
            count(kind, now.saturating_sub(since));
            if matches!(kind, Kind::Hold) && self.release.load(Relaxed) >= HANDED_OVER {
                let [began, ended] = [&self.handover[0], &self.handover[1]].map(|time| time.load(Relaxed));
                count(Kind::Wait, ended - began);
            }
        }
    }

    /// Records the end of the thread, or of the GIL. A thread that is cancelled ends during its wait, which does not go on
    /// after the end of the GIL. Returns the moment that counts, and whether a wait has ended.
    pub(super) fn ends(&self, open: &Slots, now: u64, end_of_gil: Option<u64>) -> (u64, bool) {
        self.event(open, now, |now, cut| {
            let since = self.now.waits_since.load(Relaxed);
            let until = end_of_gil.map_or(now, |end| end.min(now)).max(since);
            let has_waited = self.ends_wait(open, cut, until, false);
            self.ended.store(now, Release);
            (until, has_waited)
        })
    }

    /// Returns the number of acquires.
    pub(crate) fn acquisitions(&self) -> u64 {
        self.now.acquisitions.load(Relaxed)
    }

    /// Returns the number of voluntary releases.
    pub(crate) fn voluntary_releases(&self) -> u64 {
        self.now.voluntary_releases.load(Relaxed)
    }

    /// Returns the number of drops on request.
    pub(crate) fn forced_drops(&self) -> u64 {
        self.now.forced_drops.load(Relaxed)
    }

    /// Returns the held and the waited nanoseconds that the calling thread is given: never less than before, although the
    /// clock's rate is averaged anew at each reading.
    pub(super) fn reported(&self, now: [u64; 2]) -> [u64; 2] {
        let greatest = |(before, now): (&AtomicU64, u64)| {
            let now = now.max(before.load(Relaxed));
            before.store(now, Relaxed);
            now
        };
        let [held, waited] = &self.reported;
        [(held, now[0]), (waited, now[1])].map(greatest)
    }

    /// Returns one of the present figures. The thread is the calling one.
    #[inline(always)]
    pub(super) fn total(&self, total: Total) -> u64 {
        self.now.total(total)
    }

    /// Returns the present figures. The thread has ended, or is the calling one.
    pub(super) fn figures(&self) -> Figures {
        self.now.load()
    }

    /// Returns the figures at `cut`, the latest one.
    ///
    /// A thread that was recording an event at the cut may have lost its CPU. Then the reader waits for it, for about
    /// 0.1 s at most (a loaded core gives a thread its next turn within some tens of milliseconds, unless it is
    /// stopped), and takes the figures as they are.
    pub(super) fn at(&self, cut: u64) -> Figures {
        const TRIES: u32 = 1500;
        for tries in 0..TRIES {
            // Nobody writes to `previous` until the next cut.
            if self.cut.load(Acquire) == cut {
                return self.previous.load();
            }
            let present = self.sequence.read(|| (self.cut.load(Acquire) != cut).then(|| self.now.load()));
            match present.flatten() {
                Some(figures) => return figures,
                None => wait_a_moment(tries),
            }
        }
        self.now.load()
    }

    /// Returns the longest hold and wait that have ended in the window of `slot` up to `cut`, the latest one.
    pub(super) fn longest(&self, slot: &Slot, cut: u64) -> [u64; 2] {
        [Kind::Hold, Kind::Wait].map(|kind| slot.longest(self.number(), cut, kind))
    }

    /// Returns the start of the current hold; 0 if there is none.
    pub(super) fn holds_since(&self) -> u64 {
        self.now.holds_since.load(Relaxed)
    }

    /// Returns the start of the current wait.
    pub(super) fn waits_since(&self) -> Option<u64> {
        Some(self.now.waits_since.load(Relaxed)).filter(|since| *since != 0)
    }

    /// Returns the next account of the same thread, in a ring.
    pub(super) fn sibling(&self) -> &'static Self {
        // SAFETY: an account of the ring, which has at least one. Accounts are never freed.
        unsafe { &*self.sibling.load(Relaxed) }
    }

    /// Puts this account into the ring of `other`, or makes it the only account of a new ring.
    pub(super) fn join_ring(&'static self, other: Option<&Self>) {
        let this = (&raw const *self).cast_mut();
        self.sibling.store(other.map_or(this, |other| other.sibling.load(Relaxed)), Relaxed);
        if let Some(other) = other {
            other.sibling.store(this, Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
impl Account {
    /// Returns an empty account of session 1.
    pub(super) fn leak(gil: u64, tid: u32) -> &'static Self {
        static LEAKED: AtomicU32 = AtomicU32::new(0);
        let account: &Self = Box::leak(Box::new(Self::new()));
        account.set_number(2000 + LEAKED.fetch_add(1, Relaxed));
        account.begin(u64::from(tid), gil, tid, 1);
        account
    }

    /// Returns the total and number of its waits, and the start of the current one.
    fn waits(&self) -> (u64, u64, u64) {
        let figures = self.figures();
        (figures.waited, figures.waits, figures.waits_since)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn holds_are_summed_and_the_longest_is_kept() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        for (since, now) in [(100, 150), (200, 290), (300, 310)] {
            account.acquired(&open, since);
            account.released(&open, now, now == 290);
        }
        let figures = account.figures();
        assert_eq!((figures.held, figures.acquisitions, figures.longest_hold), (150, 3, 90));
        assert_eq!((account.voluntary_releases(), account.forced_drops()), (2, 1));
        account.acquired(&open, 400);
        account.stops_holding(&open, 500);
        let figures = account.figures();
        assert_eq!((figures.held, figures.longest_hold, figures.holds_since), (250, 100, 0));
        assert_eq!((account.voluntary_releases(), account.forced_drops()), (2, 1));
    }

    #[test]
    fn a_wait_lasts_from_its_first_start_to_the_acquire() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.begins_wait_in(&open, 100);
        account.begins_wait_in(&open, 120);
        assert_eq!(account.waits(), (0, 0, 100));
        account.acquired(&open, 150);
        assert_eq!(account.waits(), (50, 1, 0));
        // An acquire without a wait.
        account.acquired(&open, 200);
        assert_eq!((account.waits(), account.figures().longest_wait), ((50, 1, 0), 50));
    }

    #[test]
    fn after_a_forced_drop_the_hand_over_is_the_beginning_of_the_wait() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.released(&open, 100, true);
        account.begins_wait_in(&open, 100);
        account.ends_handover(&open, 130);
        assert_eq!(account.waits(), (30, 1, 0));
        account.begins_wait_in(&open, 140);
        assert_eq!(account.waits(), (0, 0, 100));
        account.acquired(&open, 170);
        assert_eq!((account.waits(), account.figures().longest_wait), ((70, 1, 0), 70));
    }

    #[test]
    fn a_later_wait_is_not_part_of_the_hand_over() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.released(&open, 100, true);
        account.begins_wait_in(&open, 100);
        account.ends_handover(&open, 130);
        account.begins_wait_in(&open, 131 + SAME_WAIT);
        assert_eq!(account.waits(), (30, 1, 131 + SAME_WAIT));
        // A wait after a voluntary release is a separate wait, too.
        let account = Account::leak(0, 8);
        account.released(&open, 100, false);
        account.begins_wait_in(&open, 100);
        account.ends_handover(&open, 130);
        account.begins_wait_in(&open, 140);
        assert_eq!(account.waits(), (30, 1, 140));
    }

    #[test]
    fn a_hand_over_ends_with_the_acquire() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        for start in [100, 200] {
            account.released(&open, start, true);
            account.begins_wait_in(&open, start);
            account.ends_handover(&open, start + 10);
            account.acquired(&open, start + 20);
        }
        assert_eq!(account.waits(), (20, 2, 0), "two waits, though the second one began soon after the first");
        assert_eq!(account.figures().longest_wait, 10);
    }

    #[test]
    fn a_wait_is_counted_once_whether_the_hand_over_goes_on_or_not() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        // SAFETY: all fields are atomics, for which zeros are valid.
        let lengths: &Lengths = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        account.counts_in(lengths);
        open.begin_lengths(|| 10, 0.001);
        let hand_over = |at: u64, wait: Option<u64>| {
            account.acquired(&open, at);
            account.released(&open, at, true);
            account.begins_wait_in(&open, at);
            account.ends_handover(&open, at + 1000);
            _ = wait.and_then(|since| account.begins_wait_in(&open, since));
            account.acquired(&open, at + 5000);
            account.released(&open, at + 5500, false);
        };
        let counted = || lengths.at(1, 0)[1][..4].to_vec();
        hand_over(10_000, Some(11_000));
        assert_eq!(counted(), [0, 0, 0, 1], "5 us in all");
        hand_over(20_000, None);
        assert_eq!(counted(), [0, 1, 0, 1], "1 us");
        hand_over(30_000, Some(34_000));
        assert_eq!(counted(), [0, 1, 0, 2]);
        account.released(&open, 40_000, true);
        account.begins_wait_in(&open, 40_000);
        account.ends_handover(&open, 41_000);
        account.begins_wait_in(&open, 41_001 + SAME_WAIT);
        account.acquired(&open, 43_001 + SAME_WAIT);
        account.released(&open, 44_001 + SAME_WAIT, false);
        assert_eq!(counted(), [0, 2, 1, 2], "two waits: the thread did something else in between");
        assert_eq!(lengths.at(1, 0)[1].iter().sum::<u64>(), account.figures().waits);
    }

    #[test]
    fn a_reader_sees_the_figures_of_the_cut() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.acquired(&open, 100);
        open.cut_at(200, None);
        assert_eq!(account.at(200).up_to(0, 200).held, 100);
        // A thread that read the clock before the cut, and learnt of the cut afterwards.
        account.released(&open, 190, false);
        account.acquired(&open, 195);
        assert_eq!((account.at(200).holds_since, account.at(200).acquisitions), (100, 1));
        open.cut_at(300, None);
        let figures = account.at(300);
        assert_eq!((figures.held, figures.acquisitions, figures.holds_since), (100, 2, 200));
    }

    #[test]
    fn the_times_that_a_thread_is_given_never_fall() {
        let account = Account::leak(0, 7);
        assert_eq!(account.reported([10, 500]), [10, 500]);
        assert_eq!(account.reported([12, 499]), [12, 500]);
        assert_eq!(account.reported([11, 600]), [12, 600]);
        account.begin(9, 0, 7, 2);
        assert_eq!(account.reported([1, 2]), [1, 2], "another thread, or another session");
    }

    #[test]
    fn a_thread_that_ends_in_its_wait_has_waited() {
        let (open, account) = (Slots::new(), Account::leak(0, 7));
        account.begins_wait_in(&open, 100);
        account.ends(&open, 150, None);
        assert_eq!((account.waits(), account.ended()), ((50, 1, 0), Some(150)));
        account.begin(9, 3, 8, 2);
        assert!(account.is_with(3, 2) && !account.is_with(3, 1) && !account.is_with(0, 2));
        assert!(account.figures().is_empty() && account.ended().is_none());
    }
}
