"""Checks of several threads take turns in the order of their arrival."""

import signal
import sys
import threading
import time

import pytest
from busy._verdict import verdict

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to meter in this interpreter"
)


class Turn:
    """A meter that calls `run` in its check's turn, and then ends the check by refusing to start."""

    def __init__(self, run):
        self.run = run

    def start(self):
        self.run()
        raise RuntimeError("its turn has come")


def check(run=lambda: None):
    assert verdict(Turn(run), int)["reason"] == "its turn has come"


@pytest.fixture
def held_turn():
    """Another thread has its turn until the event is set."""
    has_begun, end = threading.Event(), threading.Event()

    def hold():
        has_begun.set()
        assert end.wait(60)

    thread = threading.Thread(target=check, args=[hold])
    thread.start()
    assert has_begun.wait(60)
    yield end
    end.set()
    thread.join()


def test_a_thread_that_checks_again_and_again_lets_others_have_their_turns():
    count, is_over = [0], threading.Event()

    def turn():
        count[0] += 1
        time.sleep(0.002)

    def again_and_again():
        while not is_over.is_set() and count[0] < 2000:
            check(turn)

    greedy = threading.Thread(target=again_and_again)
    greedy.start()
    try:
        waited = []
        for _ in range(5):
            before = count[0]
            check(lambda before=before: waited.append(count[0] - before))
    finally:
        is_over.set()
        greedy.join()
    # On a busy machine, some turns may pass before this thread gets to its request.
    assert min(waited) <= 2 and count[0] < 2000, waited


def test_turns_come_in_the_order_of_arrival(held_turn):
    came = []

    def wait(number):
        check(lambda: came.append(number))

    threads = [threading.Thread(target=wait, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
        # Until it waits.
        time.sleep(0.1)
    held_turn.set()
    for thread in threads:
        thread.join()
    # A thread that was late by 0.1 s on a busy machine may have lost its place to the next one.
    assert sum(abs(number - place) for place, number in enumerate(came)) <= 4, came


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals are for the main thread"
)
def test_ctrl_c_ends_the_wait_and_the_turns_go_on(held_turn):
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            check()
    finally:
        signal.signal(signal.SIGINT, handler)
        timer.join()
    held_turn.set()
    check()


def test_a_forked_child_does_not_wait_for_threads_that_it_does_not_have(child):
    forked = child("""
        from busy import _verdict
        class Turn:
            def __init__(self, run):
                self.run = run
            def start(self):
                self.run()
                raise RuntimeError
        started, end = threading.Semaphore(0), threading.Event()
        def hold():
            started.release()
            end.wait()
        threads = [threading.Thread(target=_verdict.verdict, args=(Turn(hold), int)) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.acquire()
        time.sleep(0.1)
        pid = os.fork()
        signal.alarm(40)
        if pid == 0:
            # It may get the id of a thread of the parent.
            new = threading.Thread(target=_verdict.verdict, args=(Turn(lambda: None), int), daemon=True)
            new.start()
            new.join(20)
            _verdict.verdict(Turn(lambda: os._exit(int(new.is_alive()))), int)
            os._exit(9)
        _, status = os.waitpid(pid, 0)
        end.set()
        for thread in threads:
            thread.join()
        report(status=status)
    """)
    assert forked.report()["status"] == 0
