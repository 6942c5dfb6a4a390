"""busy.watch in forked children, other interpreters, and at its first use."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to watch in this interpreter"
)


def test_importing_busy_does_not_import_the_modules_that_a_watch_needs():
    code = """
import sys
before = set(sys.modules)
import busy
assert not {"ctypes", "threading", "inspect", "busy._watch"} & (set(sys.modules) - before)
assert "watch" in dir(busy)
with busy.watch():
    pass
assert busy.watch is busy.watch and "busy._watch" in sys.modules
try:
    busy.wotch
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout) == ("", "module 'busy' has no attribute 'wotch'\n")


def test_a_child_forked_during_the_first_use_of_watch_can_watch(child):
    forked = child("""
        import busy

        class Slow:
            def find_spec(self, name, *_):
                if name == "busy._watch":
                    is_importing.set()
                    time.sleep(0.5)

        is_importing = threading.Event()
        sys.meta_path.insert(0, Slow())
        other = threading.Thread(target=lambda: busy.watch)
        other.start()
        is_importing.wait()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            with busy.watch() as w:
                busy.with_lock(0.01)
            os._exit(0 if list(w.threads.values())[0].held_s >= 0.01 else 1)
        other.join()
        report(status=os.waitpid(pid, 0)[1])
    """)
    assert forked.report() == {"status": 0}


def test_the_figures_of_a_forked_child_begin_at_the_fork(child):
    forked = child("""
        import busy, warnings
        warnings.simplefilter("ignore")
        with busy.watch() as w:
            busy.with_lock(0.3)
            busy.without_lock(0.001)
            pid = os.fork()
            if pid == 0:
                for _ in range(10):
                    busy.with_lock(0.005)
                    busy.without_lock(0.0001)
            else:
                _, status = os.waitpid(pid, 0)
        if pid == 0:
            own = w.threads[threading.get_native_id()]
            good = 0.05 <= own.held_s <= w.wall_s and own.cpu_s < 0.3 and len(w.threads) == 1
            # The parent's hold of 0.3 s does not count.
            good = good and own.longest_hold_s < 0.04
            threading.Thread(target=lambda: None).start()
            os._exit(0 if good else 7)
        report(status=status, wall=w.wall_s, held=w.threads[threading.get_native_id()].held_s)
    """)
    found = forked.report()
    assert found["status"] == 0
    assert found["held"] >= 0.3 and found["wall"] >= 0.35


def test_a_forked_child_forgets_the_threads_and_watches_of_its_parent(child):
    forked = child("""
        import busy, gc, warnings
        from busy import _ended_threads
        warnings.simplefilter("ignore")
        go, open = threading.Event(), threading.Semaphore(0)
        def run():
            with busy.watch():
                open.release()
                go.wait()
        def ended():
            with_lock(0.002)
        watching = [threading.Thread(target=run) for _ in range(30)]
        with busy.watch() as w:
            for thread in watching:
                thread.start()
                open.acquire()
            for _ in range(5):
                thread = threading.Thread(target=ended)
                thread.start()
                thread.join()
            pid = os.fork()
            if pid == 0:
                with busy.watch() as inner:
                    thread = threading.Thread(target=ended)
                    thread.start()
                    thread.join()
                recorders = len(_ended_threads._recorders)
            else:
                _, status = os.waitpid(pid, 0)
                go.set()
        if pid == 0:
            own = {threading.get_native_id(), thread.native_id}
            good = recorders == 1 and set(w.threads) == set(inner.threads) == own
            good = good and w.threads[thread.native_id].held_s >= 0.002
            os._exit(0 if good and type(threading._active) is dict else 7)
        for thread in watching:
            thread.join()
        report(status=status, threads=len(w.threads))
    """)
    assert forked.report() == {"status": 0, "threads": 36}


def test_in_a_forked_child_the_watches_of_other_threads_do_not_keep_the_meter_on(child):
    forked = child("""
        import busy, warnings
        warnings.simplefilter("ignore")
        library = ctypes.PyDLL(f"{busy.get_library()}/libbusy.so.1")
        go, open = threading.Event(), threading.Event()
        others = busy.watch()
        def run():
            with others:
                open.set()
                go.wait()
        thread = threading.Thread(target=run)
        thread.start()
        open.wait()
        with busy.watch() as own:
            with_lock(0.3)
            pid = os.fork()
            if pid == 0:
                with_lock(0.01)
                without_lock(0.001)
        if pid == 0:
            found = own.threads[threading.get_native_id()]
            good = 0.01 <= found.longest_hold_s < 0.2 and found.held_s <= own.wall_s
            try:
                others.read()
            except busy.GilNotMeterable:
                os._exit(0 if good and library.busy_gil_stop() == 10 else 1)
            os._exit(2)
        _, status = os.waitpid(pid, 0)
        go.set()
        thread.join()
        # The parent's own watch and that of its thread have ended as well.
        report(status=status, off=library.busy_gil_stop(), held=others.threads[os.getpid()].held_s)
    """)
    found = forked.report()
    assert found.pop("held") >= 0.3
    assert found == {"status": 0, "off": 10}


def test_the_gil_of_another_interpreter_is_reported_separately(child):
    if sys.version_info < (3, 12):
        pytest.skip("before 3.12 all interpreters of a process share one GIL")
    other = child("""
        import busy
        try:
            import _interpreters as interpreters
            run = interpreters.exec
        except ImportError:
            import _xxsubinterpreters as interpreters
            run = interpreters.run_string
        id = interpreters.create()
        with busy.watch() as w:
            run(id, "import time\\nend = time.monotonic() + 0.3\\nwhile time.monotonic() < end: pass")
        report(share=w.others[int(id)], own=w.held_share, shown=str(w))
    """)
    found = other.report()
    assert found["share"] > 0.5 > found["own"]
    assert "the GIL of interpreter " in found["shown"]


def test_a_thread_is_not_named_after_the_greenlets_that_it_runs(child):
    # As gevent's patch does, for which threading has a Thread of each greenlet.
    watching = child("""
        import busy

        class Greenlet(threading.Thread):
            native_id = threading.get_native_id()
            ident = 7

            def is_alive(self):
                return True

        with busy.watch() as w:
            threading._active[7] = Greenlet(name="greenlet")
        del threading._active[7]
        report(names=[thread.name for thread in w.threads.values()])
    """)
    assert watching.report() == {"names": ["MainThread"]}
