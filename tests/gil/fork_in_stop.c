/* Calls a function in another thread, which needs no GIL, after a given time. */
#include <pthread.h>
#include <time.h>

static int (*function)(void);
static long delay_ns;
static volatile int goes;
static pthread_t thread;

static long now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void *run(void *unused)
{
    long start;

    while (!goes)
        ;
    start = now_ns();
    while (now_ns() - start < delay_ns)
        ;
    function();
    return unused;
}

int prepare(int (*called)(void), long delay)
{
    struct timespec moment = {0, 200000};

    function = called;
    delay_ns = delay;
    goes = 0;
    if (pthread_create(&thread, NULL, run, NULL))
        return 1;
    nanosleep(&moment, NULL);
    return 0;
}

void go(void)
{
    goes = 1;
}

void finish(void)
{
    pthread_join(thread, NULL);
}
