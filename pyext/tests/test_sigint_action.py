"""What without_lock does to the process's SIGINT action, and that all of it is undone."""

import shutil
import subprocess
import sysconfig

import pytest

FORMER = """
/* Two handlers of a C program's, with what was found of the action and by the handler. */
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
def former(tmp_path_factory):
    """The path of FORMER as a library."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not (compiler := shutil.which(compiler) or shutil.which("cc")):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("former")
    (folder / "former.c").write_text(FORMER)
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "former.so"), str(folder / "former.c")]
    subprocess.run(command, check=True)
    return folder / "former.so"


def test_it_is_another_during_the_wait_and_the_same_after_every_path(child):
    waiting = child("""
        before = sigint_action()
        found = {}
        def look():
            while "ended" not in found:
                found.setdefault("another", False)
                found["another"] |= sigint_action() != before
                time.sleep(0.01)
        looker = threading.Thread(target=look)
        looker.start()

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
        looker.join()

        # As usual: outside a wait, and in the next one.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        found["python's"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        for usual in (time.sleep, without_lock):
            ready()
            try:
                usual(30)
            except KeyboardInterrupt:
                found[usual.__name__] = True
        report(**found)
    """)
    for _ in range(4):
        waiting.wait_until_ready()
        waiting.interrupt()
    found = waiting.report()
    paths = ["completed", "interrupted", "resumed", "another", "python's", "sleep", "without_lock"]
    assert {path: found[path] for path in paths} == dict.fromkeys(paths, True)


@pytest.mark.parametrize("info", [False, True], ids=["sa_handler", "SA_SIGINFO"])
def test_a_c_handler_is_called_as_it_was_and_the_wait_goes_on(child, former, info):
    # It never tells Python of the signal, so there is nothing to raise.
    waiting = child(
        """
        library = ctypes.CDLL(sys.argv[1])
        library.install(int(sys.argv[2]))
        before = sigint_action()
        meanwhile = {}
        def look():
            time.sleep(0.2)
            meanwhile["another"] = sigint_action() != before
            meanwhile["kept"] = library.keeps_mask_and_flags()
            meanwhile["onstack"] = library.has_onstack()
        looker = threading.Thread(target=look)
        looker.start()
        ready()
        start = time.monotonic()
        without_lock(1)
        elapsed = time.monotonic() - start
        looker.join()
        report(elapsed=elapsed, calls=ctypes.c_int.in_dll(library, "calls").value, parent=os.getppid(),
               sender=ctypes.c_int.in_dll(library, "sender").value, restored=sigint_action() == before, **meanwhile)
        """,
        former,
        int(info),
    )
    waiting.wait_until_ready()
    waiting.interrupt()
    waiting.interrupt()
    found = waiting.report()
    assert found["elapsed"] >= 1
    assert found["calls"] == 2
    assert found["sender"] == (found["parent"] if info else 0)
    assert found["another"] and found["kept"] and found["onstack"]
    assert found["restored"]


def test_a_handler_that_somebody_else_put_on_top_meanwhile_stays(child):
    # faulthandler.register may be called on any thread; what it installs calls what it found, which is ours.
    waiting = child("""
        import faulthandler, tempfile
        dump = tempfile.TemporaryFile("w+")
        plain = sigint_action()
        def put_on_top():
            time.sleep(0.1)
            faulthandler.register(signal.SIGINT, file=dump, chain=True)
            ready()
        threading.Thread(target=put_on_top).start()
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
        # Python's own handler once more, put in by Python: nothing of theirs or ours is left.
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
