/* Preloaded, it makes the dynamic linker take 3 ms to bind pthread_cond_timedwait at its first call, as if the calling
   thread lost its core meanwhile: the linker calls choose() in order to learn the function (STT_GNU_IFUNC). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

typedef int timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static timedwait *choose(void)
{
    struct timespec time = {0, 3000000};

    nanosleep(&time, NULL);
    return __extension__(timedwait *) dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
}

int pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *)
    __attribute__((ifunc("choose")));

static void *take_gil(void *delay)
{
    struct timespec time = {0, (long)delay};
    int (*ensure)(void) = __extension__(int (*)(void)) dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    void (*release)(int) = __extension__(void (*)(int)) dlsym(RTLD_DEFAULT, "PyGILState_Release");

    nanosleep(&time, NULL);
    release(ensure());
    return NULL;
}

/* Starts a thread that takes the GIL after `ns` nanoseconds. Returns it, or 0. */
unsigned long begin(long ns)
{
    pthread_t thread;

    return pthread_create(&thread, NULL, take_gil, (void *)ns) ? 0 : thread;
}

void join(unsigned long thread)
{
    pthread_join(thread, NULL);
}
