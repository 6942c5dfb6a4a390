/* Several threads wait for ten seconds each. After 20 ms, one flag ends all the waits.
 *
 *     cc threads.c $(pkg-config --cflags --libs busy) -Wl,-rpath,$(pkg-config --variable=libdir busy) -pthread -o threads
 *     ./threads
 */

#define _POSIX_C_SOURCE 200809L /* declares clock_gettime(2) and nanosleep(2) despite -std=c11 */

#include <busy.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4 };

struct waiter {
    pthread_t thread;
    busy_status status;
    busy_wait_result result;
    uint64_t returned_ns;
    busy_status cpu_status;
    uint64_t cpu_ns;
};

/* Static, so that it outlives every wait that uses it. */
static busy_cancel cancel = BUSY_CANCEL_INIT;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *wait_ten_seconds(void *argument)
{
    struct waiter *waiter = argument;

    busy_wait_options options = BUSY_WAIT_OPTIONS_INIT;
    options.cancel = &cancel;
    waiter->status = busy_wait_ns(10000000000, &options, &waiter->result);
    waiter->returned_ns = now_ns();

    /* 0 is the calling thread. Other threads of the process could pass the gettid(2) of this thread instead. */
    waiter->cpu_status = busy_thread_cpu_ns(0, &waiter->cpu_ns);
    return NULL;
}

static void check(int error, const char *function)
{
    if (error == 0)
        return;
    fprintf(stderr, "threads: %s: %s\n", function, strerror(error));
    exit(EXIT_FAILURE);
}

int main(void)
{
    struct waiter waiters[THREADS];
    for (int i = 0; i < THREADS; i++)
        check(pthread_create(&waiters[i].thread, NULL, wait_ten_seconds, &waiters[i]), "pthread_create");

    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    uint64_t cancelled_ns = now_ns();
    busy_cancel_set(&cancel); /* fails only for NULL */

    int as_expected = 1;
    for (int i = 0; i < THREADS; i++) {
        struct waiter *waiter = &waiters[i];
        check(pthread_join(waiter->thread, NULL), "pthread_join");
        printf("thread %d: %s", i, busy_strerror(waiter->status));
        /* If there are more threads than CPUs, a thread that is not running now sees the flag when it runs next. */
        printf(", %" PRId64 " ns after the flag was set", (int64_t)(waiter->returned_ns - cancelled_ns));
        if (waiter->cpu_status == BUSY_OK)
            printf("; used %" PRIu64 " ns of CPU in %" PRIu64 " ns\n", waiter->cpu_ns, waiter->result.elapsed_ns);
        else
            printf("; CPU time: %s\n", busy_strerror(waiter->cpu_status));
        as_expected = as_expected && waiter->status == BUSY_CANCELLED;
    }
    return as_expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
