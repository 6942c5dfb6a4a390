/* A process whose threads are sampled.
 *
 *     targets THREADS       THREADS threads, including the first, sleep until the process is killed
 *     targets THREADS HZ    the same, but each thread wakes up HZ times per second
 *     targets               one thread spins
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned int every_us;

static void *sleep_for_ever(void *unused)
{
    for (;;)
        if (every_us != 0)
            usleep(every_us);
        else
            pause();
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        for (;;)
            ;
    if (argc > 2)
        every_us = 1000000 / (unsigned int)atoi(argv[2]);
    for (int started = 1; started < atoi(argv[1]); started++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL))
            return 1;
    }
    puts("ready");
    fflush(stdout);
    sleep_for_ever(NULL);
}
