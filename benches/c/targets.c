/* A process to be sampled: `targets THREADS` has so many threads, its first included, that sleep until it is killed;
 * `targets` alone has one that spins.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        for (;;)
            ;
    for (int started = 1; started < atoi(argv[1]); started++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL))
            return 1;
    }
    puts("ready");
    fflush(stdout);
    sleep_for_ever(NULL);
}
