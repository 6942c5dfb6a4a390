/* Threads that live one after the other, or all at once, and hold the GIL for a known time. They know nothing of Python's
   threading module. The functions of CPython are passed in, so that this library needs no headers. */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

typedef struct {
    void *interpreter;
    void *(*new_state)(void *);
    void (*restore)(void *);
    void *(*save)(void);
    void (*clear)(void *);
    void (*delete_state)(void *);
} python;

typedef struct {
    const python *python;
    /* The GIL was held for `held` at least and `around` at most, its longest hold was one of `longest` to
       `longest_around`. */
    uint64_t ns, held, around, longest, longest_around;
    pthread_barrier_t *gate;
} work;

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The clock is read right before and after the acquire and the release. */
static void *live(void *argument)
{
    work *work = argument;
    const python *python = work->python;
    void *state = python->new_state(python->interpreter);
    uint64_t before = now(), begin, end, after;

    python->restore(state);
    begin = now();
    do
        end = now();
    while (end - begin < work->ns);
    python->save();
    after = now();
    work->around += after - before;
    work->held += end - begin;
    if (end - begin > work->longest)
        work->longest = end - begin;
    if (after - before > work->longest_around)
        work->longest_around = after - before;
    if (work->gate) {
        pthread_barrier_wait(work->gate);
        pthread_barrier_wait(work->gate);
    }
    /* Without PyThreadState_Clear, which needs the GIL: the state is empty. */
    python->delete_state(state);
    return NULL;
}

/* Runs `count` threads one after the other, each of which holds the GIL for `ns`. Writes to `found` for how long they held
   it at least, and at most, and how long the longest hold was at least, and at most. Call it without the GIL. Returns 0,
   or 1 for lack of memory. */
int one_after_the_other(const python *python, uint64_t count, uint64_t ns, uint64_t found[4])
{
    work work = {python, ns, 0, 0, 0, 0, NULL};
    pthread_attr_t small;
    pthread_t thread;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    while (count--) {
        if (pthread_create(&thread, &small, live, &work))
            return 1;
        pthread_join(thread, NULL);
    }
    found[0] = work.held;
    found[1] = work.around;
    found[2] = work.longest;
    found[3] = work.longest_around;
    return 0;
}

static work all[8192];
static pthread_t threads[8192];
static pthread_barrier_t gate;

/* Runs `count` threads at once, which hold the GIL in turn and stay alive until end_all(). */
int begin_all(const python *python, unsigned count, uint64_t ns)
{
    pthread_attr_t small;
    unsigned index;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    pthread_barrier_init(&gate, NULL, count + 1);
    for (index = 0; index < count; index++) {
        work work = {python, ns, 0, 0, 0, 0, &gate};
        all[index] = work;
        if (pthread_create(&threads[index], &small, live, &all[index]))
            return 1;
    }
    pthread_barrier_wait(&gate);
    return 0;
}

void end_all(unsigned count)
{
    unsigned index;

    pthread_barrier_wait(&gate);
    for (index = 0; index < count; index++)
        pthread_join(threads[index], NULL);
}
