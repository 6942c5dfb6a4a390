/* Initialises and finalises Python several times in one process while it is metered, and checks the figures of each life.
 * usage: reinitialise LIVES stopped|running
 * stopped: each life starts the meter and stops it; running: only the first one starts it, and none stops it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <busy.h>
#include <busy_gil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAIRS 100
#define HOLD_NS 3000000

static void fail(const char *what, int life)
{
    char reason[256] = "";

    busy_gil_reason(reason, sizeof reason);
    fprintf(stderr, "life %d: %s (last reason: %s)\n", life, what, reason);
    exit(1);
}

/* Releases and acquires the GIL, holds it and releases it for a known time, and compares the window's figures. */
static void check(int life)
{
    busy_gil_totals totals = BUSY_GIL_TOTALS_INIT;
    busy_wait_result waited;
    uint32_t window;
    int i;

    if (busy_gil_window_open(&window) != BUSY_OK)
        fail("no window", life);
    for (i = 0; i < PAIRS; i++) {
        PyThreadState *state = PyEval_SaveThread();

        if (i == 0)
            busy_wait_ns(HOLD_NS, NULL, &waited);
        PyEval_RestoreThread(state);
    }
    busy_wait_ns(HOLD_NS, NULL, &waited);
    totals.window = window;
    if (busy_gil_snapshot(&totals, NULL, 0, NULL) != BUSY_OK)
        fail("no snapshot", life);
    if (totals.acquisitions != PAIRS || totals.voluntary_releases + totals.forced_drops != PAIRS)
        fail("expected one acquire and one release a pair", life);
    if (totals.held_ns < HOLD_NS || totals.longest_hold_ns < HOLD_NS)
        fail("the hold is too short", life);
    if (totals.metered_ns - totals.held_ns < HOLD_NS)
        fail("the release is too short", life);
    if (busy_gil_window_close(window) != BUSY_OK)
        fail("the window was not open", life);
}

int main(int argc, char **argv)
{
    int life, lives = argc == 3 ? atoi(argv[1]) : 0;
    int is_stopped;

    if (lives == 0)
        return 2;
    is_stopped = strcmp(argv[2], "stopped") == 0;
    alarm(60);
    for (life = 0; life < lives; life++) {
        Py_InitializeEx(0);
        if ((life == 0 || is_stopped) && busy_gil_start() != BUSY_OK)
            fail("not started", life);
        check(life);
        if (is_stopped && busy_gil_stop() != BUSY_OK)
            fail("not stopped", life);
        Py_Finalize();
    }
    puts("as expected");
    return 0;
}
