/* Measures one round of the cancellation latency: from the call that cancels in one thread to the return of the wait in
 * another thread.
 *
 *     cancel LIBBUSY PEERS CANCELLER_CORE WAITER_CORE CANCELS
 *
 * Each thread is pinned to a different core. libbusy and the C loop, which polls the clock and an atomic flag, take turns.
 * The program counts latencies over 1 ms, and those of them during which neither thread was preempted (ru_nivcsw,
 * getrusage(2)): only these can be caused by the code. The measurement is repeated under SCHED_FIFO, if permitted.
 */

#define _GNU_SOURCE
#include "harness.h"
#include "spin.h"

#include <busy.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

typedef busy_status (*wait_function)(uint64_t, const busy_wait_options *, busy_wait_result *);
typedef busy_status (*cancel_function)(busy_cancel *);

enum { BUSY, CLOCK_LOOP, SIDES };
enum { TURN = 20 };
static const double LATE_NS = 1e6;
/* The wait ends after this time even if a cancellation is lost. */
static const uint64_t LONGEST_NS = 2000000000;

static wait_function waits[SIDES];
static cancel_function cancels[SIDES];

static busy_cancel flag = BUSY_CANCEL_INIT;
/* The numbers of the requested wait, the running wait and the last wait that returned. */
static atomic_size_t requested, running, returned;
static atomic_int side;
static uint64_t returned_at;
static long waiter_preemptions;

static long preemptions(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static int pin(pthread_t thread, int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set);
}

static void *waiter(void *last)
{
    const size_t count = *(const size_t *)last;
    busy_wait_options options = BUSY_WAIT_OPTIONS_INIT;
    options.cancel = &flag;
    for (size_t number = 1; number <= count; number++) {
        busy_wait_result result;
        while (atomic_load(&requested) < number)
            ;
        const wait_function wait = waits[atomic_load(&side)];
        const long before = preemptions();
        atomic_store(&running, number);
        wait(LONGEST_NS, &options, &result);
        returned_at = monotonic_ns();
        waiter_preemptions = preemptions() - before;
        atomic_store(&returned, number);
    }
    /* An exiting thread may have to spin in the kernel until a reader of its entry in /proc is done. Under SCHED_FIFO, it
     * would keep the reader from the core. */
    const struct sched_param none = {0};
    pthread_setschedparam(pthread_self(), SCHED_OTHER, &none);
    return NULL;
}

struct latencies {
    double *ns;
    size_t count;
    double late, late_unpreempted;
};

static void cancel_one(size_t number, struct latencies *latencies)
{
    uint64_t elapsed;
    atomic_store_explicit((_Atomic uint32_t *)&flag.flag, 0, memory_order_relaxed);
    atomic_store(&requested, number);
    while (atomic_load(&running) < number)
        ;
    /* Cancels well after the start of the wait, and at a different poll each time. */
    spin_ns(20000 + number * 7919 % 30000, &elapsed);
    const cancel_function cancel = cancels[atomic_load(&side)];
    const long before = preemptions();
    const uint64_t start = monotonic_ns();
    cancel(&flag);
    while (atomic_load(&returned) < number)
        ;
    const double ns = (double)(returned_at - start);
    latencies->ns[latencies->count++] = ns;
    if (ns > LATE_NS) {
        latencies->late++;
        latencies->late_unpreempted += waiter_preemptions == 0 && preemptions() == before;
    }
}

static void measure(const char *name, size_t count, const int *cores)
{
    struct latencies latencies[SIDES];
    const size_t last = SIDES * count;
    atomic_store(&requested, 0);
    atomic_store(&running, 0);
    atomic_store(&returned, 0);
    for (int i = 0; i < SIDES; i++)
        latencies[i] = (struct latencies){calloc(count, sizeof(double)), 0, 0, 0};
    pthread_t thread;
    /* The new thread inherits the scheduling policy of this one. */
    if (pthread_create(&thread, NULL, waiter, (void *)&last) || pin(pthread_self(), cores[0]) || pin(thread, cores[1])) {
        fprintf(stderr, "cannot pin two threads to cores %d and %d\n", cores[0], cores[1]);
        exit(1);
    }
    for (size_t number = 1; number <= last; number++) {
        atomic_store(&side, (int)((number - 1) / TURN % SIDES));
        if (latencies[side].count == count)
            atomic_store(&side, !side);
        cancel_one(number, &latencies[side]);
    }
    pthread_join(thread, NULL);

    char row[64];
    const struct { const char *name; double share; } reported[] = {{"p50", 0.5}, {"p99", 0.99}, {"max", 1}};
    for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
        snprintf(row, sizeof row, "%s-%s", name, reported[i].name);
        figure(row, quantile(latencies[BUSY].ns, count, reported[i].share),
               quantile(latencies[CLOCK_LOOP].ns, count, reported[i].share));
    }
    snprintf(row, sizeof row, "%s-late", name);
    figure(row, latencies[BUSY].late, latencies[CLOCK_LOOP].late);
    snprintf(row, sizeof row, "%s-late-unpreempted", name);
    figure(row, latencies[BUSY].late_unpreempted, latencies[CLOCK_LOOP].late_unpreempted);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    waits[BUSY] = (wait_function)symbol(argv[1], "busy_wait_ns");
    cancels[BUSY] = (cancel_function)symbol(argv[1], "busy_cancel_set");
    waits[CLOCK_LOOP] = (wait_function)symbol(argv[2], "clock_loop_cancellable");
    cancels[CLOCK_LOOP] = (cancel_function)symbol(argv[2], "clock_loop_cancel");
    const int cores[] = {atoi(argv[3]), atoi(argv[4])};
    const size_t count = strtoul(argv[5], NULL, 10);

    figures_begin();
    measure("cancel", count, cores);
    const struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first) == 0) {
        measure("fifo", count, cores);
        figures_end(NULL, NULL);
    } else {
        figures_end("fifo", "SCHED_FIFO needs root or CAP_SYS_NICE");
    }
    return 0;
}
