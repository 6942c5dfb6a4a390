"""Events of every random life: Ctrl-C and forks."""

import os
import signal
import threading
import time
import traceback

from meter import end_if_stuck


def interrupted(chance, do):
    """Calls `do` repeatedly until Ctrl-C, which is sent at a random moment."""

    def interrupt(seconds):
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt, args=(chance.random() * 0.01,))
    try:
        interrupting.start()
        while True:
            do()
    except KeyboardInterrupt:
        pass
    interrupting.join()


def in_a_child(body):
    """Calls `body` in a forked child, where it must not raise an exception."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            end_if_stuck()
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
