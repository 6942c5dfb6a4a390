/* Threads that use the GIL meter of a program that embeds Python in all ways at once: they acquire and release the GIL,
 * open, read and close windows, start and stop the meter, start and end. tests/sanitizers/main.rs runs it under
 * ThreadSanitizer and under memcheck.
 *
 *     gil_threads ROUNDS          checks each snapshot, and prints the number of snapshots
 *     gil_threads ROUNDS race     also lets libbusy write to one struct in two threads: ThreadSanitizer must report it
 *     gil_threads ROUNDS unset    also passes a value that was never written: memcheck must report its use in libbusy
 *
 * It is linked with the interpreter's library, but declares the few functions that it uses. So it needs no Python.h.
 */

#include <busy_gil.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void Py_InitializeEx(int signals);
int Py_FinalizeEx(void);
int PyRun_SimpleStringFlags(const char *code, void *flags);
void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *state);
int PyGILState_Ensure(void);
void PyGILState_Release(int state);

enum { THREADS = 6, ROWS = 256 };

typedef __typeof__(((busy_gil_totals *)NULL)->window) window_number;

static int rounds;
static atomic_ulong snapshots;
static busy_gil_totals raced = BUSY_GIL_TOTALS_INIT;

#define REQUIRE(condition)                                                                  \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);       \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

/* Takes a snapshot of a window, or of the session if `window` is 0. The sums over the threads must be the totals. */
static busy_gil_totals snapshot(window_number window)
{
    busy_gil_totals totals = BUSY_GIL_TOTALS_INIT;
    busy_gil_thread threads[ROWS];
    uint64_t held_ns = 0, waited_ns = 0, acquisitions = 0;
    size_t needed, i;

    totals.window = window;
    REQUIRE(busy_gil_snapshot(&totals, threads, ROWS, &needed) == BUSY_OK);
    for (i = 0; i < needed && i < ROWS; i++) {
        held_ns += threads[i].held_ns;
        waited_ns += threads[i].waited_ns;
        acquisitions += threads[i].acquisitions;
    }
    REQUIRE(totals.held_ns <= totals.metered_ns);
    if (needed <= ROWS) {
        REQUIRE(held_ns == totals.held_ns);
        REQUIRE(waited_ns == totals.waited_ns);
        REQUIRE(acquisitions == totals.acquisitions);
    }
    atomic_fetch_add(&snapshots, 1);
    return totals;
}

static void nap(unsigned int ns)
{
    struct timespec time = {0, (long)ns};

    nanosleep(&time, NULL);
}

static void *short_life(void *unused)
{
    int state = PyGILState_Ensure();

    PyRun_SimpleStringFlags("sum(range(100))", NULL);
    PyGILState_Release(state);
    return unused;
}

/* Acquires the GIL, and starts and ends a thread while a window is open. */
static void use_a_window(unsigned int *chance)
{
    window_number window;
    busy_gil_totals before, after;
    pthread_t thread;
    int state;

    REQUIRE(busy_gil_window_open(&window) == BUSY_OK);
    before = snapshot(window);
    state = PyGILState_Ensure();
    PyRun_SimpleStringFlags("sum(range(1000))", NULL);
    snapshot(window);
    PyGILState_Release(state);
    if (rand_r(chance) % 4 == 0) {
        REQUIRE(pthread_create(&thread, NULL, short_life, NULL) == 0);
        REQUIRE(pthread_join(thread, NULL) == 0);
    }
    after = snapshot(window);
    REQUIRE(after.held_ns >= before.held_ns && after.acquisitions > before.acquisitions);
    REQUIRE(busy_gil_window_close(window) == BUSY_OK);
}

static void *live(void *seed)
{
    unsigned int chance = (unsigned int)(uintptr_t)seed;
    int round, state;

    for (round = 0; round < rounds; round++) {
        switch (rand_r(&chance) % 4) {
        case 0:
            use_a_window(&chance);
            break;
        case 1:
            state = PyGILState_Ensure();
            REQUIRE(busy_gil_start() == BUSY_OK);
            snapshot(0);
            PyGILState_Release(state);
            REQUIRE(busy_gil_stop() == BUSY_OK);
            break;
        case 2:
            snapshot(0);
            break;
        default:
            nap((unsigned int)rand_r(&chance) % 200000);
        }
    }
    return NULL;
}

static void *race(void *unused)
{
    REQUIRE(busy_gil_snapshot(&raced, NULL, 0, NULL) == BUSY_OK);
    return unused;
}

/* The number of the window is not set. It may happen to be 0, for the session. */
static void unset(void)
{
    busy_gil_totals *totals = malloc(sizeof *totals);

    REQUIRE(totals != NULL);
    totals->size = sizeof *totals;
    totals->gil = 0;
    busy_gil_snapshot(totals, NULL, 0, NULL);
    free(totals);
}

static void run(void *(*body)(void *), int count)
{
    pthread_t threads[THREADS];
    void *state = PyEval_SaveThread();
    int i;

    for (i = 0; i < count; i++)
        REQUIRE(pthread_create(&threads[i], NULL, body, (void *)(uintptr_t)(i + 1)) == 0);
    for (i = 0; i < count; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    PyEval_RestoreThread(state);
}

int main(int argc, char **argv)
{
    int session;

    REQUIRE(argc >= 2);
    rounds = atoi(argv[1]);
    Py_InitializeEx(0);
    /* The second session redirects the calls again. */
    for (session = 0; session < 2; session++) {
        REQUIRE(busy_gil_start() == BUSY_OK);
        run(live, THREADS);
        if (argc > 2 && strcmp(argv[2], "race") == 0)
            run(race, 2);
        if (argc > 2 && strcmp(argv[2], "unset") == 0)
            unset();
        snapshot(0);
        REQUIRE(busy_gil_stop() == BUSY_OK);
        REQUIRE(busy_gil_stop() == BUSY_GIL_OFF);
    }
    REQUIRE(Py_FinalizeEx() == 0);
    printf("%lu snapshots\n", atomic_load(&snapshots));
    return 0;
}
