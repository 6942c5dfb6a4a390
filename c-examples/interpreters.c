/* The interpreter as an instance: one process, some threads, each with a Python interpreter of its own (PEP 684), and one
 * state that all of them share through plain memory. For CPython 3.12 and later.
 *
 *     cc interpreters.c $(python3-config --includes) $(pkg-config --cflags --libs busy) \
 *         -Wl,-rpath,$(pkg-config --variable=libdir busy) $(python3-config --ldflags --embed) -pthread -o interpreters
 *     ./interpreters own-gil 3 2
 *
 * The first argument says how: own-gil, each interpreter with a GIL of its own; shared-gil, all under that of the main one; or
 * one-interpreter, plain threads of the main one. Then the seconds, and the number of threads. Each thread counts in
 * Python; the CPU time that it used is read by libbusy, and the time that it could have run but had no core, by the
 * kernel's account: who waits for the GIL does not count there.
 */

#define _DEFAULT_SOURCE /* pthread_barrier_t and clock_gettime(2) beside -std=c11 */

#include <Python.h> /* first of all headers: it defines feature macros that change the others */

#include <busy.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if PY_VERSION_HEX < 0x030c0000
#error "interpreters with a GIL of their own need CPython 3.12 or later"
#endif

enum { MOST_THREADS = 64 };

/* What the interpreters share. A slot is a cache line, or threads on two cores would fight for it. */
static struct {
    _Alignas(64) _Atomic uint64_t count;
} shared[MOST_THREADS];

/* shared_state.add(slot, n) */
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

/* shared_state.total(): what all interpreters have counted */
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
    {"add", add, METH_VARARGS, "add(slot, n): adds to what a thread has counted"},
    {"total", total, METH_NOARGS, "total(): what all have counted"},
    {NULL, NULL, 0, NULL},
};

/* An interpreter with a GIL of its own takes only modules that say they can do with it. */
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
    uint64_t cpu_ns, waited_ns, ended_ns;
    int failed;
};

static pthread_barrier_t start;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How long the calling thread was ready to run but had no core: the second field of schedstat (proc(5)), after each run. 0 if
 * the kernel keeps no such account. */
static uint64_t waited_for_core_ns(void)
{
    uint64_t waited = 0;
    FILE *account = fopen("/proc/thread-self/schedstat", "r");
    if (account == NULL)
        return 0;
    if (fscanf(account, "%*u %" SCNu64, &waited) != 1)
        waited = 0;
    fclose(account);
    return waited;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    char code[sizeof LOOP + 32];
    snprintf(code, sizeof code, LOOP, worker->slot, worker->seconds);

    /* Before the GIL is taken: with a shared one the others could not come to the barrier. */
    pthread_barrier_wait(&start);
    PyThreadState *state = PyThreadState_New(worker->interpreter);
    PyEval_RestoreThread(state);
    uint64_t before = 0, after = 0;
    const uint64_t waited_before = waited_for_core_ns();
    busy_status status = busy_thread_cpu_ns(0, &before);
    worker->failed = PyRun_SimpleString(code) != 0;
    if (status == BUSY_OK)
        status = busy_thread_cpu_ns(0, &after);
    worker->ended_ns = now_ns();
    worker->waited_ns = waited_for_core_ns() - waited_before;
    worker->cpu_ns = after - before;
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent(); /* gives up the GIL too */
    if (status != BUSY_OK) {
        fprintf(stderr, "interpreters: busy_thread_cpu_ns: %s\n", busy_strerror(status));
        worker->failed = 1;
    }
    return NULL;
}

static void demand(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

/* A new interpreter, left by the calling thread, which is back in the main one. */
static PyThreadState *new_interpreter(int own_gil)
{
    const PyInterpreterConfig config = {
        .use_main_obmalloc = !own_gil, /* the allocator has no lock but the GIL */
        .allow_threads = 1,
        .check_multi_interp_extensions = own_gil,
        .gil = own_gil ? PyInterpreterConfig_OWN_GIL : PyInterpreterConfig_SHARED_GIL,
    };
    PyThreadState *main_state = PyThreadState_Get(), *state = NULL;
    demand(Py_NewInterpreterFromConfig(&state, &config));
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

    /* Of the environment only PYTHONHOME is of use here, which says where the standard library lies. */
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
    uint64_t began_ns = 0, ended_ns = 0, cpu_ns = 0, waited_ns = 0;
    Py_BEGIN_ALLOW_THREADS
    pthread_barrier_wait(&start);
    began_ns = now_ns();
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
        waited_ns += workers[i].waited_ns;
        sum += count;
        printf("%s%" PRIu64, i ? ", " : "", count);
    }
    const double wall_s = (double)(ended_ns - began_ns) / 1e9;
    printf("], \"counts_per_s\": %.1f, \"cpu_percent\": %.3f, \"run_delay_percent\": %.3f, \"took_s\": %.3f}}\n",
           (double)sum / wall_s, (double)cpu_ns / wall_s / 1e7, (double)waited_ns / wall_s / 1e7, wall_s);

    if (!one) {
        for (unsigned int i = 0; i < threads; i++) {
            PyThreadState *main_state = PyThreadState_Swap(states[i]);
            Py_EndInterpreter(states[i]);
            PyThreadState_Swap(main_state);
        }
    }
    return Py_FinalizeEx() == 0 && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
