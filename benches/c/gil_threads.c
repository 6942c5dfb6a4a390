/* Threads that come and go, several at a time. Each holds and releases the GIL for known times, some times, and ends. */
#include "gil_generator.c"
#include <pthread.h>

void *PyInterpreterState_Head(void);
void *PyThreadState_New(void *interpreter);
void PyThreadState_Delete(void *state);

/* What all threads of one place have done, one after the other. The caller sets the first four. */
struct place {
    uint64_t hold_ns, release_ns;
    uint64_t pairs;    /* of each thread */
    uint64_t until_ns; /* no thread begins after this */
    uint64_t threads;  /* how many there were */
    uint64_t held_ns;   /* from the end of an acquire to the beginning of the next release */
    uint64_t waited_ns; /* from the beginning of an acquire to its end */
};

static void *live(void *argument)
{
    struct place *place = argument;
    struct gil_truth truth = {0};
    void *state = PyThreadState_New(PyInterpreterState_Head());
    uint64_t begin, first, last;

    begin = now();
    PyEval_RestoreThread(state);
    first = now();
    truth.acquired_ns[0] = truth.acquired_ns[1] = first;
    generate(&truth, place->hold_ns, place->release_ns, place->pairs, 1);
    last = spin(truth.acquired_ns[1], place->hold_ns);
    PyEval_SaveThread();
    /* Without PyThreadState_Clear, which needs the GIL: the state is empty. */
    PyThreadState_Delete(state);
    place->threads++;
    place->held_ns += last - first - truth.releasing_ns - truth.away_ns - truth.acquiring_ns;
    place->waited_ns += first - begin + truth.acquiring_ns;
    return NULL;
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
