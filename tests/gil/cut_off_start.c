/* Preloaded into a CPython, before its main function: initialises Python several times, and finalises it while its daemon
 * threads start and stop the meter. The first start in each life must return. BUSY_LIBBUSY is the path of libbusy. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIVES 4
#define SCRIPT                                                                                                           \
    "import ctypes, os, threading, time\n"                                                                               \
    "busy = ctypes.PyDLL(os.environ['BUSY_LIBBUSY'])\n"                                                                  \
    "def start_and_stop():\n"                                                                                            \
    "    while True: busy.busy_gil_start(); busy.busy_gil_stop()\n"                                                      \
    "for _ in range(3):\n"                                                                                               \
    "    thread = threading.Thread(target=start_and_stop)\n"                                                             \
    "    thread.daemon = True\n"                                                                                         \
    "    thread.start()\n"                                                                                               \
    "time.sleep(0.2)\n"

static void say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(4);
}

static void too_late(int number)
{
    (void)number;
    say("a start did not return\n");
    _exit(3);
}

static void *function(void *library, const char *name)
{
    void *found = dlsym(library, name);

    if (!found)
        _exit(2);
    return found;
}

__attribute__((constructor)) static void live(void)
{
    void (*initialize)(int), (*finalize)(void);
    int (*run)(const char *, void *), (*start)(void), (*stop)(void), life;
    const char *path = getenv("BUSY_LIBBUSY");
    void *busy;

    /* Nothing that Python starts is meant. */
    unsetenv("LD_PRELOAD");
    *(void **)&initialize = function(RTLD_DEFAULT, "Py_InitializeEx");
    *(void **)&finalize = function(RTLD_DEFAULT, "Py_Finalize");
    *(void **)&run = function(RTLD_DEFAULT, "PyRun_SimpleStringFlags");
    busy = path ? dlopen(path, RTLD_NOW) : NULL;
    if (!busy)
        _exit(2);
    *(void **)&start = function(busy, "busy_gil_start");
    *(void **)&stop = function(busy, "busy_gil_stop");
    signal(SIGALRM, too_late);
    for (life = 0; life < LIVES; life++) {
        initialize(0);
        alarm(10);
        if (start() == 0)
            stop();
        else
            say("a start was refused\n");
        alarm(0);
        if (run(SCRIPT, NULL))
            _exit(2);
        finalize();
    }
    say("started in each life\n");
    _exit(0);
}
