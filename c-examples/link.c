/* Waits on the CPU for a number of microseconds, and prints the result of the wait and the CPU time that it used.
 *
 *     cc link.c $(pkg-config --cflags --libs busy) -Wl,-rpath,$(pkg-config --variable=libdir busy) -o link
 *     ./link 1500
 */

#include <busy.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void check(busy_status status, const char *function)
{
    if (status == BUSY_OK)
        return;
    fprintf(stderr, "link: %s: %s\n", function, busy_strerror(status));
    exit(EXIT_FAILURE);
}

static uint64_t microseconds(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    /* strtoull(3) accepts a minus sign and negates the number, so check that the first character is a digit. */
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || number > BUSY_WAIT_MAX_NS / 1000) {
        fprintf(stderr, "link: expected a whole number of microseconds up to %" PRIu64 ", found \"%s\"\n",
                (uint64_t)BUSY_WAIT_MAX_NS / 1000, text);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    uint64_t requested_us = microseconds(argc > 1 ? argv[1] : "1000");

    busy_wait_result result;
    uint64_t before, after;
    check(busy_thread_cpu_ns(0, &before), "busy_thread_cpu_ns");
    check(busy_wait_ns(requested_us * 1000, NULL, &result), "busy_wait_ns");
    check(busy_thread_cpu_ns(0, &after), "busy_thread_cpu_ns");

    printf("requested  %12" PRIu64 " ns\n", requested_us * 1000);
    printf("elapsed    %12" PRIu64 " ns\n", result.elapsed_ns);
    /* Close to the elapsed time if the thread had a CPU to itself, and less if it shared one. */
    printf("cpu        %12" PRIu64 " ns\n", after - before);
    printf("count      %12" PRIu64 " polls of CLOCK_MONOTONIC\n", result.count);
    return 0;
}
