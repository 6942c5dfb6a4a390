"""without_lock changes the SIGINT action of the process during the wait, and restores it."""

import shutil
import subprocess
import sysconfig

import pytest

HANDLERS = """
/* Two handlers like those of a C program, and functions that report the action and the calls. */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/types.h>

volatile sig_atomic_t calls;
volatile pid_t sender;

static void plain(int signal) { calls += signal == SIGINT; }
static void with_info(int signal, siginfo_t *info, void *context) {
    calls += signal == SIGINT && context;
    sender = info->si_pid;
}

void install(int info) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigaddset(&action.sa_mask, SIGUSR1);
    action.sa_flags = SA_RESTART;
    if (info) {
        action.sa_sigaction = with_info;
        action.sa_flags |= SA_SIGINFO;
    } else {
        action.sa_handler = plain;
    }
    sigaction(SIGINT, &action, 0);
}

int keeps_mask_and_flags(void) {
    struct sigaction action;
    sigaction(SIGINT, 0, &action);
    return sigismember(&action.sa_mask, SIGUSR1) == 1 && sigismember(&action.sa_mask, SIGUSR2) == 0
        && (action.sa_flags & SA_RESTART);
}

int has_onstack(void) {
    struct sigaction action;
    sigaction(SIGINT, 0, &action);
    return !!(action.sa_flags & SA_ONSTACK);
}
"""


@pytest.fixture(scope="module")
def handlers(tmp_path_factory):
    """The path of HANDLERS as a shared library."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not (compiler := shutil.which(compiler) or shutil.which("cc")):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("handlers")
    (folder / "handlers.c").write_text(HANDLERS)
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "handlers.so"), str(folder / "handlers.c")]
    subprocess.run(command, check=True)
    return folder / "handlers.so"


def test_the_action_is_changed_during_the_wait_and_restored_on_every_path(child):
    waiting = child("""
        before = sigint_action()
        found = {}
        def observe():
            while "ended" not in found:
                found.setdefault("changed", False)
                found["changed"] |= sigint_action() != before
                time.sleep(0.01)
        observer = threading.Thread(target=observe)
        observer.start()

        without_lock(0.3)
        found["completed"] = sigint_action() == before
        ready()
        try:
            without_lock(30)
        except KeyboardInterrupt:
            found["interrupted"] = sigint_action() == before
        signal.signal(signal.SIGINT, lambda *_: None)
        ready()
        without_lock(1)
        found["resumed"] = sigint_action() == before
        found["ended"] = True
        observer.join()

        # Python's own handler works outside a wait, and in the next one.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        found["python's"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        for function in (time.sleep, without_lock):
            ready()
            try:
                function(30)
            except KeyboardInterrupt:
                found[function.__name__] = True
        report(**found)
    """)
    for _ in range(4):
        waiting.wait_until_ready()
        waiting.interrupt()
    found = waiting.report()
    paths = ["completed", "interrupted", "resumed", "changed", "python's", "sleep", "without_lock"]
    assert {path: found[path] for path in paths} == dict.fromkeys(paths, True)


@pytest.mark.parametrize("info", [False, True], ids=["sa_handler", "SA_SIGINFO"])
def test_a_c_handler_is_called_as_before_and_the_wait_continues(child, handlers, info):
    # The C handler does not pass the signal on to Python, so no exception is raised.
    waiting = child(
        """
        library = ctypes.CDLL(sys.argv[1])
        library.install(int(sys.argv[2]))
        before = sigint_action()
        during = {}
        def observe():
            time.sleep(0.2)
            during["changed"] = sigint_action() != before
            during["kept"] = library.keeps_mask_and_flags()
            during["onstack"] = library.has_onstack()
        observer = threading.Thread(target=observe)
        observer.start()
        ready()
        start = time.monotonic()
        without_lock(1)
        elapsed = time.monotonic() - start
        observer.join()
        report(elapsed=elapsed, calls=ctypes.c_int.in_dll(library, "calls").value, parent=os.getppid(),
               sender=ctypes.c_int.in_dll(library, "sender").value, restored=sigint_action() == before, **during)
        """,
        handlers,
        int(info),
    )
    waiting.wait_until_ready()
    waiting.interrupt()
    waiting.interrupt()
    found = waiting.report()
    assert found["elapsed"] >= 1
    assert found["calls"] == 2
    assert found["sender"] == (found["parent"] if info else 0)
    assert found["changed"] and found["kept"] and found["onstack"]
    assert found["restored"]


def test_a_handler_that_other_code_installs_during_the_wait_stays(child):
    # faulthandler.register works on any thread. Its handler calls the one that it replaced, which is busy's.
    waiting = child("""
        import faulthandler, tempfile
        dump = tempfile.TemporaryFile("w+")
        plain = sigint_action()
        def install():
            time.sleep(0.1)
            faulthandler.register(signal.SIGINT, file=dump, chain=True)
            ready()
        threading.Thread(target=install).start()
        caught = 0
        stays = []
        for again in range(3):
            if again:
                ready()
            try:
                without_lock(30)
            except KeyboardInterrupt:
                caught += 1
            stays.append(sigint_action() != plain)
        dump.seek(0)
        dumps = dump.read().count("most recent call first")
        # Python installs its handler again, which replaces those of faulthandler and busy.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ready()
        try:
            without_lock(30)
        except KeyboardInterrupt:
            caught += 1
        report(caught=caught, stays=stays, dumps=dumps, plain=sigint_action() == plain)
    """)
    for _ in range(4):
        waiting.wait_until_ready()
        waiting.interrupt()
    found = waiting.report()
    assert found["caught"] == 4
    assert found["stays"] == [True, True, True]
    assert found["dumps"] >= 3
    assert found["plain"]
