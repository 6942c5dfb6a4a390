#ifndef BUSY_H
#define BUSY_H

/* Generated from ffi/src by cbindgen; do not edit. `make generate` writes it. */

#include <stddef.h>
#include <stdint.h>

/*
 * busy.h: the C API of libbusy. It offers a busy wait that never ends early, a load of a given size, and the CPU time
 * of threads.
 *
 * These conventions hold for every function, unless the comment of the function states otherwise.
 *
 * Names      All names start with busy_ or BUSY_.
 * Results    A function that can fail returns a busy_status and writes its result through a pointer. It writes the
 *            result only if it returns BUSY_OK or BUSY_CANCELLED. busy_strerror() returns the meaning of a status.
 * Times      Times are in nanoseconds. Only busy_wait() and busy_wait_time() take seconds.
 * Ownership  The caller owns all memory that it passes. The library keeps no pointer after the call has returned, and
 *            it returns nothing that the caller must free.
 * NULL       If a pointer is NULL, the function returns BUSY_NULL_POINTER, unless its comment gives NULL a meaning.
 * Threads    The functions share no hidden state. Any number of threads may call any of them at the same time.
 * Signals    All functions except busy_load() are safe to call from a signal handler.
 * Printing   The library never prints.
 * Errors     The library never exits or aborts the process, and it never throws an exception. If it catches a defect of
 *            its own, the function returns BUSY_PANIC, or 0 if its result is a count.
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
 * The minor version of the ABI. It grows when functions, fields or statuses are added, and returns to 0 when
 * BUSY_ABI_MAJOR grows.
 */
#define BUSY_ABI_MINOR 1

/**
 * The longest duration that busy_wait_ns() and busy_load() accept, in nanoseconds: 2^63 - 1, which is 292 years.
 */
#define BUSY_WAIT_MAX_NS 9223372036854775807

/**
 * Poll CLOCK_MONOTONIC. This clock is the default, and every platform has it.
 */
#define BUSY_CLOCK_MONOTONIC 0

/**
 * Poll the processor's time stamp counter, and read CLOCK_MONOTONIC to confirm that the time has passed. The wait
 * never ends early, and it ends closer to the requested time than with BUSY_CLOCK_MONOTONIC. It requires an x86-64
 * processor with an invariant time stamp counter; on any other machine the status is BUSY_UNSUPPORTED.
 */
#define BUSY_CLOCK_TSC 1

/**
 * The status that a function returns: BUSY_OK, or the reason why it did not succeed. A status keeps its number for as
 * long as BUSY_ABI_MAJOR stays the same. Later versions may add statuses, so treat an unknown one as a failure.
 */
typedef int32_t busy_status;

/**
 * A flag that ends waits and loads early. The caller owns it: declare it anywhere (also in shared memory), initialise
 * it with BUSY_CANCEL_INIT, and keep it alive until every call that uses it has returned. One flag may serve any
 * number of calls. Access it only through busy_cancel_set() and busy_cancel_reset().
 */
typedef struct busy_cancel {
    uint32_t flag;
} busy_cancel;

/**
 * The options of busy_wait_ns(). Initialise them with BUSY_WAIT_OPTIONS_INIT, then set the fields that you need. The
 * field `size` shows the library which fields your header has, so later versions can add fields without breaking your
 * program.
 */
typedef struct busy_wait_options {
    /**
     * sizeof(busy_wait_options).
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
     * The number of polls of the clock that found time left.
     */
    uint64_t count;
    /**
     * The time from the first poll to the last, in nanoseconds: at least the requested time, unless the wait was
     * cancelled.
     */
    uint64_t elapsed_ns;
} busy_wait_result;

/**
 * The options of busy_load(). Initialise them with BUSY_LOAD_OPTIONS_INIT (one thread that uses half a core for one
 * second, in periods of 10 ms), then set the fields that you need.
 */
typedef struct busy_load_options {
    /**
     * sizeof(busy_load_options).
     */
    size_t size;
    /**
     * The flag that can end the load early, or NULL for no flag.
     */
    const struct busy_cancel *cancel;
    /**
     * The share of a core that each thread uses, from 0 to 1.
     */
    double share;
    /**
     * The length of one period of spinning and sleeping, in nanoseconds: from 1 to BUSY_WAIT_MAX_NS. A period under
     * 100000 counts as 100000.
     */
    uint64_t period_ns;
    /**
     * The total duration in nanoseconds, at most BUSY_WAIT_MAX_NS.
     */
    uint64_t duration_ns;
    /**
     * The number of threads, from 1 to 4096.
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
     * The time from the start of the first thread to the end of the last one, in nanoseconds.
     */
    uint64_t elapsed_ns;
    /**
     * The CPU time that all threads together used, in nanoseconds.
     */
    uint64_t cpu_ns;
    /**
     * The share of a core that each thread used, on average.
     */
    double share;
} busy_load_result;

/**
 * The call succeeded.
 */
#define BUSY_OK 0

/**
 * busy_cancel_set() ended the call early. The result is still written.
 */
#define BUSY_CANCELLED 1

/**
 * A pointer that must not be NULL was NULL.
 */
#define BUSY_NULL_POINTER 2

/**
 * A number is greater than the maximum that the function accepts.
 */
#define BUSY_OUT_OF_RANGE 3

/**
 * The field `size` of a struct has a value that this library does not accept, or the struct sets a field that this
 * library does not know. Initialise the struct with its _INIT macro, which sets the size.
 */
#define BUSY_BAD_SIZE 4

/**
 * The calling process has no thread with this id.
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
 * A field of a struct, or an argument, has a value that the function does not accept.
 */
#define BUSY_BAD_OPTION 8

/**
 * The system could not create a thread.
 */
#define BUSY_NO_THREADS 9

/**
 * The GIL meter is not running.
 */
#define BUSY_GIL_OFF 10

/**
 * This process has no GIL that can be metered; busy_gil_reason() returns the reason.
 */
#define BUSY_GIL_REFUSED 11

/**
 * The calling thread does not hold the GIL.
 */
#define BUSY_GIL_NOT_HELD 12

/**
 * There is no address space for another window of the GIL meter.
 */
#define BUSY_NO_WINDOWS 13

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the ABI version of the loaded library, as `major << 16 | minor`. A program that opens the library at run
 * time calls this function before any other and checks the result with BUSY_ABI_COMPATIBLE().
 *
 * Blocking: no.
 * Threads and signals: safe to call from any thread and from a signal handler.
 * Errors: none.
 */
uint32_t busy_abi_version(void);

/**
 * Returns the release of the loaded library as text, such as "0.1.0". The text is for people; programs check
 * busy_abi_version().
 *
 * Ownership: the text is static; do not free it.
 * NULL: never returned.
 * Blocking: no.
 * Threads and signals: safe to call from any thread and from a signal handler.
 * Errors: none.
 */
const char *busy_version(void);

/**
 * Returns the meaning of `status` as a short English text without a full stop.
 *
 * Ownership: the text is static; do not free it.
 * NULL: never returned. An unknown status has a text too.
 * Blocking: no.
 * Threads and signals: safe to call from any thread and from a signal handler.
 * Errors: none.
 */
const char *busy_strerror(busy_status status);

/**
 * Sets the flag `cancel`. This ends every wait and every load that uses the flag with BUSY_CANCELLED: those that are
 * running, and those that start later. Only a call whose time has already passed returns BUSY_OK. A running wait
 * returns within a few microseconds if it has a CPU; a running load checks the flag every 10 ms. Setting the flag
 * twice is harmless.
 *
 * Ownership: the caller owns `cancel`; see busy_cancel.
 * Blocking: no.
 * Threads and signals: safe to call from any thread and from a signal handler.
 *
 * Returns:
 * - BUSY_OK: the flag is set.
 * - BUSY_NULL_POINTER: `cancel` is NULL.
 */
busy_status busy_cancel_set(struct busy_cancel *cancel);

/**
 * Clears the flag `cancel`, so that it can serve new calls. Clear it only after all calls that it cancelled have
 * returned; otherwise they may continue.
 *
 * Ownership: the caller owns `cancel`; see busy_cancel.
 * Blocking: no.
 * Threads and signals: safe to call from any thread and from a signal handler.
 *
 * Returns:
 * - BUSY_OK: the flag is clear.
 * - BUSY_NULL_POINTER: `cancel` is NULL.
 */
busy_status busy_cancel_reset(struct busy_cancel *cancel);

