/*
 * The C face. Each argument is a question, "case call cancel length"; each gets an answer, "case status elapsed count".
 * cases.txt says what the words mean.
 */
#define _POSIX_C_SOURCE 200809L

#include <busy.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What no call writes by chance. */
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

/* Sets the flag once the main thread, whose id is the process's, has used a millisecond of CPU time. */
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

static busy_status call(const char *what, uint64_t length, busy_cancel *cancel, uint64_t *elapsed, uint64_t *count)
{
    busy_status status = BUSY_OK;
    if (strcmp(what, "seconds") == 0) {
        *count = busy_wait((unsigned int)length);
    } else if (strcmp(what, "time") == 0) {
        *count = busy_wait_time((unsigned int)length);
    } else if (strcmp(what, "load") == 0) {
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
        options.clock = strcmp(what, "tsc") == 0 ? BUSY_CLOCK_TSC : BUSY_CLOCK_MONOTONIC;
        status = busy_wait_ns(length, &options, &result);
        *elapsed = result.elapsed_ns;
        *count = result.count;
    }
    return status;
}

static int answer(const char *question)
{
    busy_cancel cancel = BUSY_CANCEL_INIT;
    uint64_t length, asked, before, took, elapsed = UNTOUCHED, count = UNTOUCHED;
    char title[32], what[16], how[16];
    const char *passed;
    pthread_t canceller;
    busy_status status;
    int in_seconds, during;

    if (sscanf(question, "%31s %15s %15s %" SCNu64, title, what, how, &length) != 4)
        return 0;
    in_seconds = strcmp(what, "seconds") == 0 || strcmp(what, "time") == 0;
    asked = in_seconds ? length * 1000000000 : length;
    during = strcmp(how, "during") == 0;
    if (strcmp(how, "before") == 0)
        busy_cancel_set(&cancel);
    if (during && pthread_create(&canceller, NULL, cancel_during, &cancel) != 0)
        return 0;
    before = monotonic_ns();
    status = call(what, length, &cancel, &elapsed, &count);
    took = monotonic_ns() - before;
    if (during)
        pthread_join(canceller, NULL);

    if (status != BUSY_OK && status != BUSY_CANCELLED) {
        printf("%s %s %s %s\n", title, name(status), elapsed == UNTOUCHED ? "-" : "written",
               count == UNTOUCHED ? "-" : "written");
        return 1;
    }
    /* The talk's functions do not report how long they took. */
    if (in_seconds)
        elapsed = took;
    passed = elapsed > took ? "impossible" : elapsed < asked ? "early" : "passed";
    printf("%s %s %s %s\n", title, name(status), passed, count > 0 ? "some" : "none");
    return 1;
}

int main(int argc, char **argv)
{
    int argument;
    /* Ends the process also if a wait does not end. */
    alarm(60);
    for (argument = 1; argument < argc; argument++) {
        if (!answer(argv[argument])) {
            fprintf(stderr, "expected \"case call cancel length\", found \"%s\"\n", argv[argument]);
            return 2;
        }
    }
    return 0;
}
