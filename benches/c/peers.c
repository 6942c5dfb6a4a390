/* The peers in C as a shared library. It is called like libbusy: opened with dlopen(), through the same pointer type. */

#include "spin.h"

#include <busy.h>

busy_status clock_loop(uint64_t ns, const busy_wait_options *options, busy_wait_result *result)
{
    (void)options;
    result->count = spin_ns(ns, &result->elapsed_ns);
    return BUSY_OK;
}

/* clock_loop() with a flag that ends it. */
busy_status clock_loop_cancellable(uint64_t ns, const busy_wait_options *options, busy_wait_result *result)
{
    const uint64_t start = monotonic_ns();
    result->count = 0;
    while ((result->elapsed_ns = monotonic_ns() - start) < ns) {
        if (__atomic_load_n(&options->cancel->flag, __ATOMIC_RELAXED))
            return BUSY_CANCELLED;
        result->count++;
    }
    return BUSY_OK;
}

busy_status clock_loop_cancel(busy_cancel *cancel)
{
    __atomic_store_n(&cancel->flag, 1, __ATOMIC_RELAXED);
    return BUSY_OK;
}

/* For ctypes: does the same work as with_lock() and without_lock(), without the conversions of Python objects. */
uint64_t clock_loop_seconds(double seconds)
{
    uint64_t ns;
    return to_nanoseconds(seconds, &ns) < 0 ? UINT64_MAX : spin_seconds_of(ns);
}
