"""What stands beside the calls of a check: threads that work meanwhile, and who tells how long a thread had no core.
And how everything that a check changes is put back.

Serves CPython 2.7 and 3.x, and needs only the standard library.
"""

import io
import os
import sys
import time

try:
    from thread import start_new_thread
except ImportError:
    from _thread import start_new_thread

clock = getattr(time, "perf_counter", time.time)
sleep = time.sleep


class Undo(object):
    """Puts back what was changed, in reverse, Ctrl-C or not. Each step may be done twice."""

    def __init__(self):
        self._steps = []

    def add(self, step):
        self._steps.append(step)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        interrupt = None
        while self._steps:
            try:
                self._steps[-1]()
                self._steps.pop()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


class Delay(object):
    """How long the calling thread was ready to run but had no core: nanoseconds, by schedstat (proc(5)); 0 where the
    kernel does not tell."""

    def __init__(self, tid):
        try:
            self._file = io.open("/proc/self/task/%d/schedstat" % tid, "rb", 0)
        except (IOError, OSError):
            self._file = None

    def read(self):
        if self._file is None:
            return 0
        self._file.seek(0)
        return int(self._file.read(100).split()[1])

    def close(self):
        if self._file is not None:
            self._file.close()


class Beside(object):
    """A thread that works beside the calls while the block runs. Threading does not know of it, nor do its hooks."""

    _is_over = _has_begun = _is_running = False
    error = None

    def __enter__(self):
        self._process = os.getpid()

        def run():
            self._is_running = True
            try:
                if not self._is_over:
                    self.begin()
                self._has_begun = True
                while not self._is_over:
                    self.work()
            except Exception as error:
                self.error = error
            finally:
                self._is_running = False

        start_new_thread(run, ())
        while not self._has_begun and self.error is None:
            sleep(0.0001)
        return self

    def __exit__(self, kind, *_):
        with Undo() as undo:
            undo.add(self.end)
        if self.error is not None and kind is None:
            raise self.error

    def end(self):
        self._is_over = True
        # A forked child has no such thread.
        while self._is_running and self._process == os.getpid():
            sleep(0.0001)


class Wanting(Beside):
    """Asks for the GIL, gives it back at once, pauses, and so on. `stall` is the longest that it waited while the
    thread `of` held the GIL: what it waited for a core is none."""

    def __init__(self, meter, of, pause):
        self._meter, self._of, self._pause = meter, of, pause
        self.stall = 0.0

    def begin(self):
        self._tid = self._meter.tid()
        _wake_exactly()
        self._before = self._read()

    def work(self):
        sleep(self._pause)
        waited, held = self._read()
        stall = min(waited - self._before[0], held - self._before[1])
        self.stall, self._before = max(self.stall, stall / 1e9), (waited, held)

    def _read(self):
        _, rows = self._meter.snapshot()
        waited = rows[self._tid].waited_ns if self._tid in rows else 0
        return waited, rows[self._of].held_ns if self._of in rows else 0


class Insisting(Wanting):
    """As `Wanting`, and keeps account of when it asked. For want of a core it can't: `take_gil` asks when a wait of
    one switch interval has ended, which takes a moment on a core."""

    _delay = None

    def begin(self):
        Wanting.begin(self)
        self._delay = Delay(self._tid)
        self._rounds, self._since, self._delayed = [], clock(), self._delay.read()

    def work(self):
        before = self._before[0]
        Wanting.work(self)
        waited = (self._before[0] - before) / 1e9
        # To read it costs two more waits.
        if waited > 0.0001:
            delayed, now = self._delay.read(), clock()
            self._rounds.append((self._since, now, waited - (delayed - self._delayed) / 1e9))
            self._delayed = delayed
        self._since = clock()

    def end(self):
        Wanting.end(self)
        if self._delay:
            self._delay.close()

    def asked(self, start, end):
        """How long it did so in vain, at least, at one time between the two."""
        asked = [0.0]
        for begun, ended, waited in self._rounds:
            inside = min(end, ended) - max(start, begun)
            if inside > 0:
                asked.append(waited - (ended - begun - inside))
        return max(asked)


class Stopping(Beside):
    """Stops the world again and again, for a moment each time (`_PyThread_CurrentFrames`, Python/pystate.c), and notes
    when that was wanted and when it was done."""

    def __init__(self, pause):
        self._pause, self._times = pause, []

    def begin(self):
        _wake_exactly()

    def work(self):
        start = clock()
        sys._current_frames()
        self._times.append((start, clock()))
        sleep(self._pause)

    def within(self, start, end):
        """Of those wanted in the first half: the longest, cut at the end, and what was left of the call when the first
        was wanted; None if there was none."""
        wanted = [times for times in self._times if start <= times[0] < (start + end) / 2]
        if wanted:
            return max(min(end, done) - begun for begun, done in wanted), end - wanted[0][0]


def _wake_exactly():
    """Lets the calling thread's waits end when they should, not up to 50 us later (PR_SET_TIMERSLACK, prctl(2))."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(29, ctypes.c_ulong(1), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass
