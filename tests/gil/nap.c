/* Sleeps for `ns` nanoseconds without a core of its own, and tells how long that was. */
#include <stdint.h>
#include <time.h>

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t nap(uint64_t ns)
{
    uint64_t start = now();
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    nanosleep(&time, NULL);
    return now() - start;
}
