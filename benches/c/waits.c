/* Measures one round of the overshoot and the polling rate of waits.
 *
 *     waits LIBBUSY PEERS CALLS
 *
 * All sides are called through one pointer type at one call site, and take turns of a few calls. CLOCK_MONOTONIC is
 * read before and after each call, so every overshoot includes the call itself and one reading of the clock. The requested
 * duration increases by one nanosecond from call to call, and restarts after ten calls: the counter behind the clock
 * advances in steps of up to 10 ns, and with a fixed duration the median would jump by whole steps.
 */

#include "harness.h"
#include "spin.h"

#include <busy.h>

#include <string.h>

typedef busy_status (*wait_function)(uint64_t, const busy_wait_options *, busy_wait_result *);

struct side {
    const char *name;
    wait_function wait;
    const busy_wait_options *options;
};

enum { CLOCK_LOOP, MONOTONIC, TSC, SIDES };
enum { TURN = 50, STEPS = 10 };

static void turn(const struct side *side, uint64_t ns, size_t calls, double *overshoot)
{
    busy_wait_result result;
    for (size_t call = 0; call < calls; call++) {
        const uint64_t requested = ns + call % STEPS;
        const uint64_t before = monotonic_ns();
        side->wait(requested, side->options, &result);
        const uint64_t after = monotonic_ns();
        overshoot[call] = (double)(after - before - requested);
    }
}

static void overshoots(const struct side *sides, size_t count, uint64_t ns, size_t calls)
{
    static const struct { const char *name; double share; } reported[] = {{"p50", 0.5}, {"p99", 0.99}};
    double *overshoot[SIDES];
    for (size_t side = 0; side < count; side++)
        overshoot[side] = calloc(calls, sizeof(double));
    for (size_t done = 0; done < calls; done += TURN)
        for (size_t side = 0; side < count; side++)
            turn(&sides[side], ns, calls - done < TURN ? calls - done : TURN, overshoot[side] + done);
    for (size_t side = CLOCK_LOOP + 1; side < count; side++)
        for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s-%lu-us-%s", sides[side].name, (unsigned long)(ns / 1000), reported[i].name);
            figure(name, quantile(overshoot[side], calls, reported[i].share),
                   quantile(overshoot[CLOCK_LOOP], calls, reported[i].share));
        }
    for (size_t side = 0; side < count; side++)
        free(overshoot[side]);
}

static double polls_per_second(const struct side *side, uint64_t ns)
{
    busy_wait_result result;
    side->wait(ns, side->options, &result);
    return (double)result.count / (double)result.elapsed_ns * 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const wait_function busy = (wait_function)symbol(argv[1], "busy_wait_ns");
    const wait_function clock_loop = (wait_function)symbol(argv[2], "clock_loop");
    const size_t calls = strtoul(argv[3], NULL, 10);
    busy_wait_options tsc = BUSY_WAIT_OPTIONS_INIT;
    tsc.clock = BUSY_CLOCK_TSC;
    const struct side sides[SIDES] = {
        [CLOCK_LOOP] = {"clock-loop", clock_loop, NULL},
        [MONOTONIC] = {"monotonic", busy, NULL},
        [TSC] = {"tsc", busy, &tsc},
    };
    busy_wait_result result;
    const int has_tsc = busy(0, &tsc, &result) == BUSY_OK;
    const size_t count = has_tsc ? SIDES : TSC;

    /* Warm-up: libbusy measures the counter's rate within the first milliseconds, and the caches fill with the code. */
    for (int i = 0; i < 200; i++)
        for (size_t side = 0; side < count; side++)
            sides[side].wait(50000, sides[side].options, &result);

    figures_begin();
    static const uint64_t lengths[] = {1000, 10000, 100000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        overshoots(sides, count, lengths[i], calls);
    const uint64_t duration = calls * 100000;
    const double theirs = polls_per_second(&sides[CLOCK_LOOP], duration);
    figure("polls", polls_per_second(&sides[MONOTONIC], duration), theirs);
    figures_end(has_tsc ? NULL : "tsc", "no usable time stamp counter (needs x86-64 with an invariant TSC)");
    return 0;
}
