#ifndef BUSY_H
#define BUSY_H

/* Generated from ffi/src by cbindgen; do not edit. `make generate` writes it. */

#include <stddef.h>
#include <stdint.h>

/*
 * busy.h: the C API of libbusy. It offers busy waits, a load of a given size, and the CPU time of threads.
 *
 * These conventions hold for every function of this header, unless the comment of the function states otherwise.
 *
 * Names      All names start with busy_ or BUSY_.
 * Results    A function that can fail returns a busy_status and writes its result through a pointer. It writes the
 *            result only if it returns BUSY_OK or BUSY_CANCELLED. busy_strerror() returns the meaning of a status.
 * Times      Times are in nanoseconds. Only busy_wait() and busy_wait_time() take seconds.
 * Structs    Initialise a struct with its _INIT macro, if it has one. The field `size` shows the library which fields
 *            your header has, so that later versions of the ABI can add fields without breaking your program. If `size`
 *            is smaller than the first version of the struct or greater than 4096, or if a field that the library does
 *            not know is not 0, the function returns BUSY_BAD_SIZE.
 * Ownership  The caller owns all memory that it passes. The library keeps no pointer after the call has returned, and
 *            it returns nothing that the caller must free, except for busy_gil_stalls_open() (busy_gil.h).
 * NULL       If a pointer is NULL, the function returns BUSY_NULL_POINTER, unless its comment gives NULL a meaning.
 * Blocking   "Blocking: no" means that the call neither spins nor sleeps nor waits for a lock.
 * Threads    Any number of threads may call any of the functions at the same time. A call affects other calls only
 *            through memory that both were given, such as a busy_cancel.
 * Signals    A signal handler may call any of the functions except busy_load(). All others leave errno unchanged.
 * Printing   The library never prints.
 * Errors     The library never exits or aborts the process, and it never throws an exception. If it catches a defect of
 *            its own, a function with a status returns BUSY_PANIC, which the lists of the statuses below omit, and
 *            busy_wait() and busy_wait_time() return 0. Only if memory is exhausted, busy_load() and the functions of
 *            busy_gil.h print a message and abort the process.
 * Unloading  dlclose() leaves the library mapped, because it is linked with -z nodelete.
 *
 * To link with the library, use `pkg-config --cflags --libs busy`. To load it at run time, open libbusy.so.1 with
 * dlopen() and call busy_abi_version() before any other function.
 */

/* True if a program built against this header can use a library whose busy_abi_version() returned `version`. */
#define BUSY_ABI_COMPATIBLE(version) \
    ((version) >= (BUSY_ABI_MAJOR << 16 | BUSY_ABI_MINOR) && (version) < (BUSY_ABI_MAJOR + 1) << 16)

/* Initialises a busy_cancel: static busy_cancel cancel = BUSY_CANCEL_INIT; */
#define BUSY_CANCEL_INIT {0}

/* Initialises a busy_wait_options: busy_wait_options options = BUSY_WAIT_OPTIONS_INIT; */
#define BUSY_WAIT_OPTIONS_INIT {sizeof(busy_wait_options), NULL, BUSY_CLOCK_MONOTONIC, 0}

/* Initialises a busy_load_options: busy_load_options options = BUSY_LOAD_OPTIONS_INIT; */
#define BUSY_LOAD_OPTIONS_INIT {sizeof(busy_load_options), NULL, 0.5, 10000000, 1000000000, 1, 0}

/**
 * The major version of the ABI. It grows when a change could break a program that was built against an older header.
 * It is the N of the soname libbusy.so.N.
 */
#define BUSY_ABI_MAJOR 1

/**
 * The minor version of the ABI. It grows when a function, a field of a struct with a `size`, a status or another
 * constant is added, and returns to 0 when BUSY_ABI_MAJOR grows.
 */
#define BUSY_ABI_MINOR 1

/**
 * The package version of this header: BUSY_VERSION_MAJOR.BUSY_VERSION_MINOR.BUSY_VERSION_PATCH. It is for people and for
 * the preprocessor; BUSY_ABI_COMPATIBLE() checks whether a loaded library fits.
 */
#define BUSY_VERSION_MAJOR 0

