#ifndef BUSY_GIL_H
#define BUSY_GIL_H

/* Generated from ffi/src/gil.rs, gil_counters.rs and gil_stalls.rs by cbindgen; do not edit. `make generate` writes it. */

#include "busy.h"

/*
 * busy_gil.h: the exact meter of Python's global interpreter lock (GIL) in the process that has loaded the library.
 *
 * The meter counts and times every acquire, release, drop and wait of every thread, except those that
 * busy_gil_totals.unlisted_gils and busy_gil_totals.unlisted_threads count. It takes no samples: it redirects the calls
 * with which CPython acquires and releases the GIL.
 *
 * Terms      A thread waits for the GIL, acquires it and holds it. Then it releases the GIL voluntarily, or drops it
 *            because another thread requested it or, in CPython 2.7, because it has executed as many bytecode
 *            instructions as sys.getcheckinterval() returns. In this header, a wait is always a wait for the GIL.
 *            A session is the time from the busy_gil_start() that turns the meter on (in a forked child, from the
 *            fork) to the busy_gil_stop() that turns it off. A window is a part of a session, with counts of its own.
 * Platforms  CPython 2.7, and CPython 3.7 or later, on Linux with glibc on x86-64. A free-threaded build is metered
 *            only if its GIL is on. In all other cases, and if this CPython does not pass the check at the start,
 *            busy_gil_start() returns BUSY_GIL_REFUSED, and busy_gil_reason() returns the reason.
 * State      The process has one meter, which all callers of busy_gil_start() share, also those of other copies of
 *            the library. A copy has one text for busy_gil_reason(). So, unlike those of busy.h, calls of these
 *            functions affect each other. In a program that `busy record` or `busy top` runs, the session begins with
 *            Python, and no busy_gil_stop() ends it.
 * The GIL    The thread that calls busy_gil_start() must hold the GIL. busy_gil_stalls_next() must be called without it,
 *            since it waits for long. The other functions may be called with or without the GIL. Only busy_gil_start()
 *            acquires it or waits for it.
 * Blocking   The functions share a lock, so a call may wait for calls in other threads: for some microseconds, and
 *            longer if thousands of threads that use the GIL are alive. Only busy_gil_start() waits for the GIL, and it does
 *            not have the lock then. So all functions except busy_gil_stalls_next() may be called with the GIL
 *            held, without a deadlock.
 * Threads    Any number of threads may call these functions at the same time, and threads may start and end at any
 *            time. It is safe to start the meter while other threads wait for the GIL, and to stop it while any thread
 *            holds it or waits for it.
 * Signals    A signal handler must not call any of these functions, nor fork() while the interrupted thread is in one
 *            (_Fork() is safe). They may change errno.
 * fork()     A forked child inherits the meter with all its starts, and the open windows that the forking thread has
 *            opened; all other windows are closed. It begins a new session, so all counts, also those of the windows,
 *            begin at zero there. To turn the meter off, the child needs as many stops as its parent. fork() waits until
 *            the calls of these functions in other threads have ended, except those of busy_gil_start(): the child does
 *            not inherit such an unfinished start. A fork handler (pthread_atfork(3)) may wait for the GIL only if it was
 *            registered after libbusy was loaded.
 * The rest   For names, results, times, structs, ownership, NULL, printing, errors and unloading, see busy.h.
 */

/* Initialises a busy_gil_totals: busy_gil_totals totals = BUSY_GIL_TOTALS_INIT; */
#define BUSY_GIL_TOTALS_INIT {sizeof(busy_gil_totals), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Initialises a busy_gil_histograms: busy_gil_histograms histograms = BUSY_GIL_HISTOGRAMS_INIT; */
#define BUSY_GIL_HISTOGRAMS_INIT {sizeof(busy_gil_histograms), 0, 0, {0}, {0}}

/* Initialises a busy_gil_counters: busy_gil_counters counters = BUSY_GIL_COUNTERS_INIT; */
#define BUSY_GIL_COUNTERS_INIT {sizeof(busy_gil_counters), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}}

/* Initialises a busy_gil_stall: busy_gil_stall stall = BUSY_GIL_STALL_INIT; */
#define BUSY_GIL_STALL_INIT {sizeof(busy_gil_stall), 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}}

