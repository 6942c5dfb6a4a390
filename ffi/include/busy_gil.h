#ifndef BUSY_GIL_H
#define BUSY_GIL_H

/* Generated from ffi/src/gil.rs by cbindgen; do not edit. `make generate` writes it. */

#include "busy.h"

/*
 * busy_gil.h: the exact meter of Python's global interpreter lock (GIL) in the process that has loaded the library.
 *
 * The meter counts and times every acquire, every release and every wait of every thread. It takes no samples: it
 * redirects the calls with which CPython acquires and releases the GIL (docs/measuring.md).
 *
 * Platforms  CPython 2.7, and CPython 3.7 or later with a GIL, on Linux with glibc on x86-64. Everywhere else
 *            busy_gil_start() fails and busy_gil_reason() returns the reason. Without a GIL there are no figures.
 * The GIL    The thread that calls busy_gil_start() must hold the GIL; ctypes.PyDLL keeps it held. The other functions
 *            neither need the GIL nor acquire it, and may be called with or without it.
 * Threads    Threads may start and end at any time. At a start or a stop of the meter, any thread may hold the GIL or
 *            wait for it.
 * fork()     In a forked child the meter keeps running. Its counts begin at zero, as those of a new session.
 * State      The library has one meter, which all callers of busy_gil_start() share. This is the one exception to the
 *            rule of busy.h that functions share no hidden state.
 * Signals    The functions are not safe to call from a signal handler.
 * The rest   For names, results, times, ownership, NULL, printing, errors and unloading, see busy.h.
 */

/* Initialises a busy_gil_totals: busy_gil_totals totals = BUSY_GIL_TOTALS_INIT; */
#define BUSY_GIL_TOTALS_INIT {sizeof(busy_gil_totals), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * A value of busy_gil_thread.state: the thread holds the GIL.
 */
#define BUSY_GIL_HOLDS 1

/**
 * A value of busy_gil_thread.state: the thread waits for the GIL.
 */
#define BUSY_GIL_WAITS 2

/**
 * The totals of one GIL. Initialise the struct with BUSY_GIL_TOTALS_INIT, then set `gil` and `window` to select what
 * busy_gil_snapshot() reports. All times are in nanoseconds. A hold or a wait that is still going on counts up to
 * `at_ns`.
 */
typedef struct busy_gil_totals {
    /**
     * Set by the caller: sizeof(busy_gil_totals).
     */
    size_t size;
    /**
     * Set by the caller: the index of the GIL, less than `gils`. Index 0 is the GIL under which busy_gil_start() was
     * called. The others are the GILs of interpreters that have their own (CPython 3.12 and later), in the order in
     * which the meter met them.
     */
    uint32_t gil;
    /**
     * Set by the caller: the number of an open window, from busy_gil_window_open(), to report the counts since it was
     * opened; or 0 to report the counts since the metering began.
     */
    uint32_t window;
    /**
     * The number of GILs that `gil` can select.
     */
    uint32_t gils;
    /**
     * 1 if the counts below are valid. 0 if the meter has not seen any change of this GIL yet, because the GIL has
     * been held, or has been idle, ever since the metering began.
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
     * The time for which this GIL has been metered, or for which the window has been open.
     */
    uint64_t metered_ns;
    /**
     * The time for which any thread held the GIL.
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
     * The number of times that a thread dropped the GIL because another thread requested it or, in CPython 2.7,
     * because the thread had used up its ticks.
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
     * The number of the session. It grows when the metering begins, and in a forked child. Counts of two sessions
     * can't be compared.
     */
    uint64_t session;
    /**
     * The number of GILs that are not metered because the process has had more than 1024.
     */
    uint64_t unlisted_gils;
} busy_gil_totals;

/**
 * The totals of one thread with one GIL. All times are in nanoseconds. A hold or a wait that is still going on counts
 * up to the time of the snapshot.
 */
