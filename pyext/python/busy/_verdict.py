"""Does a call release the GIL? The passes that lead to a verdict, over a meter as `_ctypes_meter.Meter` is one.

A  Nobody else is there: does the call give the GIL up by itself, and what part of its time does it hold it?
B  If it never does: another thread keeps asking for the GIL, and a switch interval of 20 us lets it have what it can
   get. A call that is held in one piece all the same holds it; one that is cut up is Python code, which yields.
C  As programs run: the usual switch interval, and a thread that wants the GIL now and then. How long does it wait?

What other processes do can only make a hold or a wait longer. So a verdict rests on calls that were undisturbed by the
kernel's own account, or on what came again; where there is neither, it is `inconclusive`.

Serves CPython 2.7 and 3.x, and needs only the standard library. It knows nothing of libbusy, nor of the command.
"""

import gc
import io
import os
import sys
import time

try:
    from thread import allocate_lock, get_ident, start_new_thread
except ImportError:
    from _thread import allocate_lock, get_ident, start_new_thread

MOST_HELD = 0.1  # of its time, by a call that releases
LONGEST_HOLD_S = 0.010  # by a call that releases
SHORTEST_S = 0.0003  # of a call that can be told anything about
LONG_ENOUGH_S = 0.020  # all the calls of a pass together
SHORT_INTERVAL_S = 0.00002
IN_ONE_PIECE = 0.5  # of what a call holds, and more: the longest hold of a call that does not yield
MOST_CALLS = 200  # of a pass
PAUSE_S = 0.05  # for others to finish what they do

_DISTURBED = "other processes kept it off its core, so that %s can't be told: end them, and check again"

_clock = getattr(time, "perf_counter", time.time)
_sleep = time.sleep
_HAS_OLD_GIL = sys.version_info < (3, 2)  # released every so many ticks, whether anybody asks or not

# One check at a time: the meter's windows, the switch interval and the thread that asks are the process's.
_turn = allocate_lock()
_turn_of = []


class Refused(TypeError):
    """What was given can't be checked by calling it, for the reason given."""


def verdict(meter, function, args=(), kwargs=None):
    """Calls `function` some times and tells, as a dict, how it stands to the GIL: verdict (releases, partly, yields,
    holds, no-gil, inconclusive), held_share (0 to 1), longest_hold_s, longest_stall_s (of others, by one call), calls
    (how many were made) and reason (None, or a sentence). What could not be had is None.

    What the function raises comes through. Refused: a coroutine, a generator and the like. RuntimeError: called from
    inside a function that is being checked.
    """
    _refuse_function(function)
    with _Undo() as undo:
        _take_turn(undo)
        if gc.isenabled():
            undo.add(gc.enable)
            gc.disable()
        check = _Check(meter, function, args, kwargs or {}, undo)
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            return check.without_gil()
        return check.with_gil()


def _take_turn(undo):
    if _turn_of == [get_ident()]:
        raise RuntimeError("a check inside a function that is being checked: take one of them out")
    # Python 2's acquire() can't be interrupted.
    while not _turn.acquire(False):
        _sleep(0.005)
    _turn_of[:] = [get_ident()]

    def give_back():
        if _turn_of == [get_ident()]:
            del _turn_of[:]
            _turn.release()

    undo.add(give_back)


class _Undo(object):
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


class _Sample(object):
    """One call, in seconds: how long it took; how long its thread held the GIL, waited for it, had no core."""

    def __init__(self, elapsed, held, waited, longest, explicit, delayed, times):
        self.elapsed, self.held, self.waited, self.longest = elapsed, held, waited, longest
        self.explicit, self.delayed, self.times = explicit, delayed, times

    def length(self):
        return self.times[1] - self.times[0]

    def held_share(self, most=True):
        """At most, or at least: it may have been kept off its core while it held the GIL, or while it did not."""
        ran = max(self.elapsed - self.waited - self.delayed, 1e-9)
        return min(1.0, max(0.0, self.held - (0 if most else self.delayed)) / ran)

    def longest_hold(self, most=True):
        """As `held_share`."""
        return max(0.0, self.longest - (0 if most else self.delayed))

    def disturbance(self):
        return self.delayed / max(self.elapsed, 1e-9)

    def stays(self):
        """Even if it was off its core in the middle of its longest hold."""
        return self.longest_hold(most=False) >= IN_ONE_PIECE * (self.held - self.delayed)

    def gives_way(self):
        return self.longest < IN_ONE_PIECE * self.held and not self.has_long_pieces()

    def has_long_pieces(self):
        """As three sorts one after the other: it gives way between them, but that is late."""
        return self.longest_hold(most=False) > LONGEST_HOLD_S