/**
 * A value of busy_gil_thread.state: the thread holds the GIL.
 */
#define BUSY_GIL_HOLDS 1

/**
 * A value of busy_gil_thread.state: the thread waits for the GIL.
 */
#define BUSY_GIL_WAITS 2

/**
 * A value of busy_gil_thread.state: the thread has ended.
 */
#define BUSY_GIL_ENDED 4

/**
 * A value of busy_gil_thread.state: the interval is that of a window, and the thread first held this GIL or waited for
 * it in this interval. A thread that existed before may have had the same `tid`.
 */
#define BUSY_GIL_NEW 8

/**
 * The number of counts in each array of busy_gil_histograms.
 */
#define BUSY_GIL_BUCKETS 26

/**
 * The number of waiting threads that a busy_gil_stall lists.
 */
#define BUSY_GIL_WAITERS 8

/**
 * Reports stalls; see busy_gil_stalls_open().
 */
typedef struct busy_gil_stalls busy_gil_stalls;

/**
 * The totals of one GIL. Initialise the struct with BUSY_GIL_TOTALS_INIT, then set `gil` and `window` to select what
 * busy_gil_snapshot() reports. The snapshot writes all fields except `size`, `gil` and `window`, so the struct may be
 * used for further snapshots without initialising it again.
 *
 * Times are in nanoseconds. The totals cover an interval that ends at `at_ns`. A hold or a wait counts only for the
 * part that lies in the interval, so one that is still going on counts up to `at_ns`. An acquire, a release or a drop
 * counts if it happened in the interval.
 */
typedef struct busy_gil_totals {
    /**
     * Set by the caller: sizeof(busy_gil_totals). BUSY_GIL_TOTALS_INIT sets it.
     */
    size_t size;
    /**
     * Set by the caller: the index of the GIL. Index 0 always exists: it is the GIL under which the session was
     * started. The other indexes, up to `gils - 1`, are the GILs of interpreters that have their own (CPython 3.12 and
     * later). The GIL of an interpreter that has ended stays among them as long as a window is open that was opened
     * before. When the meter meets another GIL or forgets one, the indexes above 0 may change; `interpreter` identifies
     * a GIL.
     */
    uint32_t gil;
    /**
     * Set by the caller: 0 for the interval since the session began, or the number of an open window, from
     * busy_gil_window_open(), for the interval since the window was opened.
     */
    uint32_t window;
    /**
     * The number of GILs that `gil` can select, at least 1. To learn it, take a snapshot of index 0.
     */
    uint32_t gils;
    /**
     * 1 if the fields from `metered_ns` to `longest_wait_ns` are valid. 0 if they are not, because the meter has not
     * seen any acquire, release or drop of this GIL in this session yet: either one thread has held it all
     * the time, or no thread has held it. For index 0 it is always 1.
     */
    uint32_t metered;
    /**
     * The id of the interpreter that owns this GIL; 0 is the main interpreter.
     */
    int64_t interpreter;
    /**
     * The time of this snapshot on CLOCK_MONOTONIC.
     */
    uint64_t at_ns;
    /**
     * The length of the interval. If the meter saw this GIL for the first time only after the session began or the
     * window was opened, the interval begins at that first time. If the GIL has been destroyed, the interval ends at the
     * first reading after that.
     */
    uint64_t metered_ns;
    /**
     * The time for which any thread held the GIL, at most `metered_ns`.
     */
    uint64_t held_ns;
    /**
     * The time for which threads waited for the GIL, summed over all threads.
     */
    uint64_t waited_ns;
    /**
     * The number of times that a thread acquired the GIL.
     */
    uint64_t acquisitions;
    /**
     * The number of times that a thread released the GIL voluntarily.
     */
    uint64_t voluntary_releases;
    /**
     * The number of times that a thread dropped the GIL (see Terms above).
     */
    uint64_t forced_drops;
    /**
     * The longest hold.
     */
    uint64_t longest_hold_ns;
    /**
     * The longest wait.
     */
    uint64_t longest_wait_ns;
    /**
     * The number of the session. It grows with each new session. Subtract counts only if they belong to one session.
     */
    uint64_t session;
    /**
     * The number of GILs that have no index and are missing in all snapshots, because the process has had more than 1024
     * GILs at the same time; normally 0.
     */
    uint64_t unlisted_gils;
    /**
     * The number of threads that have no row, because there was no memory for them; normally 0. Their figures are
     * missing in all snapshots.
     */
    uint64_t unlisted_threads;
} busy_gil_totals;

