/* Functions that spin, to hold the GIL for a known time, and that sleep, to be called without it. All times are in
   nanoseconds of CLOCK_MONOTONIC. */
#include <stdint.h>
#include <time.h>

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Spins for `ns`. Returns the start, and writes the end to `end`. */
uint64_t hold(uint64_t ns, uint64_t *end)
{
    uint64_t begin = now();

    do
        *end = now();
    while (*end - begin < ns);
    return begin;
}

/* Sleeps for `ns`. Returns the end. */
uint64_t nap(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    nanosleep(&time, NULL);
    return now();
}
