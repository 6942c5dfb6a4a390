#ifndef BUSY_H
#define BUSY_H

/* Generated from ffi/src by cbindgen; do not edit. `make generate` writes it anew. */

#include <stddef.h>
#include <stdint.h>

/*
 * busy: a busy wait that never ends early, a load of a given size, and the CPU time of threads.
 *
 * Names      Everything starts with busy_ or BUSY_.
 * Results    Functions that can fail return a busy_status and write their result through a pointer, which they touch
 *            only on success (and on BUSY_CANCELLED). busy_strerror() has the words.
 * Ownership  The library allocates nothing that you must free, and keeps no pointer beyond the call that it was given in.
 * NULL       Refused with BUSY_NULL_POINTER, unless a comment gives it a meaning.
 * Threads    No function has hidden state: all may be called from any number of threads at once.
 * Prints     Never. Exits, aborts, exceptions: never. A defect inside is caught and becomes BUSY_PANIC.
 * Unloading  dlclose() keeps the library mapped (it is linked with -z nodelete).
 *
 * Link with `pkg-config --cflags --libs busy`, or open libbusy.so.1 by dlopen() and ask busy_abi_version() first.
 */

/* True if the library that answered `version` to busy_abi_version() serves a program built against this header. */
#define BUSY_ABI_COMPATIBLE(version) \
    ((version) >= (BUSY_ABI_MAJOR << 16 | BUSY_ABI_MINOR) && (version) < (BUSY_ABI_MAJOR + 1) << 16)

/* static busy_cancel cancel = BUSY_CANCEL_INIT; */
#define BUSY_CANCEL_INIT {0}

/* busy_wait_options options = BUSY_WAIT_OPTIONS_INIT; */
#define BUSY_WAIT_OPTIONS_INIT {sizeof(busy_wait_options), NULL, BUSY_CLOCK_MONOTONIC, 0}

/* busy_load_options options = BUSY_LOAD_OPTIONS_INIT; */
#define BUSY_LOAD_OPTIONS_INIT {sizeof(busy_load_options), NULL, 0.5, 10000000, 1000000000, 1, 0}

/**
 * Grows when a program built against an older header could break; the N of libbusy.so.N.
 */
#define BUSY_ABI_MAJOR 1

/**
 * Grows when functions, fields or codes are added; 0 again with a new major.
 */
#define BUSY_ABI_MINOR 1

/**
 * The longest wait that busy_wait_ns() takes, in nanoseconds: 2^63 - 1, 292 years.
 */
#define BUSY_WAIT_MAX_NS 9223372036854775807

/**
 * Poll CLOCK_MONOTONIC: everywhere, the default.
 */
#define BUSY_CLOCK_MONOTONIC 0

/**
 * Poll the processor's time stamp counter, and CLOCK_MONOTONIC for the last word: ends closer to the time asked for.
 * x86-64 with an invariant counter; BUSY_UNSUPPORTED elsewhere.
 */
#define BUSY_CLOCK_TSC 1

/**
 * What a function of this library answers: BUSY_OK, or the reason why not. Numbers keep their meaning for as long
 * as BUSY_ABI_MAJOR does; later versions may add codes, so treat an unknown one as a failure.
 */
typedef int32_t busy_status;

/**
 * A flag that ends waits before their time. It is yours: declare it anywhere (also in shared memory), initialise it
 * by BUSY_CANCEL_INIT, and keep it alive until every wait that was given it has returned. One flag may serve many
 * waits. Touch it only through the functions below.
 */
typedef struct busy_cancel {
    uint32_t flag;
} busy_cancel;

/**
 * How a wait is to be done. Initialise it by BUSY_WAIT_OPTIONS_INIT, then set what you need: the size tells the
 * library which fields your header knew, so fields can be added without breaking you.
 */
typedef struct busy_wait_options {
    /**
     * sizeof(busy_wait_options).
     */
    size_t size;
    /**
     * The flag that may end the wait before its time, or NULL for none.
     */
    const struct busy_cancel *cancel;
    /**
     * What to poll: BUSY_CLOCK_MONOTONIC or BUSY_CLOCK_TSC.
     */
    uint32_t clock;
    /**
     * 0.
     */
    uint32_t reserved;
} busy_wait_options;

/**
 * What a wait did.
 */
typedef struct busy_wait_result {
    /**
     * Polls of the clock that found time left.
     */
    uint64_t count;
    /**
     * Nanoseconds from the first poll to the last: at least what was asked for, unless cancelled.
     */
    uint64_t elapsed_ns;
} busy_wait_result;

/**
 * A load. Initialise it by BUSY_LOAD_OPTIONS_INIT (one thread, half a core, periods of 10 ms, one second), then set
 * what you need.
 */
typedef struct busy_load_options {
    /**
     * sizeof(busy_load_options).
     */
    size_t size;
    /**
     * The flag that may end the load before its time, or NULL for none.
     */
    const struct busy_cancel *cancel;
    /**
     * What each thread uses of a core, 0 to 1.
     */
    double share;
    /**
     * How long one round of spinning and sleeping takes, in nanoseconds, more than 0; under 100000 it counts as 100000.
     */
    uint64_t period_ns;
    /**
     * How long all goes on, in nanoseconds, up to BUSY_WAIT_MAX_NS.
     */
    uint64_t duration_ns;
    /**
     * How many threads, 1 to 4096.
     */
    uint32_t threads;
    /**
     * 0.
     */
    uint32_t reserved;
} busy_load_options;

/**
 * What a load achieved.
 */
typedef struct busy_load_result {
    /**
     * Nanoseconds from the first thread's start to the last one's end.
     */
    uint64_t elapsed_ns;
    /**
     * CPU time of all threads together, in nanoseconds.
     */
    uint64_t cpu_ns;
    /**
     * What the threads used of a core, on average.
     */
    double share;
} busy_load_result;

/**
 * Done as asked.
 */
#define BUSY_OK 0

/**
 * The wait was ended by busy_cancel_set(). The result is filled all the same.
 */
#define BUSY_CANCELLED 1

/**
 * A pointer that must not be NULL was NULL.
 */
#define BUSY_NULL_POINTER 2

/**
 * A number is larger than the function's comment allows.
 */
#define BUSY_OUT_OF_RANGE 3

/**
 * The `size` of an options struct is none that this library knows: set it by the struct's _INIT macro.
 */
#define BUSY_BAD_SIZE 4

/**
 * The calling process has no thread of that id.
 */
#define BUSY_NO_SUCH_THREAD 5

/**
 * This operating system does not offer it.
 */
#define BUSY_UNSUPPORTED 6

/**
 * A defect inside libbusy was caught at its boundary; nothing was done. Please report it.
 */
#define BUSY_PANIC 7

/**
 * A field of an options struct has a value that it can't have.
 */
#define BUSY_BAD_OPTION 8

/**
 * The system gives no more threads.
 */
#define BUSY_NO_THREADS 9

/**
 * The GIL meter is not running.
 */
#define BUSY_GIL_OFF 10

/**
 * There is no GIL here that can be metered; busy_gil_reason() says why.
 */
#define BUSY_GIL_REFUSED 11

/**
 * The calling thread does not hold the GIL.
 */
#define BUSY_GIL_NOT_HELD 12

/**
 * All windows of the GIL meter are open.
 */
#define BUSY_NO_WINDOWS 13

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI of the library that was loaded, as `major << 16 | minor`. Ask it before any other call when the library
 * was found at run time, and hold it against the header by BUSY_ABI_COMPATIBLE().
 *
 * Blocking: no. Threads, signals: safe from any thread and from a signal handler. Errors: none.
 */
uint32_t busy_abi_version(void);

/**
 * The release of the library that was loaded, such as "0.1.0". For people; programs ask busy_abi_version().
 *
 * Ownership: static text, never freed. NULL: never returned. Blocking: no. Threads, signals: safe from any thread
 * and from a signal handler.
 */
const char *busy_version(void);

/**
 * The meaning of a status, in a short English sentence without a full stop.
 *
 * Ownership: static text, never freed. NULL: never returned, an unknown status gets a text too. Blocking: no.
 * Threads, signals: safe from any thread and from a signal handler.
 */
const char *busy_strerror(busy_status status);

/**
 * Ends every wait that was given `cancel`, running or to come, with BUSY_CANCELLED: a running one within a
 * few microseconds, if it has a CPU.
 *
 * NULL: BUSY_NULL_POINTER. Blocking: no. Threads, signals: safe from any thread and from a signal handler; setting
 * it twice does no harm.
 */
busy_status busy_cancel_set(struct busy_cancel *cancel);