/**
 * The totals of one thread with one GIL. Times are in nanoseconds. The interval is that of the busy_gil_totals.
 */
typedef struct busy_gil_thread {
    /**
     * The number of the row. It belongs to this thread with this GIL, and is never used again in the process. The system
     * may use a thread id again, so match the rows of two snapshots by `id`, not by `tid`. Rows of later threads have
     * higher numbers. 0 is the row of the threads that have ended and have no row of their own any more.
     */
    uint64_t id;
    /**
     * The thread id, as gettid(2) returns it; 0 if `id` is 0.
     */
    uint32_t tid;
    /**
     * The sum of those of BUSY_GIL_HOLDS, BUSY_GIL_WAITS, BUSY_GIL_ENDED and BUSY_GIL_NEW that are true at this moment.
     */
    uint32_t state;
    /**
     * The time for which the thread held the GIL.
     */
    uint64_t held_ns;
    /**
     * The time for which the thread waited for the GIL.
     */
    uint64_t waited_ns;
    /**
     * The number of times that the thread acquired the GIL, with or without a wait.
     */
    uint64_t acquisitions;
    /**
     * The number of times that the thread began to wait for the GIL.
     */
    uint64_t waits;
    /**
     * The number of times that the thread released the GIL voluntarily.
     */
    uint64_t voluntary_releases;
    /**
     * The number of times that the thread dropped the GIL, as in busy_gil_totals.
     */
    uint64_t forced_drops;
    /**
     * The thread's longest hold.
     */
    uint64_t longest_hold_ns;
    /**
     * The thread's longest wait.
     */
    uint64_t longest_wait_ns;
} busy_gil_thread;

/**
 * How many holds of one GIL, and how many waits for it, had which length. Initialise the struct with
 * BUSY_GIL_HISTOGRAMS_INIT, then set `gil` and `window` as in busy_gil_totals.
 *
 * Index 0 of each array counts what was shorter than 1 us. Index k counts what took at least 2^(k-1) us and less than
 * 2^k us. The last index counts everything from 2^24 us (16.8 s) on. A hold is counted when it ends, a wait when it ends
 * with an acquire, each with its whole length, also if it began before the interval.
 */
typedef struct busy_gil_histograms {
    /**
     * Set by the caller: sizeof(busy_gil_histograms). BUSY_GIL_HISTOGRAMS_INIT sets it.
     */
    size_t size;
    /**
     * Set by the caller: the index of the GIL, as in busy_gil_totals.
     */
    uint32_t gil;
    /**
     * Set by the caller: 0 for the interval since busy_gil_histograms_keep() was first called in this session, or the
     * number of an open window, as in busy_gil_totals.
     */
    uint32_t window;
    /**
     * The number of holds of each length.
     */
    uint64_t holds[BUSY_GIL_BUCKETS];
    /**
     * The number of waits of each length.
     */
    uint64_t waits[BUSY_GIL_BUCKETS];
} busy_gil_histograms;

/**
 * The sums over all threads with one GIL since the session began. Initialise the struct with BUSY_GIL_COUNTERS_INIT, then
 * set `gil`. Times are in nanoseconds. A hold or a wait that is still going on counts up to `at_ns`.
 *
 * Within a session, no figure ever falls from one reading to the next, in any thread. A figure may miss an event that a
 * thread is recording during the call; the next reading has it.
 */
