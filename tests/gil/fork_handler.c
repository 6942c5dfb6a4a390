/* A library whose handler of pthread_atfork(3) acquires the GIL, as one does that locks Python objects around a fork. */
#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*ensure)(void);
static void (*release)(int);
static volatile int forked;

static void before(void)
{
    release(ensure());
}

static void *fork_often(void *unused)
{
    int forks;

    for (forks = 0; forks < 100; forks++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    forked = 1;
    return unused;
}

int begin(int (*ensure_gil)(void), void (*release_gil)(int))
{
    pthread_t thread;

    ensure = ensure_gil;
    release = release_gil;
    return pthread_atfork(before, NULL, NULL) || pthread_create(&thread, NULL, fork_often, NULL) ||
           pthread_detach(thread);
}

int has_forked(void)
{
    return forked;
}
