/* A busy wait as a C programmer writes it by hand, with which libbusy and `import busy` are compared. */

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

/* Counts the polls before the end of the wait, as busy_wait_ns() does. */
static inline uint64_t spin_ns(uint64_t ns, uint64_t *elapsed)
{
    const uint64_t start = monotonic_ns();
    uint64_t count = 0;
    while ((*elapsed = monotonic_ns() - start) < ns)
        count++;
    return count;
}

/* Rounds up, as `import busy` does. Returns -1 if `import busy` would raise. */
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

/* Does not read the clock if `ns` is zero, like `import busy`, so that the bare call can be timed. */
static inline uint64_t spin_seconds_of(uint64_t ns)
{
    uint64_t elapsed;
    return ns ? spin_ns(ns, &elapsed) : 0;
}

#endif
