"""Background threads that run beside the calls of a check; the run delays of threads; and `Undo`, which restores what a
check changes.

Serves CPython 2.7 and 3.x, and needs only the standard library.
"""

import io
import os
import struct
import sys
import time

try:
    from thread import start_new_thread
except ImportError:
    from _thread import start_new_thread

_TIME_SLICE_NS = 100000  # the shortest that Linux grants
_SCHED_SETATTR = 314  # syscall(2); the meter supports x86-64 only

clock = getattr(time, "perf_counter", time.time)
sleep = time.sleep
if "gevent.monkey" in sys.modules:
    # gevent may have replaced both by functions for greenlets, which share one thread.
    _original = sys.modules["gevent.monkey"].get_original
    sleep = _original("time", "sleep")
    start_new_thread = _original("thread" if sys.version_info < (3,) else "_thread", "start_new_thread")


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


class RunDelays(object):
    """The run delays of threads of this process: how long each was runnable without a CPU, in nanoseconds, from its
    schedstat (proc(5)). Where the kernel does not report it, and for a thread that has ended, it is 0."""

    def __init__(self):
        self._files, self._is_virtual = {}, True

    def stolen(self):
        """How long the host of this virtual machine has taken cores from it, in nanoseconds and in steps of 10 ms, over
        all cores (steal in /proc/stat, proc(5)). It may have hit any thread, and is part of no run delay."""
        if not self._is_virtual:
            return 0
        try:
            with io.open("/proc/stat", "rb", 0) as file:
                ticks = int(file.read(200).split(b"\n")[0].split()[8])
        except (IOError, OSError, IndexError, ValueError):
            ticks = 0
        # Where nothing was ever stolen, the file is not read again.
        self._is_virtual = ticks > 0
        return ticks * 10**9 // os.sysconf("SC_CLK_TCK")

    def read(self, tid):
        try:
            if tid not in self._files:
                self._files[tid] = io.open("/proc/self/task/%d/schedstat" % tid, "rb", 0)
            self._files[tid].seek(0)
            return int(self._files[tid].read(100).split()[1])
        except (IOError, OSError, IndexError, ValueError):
            # ESRCH: the thread has ended, and its id may be another thread's by now.
            self._close(tid)
            return 0

    def read_all(self, tids):
        return dict((tid, self.read(tid)) for tid in tids)

    def close(self):
        for tid in list(self._files):
            self._close(tid)

    def _close(self, tid):
        file = self._files.pop(tid, None)
        if file is not None:
            file.close()


def cpu_time(tid):
    """The CPU time of a thread of this process, in seconds; None if the thread has ended, or if this Python can't read
    it. The number of its clock is the one that pthread_getcpuclockid(3) returns."""
    try:
        return time.clock_gettime(~tid << 3 | 6)
    except (AttributeError, EnvironmentError):
        return None


