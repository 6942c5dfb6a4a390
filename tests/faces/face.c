/*
 * The C face. Each argument is a request, "case call cancel length". For each request the program prints a reply, "case
 * status elapsed count". cases.txt defines the words of a request, and table.rs those of a reply.
 */
#define _POSIX_C_SOURCE 200809L

#include <busy.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A value that no call writes by chance. */
#define UNTOUCHED UINT64_C(0xa5a5a5a5a5a5a5a5)

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static const char *name(busy_status status)
{
    switch (status) {
    case BUSY_OK: return "ok";
    case BUSY_CANCELLED: return "cancelled";
    case BUSY_NULL_POINTER: return "NULL_POINTER";
    case BUSY_OUT_OF_RANGE: return "OUT_OF_RANGE";
    case BUSY_BAD_SIZE: return "BAD_SIZE";
    case BUSY_UNSUPPORTED: return "UNSUPPORTED";
    case BUSY_PANIC: return "PANIC";
    case BUSY_BAD_OPTION: return "BAD_OPTION";
    case BUSY_NO_THREADS: return "NO_THREADS";
    default: return "unknown";
    }
}

/* Sets the flag once the main thread has used a millisecond of CPU time. Its thread id is the process id. */
static void *cancel_during(void *cancel)
{
    const struct timespec pause = {0, 100000};
    uint64_t start, used;
    if (busy_thread_cpu_ns((uint32_t)getpid(), &start) != BUSY_OK)
        return NULL;
    do
        nanosleep(&pause, NULL);
    while (busy_thread_cpu_ns((uint32_t)getpid(), &used) == BUSY_OK && used < start + 1000000);
    busy_cancel_set(cancel);
    return NULL;
}

static busy_status call(const char *function, uint64_t length, busy_cancel *cancel, uint64_t *elapsed, uint64_t *count)
{
    busy_status status = BUSY_OK;
    if (strcmp(function, "seconds") == 0) {
        *count = busy_wait((unsigned int)length);
    } else if (strcmp(function, "time") == 0) {
        *count = busy_wait_time((unsigned int)length);
    } else if (strcmp(function, "load") == 0) {
        busy_load_options options = BUSY_LOAD_OPTIONS_INIT;
        busy_load_result result = {UNTOUCHED, UNTOUCHED, 0};
        options.cancel = cancel;
        options.duration_ns = length;
        status = busy_load(&options, &result);
        *elapsed = result.elapsed_ns;
        *count = result.cpu_ns;
    } else {
        busy_wait_options options = BUSY_WAIT_OPTIONS_INIT;
        busy_wait_result result = {UNTOUCHED, UNTOUCHED};
        options.cancel = cancel;
        options.clock = strcmp(function, "tsc") == 0 ? BUSY_CLOCK_TSC : BUSY_CLOCK_MONOTONIC;
        status = busy_wait_ns(length, &options, &result);
        *elapsed = result.elapsed_ns;
        *count = result.count;
    }
    return status;
}

static int reply(const char *request)
{
    busy_cancel cancel = BUSY_CANCEL_INIT;
    uint64_t length, requested, before, took, elapsed = UNTOUCHED, count = UNTOUCHED;
    char title[32], function[16], cancel_time[16];
    const char *passed;
    pthread_t canceller;
    busy_status status;
    int in_seconds, during;

    if (sscanf(request, "%31s %15s %15s %" SCNu64, title, function, cancel_time, &length) != 4)
        return 0;
    in_seconds = strcmp(function, "seconds") == 0 || strcmp(function, "time") == 0;
    requested = in_seconds ? length * 1000000000 : length;
    during = strcmp(cancel_time, "during") == 0;
    if (strcmp(cancel_time, "before") == 0)
        busy_cancel_set(&cancel);
    if (during && pthread_create(&canceller, NULL, cancel_during, &cancel) != 0)
        return 0;
    before = monotonic_ns();
    status = call(function, length, &cancel, &elapsed, &count);
    took = monotonic_ns() - before;
    if (during)
        pthread_join(canceller, NULL);

    if (status != BUSY_OK && status != BUSY_CANCELLED) {
        printf("%s %s %s %s\n", title, name(status), elapsed == UNTOUCHED ? "-" : "written",
               count == UNTOUCHED ? "-" : "written");
        return 1;
    }
    /* The talk's functions do not report their duration. */
    if (in_seconds)
        elapsed = took;
    passed = elapsed > took ? "impossible" : elapsed < requested ? "early" : "passed";
    printf("%s %s %s %s\n", title, name(status), passed, count > 0 ? "some" : "none");
    return 1;
}

int main(int argc, char **argv)
{
    int argument;
    /* Ends the process if a wait does not end. */
    alarm(60);
    for (argument = 1; argument < argc; argument++) {
        if (!reply(argv[argument])) {
            fprintf(stderr, "expected \"case call cancel length\", found \"%s\"\n", argv[argument]);
            return 2;
        }
    }
    return 0;
}