typedef struct busy_gil_thread {
    /**
     * The thread id, as gettid(2) returns it. The row with the id 0 sums up all threads beyond the 65536th; their
     * waits are not counted.
     */
    uint32_t tid;
    /**
     * BUSY_GIL_HOLDS, BUSY_GIL_WAITS, or 0 if the thread neither holds the GIL nor waits for it.
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
     * The number of times that the thread acquired the GIL.
     */
    uint64_t acquisitions;
    /**
     * The number of times that the thread had to wait for the GIL.
     */
    uint64_t waits;
    /**
     * As in busy_gil_totals.
     */
    uint64_t voluntary_releases;
    /**
     * As in busy_gil_totals.
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

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts the meter. If it is running already, the caller joins it: each start needs one busy_gil_stop(). The calling
 * thread must hold the GIL. From Python, ctypes.PyDLL keeps it held during a call, and ctypes.CDLL releases it.
 *
 * The first start releases the GIL and acquires it again a few times, to learn and check how this CPython does it.
 * This takes about a millisecond if no other thread wants the GIL.
 *
 * Blocking: for as long as other threads hold the GIL meanwhile.
 * Threads: safe to call from any thread that holds the GIL.
 * Signals: not safe to call from a signal handler.
 *
 * Returns:
 * - BUSY_OK: the meter is running.
 * - BUSY_GIL_NOT_HELD: the calling thread does not hold the GIL. Nothing has changed.
 * - BUSY_GIL_REFUSED: there is no GIL that can be metered; busy_gil_reason() returns the reason. Nothing has changed.
 */
busy_status busy_gil_start(void);

/**
 * Undoes one busy_gil_start(). The last stop ends the metering, closes all windows, and undoes the redirection of
 * CPython's calls.
 *
 * GIL: not needed.
 * Blocking: no.
 * Threads: safe to call from any thread, also while other threads hold the GIL or wait for it.
 * Signals: not safe to call from a signal handler.
 *
 * Returns:
 * - BUSY_OK: one start is undone.
 * - BUSY_GIL_OFF: the meter is not running.
 */
busy_status busy_gil_stop(void);

/**
 * Writes the totals of one GIL to `*totals`, and one row per thread to `threads`. The fields `totals->gil` and
 * `totals->window` select the GIL and the time at which the counts begin. In a forked child, all counts begin at the
 * fork.
 *
 * - `totals`: see busy_gil_totals; must not be NULL.
 * - `threads`: an array that receives the rows. It may be NULL if `capacity` is 0.
 * - `capacity`: the number of rows that `threads` has space for.
 * - `needed`: receives the number of rows that exist. It may be NULL. If the number is greater than `capacity`, only
 *   the first `capacity` rows are written.
 *
 * Ownership: the caller owns `totals`, `threads` and `needed`; the library does not keep the pointers.
 * GIL: not needed, and never acquired.
 * Blocking: for some microseconds, if another of these functions is running.
 * Threads: safe to call from any number of threads at once.
 * Signals: not safe to call from a signal handler.
 *
 * Returns:
 * - BUSY_OK: the totals and the rows are written.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_BAD_OPTION: no GIL has the index `totals->gil`, or `totals->window` is neither 0 nor an open window.
 * - BUSY_BAD_SIZE: `totals->size` is not set, or it breaks the rule for `options->size` in busy_wait_ns().
 * - BUSY_NULL_POINTER: `totals` is NULL, or `threads` is NULL and `capacity` is not 0.
 *
 * After every status except BUSY_OK, nothing has been written.
 */
busy_status busy_gil_snapshot(struct busy_gil_totals *totals,
                              struct busy_gil_thread *threads,
                              size_t capacity,
                              size_t *needed);

/**
 * Opens a window: an interval that begins now and has counts, times, a longest hold and a longest wait of its own.
 * Writes the number of the window, never 0, to `*window`. Any number of windows can be open at once.
 *
 * Ownership: the caller owns `window`.
 * GIL: not needed.
 * Blocking: no.
 * Threads: safe to call from any number of threads at once.
 * Signals: not safe to call from a signal handler.
 *
 * Returns:
 * - BUSY_OK: the window is open.
 * - BUSY_GIL_OFF: the meter is not running.
 * - BUSY_NO_WINDOWS: there is no address space for another window. 16 windows take 26 MB of it, and 384 bytes of
 *   memory for each thread.
 * - BUSY_NULL_POINTER: `window` is NULL.
 */
busy_status busy_gil_window_open(uint32_t *window);

/**
 * Closes the window with the number `window`. A later window may have the same number.
 *
 * GIL: not needed.
 * Blocking: no.
 * Threads: safe to call from any number of threads at once.
 * Signals: not safe to call from a signal handler.
 *
 * Returns:
 * - BUSY_OK: the window is closed.
 * - BUSY_BAD_OPTION: no window with this number is open.
 */
busy_status busy_gil_window_close(uint32_t window);

/**
 * Writes to `text` the reason for the latest BUSY_GIL_REFUSED or BUSY_GIL_NOT_HELD that any thread received, and
 * returns the number of bytes that the whole text needs, including the terminating NUL. If there was no such status,
 * the text is empty and the function returns 1.
 *
 * - `text`: receives the text, cut to `capacity` bytes and always terminated by NUL. It may be NULL if `capacity` is
 *   0.
 * - `capacity`: the number of bytes that `text` has space for.
 *
 * Ownership: the caller owns `text`.
 * GIL: not needed.
 * Blocking: no.
 * Threads: safe to call from any number of threads at once.
 * Signals: not safe to call from a signal handler.
 * Errors: none.
 */
size_t busy_gil_reason(char *text,
                       size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BUSY_GIL_H */