/**
 * See BUSY_VERSION_MAJOR.
 */
#define BUSY_VERSION_MINOR 1

/**
 * See BUSY_VERSION_MAJOR.
 */
#define BUSY_VERSION_PATCH 0

/**
 * The longest time that busy_wait_ns() and busy_load() accept, in nanoseconds: 2^63 - 1, which is 292 years.
 */
#define BUSY_WAIT_MAX_NS 9223372036854775807

/**
 * Poll CLOCK_MONOTONIC. This is the default, and every system that can build the library has this clock.
 */
#define BUSY_CLOCK_MONOTONIC 0

/**
 * Poll the processor's time stamp counter, and read CLOCK_MONOTONIC to confirm that the time has passed. Like a
 * wait with BUSY_CLOCK_MONOTONIC, such a wait never ends before the time has passed on CLOCK_MONOTONIC, unless it is
 * cancelled; and it ends closer to that time. It requires an x86-64 processor with an invariant time stamp counter; on
 * any other machine the status is BUSY_UNSUPPORTED.
 */
#define BUSY_CLOCK_TSC 1

/**
 * The status that a function returns: BUSY_OK, BUSY_CANCELLED, or the reason why the call failed. A status keeps its
 * number for as long as BUSY_ABI_MAJOR stays the same. Later versions of the ABI may add statuses, so treat an unknown
 * one as a failure.
 */
typedef int32_t busy_status;

/**
 * A flag that ends waits and loads early. The caller owns it: declare it anywhere, initialise it with
 * BUSY_CANCEL_INIT, and keep it alive until every call that uses it has returned. One flag may serve any number of
 * calls. In shared memory, it also serves calls in other processes. Access it only through busy_cancel_set() and
 * busy_cancel_reset().
 *
 * The flag is an atomic variable with relaxed order: it publishes no other memory. If a thread writes data before it
 * sets the flag, and the thread of the cancelled call reads them, the program must synchronise the two itself.
 */
typedef struct busy_cancel {
    uint32_t flag;
} busy_cancel;

/**
 * The options of busy_wait_ns(). Initialise them with BUSY_WAIT_OPTIONS_INIT, then set the fields that you need.
 */
typedef struct busy_wait_options {
    /**
     * sizeof(busy_wait_options); BUSY_WAIT_OPTIONS_INIT sets it.
     */
    size_t size;
    /**
     * The flag that can end the wait early, or NULL for no flag.
     */
    const struct busy_cancel *cancel;
    /**
     * The clock to poll: BUSY_CLOCK_MONOTONIC or BUSY_CLOCK_TSC.
     */
    uint32_t clock;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} busy_wait_options;

/**
 * The result of busy_wait_ns().
 */
typedef struct busy_wait_result {
    /**
     * The number of times that the wait polled a clock and went on because the time had not passed. With
     * BUSY_CLOCK_TSC, the polls of both clocks count.
     */
    uint64_t count;
    /**
     * The length of the wait by CLOCK_MONOTONIC, whichever clock was polled, in nanoseconds: at least the requested
     * time after BUSY_OK, and less than that after BUSY_CANCELLED.
     */
    uint64_t elapsed_ns;
} busy_wait_result;

/**
 * The options of busy_load(). Initialise them with BUSY_LOAD_OPTIONS_INIT (one thread that uses half a core for one
 * second, in periods of 10 ms), then set the fields that you need.
 */
typedef struct busy_load_options {
    /**
     * sizeof(busy_load_options); BUSY_LOAD_OPTIONS_INIT sets it.
     */
    size_t size;
    /**
     * The flag that can end the load early, or NULL for no flag.
     */
    const struct busy_cancel *cancel;
    /**
     * The share of a core that each thread uses, from 0 to 1; both are allowed, and NaN is not.
     */
    double share;
    /**
     * The length of one period of spinning and sleeping, in nanoseconds: from 1 to BUSY_WAIT_MAX_NS. A period of less
     * than 100000 ns is lengthened to 100000 ns. If the duration is not a multiple of it, the last period is cut
     * short, and so is the time that the thread spins in it.
     */
    uint64_t period_ns;
    /**
     * The duration of the load in nanoseconds, from 0 to BUSY_WAIT_MAX_NS, which each thread counts from its own
     * start. If it is 0 and all arguments are valid, the threads are created and end at once, the status is
     * BUSY_OK even if the cancel flag is set, and `share` of the result has no meaning.
     */
    uint64_t duration_ns;
    /**
     * The number of threads that the load creates, from 1 to 4096.
     */
    uint32_t threads;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} busy_load_options;