typedef struct busy_gil_counters {
    /**
     * Set by the caller: sizeof(busy_gil_counters). BUSY_GIL_COUNTERS_INIT sets it.
     */
    size_t size;
    /**
     * Set by the caller: the index of the GIL, as in busy_gil_totals.
     */
    uint32_t gil;
    /**
     * The number of GILs that `gil` can select, as in busy_gil_totals.
     */
    uint32_t gils;
    /**
     * 1 if the fields from `metered_ns` on are valid; see busy_gil_totals for the reasons why they may not be. For index 0
     * it is always 1.
     */
    uint32_t metered;
    /**
     * The number of threads that wait for the GIL at this moment.
     */
    uint32_t waiting;
    /**
     * The id of the interpreter that owns this GIL; 0 is the main interpreter.
     */
    int64_t interpreter;
    /**
     * The number of the session, as in busy_gil_totals. A forked child begins a new session, in which all sums begin at 0.
     */
    uint64_t session;
    /**
     * The time of this reading on CLOCK_MONOTONIC.
     */
    uint64_t at_ns;
    /**
     * The time for which this GIL has been metered.
     */
    uint64_t metered_ns;
    /**
     * The time for which any thread held the GIL, at most `metered_ns`.
     */
    uint64_t held_ns;
    /**
     * The time for which threads waited for the GIL, summed over all threads.
     */
    uint64_t waited_ns;
    /**
     * The number of times that a thread acquired the GIL.
     */
    uint64_t acquisitions;
    /**
     * The number of times that a thread dropped the GIL (see Terms above).
     */
    uint64_t forced_drops;
    /**
     * 1 if histograms are kept (busy_gil_histograms_keep()); if 0, the following arrays are 0.
     */
    uint64_t has_histograms;
    /**
     * The number of holds of each length, as in busy_gil_histograms, since histograms are kept.
     */
    uint64_t holds[BUSY_GIL_BUCKETS];
    /**
     * The number of waits of each length, likewise.
     */
    uint64_t waits[BUSY_GIL_BUCKETS];
} busy_gil_counters;

/**
 * A stall: a hold of a GIL that made other threads wait. Initialise the struct with BUSY_GIL_STALL_INIT. Times are in
 * nanoseconds.
 */
typedef struct busy_gil_stall {
    /**
     * Set by the caller: sizeof(busy_gil_stall). BUSY_GIL_STALL_INIT sets it.
     */
    size_t size;
    /**
     * The id of the interpreter that owns the GIL; 0 is the main interpreter.
     */
    int64_t interpreter;
    /**
     * The number of the holder's row, as in busy_gil_thread.
     */
    uint64_t id;
    /**
     * The start of the hold, on CLOCK_MONOTONIC.
     */
    uint64_t at_ns;
    /**
     * The length of the hold.
     */
    uint64_t held_ns;
    /**
     * The number of long holds before this one that came too fast to be reported.
     */
    uint64_t missed;
    /**
     * The holder's thread id, as gettid(2) returns it.
     */
    uint32_t tid;
    /**
     * The number of threads that waited when the hold ended.
     */
    uint32_t waiting;
    /**
     * 1 if the text is the holder's stack, 0 if it is the reason why there is none.
     */
    uint32_t has_stack;
    /**
     * The number of waiting threads that are listed, at most BUSY_GIL_WAITERS, those that waited for the longest first. A
     * thread that began to wait within the last moments of the hold may be missing.
     */
    uint32_t listed;
    /**
     * Their thread ids.
     */
    uint32_t waiter_tids[BUSY_GIL_WAITERS];
    /**
     * The part of the hold for which each of them waited.
     */
    uint64_t waiter_ns[BUSY_GIL_WAITERS];
} busy_gil_stall;

