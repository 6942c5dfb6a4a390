/* The interpreter as an instance: one process with several threads, each with its own Python interpreter (PEP 684),
 * and one state that all of them share in plain memory. Requires CPython 3.12 or later.
 *
 *     cc interpreters.c $(python3-config --includes) $(pkg-config --cflags --libs busy) \
 *         -Wl,-rpath,$(pkg-config --variable=libdir busy) $(python3-config --ldflags --embed) -pthread -o interpreters
 *     ./interpreters own-gil 3 2
 *
 * The arguments are the variant, the number of seconds, and the number of threads. The variants are:
 *
 *     own-gil            each interpreter has its own GIL
 *     shared-gil         all interpreters share the main interpreter's GIL
 *     one-interpreter    all threads run in the main interpreter
 *
 * Each thread counts in Python. libbusy reads the CPU time of the thread. The kernel reports the thread's run
 * delay, which is the time for which it was runnable but had no CPU. Waiting for the GIL does not count as run delay.
 */

#define _DEFAULT_SOURCE /* declares pthread_barrier_t and clock_gettime(2) despite -std=c11 */

#include <Python.h> /* must come first: it defines feature macros that affect the other headers */

#include <busy.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if PY_VERSION_HEX < 0x030c0000
#error "interpreters with their own GIL need CPython 3.12 or later"
#endif

enum { MOST_THREADS = 64 };

/* The state that the interpreters share. Each slot has its own cache line, so that threads do not contend for one. */
static struct {
    _Alignas(64) _Atomic uint64_t count;
} shared[MOST_THREADS];

/* shared_state.add(slot, n): adds n to the count of a thread */
static PyObject *add(PyObject *self, PyObject *arguments)
{
    unsigned int slot;
    unsigned long long n;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "IK", &slot, &n))
        return NULL;
    if (slot >= MOST_THREADS)
        return PyErr_Format(PyExc_IndexError, "expected a slot below %d, found %u", MOST_THREADS, slot);
    atomic_fetch_add_explicit(&shared[slot].count, n, memory_order_relaxed);
    Py_RETURN_NONE;
}

/* shared_state.total(): returns the sum of the counts of all threads */
static PyObject *total(PyObject *self, PyObject *nothing)
{
    uint64_t sum = 0;
    (void)self;
    (void)nothing;
    for (int i = 0; i < MOST_THREADS; i++)
        sum += atomic_load_explicit(&shared[i].count, memory_order_relaxed);
    return PyLong_FromUnsignedLongLong(sum);
}

static PyMethodDef methods[] = {
    {"add", add, METH_VARARGS, "add(slot, n): adds n to the count of a thread"},
    {"total", total, METH_NOARGS, "total(): returns the sum of the counts of all threads"},
    {NULL, NULL, 0, NULL},
};

/* An interpreter with its own GIL imports only modules that declare support for it. */
static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shared_state",
    .m_methods = methods,
    .m_slots = slots,
};

static PyObject *PyInit_shared_state(void)
{
    return PyModuleDef_Init(&module);
}

static const char LOOP[] = "import shared_state, time\n"
                           "def count(slot, seconds):\n"
                           "    clock, add = time.monotonic, shared_state.add\n"
                           "    end = clock() + seconds\n"
                           "    own = 0\n"
                           "    while clock() < end:\n"
                           "        for n in range(1000):\n"
                           "            pass\n"
                           "        add(slot, 1000)\n"
                           "        own += 1000\n"
                           "    assert shared_state.total() >= own\n"
                           "count(%u, %u)\n";

struct worker {
    pthread_t thread;
    unsigned int slot, seconds;
    PyInterpreterState *interpreter;
    uint64_t cpu_ns, run_delay_ns, ended_ns;
    int failed;
};

static pthread_barrier_t start;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Returns the run delay of the calling thread: the second field of schedstat (proc(5)), which the kernel updates after
 * each run. Returns 0 if the kernel does not record it. */
static uint64_t run_delay_now_ns(void)
{
    uint64_t run_delay = 0;
    FILE *schedstat = fopen("/proc/thread-self/schedstat", "r");
    if (schedstat == NULL)
        return 0;
    if (fscanf(schedstat, "%*u %" SCNu64, &run_delay) != 1)
        run_delay = 0;
    fclose(schedstat);
    return run_delay;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    char code[sizeof LOOP + 32];
    snprintf(code, sizeof code, LOOP, worker->slot, worker->seconds);

    /* Wait before the thread acquires the GIL: if it held a shared GIL, the others could not reach the barrier. */
    pthread_barrier_wait(&start);
    PyThreadState *state = PyThreadState_New(worker->interpreter);
    PyEval_RestoreThread(state);
    uint64_t before = 0, after = 0;
    const uint64_t run_delay_before = run_delay_now_ns();
    busy_status status = busy_thread_cpu_ns(0, &before);
    worker->failed = PyRun_SimpleString(code) != 0;
    if (status == BUSY_OK)
        status = busy_thread_cpu_ns(0, &after);
    worker->ended_ns = now_ns();
    worker->run_delay_ns = run_delay_now_ns() - run_delay_before;
    worker->cpu_ns = after - before;
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent(); /* also releases the GIL */
    if (status != BUSY_OK) {
        fprintf(stderr, "interpreters: busy_thread_cpu_ns: %s\n", busy_strerror(status));
        worker->failed = 1;
    }
    return NULL;
}

