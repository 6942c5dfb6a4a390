/* What a C programmer writes by hand for a busy wait: the yardstick of libbusy and of `import busy`. */

#ifndef SPIN_H
#define SPIN_H

#include <math.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Counts the polls that found time left, as busy_wait_ns() does. */
static inline uint64_t spin_ns(uint64_t ns, uint64_t *elapsed)
{
    const uint64_t start = monotonic_ns();
    uint64_t count = 0;
    while ((*elapsed = monotonic_ns() - start) < ns)
        count++;
    return count;
}

/* Rounded up, as `import busy` does; -1 where that raises. */
static inline int to_nanoseconds(double seconds, uint64_t *ns)
{
    if (!(seconds >= 0 && seconds < 9223372036.0))
        return -1;
    const uint64_t whole = (uint64_t)seconds;
    const double rest = (seconds - (double)whole) * 1e9;
    *ns = whole * 1000000000 + (uint64_t)rest;
    *ns += rest > (double)(uint64_t)rest;
    return 0;
}

/* Zero reads no clock, as in `import busy`, so that the bare call can be timed. */
static inline uint64_t spin_seconds_of(uint64_t ns)
{
    uint64_t elapsed;
    return ns ? spin_ns(ns, &elapsed) : 0;
}

#endif