#ifdef __cplusplus
extern "C" {
#endif  /* __cplusplus */

/**
 * Starts the meter, or joins it if it is running. Each start that returns BUSY_OK needs one busy_gil_stop(), which any
 * thread may call.
 *
 * If the meter is not running, the call begins a session: it releases the GIL and acquires it again a few times, to
 * learn and check how this CPython does so. Other Python threads may run meanwhile. If no thread waits for the GIL,
 * the call takes about a millisecond. If another thread is beginning a session, the call releases the GIL until that
 * thread is done, and acquires it again.
 *
 * If another copy of libbusy in the same process is metering, that copy serves: until each of this copy's starts has
 * been stopped, its busy_gil_ functions forward to the other copy. If the two have different ABI versions, the call is
 * refused. If another tool has redirected CPython's calls before, its functions are called as before.
 *
 * GIL: the calling thread must hold it. In a C extension, call the function outside of Py_BEGIN_ALLOW_THREADS and
 * Py_END_ALLOW_THREADS. From Python, call it through ctypes.PyDLL, which keeps the GIL; ctypes.CDLL releases it.
 * Blocking: yes; the call may wait for the GIL, for as long as other threads hold it. If the interpreter begins to shut
 * down meanwhile, the call does not return: the thread sleeps until the process ends.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time; each needs the GIL.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the meter is running.
 * - BUSY_GIL_NOT_HELD: the calling thread does not hold the GIL; busy_gil_reason() returns details. The meter is
 *   unchanged. Up to CPython 3.11, this is also the status in a sub-interpreter that another thread has created.
 * - BUSY_GIL_REFUSED: there is no GIL that can be metered; busy_gil_reason() returns the reason. The meter is
 *   unchanged.
 */
busy_status busy_gil_start(void);

/**
 * Undoes one busy_gil_start(). The stop after which no start is left ends the session, closes all windows, and
 * ends the redirection of CPython's calls.
 *
 * GIL: not needed. Other threads may hold the GIL or wait for it.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: one start is undone.
 * - BUSY_GIL_OFF: the meter is not running.
 */
busy_status busy_gil_stop(void);

/**
 * Writes the totals of one GIL to `*totals`, and the totals of each thread with this GIL to a row of `threads`. The
 * fields `totals->gil` and `totals->window` select the GIL and the interval.
 *
 * The rows are those of all living threads that have held this GIL or waited for it in this session, also of threads
 * that did neither in the interval, and of threads that ended in the interval. They are sorted by `id`. If the system
 * has reused a thread id, several rows have the same `tid`. An ended thread has a row of its own as long as a window is
 * open that was opened before its end. But at most 1024 ended threads have one, those that ended last; all others are
 * summed up in the row with `id` 0. The sums of `held_ns`, `waited_ns`, `acquisitions`, `voluntary_releases` and
 * `forced_drops` over all rows are those of `*totals`.
 *
 * All figures describe one moment, `at_ns`. The call takes some microseconds, and about 0.1 us for each row.
 *
 * - `totals`: see busy_gil_totals; must not be NULL.
 * - `threads`: an array that receives the rows. It may be NULL if `capacity` is 0.
 * - `capacity`: the number of rows that `threads` has space for.
 * - `needed`: receives the number of rows that exist. It may be NULL. If more rows exist than `capacity`, the first
 *   `capacity` rows are written, and the status is BUSY_OK.
 *
 * Ownership: the caller owns `totals`, `threads` and `needed`; the library does not keep the pointers.
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time, each with a `totals` of its own.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the totals and the rows are written.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_GIL_REFUSED: since the session began, another tool in this process has redirected the same calls of CPython,
 *   so the figures may be incomplete; or there was no memory for the longest hold and wait of the window.
 *   busy_gil_reason() returns details. The next session is not affected, nor is the next window if there is memory.
 * - BUSY_BAD_OPTION: no GIL has the index `totals->gil`, or `totals->window` is neither 0 nor an open window.
 * - BUSY_BAD_SIZE: as for busy_wait_ns(), with `totals` in place of `options`.
 * - BUSY_NULL_POINTER: `totals` is NULL, or `threads` is NULL and `capacity` is not 0.
 *
 * After every status except BUSY_OK, nothing has been written.
 */
busy_status busy_gil_snapshot(struct busy_gil_totals *totals,
                              struct busy_gil_thread *threads,
                              size_t capacity,
                              size_t *needed);

/**
 * Writes the row of the calling thread with the GIL of index 0 to `*thread`, for the interval since the session began.
 * The call takes less than a microsecond. The difference of two calls shows how long a piece of code held the GIL and
 * waited for it.
 *
 * - `thread`: receives the row; must not be NULL.
 *
 * Ownership: the caller owns `thread`.
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the row is written.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_NO_SUCH_THREAD: the calling thread has no row, because it has neither held this GIL nor waited for it in this
 *   session, or because there was no memory for it.
 * - BUSY_GIL_REFUSED: as for busy_gil_snapshot().
 * - BUSY_NULL_POINTER: `thread` is NULL.
 */
busy_status busy_gil_own_thread(struct busy_gil_thread *thread);

/**
 * Keeps the histograms of busy_gil_histograms_read() from now on, until the session ends. It has no effect if they are
 * kept already. A thread that releases and acquires the GIL takes some 10 ns longer for it while histograms are kept.
 *
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: they are kept.
 * - BUSY_GIL_OFF: the meter is not running.
 */
busy_status busy_gil_histograms_keep(void);

/**
 * Writes the histograms of one GIL to `*histograms`. The fields `histograms->gil` and `histograms->window` select the GIL
 * and the interval.
 *
 * - `histograms`: see busy_gil_histograms; must not be NULL.
 *
 * Ownership: the caller owns `histograms`.
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time, each with a `histograms` of its own.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the histograms are written.
 * - BUSY_GIL_OFF: the meter is not running, or the histograms have not been kept for the whole interval: call
 *   busy_gil_histograms_keep() before busy_gil_window_open().
 * - BUSY_GIL_REFUSED: as for busy_gil_snapshot().
 * - BUSY_BAD_OPTION: no GIL has the index `histograms->gil`, or `histograms->window` is neither 0 nor an open window.
 * - BUSY_BAD_SIZE: as for busy_wait_ns(), with `histograms` in place of `options`.
 * - BUSY_NULL_POINTER: `histograms` is NULL.
 *
 * After every status except BUSY_OK, nothing has been written.
 */
busy_status busy_gil_histograms_read(struct busy_gil_histograms *histograms);

/**
 * Opens a window: an interval that begins now and has counts, times, a longest hold and a longest wait of its own.
 * Writes the number of the window, never 0, to `*number`. Any number of windows can be open at once. In a forked child,
 * the windows that the forking thread has opened begin at the fork; the others are closed.
 *
 * Ownership: the caller owns `number`.
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time. Any thread may use the window.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the window is open.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_NO_WINDOWS: there is no address space for another window. Windows are created in blocks of 4. A block takes
 *   32 KB of address space, and 192 bytes of memory for each row of a thread. It is kept when windows are closed.
 * - BUSY_NULL_POINTER: `number` is NULL.
 */
busy_status busy_gil_window_open(uint32_t *number);

/**
 * Closes the window with the number `number`. Other windows get this number again only after all other numbers.
 *
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the window is closed.
 * - BUSY_BAD_OPTION: no window with this number is open. This includes the case that the meter is not running, because
 *   the end of a session closes all windows.
 */
busy_status busy_gil_window_close(uint32_t number);

/**
 * Writes to `text` the reason for the latest BUSY_GIL_REFUSED or BUSY_GIL_NOT_HELD that any thread received, and
 * returns the number of bytes that the whole text needs, including the terminating NUL. If there was no such status,
 * the text is empty and the function returns 1.
 *
 * To get the whole text, call the function with a `capacity` of 0, then with the number of bytes that it returned. If
 * another thread receives such a status in between, the text changes, and the second call may return a larger number.
 *
 * - `text`: receives at most `capacity` bytes. The last of them is always NUL; a longer text is cut. If `text` is NULL
 *   or `capacity` is 0, nothing is written.
 * - `capacity`: the number of bytes that `text` has space for.
 *
 * Ownership: the caller owns `text`.
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 * Errors: if the library catches a defect of its own, the function returns 0.
 */
size_t busy_gil_reason(char *text,
                       size_t capacity);

/**
 * Writes the sums over all threads with one GIL to `*counters`. The field `counters->gil` selects the GIL. The call takes
 * less than a microsecond if the process has one GIL, however many threads there are, and costs the other threads nothing.
 * So it can be called at any rate.
 *
 * - `counters`: see busy_gil_counters; must not be NULL.
 *
 * Ownership: the caller owns `counters`.
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time, each with a `counters` of its own.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the sums are written.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_GIL_REFUSED: as for busy_gil_snapshot().
 * - BUSY_BAD_OPTION: no GIL has the index `counters->gil`.
 * - BUSY_BAD_SIZE: as for busy_wait_ns(), with `counters` in place of `options`.
 * - BUSY_NULL_POINTER: `counters` is NULL.
 *
 * After every status except BUSY_OK, nothing has been written.
 */
busy_status busy_gil_counters_read(struct busy_gil_counters *counters);

/**
 * Begins to report stalls: the holds that last for `threshold_ns` or longer and make other threads wait. Writes a new
 * object to `*stalls`, which busy_gil_stalls_close() frees. Any number of objects may exist. As long as one does, a hold of
 * at least its threshold costs some 30 ns more when it ends; shorter ones cost nothing more.
 *
 * - `threshold_ns`: at least 1,000,000, a millisecond.
 * - `stalls`: receives the object; must not be NULL.
 *
 * A forked child must not use its parent's objects: it opens its own.
 *
 * Ownership: the caller owns the object, and frees it by busy_gil_stalls_close().
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the object is written.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_BAD_OPTION: `threshold_ns` is too small.
 * - BUSY_NULL_POINTER: `stalls` is NULL.
 */
busy_status busy_gil_stalls_open(uint64_t threshold_ns,
                                 struct busy_gil_stalls **stalls);

/**
 * Waits for the next stall to end, and writes it to `*stall`, and the holder's Python stack during the hold to `text`: a
 * line for each frame, the innermost first, in the form `FILE:LINE FUNCTION`. As many frames as fit are written. In CPython
 * 2.7 no stacks are read.
 *
 * The first call with an object starts a thread, which ends with the object. It needs no GIL, samples the GIL four times
 * per threshold, the least one of all objects, within 40 to 1000 times per second, and reads a stack while the holder still
 * holds the GIL. Between two calls, it keeps the latest 16 stalls. A caller that waits for the GIL after the call is a
 * waiting thread like any other.
 *
 * - `stalls`: an open object; must not be NULL.
 * - `timeout_ns`: the time after which the call returns BUSY_TIMED_OUT; UINT64_MAX for none.
 * - `stall`: must not be NULL.
 * - `text`: receives at most `capacity` bytes, the last of which is NUL. It may be NULL if `capacity` is 0.
 *
 * Ownership: the caller owns `stall` and `text`.
 * GIL: must not be held, since the function waits for long.
 * Blocking: yes. Its first call with an object takes up to a second longer, in which it learns to read stacks.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time; one of them gets a stall.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: the stall is written.
 * - BUSY_TIMED_OUT: there was none.
 * - BUSY_CANCELLED: busy_gil_stalls_stop() was called.
 * - BUSY_GIL_OFF: the meter has been stopped.
 * - BUSY_GIL_REFUSED: as for busy_gil_snapshot(); and if the thread can't be created.
 * - BUSY_BAD_SIZE: as for busy_wait_ns(), with `stall` in place of `options`.
 * - BUSY_NULL_POINTER: `stalls` or `stall` is NULL, or `text` is NULL and `capacity` is not 0.
 *
 * After every status except BUSY_OK, nothing has been written.
 */
busy_status busy_gil_stalls_next(struct busy_gil_stalls *stalls,
                                 uint64_t timeout_ns,
                                 struct busy_gil_stall *stall,
                                 char *text,
                                 size_t capacity);

/**
 * Makes all calls of busy_gil_stalls_next() with this object return at once, now and later: with the stalls that have
 * ended until now, then with BUSY_CANCELLED.
 *
 * GIL: not needed.
 * Blocking: only for a moment, for busy_gil_stalls_next() in another thread.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: they return.
 * - BUSY_NULL_POINTER: `stalls` is NULL.
 */
busy_status busy_gil_stalls_stop(struct busy_gil_stalls *stalls);

/**
 * Ends the reports of an object, and frees it. No thread uses it any more.
 *
 * GIL: not needed.
 * Blocking: only for calls in other threads; see Blocking above.
 * Cancellation: pthread_cancel() takes effect after the call.
 * Threads: any number of threads may call it at the same time, each with an object of its own.
 * Signals: a signal handler must not call it.
 *
 * Returns:
 * - BUSY_OK: it is freed.
 * - BUSY_NULL_POINTER: `stalls` is NULL.
 */
busy_status busy_gil_stalls_close(struct busy_gil_stalls *stalls);

#ifdef __cplusplus
}  /* extern "C" */
#endif  /* __cplusplus */

#endif  /* BUSY_GIL_H */