static void check(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

/* Returns a new interpreter. The calling thread is in the main interpreter again when the function returns. */
static PyThreadState *new_interpreter(int own_gil)
{
    const PyInterpreterConfig config = {
        .use_main_obmalloc = !own_gil, /* only the GIL protects this allocator */
        .allow_threads = 1,
        .check_multi_interp_extensions = own_gil,
        .gil = own_gil ? PyInterpreterConfig_OWN_GIL : PyInterpreterConfig_SHARED_GIL,
    };
    PyThreadState *main_state = PyThreadState_Get(), *state = NULL;
    check(Py_NewInterpreterFromConfig(&state, &config));
    PyThreadState_Swap(main_state);
    return state;
}

static unsigned long number(const char *text, unsigned long most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < 1 || value > most) {
        fprintf(stderr, "interpreters: expected a number from 1 to %lu, found %s\n", most, text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "own-gil") && strcmp(argv[1], "shared-gil") && strcmp(argv[1], "one-interpreter"))) {
        fprintf(stderr, "usage: %s own-gil|shared-gil|one-interpreter SECONDS THREADS\n", argv[0]);
        return 2;
    }
    const int own_gil = strcmp(argv[1], "own-gil") == 0, one = strcmp(argv[1], "one-interpreter") == 0;
    const unsigned int seconds = (unsigned int)number(argv[2], 3600);
    const unsigned int threads = (unsigned int)number(argv[3], MOST_THREADS);

    /* Of the environment variables, only PYTHONHOME, the place of the standard library, matters here. */
    PyImport_AppendInittab("shared_state", PyInit_shared_state);
    Py_Initialize();

    struct worker workers[MOST_THREADS];
    PyThreadState *states[MOST_THREADS];
    memset(workers, 0, sizeof workers);
    for (unsigned int i = 0; i < threads; i++) {
        states[i] = one ? NULL : new_interpreter(own_gil);
        workers[i].slot = i;
        workers[i].seconds = seconds;
        workers[i].interpreter = one ? PyInterpreterState_Main() : PyThreadState_GetInterpreter(states[i]);
    }

    pthread_barrier_init(&start, NULL, threads + 1);
    for (unsigned int i = 0; i < threads; i++) {
        int error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
        if (error != 0) {
            fprintf(stderr, "interpreters: pthread_create: %s\n", strerror(error));
            return EXIT_FAILURE;
        }
    }
    uint64_t started_ns = 0, ended_ns = 0, cpu_ns = 0, run_delay_ns = 0;
    Py_BEGIN_ALLOW_THREADS
    pthread_barrier_wait(&start);
    started_ns = now_ns();
    for (unsigned int i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
    Py_END_ALLOW_THREADS

    int failed = 0;
    uint64_t sum = 0;
    printf("{\"metrics\": {\"threads\": %u, \"counts\": [", threads);
    for (unsigned int i = 0; i < threads; i++) {
        const uint64_t count = atomic_load(&shared[i].count);
        failed = failed || workers[i].failed;
        ended_ns = workers[i].ended_ns > ended_ns ? workers[i].ended_ns : ended_ns;
        cpu_ns += workers[i].cpu_ns;
        run_delay_ns += workers[i].run_delay_ns;
        sum += count;
        printf("%s%" PRIu64, i ? ", " : "", count);
    }
    const double wall_s = (double)(ended_ns - started_ns) / 1e9;
    printf("], \"counts_per_s\": %.1f, \"cpu_percent\": %.3f, \"run_delay_percent\": %.3f, \"took_s\": %.3f}}\n",
           (double)sum / wall_s, (double)cpu_ns / wall_s / 1e7, (double)run_delay_ns / wall_s / 1e7, wall_s);

    if (!one) {
        for (unsigned int i = 0; i < threads; i++) {
            PyThreadState *main_state = PyThreadState_Swap(states[i]);
            Py_EndInterpreter(states[i]);
            PyThreadState_Swap(main_state);
        }
    }
    return Py_FinalizeEx() == 0 && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
