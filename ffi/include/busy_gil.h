#ifndef BUSY_GIL_H
#define BUSY_GIL_H

/* Generated from ffi/src/gil.rs by cbindgen; do not edit. `make generate` writes it anew. */

#include "busy.h"

/*
 * busy_gil: the event-exact meter of the GIL of the process that it is loaded into. Every acquire, release and wait of
 * every thread is counted and timed, by redirecting the calls by which CPython does them (docs/measuring.md).
 *
 * Where      CPython 2.7 and 3.7 or later with a GIL, on Linux with glibc on x86-64. Elsewhere busy_gil_start()
 *            refuses, and busy_gil_reason() says why: there is never a figure without a GIL.
 * The GIL    busy_gil_start() must be called with it held (ctypes.PyDLL). The others neither need it nor take it, and
 *            may be called either way.
 * Threads    May come and go, and hold the GIL or wait for it at any start and stop.
 * fork()     The child goes on metering from nothing, as a session of its own.
 * The rest   Names, results, ownership, NULL, prints and unloading are as busy.h says, but for hidden state: there is one meter,
 *            shared by all that start it.
 */

/* busy_gil_totals totals = BUSY_GIL_TOTALS_INIT; */
#define BUSY_GIL_TOTALS_INIT {sizeof(busy_gil_totals), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * The thread holds the GIL.
 */
#define BUSY_GIL_HOLDS 1

/**
 * The thread waits for the GIL.
 */
#define BUSY_GIL_WAITS 2

/**
 * One GIL of the process. Set it to BUSY_GIL_TOTALS_INIT, then `gil` and `window` to what you want to be told. Times in nanoseconds;
 * a hold or wait that goes on counts up to `at_ns`.
 */
typedef struct busy_gil_totals {
    /**
     * sizeof(busy_gil_totals); you set it.
     */
    size_t size;
    /**
     * Which GIL: 0 is the one that busy_gil_start() was called under, 1 to `gils` - 1 those of interpreters that have
     * their own (CPython 3.12 and later), in the order in which they were met; you set it.
     */
    uint32_t gil;
    /**
     * Since when: 0 is since the metering began, else what busy_gil_window_open() gave; you set it.
     */
    uint32_t window;
    /**
     * How many GILs there are.
     */
    uint32_t gils;
    /**
     * 1 if the counts below mean anything; 0 as long as this GIL was held, or idle, ever since the metering began, so
     * that nothing can be told.
     */
    uint32_t metered;
    /**
     * The id of the interpreter whose GIL it is; 0 is the main one.
     */
    int64_t interpreter;
    /**
     * The time of this snapshot on CLOCK_MONOTONIC.
     */
    uint64_t at_ns;
    /**
     * For how long it has been metered, or the window has been open.
     */
    uint64_t metered_ns;
    /**
     * How long some thread held it.
     */
    uint64_t held_ns;
    /**
     * How long threads waited for it, all together.
     */
    uint64_t waited_ns;
    /**
     * How often it was acquired.
     */
    uint64_t acquisitions;
    /**
     * How often a thread gave it up by itself.
     */
    uint64_t voluntary_releases;
    /**
     * How often a thread gave it up because another one asked for it, or, in CPython 2.7, because its ticks were used up.
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
     * Grows when the metering begins, and in a forked child: counts of two sessions don't compare.
     */
    uint64_t session;
    /**
     * GILs that are not metered, since the process has had over 1024.
     */
    uint64_t unlisted_gils;
} busy_gil_totals;

/**
 * One thread, as far as it had to do with one GIL. Times in nanoseconds; a hold or wait that goes on counts up to
 * the snapshot.
 */
