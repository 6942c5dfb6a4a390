"""The threads of the module that threading knows."""

import os
import threading
import time
from collections.abc import Callable


class OwnThread(threading.Thread):
    """A daemon thread whose end can be waited for again after Ctrl-C. Up to CPython 3.12, a `join()` that Ctrl-C has
    interrupted takes the thread for ended, and so does each later one (`_wait_for_tstate_lock`, Lib/threading.py)."""

    _process: int | None = None
    _has_ended = False

    def __init__(self, name: str, target: Callable[..., object], *arguments: object) -> None:
        super().__init__(target=target, args=arguments, name=name, daemon=True)

    def start(self) -> None:
        super().start()
        self._process = os.getpid()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._has_ended = True

    def wait(self) -> None:
        """Waits until the thread has ended. A forked child does not have it."""
        while not self._has_ended and self._process == os.getpid():
            time.sleep(0.001)
        self.join()