/**
 * Makes `cancel` ready for new waits. Call it only after the waits that it cancelled have returned, or they may go on.
 *
 * NULL: BUSY_NULL_POINTER. Blocking: no. Threads, signals: safe from any thread and from a signal handler.
 */
busy_status busy_cancel_reset(struct busy_cancel *cancel);

/**
 * Spins on CLOCK_MONOTONIC for `seconds`, never less, and returns how many polls found time left. Prints nothing.
 * The symbol of the talk (slide 13): `ctypes.CDLL("libbusy.so.1").busy_wait(ctypes.c_uint(10))` works as it did.
 *
 * Blocking: for the whole time, on the CPU; it can't be cancelled. Threads: safe from any number at once. Signals:
 * handlers run during it and do not end it; itself safe in a handler. Errors: none.
 */
uint64_t busy_wait(unsigned int seconds);

/**
 * The talk's own loop, for counts like with like: counts how often time(2) can be read until more than `seconds`
 * whole seconds have passed. So it runs anything from `seconds` to `seconds + 1` seconds, and longer if the clock
 * is set back meanwhile. To wait for an exact time, take busy_wait() or busy_wait_ns().
 *
 * Blocking, threads, signals, errors: as busy_wait().
 */
uint64_t busy_wait_time(unsigned int seconds);

/**
 * Spins on the CPU for `ns` nanoseconds of CLOCK_MONOTONIC, never less, and writes to `result` what it did. 0 returns at once.
 *
 * `options`: NULL for the defaults. `result`: must not be NULL. Ownership: both stay yours, and are not kept.
 * Blocking: for the whole time, on the CPU, or until the options' cancel flag is set. Threads: safe from any number
 * at once. Signals: handlers run during it and do not end it (but may set the flag); itself safe in a handler.
 *
 * BUSY_OK: the time has passed. BUSY_CANCELLED: it was ended by the flag; the result is filled. BUSY_NULL_POINTER:
 * `result` is NULL. BUSY_OUT_OF_RANGE: `ns` is over BUSY_WAIT_MAX_NS. BUSY_BAD_SIZE: `options->size` is smaller than
 * any version's or over 4096, or fields that this library does not know are set. BUSY_BAD_OPTION: `options->clock` is no
 * clock, or `reserved` is set. BUSY_UNSUPPORTED: this machine has not got that clock. After these nothing was waited or
 * written.
 */
busy_status busy_wait_ns(uint64_t ns,
                         const struct busy_wait_options *options,
                         struct busy_wait_result *result);

/**
 * Uses a given share of a core in each of some threads of its own, and writes to `result` what was achieved. Each
 * thread spins until its own CPU clock says that its share of the period is used, then sleeps until the period ends.
 *
 * Ownership: both stay yours, and are not kept. Blocking: until all threads have ended. Threads: safe from any number
 * at once. Signals: handlers run during it and do not end it (but may set the flag, which is looked at every 10 ms);
 * not to be called in a handler.
 *
 * BUSY_OK: the time has passed. BUSY_CANCELLED: it was ended by the flag; the result is filled. BUSY_NULL_POINTER: one
 * of the two is NULL. BUSY_OUT_OF_RANGE: the period or the duration is over BUSY_WAIT_MAX_NS. BUSY_BAD_SIZE: as of
 * busy_wait_ns(). BUSY_BAD_OPTION: no thread or too many, no period, a share that is not from 0 to 1, or `reserved` is set.
 * BUSY_NO_THREADS: the system gives no more. After all but the first two nothing is left running and nothing was written.
 */
busy_status busy_load(const struct busy_load_options *options,
                      struct busy_load_result *result);

/**
 * Writes to `ns` the CPU time that thread `tid` of the calling process has used since its start, in nanoseconds,
 * exact also while it runs. `tid` is what gettid(2) returns; 0 is the calling thread. Costs one system call.
 *
 * Ownership: `ns` stays yours. Blocking: no. Threads, signals: safe from any thread and from a signal handler.
 *
 * BUSY_OK; BUSY_NULL_POINTER: `ns` is NULL; BUSY_NO_SUCH_THREAD: the thread has ended, or is another process's;
 * BUSY_UNSUPPORTED: not on Linux.
 */
busy_status busy_thread_cpu_ns(uint32_t tid,
                               uint64_t *ns);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BUSY_H */