/**
 * Spins on CLOCK_MONOTONIC for `seconds` seconds, never less, and returns the number of polls that found time left.
 *
 * This is the function of the talk "Global Interpreter Lock, Episode I: Break the Seal" (PyCon APAC 2015, slide 13).
 * The talk's call works unchanged: `ctypes.CDLL("libbusy.so.1").busy_wait(ctypes.c_uint(10))`.
 *
 * Blocking: on the CPU, until the time has passed. The wait can't be cancelled.
 * Threads: safe to call from any number of threads at once.
 * Signals: safe to call from a signal handler. A handler that runs during the wait does not end it.
 * Errors: none.
 */
uint64_t busy_wait(unsigned int seconds);

/**
 * Reads time(2) in a loop until more than `seconds` whole seconds have passed, and returns the number of reads that
 * found time left. This is the loop of the talk (see busy_wait()), for comparing counts with those of the talk.
 *
 * The loop takes between `seconds` and `seconds + 1` seconds, and longer if the clock is set back meanwhile. To wait
 * for an exact time, use busy_wait() or busy_wait_ns().
 *
 * Blocking, threads, signals and errors: as for busy_wait().
 */
uint64_t busy_wait_time(unsigned int seconds);

/**
 * Spins on the CPU for `ns` nanoseconds of CLOCK_MONOTONIC, never less, and writes the result of the wait to
 * `*result`.
 *
 * - `ns`: the time to wait, at most BUSY_WAIT_MAX_NS. If it is 0, the call returns at once.
 * - `options`: the clock and the cancel flag, or NULL for the defaults of BUSY_WAIT_OPTIONS_INIT.
 * - `result`: receives the result; must not be NULL.
 *
 * Ownership: the caller owns `options` and `result`; the library does not keep the pointers.
 * Blocking: on the CPU, until the time has passed or the cancel flag is set.
 * Threads: safe to call from any number of threads at once.
 * Signals: safe to call from a signal handler. A handler that runs during the wait does not end it, but may set the
 * cancel flag.
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
 * Runs threads that each use a given share of a core, and writes the achieved load to `*result`. In each period, a
 * thread spins until its own CPU clock shows that it has used its share of the period. Then it sleeps until the period
 * ends.
 *
 * - `options`: the number of threads, their share of a core, and the duration; must not be NULL.
 * - `result`: receives the result; must not be NULL.
 *
 * Ownership: the caller owns `options` and `result`; the library does not keep the pointers.
 * Blocking: until all threads of the load have ended.
 * Threads: safe to call from any number of threads at once.
 * Signals: not safe to call from a signal handler. A handler that runs during the call does not end the load, but may
 * set the cancel flag, which the load checks every 10 ms.
 *
 * Returns:
 * - BUSY_OK: the time has passed. `*result` is written.
 * - BUSY_CANCELLED: the cancel flag ended the load early. `*result` is written.
 * - BUSY_NULL_POINTER: `options` or `result` is NULL.
 * - BUSY_OUT_OF_RANGE: `period_ns` or `duration_ns` is greater than BUSY_WAIT_MAX_NS.
 * - BUSY_BAD_SIZE: as for busy_wait_ns().
 * - BUSY_BAD_OPTION: `threads` is not from 1 to 4096, `share` is not from 0 to 1, `period_ns` is 0, or `reserved` is
 *   not 0.
 * - BUSY_NO_THREADS: the system could not create a thread.
 *
 * After every status except BUSY_OK and BUSY_CANCELLED, no thread of the load is left and `*result` is not written.
 */
busy_status busy_load(const struct busy_load_options *options,
                      struct busy_load_result *result);

/**
 * Writes to `*ns` the CPU time that the thread `tid` of the calling process has used since the thread started, in
 * nanoseconds. The value is exact even while the thread is running. The function makes one system call.
 *
 * - `tid`: the thread id, as gettid(2) returns it; 0 is the calling thread.
 * - `ns`: receives the CPU time.
 *
 * Ownership: the caller owns `ns`.
 * Blocking: no.
 * Threads and signals: safe to call from any thread and from a signal handler.
 *
 * Returns:
 * - BUSY_OK: `*ns` is written.
 * - BUSY_NULL_POINTER: `ns` is NULL.
 * - BUSY_NO_SUCH_THREAD: the thread has ended, or it belongs to another process.
 * - BUSY_UNSUPPORTED: the operating system is not Linux.
 */
busy_status busy_thread_cpu_ns(uint32_t tid,
                               uint64_t *ns);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BUSY_H */
