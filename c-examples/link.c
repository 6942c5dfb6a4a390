/* Waits on the CPU for some microseconds, and prints what the wait did and what it cost.
 *
 *     cc link.c $(pkg-config --cflags --libs busy) -Wl,-rpath,$(pkg-config --variable=libdir busy) -o link
 *     ./link 1500
 */

#include <busy.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void demand(busy_status status, const char *what)
{
    if (status == BUSY_OK)
        return;
    fprintf(stderr, "link: %s: %s\n", what, busy_strerror(status));
    exit(EXIT_FAILURE);
}

static uint64_t microseconds(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    /* strtoull(3) takes a minus sign and wraps it round, so the first character must be a digit. */
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || number > BUSY_WAIT_MAX_NS / 1000) {
        fprintf(stderr, "link: expected whole microseconds up to %" PRIu64 ", found \"%s\"\n",
                (uint64_t)BUSY_WAIT_MAX_NS / 1000, text);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    uint64_t asked = microseconds(argc > 1 ? argv[1] : "1000");

    busy_wait_result result;
    uint64_t before, after;
    demand(busy_thread_cpu_ns(0, &before), "busy_thread_cpu_ns");
    demand(busy_wait_ns(asked * 1000, NULL, &result), "busy_wait_ns");
    demand(busy_thread_cpu_ns(0, &after), "busy_thread_cpu_ns");

    printf("asked    %12" PRIu64 " ns\n", asked * 1000);
    printf("elapsed  %12" PRIu64 " ns\n", result.elapsed_ns);
    /* About as much as elapsed if the thread had a CPU to itself, less if it had to share one. */
    printf("cpu      %12" PRIu64 " ns\n", after - before);
    printf("count    %12" PRIu64 " polls of CLOCK_MONOTONIC\n", result.count);
    return 0;
}
