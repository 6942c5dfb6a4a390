/* Threads that come and go, several at a time. Each holds and releases the GIL for known times, some times, and ends. All of
 * them acquire it at the same moments, so they wait for each other for long: what lies between a clock read and the acquire
 * or release beside it, some microseconds, is little beside that. */
#include "gil_generator.c"
#include <pthread.h>

void *PyInterpreterState_Head(void);
void *PyThreadState_New(void *interpreter);
void PyThreadState_Delete(void *state);

/* What all threads of one place have done, one after the other. The caller sets the first four. */
struct place {
    uint64_t hold_ns;
    uint64_t period_ns; /* they acquire the GIL at its multiples */
    uint64_t holds;     /* of each thread */
    uint64_t until_ns;  /* no thread begins after this */
    uint64_t threads;   /* how many there were */
    uint64_t held_ns;   /* from the end of an acquire to the beginning of the next release */
    uint64_t waited_ns; /* from the beginning of an acquire to its end */
};

static void sleep_until(uint64_t ns)
{
    const struct timespec end = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) != 0)
        ;
}

static void *live(void *argument)
{
    struct place *place = argument;
    void *state = PyThreadState_New(PyInterpreterState_Head());
    uint64_t left, before, acquired;

    for (left = place->holds; left > 0; left--) {
        sleep_until((now() / place->period_ns + 1) * place->period_ns);
        before = now();
        PyEval_RestoreThread(state);
        acquired = now();
        place->held_ns += spin(acquired, place->hold_ns) - acquired;
        place->waited_ns += acquired - before;
        state = PyEval_SaveThread();
    }
    /* Without PyThreadState_Clear, which needs the GIL: the state is empty. */
    PyThreadState_Delete(state);
    place->threads++;
    return NULL;
}

/* What a thread did in its pauses, summed. */
struct pauses {
    uint64_t released_ns; /* without the GIL, waits included */
    uint64_t waited_ns;
    uint64_t uncertain_ns; /* by how much `released_ns` may be wrong */
};

/* Pauses for `ns`, without the GIL. A release or an acquire of some microseconds counts as in its middle. If it takes longer,
 * another thread is involved: a release wakes that thread after it has happened, and an acquire happens at its end. */
void pause_without_gil(struct pauses *pauses, uint64_t ns)
{
    const uint64_t alone = 5000;
    uint64_t releasing = now(), released, acquiring, acquired;
    void *state = PyEval_SaveThread();

    released = now();
    sleep_until(released + ns);
    acquiring = now();
    PyEval_RestoreThread(state);
    acquired = now();
    releasing = released - releasing;
    acquiring = acquired - acquiring;
    pauses->released_ns += releasing + acquired - released;
    if (releasing < alone)
        pauses->released_ns -= releasing / 2;
    if (acquiring < alone)
        pauses->released_ns -= acquiring / 2;
    else
        pauses->waited_ns += acquiring;
    pauses->uncertain_ns += ((releasing < alone ? releasing : alone) + (acquiring < alone ? acquiring : alone)) / 2;
}

static void *one_after_the_other(void *argument)
{
    struct place *place = argument;
    pthread_t thread;

    while (now() < place->until_ns && pthread_create(&thread, NULL, live, place) == 0)
        pthread_join(thread, NULL);
    return NULL;
}

/* Runs `count` places at once, until their time is over. Call it without the GIL. Returns how many could not begin. */
unsigned come_and_go(struct place *places, unsigned count)
{
    pthread_t threads[256];
    unsigned begun = 0, failed;

    if (count > 256)
        return count;
    while (begun < count && pthread_create(&threads[begun], NULL, one_after_the_other, &places[begun]) == 0)
        begun++;
    failed = count - begun;
    while (begun > 0)
        pthread_join(threads[--begun], NULL);
    return failed;
}