/**
 * The result of busy_load().
 */
typedef struct busy_load_result {
    /**
     * The time from the creation of the first thread of the load to the end of the last one, in nanoseconds: at least
     * the requested duration after BUSY_OK.
     */
    uint64_t elapsed_ns;
    /**
     * The CPU time that the threads of the load used together, in nanoseconds.
     */
    uint64_t cpu_ns;
    /**
     * The share of a core that the threads of the load used on average: `cpu_ns`, divided by the sum of their run
     * times. The run time of a thread is the time from its own start to its own end.
     */
    double share;
} busy_load_result;

/**
 * The call succeeded.
 */
#define BUSY_OK 0

/**
 * busy_cancel_set() ended the call early, and the result is written; or busy_gil_stalls_stop() ended it, and nothing is
 * written.
 */
#define BUSY_CANCELLED 1

/**
 * A pointer that must not be NULL was NULL.
 */
#define BUSY_NULL_POINTER 2

/**
 * A time is greater than BUSY_WAIT_MAX_NS.
 */
#define BUSY_OUT_OF_RANGE 3

/**
 * The field `size` of a struct has a value that this library does not accept, or a field that this library does not
 * know is not 0. Initialise the struct with its _INIT macro, which sets the size.
 */
#define BUSY_BAD_SIZE 4

/**
 * The calling process has no thread with the given id.
 */
#define BUSY_NO_SUCH_THREAD 5

/**
 * This machine or its operating system does not support the operation.
 */
#define BUSY_UNSUPPORTED 6

/**
 * The library caught a defect of its own, and the call had no effect. Please report it.
 */
#define BUSY_PANIC 7

/**
 * A field of a struct, or an argument, has a value that the function does not accept and for which there is no status
 * of its own.
 */
#define BUSY_BAD_OPTION 8

/**
 * The system could not create a thread.
 */
#define BUSY_NO_THREADS 9

/**
 * The meter of Python's global interpreter lock (GIL; see busy_gil.h) is not running.
 */
#define BUSY_GIL_OFF 10

/**
 * This process has no GIL that can be metered; busy_gil_reason() returns the reason.
 */
#define BUSY_GIL_REFUSED 11

/**
 * The calling thread does not hold the GIL; busy_gil_reason() returns details.
 */
#define BUSY_GIL_NOT_HELD 12

/**
 * There is no address space for another window; see busy_gil_window_open() in busy_gil.h.
 */
#define BUSY_NO_WINDOWS 13

/**
 * The time limit of the call has passed.
 */
#define BUSY_TIMED_OUT 14

