"""Background threads that run beside the calls of a check; the run delay of a thread; and `Undo`, which restores what a
check changes.

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
    """Runs the steps that were added, last one first, when its block ends. If Ctrl-C interrupts a step, the step runs
    again, so each one must be safe to run twice."""

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


class RunDelay(object):
    """The run delay of the thread `tid`: how long it was runnable without a CPU, in nanoseconds, from its schedstat
    (proc(5)). It reads 0 where the kernel does not report it."""

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


class BackgroundThread(object):
    """A thread that calls `begin` once, then `work` again and again until the block ends. The threading module does not
    know it, so the hooks of that module are not called."""

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
        # The thread does not exist in a forked child.
        while self._is_running and self._process == os.getpid():
            sleep(0.0001)


class Prober(BackgroundThread):
    """Acquires the GIL, releases it at once, pauses, and repeats. `stall` is the longest time that it waited while the
    thread `of` held the GIL; time spent waiting for a core is not part of it."""

    def __init__(self, meter, of, pause):
        self._meter, self._of, self._pause = meter, of, pause
        self.stall = 0.0

    def begin(self):
        self._tid = self._meter.tid()
        _minimize_timer_slack()
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


class Contender(Prober):
    """A `Prober` that also records each of its waits for the GIL, less its run delay. The run delay does not count
    because a thread without a core sends no drop request: `take_gil` sends it when a wait of one switch interval has
    ended, which takes a moment on a core."""

    _run_delay = None

    def begin(self):
        Prober.begin(self)
        self._run_delay = RunDelay(self._tid)
        self._rounds, self._since, self._delayed = [], clock(), self._run_delay.read()

    def work(self):
        before = self._before[0]
        Prober.work(self)
        waited = (self._before[0] - before) / 1e9
        # Reading the run delay costs two more waits.
        if waited > 0.0001:
            delayed, now = self._run_delay.read(), clock()
            self._rounds.append((self._since, now, waited - (delayed - self._delayed) / 1e9))
            self._delayed = delayed
        self._since = clock()

    def end(self):
        Prober.end(self)
        if self._run_delay:
            self._run_delay.close()

    def waited_between(self, start, end):
        """Returns a lower bound, in seconds, of its longest single wait for the GIL between `start` and `end`."""
        waits = [0.0]
        for began, ended, waited in self._rounds:
            inside = min(end, ended) - max(start, began)
            if inside > 0:
                waits.append(waited - (ended - began - inside))
        return max(waits)


class WorldStopper(BackgroundThread):
    """Stops the world for a moment, again and again (`_PyThread_CurrentFrames`, Python/pystate.c), and records when
    each stop was requested and when it was done."""

    def __init__(self, pause):
        self._pause, self._times = pause, []

    def begin(self):
        _minimize_timer_slack()

    def work(self):
        start = clock()
        sys._current_frames()
        self._times.append((start, clock()))
        sleep(self._pause)

    def stall_between(self, start, end):
        """Considers the stops that were requested in the first half of a call from `start` to `end`. Returns the
        longest of them, cut off at `end`, and the time from the first request to `end`. Returns None if no stop was
        requested."""
        stops = [times for times in self._times if start <= times[0] < (start + end) / 2]
        if stops:
            return max(min(end, done) - requested for requested, done in stops), end - stops[0][0]


def _minimize_timer_slack():
    """Makes the calling thread's sleeps end on time, not up to 50 us later (PR_SET_TIMERSLACK, prctl(2))."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(29, ctypes.c_ulong(1), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass
