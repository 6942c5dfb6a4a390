use crate::boundary;
use crate::gil_state::{forwarded, metered, refused_by};
use crate::options::known_prefix;
use crate::status::{BUSY_BAD_OPTION, BUSY_NULL_POINTER, busy_status};
use busy_gil::Counters;

use crate::gil::BUSY_GIL_BUCKETS;

/// The sums over all threads with one GIL since the session began. Initialise the struct with BUSY_GIL_COUNTERS_INIT, then
/// set `gil`. Times are in nanoseconds. A hold or a wait that is still going on counts up to `at_ns`.
///
/// Within a session, no figure ever falls from one reading to the next, in any thread. A figure may miss an event that a
/// thread is recording during the call; the next reading has it.
#[repr(C)]
pub struct busy_gil_counters {
    /// Set by the caller: sizeof(busy_gil_counters). BUSY_GIL_COUNTERS_INIT sets it.
    pub size: usize,
    /// Set by the caller: the index of the GIL, as in busy_gil_totals.
    pub gil: u32,
    /// The number of GILs that `gil` can select, as in busy_gil_totals.
    pub gils: u32,
    /// 1 if the fields from `metered_ns` on are valid; see busy_gil_totals for the reasons why they may not be. For index 0
    /// it is always 1.
    pub metered: u32,
    /// The number of threads that wait for the GIL at this moment.
    pub waiting: u32,
    /// The id of the interpreter that owns this GIL; 0 is the main interpreter.
    pub interpreter: i64,
    /// The number of the session, as in busy_gil_totals. A forked child begins a new session, in which all sums begin at 0.
    pub session: u64,
    /// The time of this reading on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The time for which this GIL has been metered.
    pub metered_ns: u64,
    /// The time for which any thread held the GIL, at most `metered_ns`.
    pub held_ns: u64,
    /// The time for which threads waited for the GIL, summed over all threads.
    pub waited_ns: u64,
    /// The number of times that a thread acquired the GIL.
    pub acquisitions: u64,
    /// The number of times that a thread dropped the GIL (see Terms above).
    pub forced_drops: u64,
    /// 1 if histograms are kept (busy_gil_histograms_keep()); if 0, the following arrays are 0.
    pub has_histograms: u64,
    /// The number of holds of each length, as in busy_gil_histograms, since histograms are kept.
    pub holds: [u64; BUSY_GIL_BUCKETS],
    /// The number of waits of each length, likewise.
    pub waits: [u64; BUSY_GIL_BUCKETS],
}

/// Writes the sums over all threads with one GIL to `*counters`. The field `counters->gil` selects the GIL. The call takes
/// less than a microsecond if the process has one GIL, however many threads there are, and costs the other threads nothing.
/// So it can be called at any rate.
///
/// - `counters`: see busy_gil_counters; must not be NULL.
///
/// Ownership: the caller owns `counters`.
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time, each with a `counters` of its own.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the sums are written.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_GIL_REFUSED: as for busy_gil_snapshot().
/// - BUSY_BAD_OPTION: no GIL has the index `counters->gil`.
/// - BUSY_BAD_SIZE: as for busy_wait_ns(), with `counters` in place of `options`.
/// - BUSY_NULL_POINTER: `counters` is NULL.
///
/// After every status except BUSY_OK, nothing has been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_counters_read(counters: *mut busy_gil_counters) -> busy_status {
    boundary::status_uncancelled(|| {
        if counters.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        if let Some(other) = forwarded() {
            // SAFETY: the argument of this call.
            return refused_by(other, unsafe { (other.counters_read)(counters.cast()) });
        }
        // SAFETY: the pointer is not NULL, so the header requires live counters.
        let busy_gil_counters { size, gil: which, .. } = unsafe { known_prefix(counters) }?;
        let found = metered(|meter, _| meter.counters(which as usize).ok_or(BUSY_BAD_OPTION))?;
        // SAFETY: they are live, as above, and as large as their first field states.
        unsafe { counters.write(converted(size, which, found)) };
        Ok(())
    })
}

fn converted(size: usize, which: u32, found: Counters) -> busy_gil_counters {
    let has_histograms = u64::from(found.histograms.is_some());
    let histograms = found.histograms.unwrap_or_default();
    busy_gil_counters {
        size,
        gil: which,
        gils: found.gils as u32,
        metered: u32::from(found.metered),
        waiting: found.waiting,
        interpreter: found.interpreter,
        session: found.session,
        at_ns: found.at_ns,
        metered_ns: found.metered_ns,
        held_ns: found.held_ns,
        waited_ns: found.waited_ns,
        acquisitions: found.acquisitions,
        forced_drops: found.forced_drops,
        has_histograms,
        holds: histograms.holds,
        waits: histograms.waits,
    }
}
