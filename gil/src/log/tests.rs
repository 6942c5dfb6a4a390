//! A log that is written and read in one process, and logs that are damaged.

use super::layout::{HEAD_WORDS, RING, SLOT_WORDS, header, ring_at, slot, slot_at, total_at};
use super::{Damaged, Holder, Kind, Reader, Status, Writer, mark_executed};
use crate::exact::{Event, Row, Sink, TestRow, Total, ticks};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A folder that is removed at the end of the test, and the writer of a log in it.
struct Fixture {
    folder: PathBuf,
    writer: &'static Writer,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("busy-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let writer: &Writer = Box::leak(Box::new(Writer::new()));
        writer.open(&folder, "3.99.1 (a test)").unwrap();
        Self { folder, writer }
    }

    /// Returns the path of the writer's log.
    fn path(&self) -> PathBuf {
        let own = format!("{}-", std::process::id());
        let paths = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut logs =
            paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&own)));
        logs.next().unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path()).unwrap().unwrap()
    }

    fn event(&self, row: Row<'_>, event: Event) {
        self.writer.event(row, event, ticks());
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn events_and_totals_are_read_as_they_were_written() {
    let fixture = Fixture::new("round");
    let mut reader = fixture.reader();
    assert_eq!(reader.header().unwrap().status, Status::Waiting);
    let thread = TestRow::new(71);
    let kinds = [Event::Acquired, Event::Dropped, Event::WaitBegan, Event::WaitEnded, Event::Acquired, Event::Released];
    kinds.into_iter().for_each(|event| fixture.event(thread.row(), event));
    let header = reader.header().unwrap();
    assert_eq!((header.status, header.pid), (Status::Recording, std::process::id()));
    assert_eq!((header.python.as_str(), header.reason.as_str()), ("3.99.1 (a test)", ""));
    let batches = reader.drain(false).unwrap();
    assert_eq!((batches.len(), batches[0].thread.tid), (1, 71));
    let found: Vec<Kind> = batches[0].events.iter().map(|mark| mark.kind).collect();
    let expected = [Kind::Acquired, Kind::Dropped, Kind::WaitBegan, Kind::WaitEnded, Kind::Acquired, Kind::Released];
    assert_eq!(found, expected);
    assert!(batches[0].events.is_sorted_by_key(|mark| mark.at));
    assert!(reader.drain(false).unwrap().is_empty(), "nothing new");
    assert_eq!(reader.drain(true).unwrap().len(), 1);
    thread.waits(ticks());
    fixture.event(thread.row(), Event::WaitBegan);
    fixture.event(thread.row(), Event::Ended);
    let last = reader.drain(false).unwrap();
    assert!(last[0].is_last && last[0].totals.cpu_ns.is_some());
    let kinds: Vec<Kind> = last[0].events.iter().map(|mark| mark.kind).collect();
    assert_eq!(kinds, [Kind::WaitBegan, Kind::WaitEnded], "a wait ends with its thread");
    assert!(reader.drain(true).unwrap().is_empty());
}

#[test]
fn the_totals_in_the_log_are_the_rows_after_any_events() {
    let fixture = Fixture::new("totals");
    let (thread, log) = (TestRow::new(79), fs::File::open(fixture.path()).unwrap());
    let (mut last, mut at) = (Event::Released, ticks());
    // Every choice of twelve events.
    for choices in 0..1u64 << 12 {
        for bit in 0..12 {
            let is_first = choices >> bit & 1 == 0;
            let event = match last {
                Event::Acquired if is_first => Event::Released,
                Event::Acquired => Event::Dropped,
                Event::Released | Event::Dropped if is_first => Event::WaitBegan,
                Event::WaitBegan if is_first => Event::WaitEnded,
                Event::WaitEnded if is_first => Event::WaitBegan,
                _ => Event::Acquired,
            };
            at += 1000 + 977 * choices % 500_000;
            match event {
                Event::Acquired => thread.acquires(at),
                Event::WaitBegan => thread.waits(at),
                Event::WaitEnded => thread.is_handed_over(at),
                _ => thread.releases(at, event == Event::Dropped),
            }
            fixture.writer.event(thread.row(), event, at);
            let mut words = [0; SLOT_WORDS * 8];
            log.read_exact_at(&mut words, slot_at(0) as u64 * 8).unwrap();
            for total in Total::ALL {
                let found = u64::from_le_bytes(words[total_at(total) * 8..][..8].try_into().unwrap());
                assert_eq!(found, thread.row().total(total), "{total:?}, {event:?} after {last:?}");
            }
            last = event;
        }
    }
}

#[test]
fn a_log_tells_that_its_process_has_executed_another_program() {
    let fixture = Fixture::new("executed");
    assert!(!fixture.reader().header().unwrap().executed);
    mark_executed(&fixture.folder).unwrap();
    assert!(fixture.reader().header().unwrap().executed);
}

#[test]
fn a_log_that_can_not_be_written_does_not_keep_the_others_from_being_marked() {
    let fixture = Fixture::new("unwritable");
    let reader = fixture.reader();
    for name in ["!", "~"] {
        fs::create_dir(fixture.folder.join(format!("{}-{name}", std::process::id()))).unwrap();
    }
    assert!(mark_executed(&fixture.folder).is_err());
    assert!(reader.header().unwrap().executed);
}

#[test]
fn the_log_of_a_parent_that_forked_before_its_python_began_is_left_to_it() {
    let fixture = Fixture::new("parent");
    let path = fixture.path();
    let parents = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    parents.write_all_at(&1u64.to_ne_bytes(), (header::PID * 8) as u64).unwrap();
    let before = fs::read(&path).unwrap();
    fixture.writer.finish();
    fixture.writer.leave_parents();
    assert!(fixture.writer.is_open());
    fixture.event(TestRow::new(78).row(), Event::Acquired);
    assert!(fixture.writer.is_open());
    assert_eq!(fs::read_dir(&fixture.folder).unwrap().count(), 2, "the child's own log");
    assert!(fs::read(&path).unwrap() == before, "the parent's log has changed");
}

#[test]
fn a_hold_that_began_before_the_first_event_is_in_the_log() {
    let fixture = Fixture::new("hold");
    let thread = TestRow::new(72);
    fixture.event(thread.row(), Event::Released);
    let batches = fixture.reader().drain(false).unwrap();
    assert_eq!(batches[0].events.iter().map(|mark| mark.kind).collect::<Vec<_>>(), [Kind::Acquired, Kind::Released]);
}

#[test]
fn the_holder_is_known_while_it_holds() {
    let fixture = Fixture::new("holder");
    let (reader, thread) = (fixture.reader(), TestRow::new(73));
    assert_eq!(reader.holder(0).unwrap(), None);
    fixture.event(thread.row(), Event::Acquired);
    let first = reader.holder(0).unwrap().unwrap();
    assert_eq!((first.tid, first.sequence % 2), (73, 1));
    fixture.event(thread.row(), Event::WaitBegan);
    assert_eq!(reader.holder(0).unwrap(), Some(first));
    fixture.event(thread.row(), Event::Dropped);
    assert_eq!(reader.holder(0).unwrap(), None);
    assert!(!reader.may_have_held_again(0, first).unwrap());
    fixture.event(thread.row(), Event::Acquired);
    assert!(reader.holder(0).unwrap().unwrap().sequence > first.sequence);
    assert!(reader.may_have_held_again(0, first).unwrap());
}

#[test]
fn a_thread_that_lets_another_one_hold_the_gil_has_not_held_it_again() {
    let fixture = Fixture::new("again");
    let (reader, one, other) = (fixture.reader(), TestRow::new(74), TestRow::new(75));
    fixture.event(one.row(), Event::Acquired);
    let first = reader.holder(0).unwrap().unwrap();
    fixture.event(one.row(), Event::Dropped);
    for event in [Event::Acquired, Event::Released] {
        fixture.event(other.row(), event);
        assert!(!reader.may_have_held_again(0, first).unwrap(), "{event:?}");
    }
    fixture.event(other.row(), Event::Acquired);
    assert!(reader.may_have_held_again(0, first).unwrap(), "the hold between may have been the first thread's");
}

#[test]
fn the_time_of_a_fork_belongs_to_the_hold_in_which_it_was() {
    let fixture = Fixture::new("fork");
    let (reader, thread) = (fixture.reader(), TestRow::new(76));
    let hold = || {
        fixture.event(thread.row(), Event::Acquired);
        reader.holder(0).unwrap().unwrap()
    };
    let forked = |holds: &[Holder]| holds.iter().map(|hold| reader.forked_in(0, *hold).unwrap()).collect::<Vec<_>>();
    let first = hold();
    assert_eq!(forked(&[first]), [0]);
    fixture.writer.has_forked(0, 1_000_000);
    let once = forked(&[first])[0];
    fixture.writer.has_forked(0, 1_000_000);
    let twice = forked(&[first])[0];
    assert!(once > 100_000 && twice.abs_diff(2 * once) <= once / 4, "{once} ns, {twice} ns");
    fixture.event(thread.row(), Event::Released);
    let second = hold();
    assert!(forked(&[first])[0] > once && forked(&[second]) == [0], "the second hold has no fork");
    fixture.writer.has_forked(0, 1_000_000);
    assert!(forked(&[first]) == [0] && forked(&[second])[0] > 100_000);
}

#[test]
fn a_thread_that_has_forked_waits_for_a_reader_but_not_for_one_that_was_killed() {
    let fixture = Fixture::new("held");
    let (reader, thread) = (fixture.reader(), TestRow::new(79));
    fixture.event(thread.row(), Event::Acquired);
    let fork = || {
        let began = Instant::now();
        fixture.writer.has_forked(0, 1_000_000);
        began.elapsed()
    };
    // Another process may take the core of either thread.
    let is_let_go = (0..100).any(|_| {
        let held = reader.hold_forks();
        let waited = std::thread::scope(|scope| {
            let fork = scope.spawn(fork);
            sleep(Duration::from_millis(1));
            drop(held);
            fork.join().unwrap()
        });
        waited > Duration::from_micros(200) && waited < Duration::from_millis(2)
    });
    assert!(is_let_go);
    std::mem::forget(reader.hold_forks());
    assert!(fork() >= Duration::from_millis(2));
    let log = fs::read(fixture.path()).unwrap();
    assert_eq!(log[header::HOLDS_FORKS * 8], 0, "the next fork does not wait");
}

#[test]
fn the_waiters_are_known_while_they_wait() {
    let fixture = Fixture::new("waiters");
    let (reader, thread) = (fixture.reader(), TestRow::new(77));
    let before = ticks();
    fixture.event(thread.row(), Event::WaitBegan);
    assert_eq!(reader.waiters().unwrap(), [], "its account has no wait");
    thread.waits(before);
    fixture.event(thread.row(), Event::WaitBegan);
    let waiters = reader.waiters().unwrap();
    assert_eq!(waiters.iter().map(|waiter| (waiter.row, waiter.gil)).collect::<Vec<_>>(), [(thread.row().id(), 0)]);
    fixture.event(thread.row(), Event::Ended);
    assert_eq!(reader.waiters().unwrap(), []);
}

#[test]
fn events_that_find_no_room_are_counted_and_marked() {
    let fixture = Fixture::new("full");
    let (mut reader, thread) = (fixture.reader(), TestRow::new(74));
    (0..RING + 10).for_each(|_| fixture.event(thread.row(), Event::Acquired));
    let full = &reader.drain(false).unwrap()[0];
    assert_eq!((full.events.len(), full.totals.lost), (RING, 10));
    fixture.event(thread.row(), Event::Acquired);
    let next = &reader.drain(false).unwrap()[0];
    assert_eq!((next.events.len(), next.events[0].kind, next.events[0].at), (2, Kind::Lost, 10));
    assert_eq!((next.events[1].kind, next.totals.lost), (Kind::Acquired, 10));
    // The ring is used again from its start.
    (0..RING).for_each(|_| fixture.event(thread.row(), Event::Acquired));
    assert_eq!(reader.drain(false).unwrap()[0].events.len(), RING);
}

#[test]
fn a_slot_is_used_again_once_its_thread_was_read_to_the_end() {
    let fixture = Fixture::new("slots");
    let mut reader = fixture.reader();
    for tid in 100..103 {
        let thread = TestRow::new(tid);
        fixture.event(thread.row(), Event::Acquired);
        fixture.event(thread.row(), Event::Ended);
        let batch = &reader.drain(false).unwrap()[0];
        assert_eq!((batch.thread.tid, batch.events.len(), batch.is_last), (tid, 1, true));
    }
    assert_eq!(fs::metadata(fixture.path()).unwrap().len(), ring_at(1), "one ring serves all three");
}

#[test]
fn a_slot_that_is_used_again_has_the_room_of_one_ring() {
    let fixture = Fixture::new("room");
    let mut reader = fixture.reader();
    let acquires = |thread: &TestRow, times: usize| {
        (0..times).for_each(|_| fixture.event(thread.row(), Event::Acquired));
    };
    let first = TestRow::new(100);
    // The reader makes room for more.
    for _ in 0..2 {
        acquires(&first, RING);
        assert_eq!(reader.drain(false).unwrap()[0].totals.lost, 0);
    }
    fixture.event(first.row(), Event::Ended);
    assert!(reader.drain(false).unwrap()[0].is_last);
    let second = TestRow::new(101);
    acquires(&second, RING + 5);
    let batch = &reader.drain(false).unwrap()[0];
    assert_eq!((batch.thread.tid, batch.events.len(), batch.totals.lost), (101, RING, 5));
}

#[test]
fn a_log_that_ends_anywhere_is_an_error_or_not_ready() {
    let fixture = Fixture::new("cut");
    fixture.event(TestRow::new(75).row(), Event::Acquired);
    let whole = fs::read(fixture.path()).unwrap();
    let path = fixture.folder.join("cut.log");
    let steps = (0..whole.len()).step_by(4093).chain(HEAD_WORDS * 8 - 9..HEAD_WORDS * 8 + 9);
    for end in steps {
        fs::write(&path, &whole[..end]).unwrap();
        match Reader::open(&path) {
            Ok(None) => assert!(end < HEAD_WORDS * 8, "{end}"),
            Ok(Some(mut reader)) => drop(reader.drain(true)),
            Err(error) => panic!("{end}: {error}"),
        }
    }
}

#[test]
fn a_damaged_word_is_an_error_or_a_figure_and_never_a_panic() {
    let fixture = Fixture::new("damage");
    let thread = TestRow::new(76);
    (0..5).for_each(|_| fixture.event(thread.row(), Event::Acquired));
    let path = fixture.folder.join("damaged.log");
    let places = (0..512).chain(slot_at(0)..slot_at(1)).chain([ring_at(0) as usize / 8]);
    for place in places {
        for word in [0, 1, 1 << 20, u64::MAX, u64::MAX - 7] {
            fs::copy(fixture.path(), &path).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&word.to_le_bytes(), place as u64 * 8).unwrap();
            let Ok(Some(mut reader)) = Reader::open(&path) else { continue };
            let _ = (reader.header(), reader.holder(0), reader.waiters(), reader.drain(true), reader.drain(true));
        }
    }
    fs::copy(fixture.path(), &path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let place = slot_at(0) + slot::HEAD;
    file.write_all_at(&(RING as u64 + 1).to_le_bytes(), place as u64 * 8).unwrap();
    let error = Reader::open(&path).unwrap().unwrap().drain(false).unwrap_err();
    assert!(matches!(error, Damaged::Content { found, .. } if found == RING as u64 + 1), "{error}");
}
