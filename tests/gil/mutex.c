/* Preloaded, it learns which mutex belongs to the GIL, and can hold it for a while, as a thread that loses its core inside
   take_gil does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

static pthread_mutex_t *of_gil;

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *deadline)
{
    int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

    *(void **)&next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    __atomic_store_n(&of_gil, mutex, __ATOMIC_RELAXED);
    return next(cond, mutex, deadline);
}

static void sleep_for(long ms)
{
    struct timespec time = {0, 0};

    time.tv_nsec = ms * 1000000;
    nanosleep(&time, NULL);
}

/* Sleeps for `before` milliseconds and then holds the mutex for `ms`. Returns 0 if the mutex is not known yet. */
int hold_mutex(long before, long ms)
{
    pthread_mutex_t *mutex = __atomic_load_n(&of_gil, __ATOMIC_RELAXED);

    if (!mutex)
        return 0;
    sleep_for(before);
    pthread_mutex_lock(mutex);
    sleep_for(ms);
    pthread_mutex_unlock(mutex);
    return 1;
}