class _Check(object):
    """One function, called as often as it takes."""

    def __init__(self, meter, function, args, kwargs, undo):
        self.meter, self.function, self.args, self.kwargs, self.undo = meter, function, args, kwargs, undo
        self.calls = 0

    def call(self):
        self.calls += 1
        return self.function(*self.args, **self.kwargs)

    def warm_up(self):
        """The length of a call, in seconds. The first one imports, fills caches, and shows what is returned."""
        start = _clock()
        _refuse_result(self.call())
        length = _clock() - start
        for _ in range(2 if length < LONG_ENOUGH_S else 0):
            start = _clock()
            self.call()
            length = min(length, _clock() - start)
        return length

    def tell(self, verdict, reason=None, held_share=None, longest_hold_s=None, longest_stall_s=None):
        return {
            "verdict": verdict,
            "held_share": held_share,
            "longest_hold_s": longest_hold_s,
            "longest_stall_s": longest_stall_s,
            "calls": self.calls,
            "reason": reason,
        }

    def too_short(self, length):
        return self.tell(
            "inconclusive",
            "a call takes %s, and nothing can be told of calls under %s: give it more to do"
            % (_in_words(length), _in_words(SHORTEST_S)),
        )

    def with_gil(self):
        # Before it is, since Ctrl-C may come at any moment.
        started = [True]
        self.undo.add(lambda: started and started.pop() and self.meter.stop())
        try:
            self.meter.start()
        except RuntimeError as reason:
            del started[:]
            return self.tell("inconclusive", str(reason))
        # A release costs more from the first other thread on, and Python 2 makes its GIL then.
        with self.beside(_Wanting(self.meter, self.meter.tid(), 0.001)):
            pass
        self.delay = _Delay(self.meter.tid())
        self.undo.add(self.delay.close)
        length = self.warm_up()
        if length < SHORTEST_S:
            return self.too_short(length)
        explicit, word, reason = self.alone(length)
        if explicit is False:
            word, reason = self.asked(length)
        if word == "inconclusive":
            return self.tell(word, reason)
        longest_hold, stall = self.as_programs_run(length)
        if explicit:
            longest_hold = self.longest_hold
        return self.tell(word, reason, self.held_share, longest_hold, stall)

    def alone(self, length):
        """Pass A: whether it gives the GIL up by itself, and if so, verdict and reason."""
        wanted, samples = _calls_for(length), []
        for _ in range(5):
            samples += [self.sample() for _ in range(wanted)]
            explicit = [sample for sample in samples if sample.explicit]
            if 2 * len(explicit) < len(samples):
                self.held_share = _median([sample.held_share() for sample in _least_disturbed(samples)])
                return False, None, None
            best = _least_disturbed(explicit)
            self.held_share = _median(
                [sample.held / max(sample.elapsed - sample.waited, 1e-9) for sample in best]
            )
            share, self.longest_hold = _typical(best, most=True)
            if share <= MOST_HELD and self.longest_hold <= LONGEST_HOLD_S:
                return True, "releases", None
            share, longest = _typical(best, most=False)
            if len(best) > 2 and (share > MOST_HELD or longest > LONGEST_HOLD_S):
                return (
                    True,
                    "partly",
                    "it releases the GIL but holds it %.0f %% of its time, up to %s at a stretch"
                    % (
                        100 * self.held_share,
                        _in_words(self.longest_hold),
                    ),
                )
            if len(samples) > 2:
                _sleep(PAUSE_S)
        return True, "inconclusive", _DISTURBED % "how much of its time it holds the GIL"

    def asked(self, length):
        """Pass B: verdict and reason of a call that never gives the GIL up by itself."""
        self.switch_often()
        wanted = 12 if length < 0.002 else 8 if length < 0.01 else 3 if length < 0.1 else 1
        end, held = _clock() + max(1.0, 4 * length), []
        try:
            with self.beside(_Insisting(self.meter, self.meter.tid(), SHORT_INTERVAL_S)) as insisting:
                for _ in range(MOST_CALLS):
                    sample = self.sample()
                    if sample.gives_way():
                        return "yields", None
                    if sample.stays() or sample.has_long_pieces():
                        held.append(sample)
                    # Not to have given the GIL up means something only to whom was asked for it.
                    proofs = [
                        one for one in held if _HAS_OLD_GIL or insisting.asked(*one.times) >= one.length() / 4
                    ]
                    if sum(1.0 if proof.stays() else 0.5 for proof in proofs) >= wanted:
                        return "holds", None
                    if _clock() > end:
                        break
        finally:
            self.switch_as_before()
        return "inconclusive", _DISTURBED % "whether it gives the GIL up when asked to"

    def as_programs_run(self, length):
        """Pass C: longest hold, and longest stall of others, by one call."""
        longest, stall, most = [], [], []
        pause = min(max(length / 10, SHORT_INTERVAL_S), 0.0005)
        for _ in range(3):
            with self.beside(_Wanting(self.meter, self.meter.tid(), pause)) as wanting:
                samples = _least_disturbed([self.sample() for _ in range(_calls_for(length))])
            longest.append(max(sample.longest for sample in samples))
            stall.append(wanting.stall)
            most.append(max(sample.elapsed for sample in samples))
            # It may have come too late to the only long hold.
            if min(longest) < 0.001 or max(stall) > 0.8 * min(longest):
                break
        # It waits on across calls, but no longer for one of them than that took; and it gets the GIL at the first
        # release after it has asked, if it has a core then.
        bounds = [min(most)] if _HAS_OLD_GIL else [min(most), max(min(longest), sys.getswitchinterval())]
        return min(longest), min(max(stall), *bounds)

    def beside(self, thread):
        """To be ended even if Ctrl-C comes before its block has begun."""
        self.undo.add(thread.end)
        return thread

    def timed(self):
        """How long one call was kept off its core, and when it began and ended."""
        delayed, start = self.delay.read(), _clock()
        self.call()
        end = _clock()
        return self.delay.read() - delayed, (start, end)

    def sample(self):
        """One call, metered."""
        tid, meter = self.meter.tid(), self.meter
        delayed = self.delay.read()
        window = meter.window()
        try:
            # Kept until then: to free it takes time of its own.
            start = _clock()
            result = self.call()
            end = _clock()
            elapsed, rows = window.read()
            del result
        finally:
            window.close()
        delayed = self.delay.read() - delayed
        row = rows[tid]
        return _Sample(
            elapsed / 1e9,
            row.held_ns / 1e9,
            row.waited_ns / 1e9,
            row.longest_hold_ns / 1e9,
            row.explicit_releases,
            delayed / 1e9,
            (start, end),
        )

    def switch_often(self):
        if _HAS_OLD_GIL:
            before, change, short = sys.getcheckinterval(), sys.setcheckinterval, 100
        else:
            before, change, short = sys.getswitchinterval(), sys.setswitchinterval, SHORT_INTERVAL_S
        self.switch_as_before = lambda: change(before)
        self.undo.add(self.switch_as_before)
        change(short)

    def without_gil(self):
        """Of a free-threaded build: does the call let others stop the world, as the garbage collector must?"""
        length = self.warm_up()
        if length < SHORTEST_S:
            return self.too_short(length)
        self.delay = _Delay(self.meter.tid())
        self.undo.add(self.delay.close)
        calls, found, end = [], [], _clock() + max(2.0, 8 * length)
        with self.beside(_Stopping(min(max(length / 20, 0.00002), 0.005))) as stopping:
            while len(found) < 3 and (_clock() < end or not calls):
                calls += [self.timed() for _ in range(max(8, 2 * _calls_for(length)) if length < 0.1 else 3)]
                found = [(delayed, stopping.within(*times)) for delayed, times in calls]
                found = sorted((delayed, within) for delayed, within in found if within)
        if len(found) < 3:
            return self.tell("inconclusive", _DISTURBED % "whether it lets others stop the world")
        # A world that was stopped inside the call proves that it can be; what was longer may be the machine's doing.
        attached = min(stall / rest for _, (stall, rest) in found) >= IN_ONE_PIECE
        stalls = sorted(stall for _, (stall, _) in found[: max(3, len(found) // 2)])
        longest = stalls[-1 if attached else -2]
        return self.tell(
            "no-gil",
            "there is no GIL; "
            + (
                "but the call stays attached: who stops the world, as gc.collect() does, waits for its end"
                if attached
                else "and the call lets others stop the world, as gc.collect() does"
            ),
            longest_stall_s=longest,
        )


def _calls_for(length):
    return max(1, min(MOST_CALLS, int(LONG_ENOUGH_S / max(length, 1e-6)) + 1))


class _Delay(object):
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


class _Beside(object):
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
            _sleep(0.0001)
        return self

    def __exit__(self, kind, *_):
        with _Undo() as undo:
            undo.add(self.end)
        if self.error is not None and kind is None:
            raise self.error

    def end(self):
        self._is_over = True
        # A forked child has no such thread.
        while self._is_running and self._process == os.getpid():
            _sleep(0.0001)


class _Wanting(_Beside):
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
        _sleep(self._pause)
        waited, held = self._read()
        stall = min(waited - self._before[0], held - self._before[1])
        self.stall, self._before = max(self.stall, stall / 1e9), (waited, held)

    def _read(self):
        _, rows = self._meter.snapshot()
        waited = rows[self._tid].waited_ns if self._tid in rows else 0
        return waited, rows[self._of].held_ns if self._of in rows else 0


class _Insisting(_Wanting):
    """As `_Wanting`, and keeps account of when it asked. For want of a core it can't: `take_gil` asks when a wait of
    one switch interval has ended, which takes a moment on a core."""

    _delay = None

    def begin(self):
        _Wanting.begin(self)
        self._delay = _Delay(self._tid)
        self._rounds, self._since, self._delayed = [], _clock(), self._delay.read()

    def work(self):
        before = self._before[0]
        _Wanting.work(self)
        waited = (self._before[0] - before) / 1e9
        # To read it costs two more waits.
        if waited > 0.0001:
            delayed, now = self._delay.read(), _clock()
            self._rounds.append((self._since, now, waited - (delayed - self._delayed) / 1e9))
            self._delayed = delayed
        self._since = _clock()

    def end(self):
        _Wanting.end(self)
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


class _Stopping(_Beside):
    """Stops the world again and again, for a moment each time (`_PyThread_CurrentFrames`, Python/pystate.c), and notes
    when that was wanted and when it was done."""

    def __init__(self, pause):
        self._pause, self._times = pause, []

    def begin(self):
        _wake_exactly()

    def work(self):
        start = _clock()
        sys._current_frames()
        self._times.append((start, _clock()))
        _sleep(self._pause)

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


def _refuse_function(function):
    import functools
    import inspect

    if not callable(function):
        raise Refused("expected a function to call, found %r" % (function,))
    while isinstance(function, functools.partial):
        function = function.func
    own = [function]
    if not inspect.isroutine(function) and not inspect.isclass(function):
        own.append(type(function).__call__)
    for kind, is_one in (
        ("coroutine function", "iscoroutinefunction"),
        ("asynchronous generator function", "isasyncgenfunction"),
        ("generator function", "isgeneratorfunction"),
    ):
        if any(getattr(inspect, is_one, lambda _: False)(one) for one in own):
            raise Refused(
                "%s is a %s: calling it does not run it; check a function that runs it to its end"
                % (getattr(function, "__name__", repr(function)), kind)
            )


def _refuse_result(result):
    import inspect

    kind = type(result)
    for name, is_one in (
        ("a generator", inspect.isgenerator(result)),
        ("a coroutine", getattr(inspect, "iscoroutine", lambda _: False)(result)),
        ("an asynchronous generator", hasattr(kind, "__aiter__") and hasattr(kind, "asend")),
        ("an awaitable", hasattr(kind, "__await__")),
    ):
        if is_one:
            if hasattr(kind, "close"):
                result.close()
            raise Refused(
                "the call returned %s, which has not run: check a function that runs it to its end" % name
            )


def _median(values):
    return sorted(values)[len(values) // 2]


def _least_disturbed(samples):
    return sorted(samples, key=_Sample.disturbance)[: max(3, len(samples) // 4)]


def _typical(samples, most):
    """Held share and longest hold. A hold that came once only, of several, was the machine's."""
    longest = sorted(sample.longest_hold(most) for sample in samples)
    return _median([sample.held_share(most) for sample in samples]), longest[-2 if len(longest) > 2 else -1]


def _in_words(seconds):
    if seconds < 0.001:
        return "%.0f us" % (seconds * 1e6)
    return "%.2f ms" % (seconds * 1e3) if seconds < 1 else "%.2f s" % seconds