#ifdef __cplusplus
extern "C" {
#endif  /* __cplusplus */

/**
 * Returns the ABI version of the loaded library, as `major << 16 | minor`. A program that opens the library at run
 * time calls this function before any other and checks the returned version with BUSY_ABI_COMPATIBLE().
 *
 * Blocking: no.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it.
 * Errors: none.
 */
uint32_t busy_abi_version(void);

/**
 * Returns the package version of the loaded library as text, such as "0.1.0". The text is for people; programs check
 * busy_abi_version().
 *
 * Ownership: the text is static; do not free it.
 * NULL: never returned.
 * Blocking: no.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it.
 * Errors: none.
 */
const char *busy_version(void);

/**
 * Returns the meaning of `status` as a short English text without a full stop.
 *
 * Ownership: the text is static; do not free it.
 * NULL: never returned. An unknown status has a text too.
 * Blocking: no.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it.
 * Errors: none.
 */
const char *busy_strerror(busy_status status);

/**
 * Sets the flag `cancel`. Every wait and every load that uses the flag then ends and returns BUSY_CANCELLED: those
 * that are running, and those that start before the flag is cleared by busy_cancel_reset(). A call whose time has
 * already passed returns BUSY_OK instead, and so does a call with a time of 0. A running wait ends within a few
 * microseconds if it has a CPU; each thread of a running load checks the flag at least every 10 ms. Setting the flag
 * twice is harmless.
 *
 * Ownership: the caller owns `cancel`; see busy_cancel.
 * Blocking: no.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it.
 *
 * Returns:
 * - BUSY_OK: the flag is set.
 * - BUSY_NULL_POINTER: `cancel` is NULL.
 */
busy_status busy_cancel_set(struct busy_cancel *cancel);

/**
 * Clears the flag `cancel`, so that it can serve new calls. Clear it only after every call that uses the flag has
 * returned. If a call has not noticed the flag before it is cleared, that call continues.
 *
 * Ownership: the caller owns `cancel`; see busy_cancel.
 * Blocking: no.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it.
 *
 * Returns:
 * - BUSY_OK: the flag is clear.
 * - BUSY_NULL_POINTER: `cancel` is NULL.
 */
busy_status busy_cancel_reset(struct busy_cancel *cancel);

/**
 * Spins on CLOCK_MONOTONIC for `seconds` seconds, never less, and returns how often it polled the clock and went on
 * because the time had not passed. If `seconds` is 0, it returns 0 at once.
 *
 * It has the name and the arguments of the function of the talk "Global Interpreter Lock, Episode I: Break the Seal"
 * (PyCon APAC 2015, slide 13), but never ends early; busy_wait_time() has the talk's own loop. The talk's call works
 * unchanged: `ctypes.CDLL("libbusy.so.1").busy_wait(ctypes.c_uint(10))`. Without a `restype`, ctypes reads the
 * returned count as a C int, which is too small for long waits. To get the whole count, set `restype` to c_uint64.
 *
 * Blocking: yes; the thread spins until the time has passed. The wait can't be cancelled.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it. A handler that runs during the wait does not end it.
 * Errors: if the library catches a defect of its own, the function returns 0.
 */
uint64_t busy_wait(unsigned int seconds);

/**
 * Reads time(2) in a loop until it returns more than the first reading plus `seconds`, and returns how often it read
 * the clock and went on. This is the loop of the talk (see busy_wait()), for comparing counts with those of the talk.
 *
 * Since time(2) counts whole seconds, the loop takes a time between `seconds` and `seconds + 1` seconds, except for
 * the few milliseconds by which time(2) may lag. It reads the system's clock of the time of day. If that clock is set
 * back meanwhile, the loop takes longer; if it is set forward, the loop ends early. To wait for an exact time, use
 * busy_wait() or busy_wait_ns().
 *
 * Blocking, threads, signals and errors: as for busy_wait().
 */
uint64_t busy_wait_time(unsigned int seconds);

/**
 * Spins on the CPU for `ns` nanoseconds of CLOCK_MONOTONIC, never less unless it is cancelled, and writes the result
 * of the wait to `*result`.
 *
 * - `ns`: the time to wait, from 0 to BUSY_WAIT_MAX_NS. If it is 0 and all arguments are valid, the call returns
 *   BUSY_OK at once, even if the cancel flag is set.
 * - `options`: the clock and the cancel flag, or NULL for the defaults of BUSY_WAIT_OPTIONS_INIT.
 * - `result`: receives the result; must not be NULL.
 *
 * Ownership: the caller owns `options` and `result`; the library does not keep the pointers.
 * Blocking: yes; the thread spins until the time has passed or the cancel flag is set.
 * Threads: any number of threads may call it at the same time. Calls may share their options.
 * Signals: a signal handler may call it. A handler that runs during the wait does not end it, but may set the cancel
 * flag.
 *
 * Returns:
 * - BUSY_OK: the time has passed. `*result` is written.
 * - BUSY_CANCELLED: the cancel flag ended the wait early. `*result` is written.
 * - BUSY_NULL_POINTER: `result` is NULL.
 * - BUSY_OUT_OF_RANGE: `ns` is greater than BUSY_WAIT_MAX_NS.
 * - BUSY_BAD_SIZE: `options->size` is smaller than the first version of the struct or greater than 4096, or `options`
 *   has a nonzero field that this library does not know.
 * - BUSY_BAD_OPTION: `options->clock` is neither BUSY_CLOCK_MONOTONIC nor BUSY_CLOCK_TSC, or `options->reserved` is
 *   not 0.
 * - BUSY_UNSUPPORTED: this machine does not have the clock that `options->clock` selects.
 *
 * After every status except BUSY_OK and BUSY_CANCELLED, the call has not waited and has not written to `*result`.
 */
busy_status busy_wait_ns(uint64_t ns,
                         const struct busy_wait_options *options,
                         struct busy_wait_result *result);

/**
 * Creates threads that each use a given share of a core for a given time, and writes the achieved load to `*result`.
 * In each period, a thread spins until its own CPU clock shows that it has used its share of the time from its start
 * to the end of this period. Then it sleeps until the period ends. So a thread that had no CPU in some periods uses
 * more in the next ones, but makes up for at most 10 periods.
 *
 * The calling thread is not one of these threads; it sleeps until they have ended. They have the signal mask of the
 * calling thread. So they may run the handler of a signal that is sent to the process, unless the calling thread
 * blocks that signal.
 *
 * - `options`: the number of threads, their share of a core, and the duration; must not be NULL.
 * - `result`: receives the result; must not be NULL.
 *
 * Ownership: the caller owns `options` and `result`; the library does not keep the pointers.
 * Blocking: yes; the calling thread sleeps until all threads of the load have ended.
 * Threads: any number of threads may call it at the same time; each call creates threads of its own.
 * Signals: a signal handler must not call it. A handler that runs during the call does not end the load, but may set
 * the cancel flag, which each thread of the load checks at least every 10 ms. It must not leave the call by longjmp()
 * or pthread_exit(). The call may change errno.
 * Cancellation: pthread_cancel() takes effect after the call.
 *
 * Returns:
 * - BUSY_OK: the duration has passed. `*result` is written.
 * - BUSY_CANCELLED: the cancel flag ended the load early. `*result` is written.
 * - BUSY_NULL_POINTER: `options` or `result` is NULL.
 * - BUSY_OUT_OF_RANGE: `period_ns` or `duration_ns` is greater than BUSY_WAIT_MAX_NS.
 * - BUSY_BAD_SIZE: as for busy_wait_ns().
 * - BUSY_BAD_OPTION: `threads` is not from 1 to 4096, `share` is not from 0 to 1, `period_ns` is 0, or `reserved` is
 *   not 0.
 * - BUSY_NO_THREADS: the system could not create a thread. Those that it had created have ended; they may have used
 *   CPU time.
 *
 * When the call has returned, no thread of the load is left, whatever the status. After every status except BUSY_OK
 * and BUSY_CANCELLED, `*result` is not written and, except after BUSY_NO_THREADS, no thread was created.
 */
busy_status busy_load(const struct busy_load_options *options,
                      struct busy_load_result *result);

/**
 * Writes to `*ns` the CPU time that the thread `tid` of the calling process has used since the thread started, in
 * nanoseconds. The value is exact even while the thread is running. The function makes one system call.
 *
 * - `tid`: the thread id, as gettid(2) returns it, converted to uint32_t; 0 is the calling thread.
 * - `ns`: receives the CPU time; must not be NULL.
 *
 * Ownership: the caller owns `ns`.
 * Blocking: no.
 * Threads: any number of threads may call it at the same time.
 * Signals: a signal handler may call it.
 *
 * Returns:
 * - BUSY_OK: `*ns` is written.
 * - BUSY_NULL_POINTER: `ns` is NULL.
 * - BUSY_NO_SUCH_THREAD: the thread has ended, it belongs to another process, or no thread has this id.
 * - BUSY_UNSUPPORTED: the operating system is not Linux, or a seccomp(2) filter forbids clock_gettime(2).
 */
busy_status busy_thread_cpu_ns(uint32_t tid,
                               uint64_t *ns);

#ifdef __cplusplus
}  /* extern "C" */
#endif  /* __cplusplus */

#endif  /* BUSY_H */
