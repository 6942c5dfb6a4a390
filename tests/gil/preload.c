/* A library for LD_PRELOAD that counts every pthread_cond_signal and sem_post. VERSIONED gives them glibc's versions. */
#define _GNU_SOURCE
#include <dlfcn.h>

static unsigned long calls;

static int counted(const char *name, const char *version, void *object) {
    int (*next)(void *);
    *(void **)&next = dlvsym(RTLD_NEXT, name, version);
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    return next(object);
}

#ifdef VERSIONED
int preloaded_signal(void *cond) { return counted("pthread_cond_signal", "GLIBC_2.3.2", cond); }
int preloaded_post(void *semaphore) { return counted("sem_post", "GLIBC_2.2.5", semaphore); }
int preloaded_older_post(void *semaphore) { return counted("sem_post", "GLIBC_2.2.5", semaphore); }
__asm__(".symver preloaded_signal, pthread_cond_signal@@GLIBC_2.3.2");
__asm__(".symver preloaded_post, sem_post@@GLIBC_2.34");
__asm__(".symver preloaded_older_post, sem_post@GLIBC_2.2.5");
#else
int pthread_cond_signal(void *cond) { return counted("pthread_cond_signal", "GLIBC_2.3.2", cond); }
int sem_post(void *semaphore) { return counted("sem_post", "GLIBC_2.2.5", semaphore); }
#endif

unsigned long preloaded_calls(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }
