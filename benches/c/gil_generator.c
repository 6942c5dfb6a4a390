/* A GIL that is held and released for known times. The clock is read right beside PyEval_SaveThread and
 * PyEval_RestoreThread, so the interpreter's own work does not blur the truth.
 *
 * ctypes.PyDLL opens this library, which leaves the GIL held during a call. Both functions come from the interpreter
 * that opens it. So the library needs no Python.h, and one file serves every CPython. All times are in nanoseconds of
 * CLOCK_MONOTONIC.
 */
#include <stdint.h>
#include <time.h>

void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *state);

/* What one thread has done, summed over all calls of generate(). A release lies between the two clock reads around
 * PyEval_SaveThread, and an acquire between those around PyEval_RestoreThread. */
struct gil_truth {
    uint64_t pairs;           /* the number of releases, each followed by an acquire */
    uint64_t releasing_ns;    /* from before PyEval_SaveThread to after it */
    uint64_t away_ns;         /* from after PyEval_SaveThread to before PyEval_RestoreThread */
    uint64_t acquiring_ns;    /* from before PyEval_RestoreThread to after it; waits included */
    uint64_t torn;            /* the number of releases and acquires during which the thread seems to have lost its CPU */
    uint64_t longest_hold_ns; /* from the middle of an acquire to the middle of the next release */
    uint64_t acquired_ns[2];  /* the clock before and after the latest acquire; the caller sets the first one */
    uint64_t extra_ns;        /* set by the caller: lengthens the hold after the first acquire here */
};

/* Also called from Python. */
uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Spins until `ns` after `start`, and returns the last clock read. */
static uint64_t spin(uint64_t start, uint64_t ns)
{
    uint64_t time;

    do
        time = now();
    while (time - start < ns);
    return time;
}

/* Returns whether the thread seems to have lost its CPU between two clock reads. Then the time of the event between them
 * is not known well enough. Without contention, they are at most some microseconds apart. */
static uint64_t is_torn(uint64_t before, uint64_t after)
{
    return after - before > 20000;
}

/* Holds the GIL for `hold_ns` and releases it for `release_ns`, `pairs` times. Without the GIL the thread sleeps if
 * `asleep`, and spins otherwise. If `release_ns` is 0, the GIL is never released. */
void generate(struct gil_truth *truth, uint64_t hold_ns, uint64_t release_ns, uint64_t pairs, int asleep)
{
    const struct timespec nap = {(time_t)(release_ns / 1000000000u), (long)(release_ns % 1000000000u)};

    if (release_ns == 0) {
        spin(now(), pairs * hold_ns);
        return;
    }
    for (; pairs > 0; pairs--) {
        uint64_t *acquired = truth->acquired_ns, releasing, released, acquiring, reacquired, hold;
        void *state;

        releasing = spin(acquired[1], hold_ns + (truth->pairs == 1 ? truth->extra_ns : 0));
        state = PyEval_SaveThread();
        released = now();
        if (asleep)
            nanosleep(&nap, NULL);
        acquiring = asleep ? now() : spin(released, release_ns);
        PyEval_RestoreThread(state);
        reacquired = now();
        hold = (releasing - acquired[0] + released - acquired[1]) / 2;
        if (hold > truth->longest_hold_ns)
            truth->longest_hold_ns = hold;
        acquired[0] = acquiring;
        acquired[1] = reacquired;
        truth->pairs++;
        truth->torn += is_torn(releasing, released) + is_torn(acquiring, reacquired);
        truth->releasing_ns += released - releasing;
        truth->away_ns += acquiring - released;
        truth->acquiring_ns += reacquired - acquiring;
    }
}
