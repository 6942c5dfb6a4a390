/* A program that embeds Python: the meter runs while Python is finalized, initialized again and closed. The arguments are
   the paths of libpython and libbusy. */
#include <busy_gil.h>
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

#define CHECK(condition)                                                                                                 \
    do {                                                                                                                 \
        if (!(condition)) {                                                                                              \
            printf("line %d, round %d: %s\n", __LINE__, rounds, #condition);                                                             \
            return 1;                                                                                                    \
        }                                                                                                                \
    } while (0)
#define MS 1000000u

static int rounds;
static void *python, *busy;
static busy_gil_totals totals = BUSY_GIL_TOTALS_INIT;

static void call(const char *name)
{
    void (*function)(void);

    *(void **)&function = dlsym(python, name);
    function();
}

static busy_status start(const char *name)
{
    busy_status (*function)(void);

    *(void **)&function = dlsym(busy, name);
    return function();
}

static busy_status snapshot(void)
{
    busy_status (*function)(busy_gil_totals *, busy_gil_thread *, size_t, size_t *);

    *(void **)&function = dlsym(busy, "busy_gil_snapshot");
    return function(&totals, NULL, 0, NULL);
}

static void nap(long ms)
{
    struct timespec time = {0, ms * (long)MS};

    nanosleep(&time, NULL);
}

int main(int argc, char **argv)
{
    uint64_t held;
    int round;

    CHECK(argc == 3);
    CHECK((python = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL)));
    CHECK((busy = dlopen(argv[2], RTLD_NOW)));
    call("Py_Initialize");
    CHECK(start("busy_gil_start") == BUSY_OK);
    for (round = 0; round < 3; rounds = ++round) {
        CHECK(snapshot() == BUSY_OK);
        held = totals.held_ns;
        nap(50);
        CHECK(snapshot() == BUSY_OK);
        CHECK(totals.held_ns - held >= 50 * MS);
        CHECK(totals.held_ns <= totals.metered_ns);
        call("Py_Finalize");
        CHECK(snapshot() == BUSY_OK);
        held = totals.held_ns;
        nap(50);
        CHECK(snapshot() == BUSY_OK);
        /* Nobody holds the GIL, which does not exist. The rate of the clock is measured anew in each snapshot. */
        CHECK(totals.held_ns < held + MS);
        CHECK(totals.held_ns <= totals.metered_ns);
        call("Py_Initialize");
    }
    call("Py_Finalize");
    /* Python stays loaded while it is metered, although nobody else uses it. */
    CHECK(dlclose(python) == 0);
    CHECK(snapshot() == BUSY_OK);
    CHECK(start("busy_gil_stop") == BUSY_OK);
    printf("finalized\n");
    return 0;
}