typedef struct busy_gil_thread {
    /**
     * gettid(2). 0 stands for all threads beyond the 65536th together; their waits are not counted.
     */
    uint32_t tid;
    /**
     * BUSY_GIL_HOLDS, BUSY_GIL_WAITS, or 0.
     */
    uint32_t state;
    /**
     * How long it held the GIL.
     */
    uint64_t held_ns;
    /**
     * How long it waited for it.
     */
    uint64_t waited_ns;
    /**
     * How often it acquired it.
     */
    uint64_t acquisitions;
    /**
     * How often it had to wait.
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
     * Its longest hold.
     */
    uint64_t longest_hold_ns;
    /**
     * Its longest wait.
     */
    uint64_t longest_wait_ns;
} busy_gil_thread;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts metering, or joins in: each start wants one stop. Call it with the GIL held, as ctypes.PyDLL does and
 * ctypes.CDLL does not: the first start gives the GIL up and takes it again a few times, to learn and check how this
 * Python does that, within about a millisecond if nobody else wants it.
 *
 * Blocking: as long as others keep the GIL meanwhile. Threads: safe from any that holds the GIL. Signals: not in a handler.
 *
 * BUSY_OK. BUSY_GIL_NOT_HELD: the caller came without the GIL. BUSY_GIL_REFUSED: there is no GIL that can be metered;
 * busy_gil_reason() says why. After both everything is as it was.
 */
busy_status busy_gil_start(void);

/**
 * Takes one start back. The last one ends the metering and closes all windows: what Python calls is what it called before.
 *
 * GIL: not needed. Blocking: no. Threads: safe from any, while others hold the GIL or wait for it. Signals: not in a handler.
 *
 * BUSY_OK; BUSY_GIL_OFF: it was not started.
 */
busy_status busy_gil_stop(void);

/**
 * Writes what was counted so far to `totals`, of the GIL and since the moment that it names, and one row a thread to
 * `threads`, at most `capacity`. `needed` gets the number of rows that there are: if that is more, only the first ones
 * were written. In a forked child, everything counts from the fork.
 *
 * NULL: `threads` may be NULL if `capacity` is 0; `needed` may be NULL. Ownership: all stay yours. GIL: not needed, and never
 * taken. Blocking: while another of these calls runs, microseconds. Threads: safe from any number at once. Signals: not in a handler.
 *
 * BUSY_OK. BUSY_GIL_OFF: it was not started. BUSY_BAD_OPTION: there is no such GIL or window. BUSY_BAD_SIZE: `totals->size` is not
 * set. BUSY_NULL_POINTER. After these nothing was written.
 */
busy_status busy_gil_snapshot(struct busy_gil_totals *totals,
                              struct busy_gil_thread *threads,
                              size_t capacity,
                              size_t *needed);

/**
 * Begins a stretch that has counts, times and a longest hold and wait of its own, and writes its number to `window`, never
 * 0. At most 16 may be open.
 *
 * GIL: not needed. Blocking: no. Threads: safe from any number at once. Signals: not in a handler.
 *
 * BUSY_OK; BUSY_GIL_OFF: it was not started; BUSY_NO_WINDOWS: all are open; BUSY_NULL_POINTER.
 */
busy_status busy_gil_window_open(uint32_t *window);

/**
 * Ends a stretch. Its number may come again.
 *
 * GIL: not needed. Blocking: no. Threads: safe from any number at once. Signals: not in a handler.
 *
 * BUSY_OK; BUSY_BAD_OPTION: no such window is open.
 */
busy_status busy_gil_window_close(uint32_t window);

/**
 * Writes the words for the latest BUSY_GIL_REFUSED or BUSY_GIL_NOT_HELD of any thread to `text`, ended by NUL and cut to
 * `capacity` bytes; returns the number of bytes that the whole needs, the NUL included: 1 if there was none.
 *
 * NULL: `text` may be NULL if `capacity` is 0. Ownership: `text` stays yours. Blocking: no. Threads: safe from any number at
 * once. Signals: not in a handler.
 */
size_t busy_gil_reason(char *text,
                       size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BUSY_GIL_H */