def run_delays_of_all():
    """Returns the run delay of each thread of this process, or none where the kernel does not list them (proc(5))."""
    try:
        tids = [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return {}
    delays = RunDelays()
    try:
        return delays.read_all(tids)
    finally:
        delays.close()


def thread_of_busy(thread):
    """What a background thread runs. Recordings show it by the name of this function."""
    thread._is_running = True
    try:
        if not thread._is_over:
            thread.begin()
        thread._has_begun = True
        while not thread._is_over:
            thread.work()
    except Exception as error:
        thread.error = error
    finally:
        thread._is_running = False


class BackgroundThread(object):
    """A thread that calls `begin` once, then `work` again and again until the block ends. The threading module does not
    know it, so the hooks of that module are not called."""

    _is_over = _has_begun = _is_running = False
    error = None

    def __enter__(self):
        self._process = os.getpid()
        try:
            start_new_thread(thread_of_busy, (self,))
            while not self._has_begun and self.error is None:
                sleep(0.0001)
        except BaseException:
            # As by Ctrl-C: a block that was not entered is not left.
            self.__exit__(*sys.exc_info())
            raise
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
    """Acquires the GIL, releases it at once, pauses, and repeats. A round is the time from one acquire to the next.

    `others` is the set of the threads that do not work for the call: the prober adds itself. `stall` and `least_stall`
    are the upper and the lower bound, in seconds, of the longest time that it waited while a thread that works for the
    call held the GIL; `hold` and `least_hold` those of the longest hold. They differ by run delays: a thread without a
    core can neither release the GIL nor acquire it, but it may have been without a core at another time of the round.
    A round with several releases is several holds, of which the longest is not known.
    `delay` is the sum of the run delays of these threads.
    """

    # Reading the run delays takes a few microseconds, so rounds with a short wait are recorded together.
    SHORT_NS = 100000
    LONG_S = 0.01

    def __init__(self, meter, others, pause):
        self._meter, self._others, self._pause = meter, others, pause
        self.stall = self.least_stall = self.hold = self.least_hold = self.delay = 0.0

    def begin(self):
        self.tid = self._meter.tid()
        self._others.add(self.tid)
        _wake_on_time()
        self._delays, self._holders = RunDelays(), set(self._read()[2])
        self._first, self._last_delay = run_delays_of_all(), 0
        at, self._before = clock(), self._read()
        self._since = (at, self._read_delays(), clock())

    def work(self):
        sleep(self._pause)
        self.look()

    def look(self):
        at, now, before = clock(), self._read(), self._before
        waited, held, releases = (now[index] - before[index] for index in (0, 1, 3))
        self._holders.update(now[2])
        self._before = now
        if waited > self.SHORT_NS or clock() - self._since[2] > self.LONG_S:
            now = (at, self._read_delays(), clock())
            # A thread that holds the GIL for the first time was not read when this round began: its run delay in this
            # round is at most what it gained since the prober began.
            first = self._first
            delays = dict(
                (tid, delay - self._since[1].get(tid, first.get(tid, 0))) for tid, delay in now[1].items()
            )
            # The last reading took a while: it releases the GIL. A wait or a hold during it belongs to this round, but
            # its run delay may belong to the round before.
            unread = min(self._last_delay, int((self._since[2] - self._since[0]) * 1e9))
            self._last_delay = sum(delays.values())
            own = delays.pop(self.tid)
            self.round_ended(waited, held, own, sum(delays.values()), unread, releases)
            self._since = now
        else:
            self.hold = max(self.hold, held / 1e9)

    def round_ended(self, waited, held, own, theirs, unread, releases):
        """Records a round: for how many nanoseconds this thread waited for the GIL and the others held it; the run
        delays of this thread and of the others; how much more run delay may belong to this round, although it was read
        in the round before; and how often the others released the GIL."""
        stall, delay = min(waited, held), own + theirs + unread
        self.stall, self.least_stall = (
            max(self.stall, stall / 1e9),
            max(self.least_stall, (stall - delay) / 1e9),
        )
        self.hold = max(self.hold, held / 1e9)
        if releases <= 1:
            self.least_hold = max(self.least_hold, (held - delay) / 1e9)
        self.delay += theirs / 1e9

    def end(self):
        BackgroundThread.end(self)
        if self._delays:
            self._delays.close()

    _delays = None

    def _read(self):
        _, rows = self._meter.snapshot()
        waited = rows[self.tid].waited_ns if self.tid in rows else 0
        holders = dict((tid, row) for tid, row in rows.items() if tid not in self._others and row.held_ns)
        held = sum(row.held_ns for row in holders.values())
        releases = sum(row.voluntary_releases + row.forced_drops for row in holders.values())
        return waited, held, dict((tid, row.held_ns) for tid, row in holders.items()), releases

    def _read_delays(self):
        return self._delays.read_all(self._holders | set([self.tid]))


class Contender(Prober):
    """A `Prober` that also records each of its waits for the GIL, less its run delay, and at the start and end of each
    of its own holds the CPU times of the threads that work for the call. The run delay does not count because a thread
    without a core sends no drop request: `take_gil` sends it when a wait of one switch interval has ended, which takes
    a moment on a core. So only after a wait of several intervals can it be sure that it has sent one."""

    # Enough for any call whose run delays matter. Without the oldest ones, the pieces of a longer call seem longer.
    MAX_HOLDS = 20000

    def __init__(self, meter, others, pause, interval):
        Prober.__init__(self, meter, others, pause)
        self.shortest_proof = 2 * interval
        self.SHORT_NS = int(1e9 * self.shortest_proof)
        self._rounds, self._holds = [], []

    def begin(self):
        Prober.begin(self)
        self._round_began = clock()

    def work(self):
        sleep(self._pause)
        hold = _OwnHold(self._holders)
        self._holds.append(hold)
        if len(self._holds) > self.MAX_HOLDS:
            del self._holds[: self.MAX_HOLDS // 2]
        self.look()
        hold.end(self._before[2])

    def round_ended(self, waited, held, own, theirs, unread, releases):
        now = clock()
        if waited > self.SHORT_NS:
            self._rounds.append((self._round_began, now, (waited - own) / 1e9))
        # Reading the run delays releases the GIL several times. These waits are left out.
        self._before, self._round_began = self._read(), now

    def waited_between(self, start, end):
        """Returns a lower bound, in seconds, of its longest single wait for the GIL between `start` and `end`.

        A wait of which most was at other times does not count: the GIL is released between two calls, so this thread
        had no core then, or it would have acquired the GIL. The kernel does not always report that as a run delay."""
        waits = [0.0]
        for began, ended, waited in self._rounds[:]:
            inside = min(end, ended) - max(start, began)
            if inside > waited / 2:
                waits.append(waited - (ended - began - inside))
        return max(waits)

    def cpu_pieces_between(self, start, end, tid):
        """Considers what CPU time a thread used between two readings of it, each (time, CPU time): while it held the
        GIL, or while it waited for it, which takes a few microseconds each switch interval. The holds of this thread
        divide it into pieces, and no hold of the other one spans several. Returns an upper bound of what its longest
        hold used, and about what its holds used in all, in seconds, without those that began and ended while this
        thread seems to hold the GIL."""
        (began, cpu_before), (ended, cpu_after) = start, end
        longest, total, held = 0.0, 0.0, None
        for own in self._holds[:]:
            if own.ended < began or own.began >= ended:
                continue
            before = max(cpu_before, own.before.get(tid, cpu_before))
            after = max(before, min(own.after.get(tid, cpu_after), cpu_after))
            piece, held_now = before - cpu_before, own.held.get(tid)
            if held is not None and held_now is not None:
                # The holds can't have used more than the time that they lasted. The rest was used to wait.
                piece = min(piece, (held_now - held) / 1e9)
            total += piece
            # This thread may lose the GIL before the end that it records: what the other one did then may be a hold.
            longest = max(longest, piece, after - before)
            cpu_before, held = after, held_now
        piece = cpu_after - cpu_before
        return max(longest, piece), total + piece

    def forget(self, before):
        """Forgets what has ended before a time."""
        # The contender may append meanwhile.
        del self._rounds[: sum(ended < before for _, ended, _ in self._rounds[:])]
        del self._holds[: sum(own.ended < before for own in self._holds[:])]


class _OwnHold(object):
    """The time from an acquire of the contender until just before its release; the CPU times of the holders at both,
    and how long they had held the GIL in all. What is not known is left out. The contender may lose the GIL in between.

    `holders` is the contender's own set, which may grow until the end."""

    __slots__ = ("_holders", "after", "before", "began", "ended", "held")

    def __init__(self, holders):
        self._holders, self.ended, self.after, self.held = holders, float("inf"), {}, {}
        self.began, self.before = clock(), self._cpu_times()

    def end(self, held):
        # The time comes last: another thread may read this in between.
        self.held, self.after, self.ended = held, self._cpu_times(), clock()

    def _cpu_times(self):
        read = ((tid, cpu_time(tid)) for tid in self._holders)
        return dict((tid, cpu) for tid, cpu in read if cpu is not None)


class WorldStopper(BackgroundThread):
    """Stops the world for a moment, again and again (`_PyThread_CurrentFrames`, Python/pystate.c), and records when
    each stop was requested and when it was done."""

    def __init__(self, pause):
        self._pause, self._times = pause, []

    def begin(self):
        _wake_on_time()

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


def _wake_on_time():
    """Makes the calling thread's sleeps end on time, not up to 50 us later (PR_SET_TIMERSLACK, prctl(2)); and lets it
    have a core sooner when it wakes, although other threads keep all cores busy: since Linux 6.12, a thread that asks
    for a shorter time slice has its turn sooner (sched_runtime of sched_setattr(2))."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(29, ctypes.c_ulong(1), 0, 0, 0)
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            attributes = struct.pack(
                "=IIQiIQQQ",
                48,
                os.SCHED_OTHER,
                0,
                os.getpriority(os.PRIO_PROCESS, 0),
                0,
                _TIME_SLICE_NS,
                0,
                0,
            )
            libc.syscall(_SCHED_SETATTR, 0, attributes, 0)
    except (ImportError, OSError, AttributeError):
        pass
