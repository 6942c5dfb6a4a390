/* Calls a function in one thread after another, which Python does not know. */

#include <pthread.h>

static void *run(void *function)
{
    ((void (*)(void))function)();
    return 0;
}

void run_in_threads(void (*function)(void), int times)
{
    pthread_t thread;

    while (times-- > 0 && pthread_create(&thread, 0, run, (void *)function) == 0)
        pthread_join(thread, 0);
}
