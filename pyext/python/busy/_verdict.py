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
import sys

try:
    from thread import allocate_lock, get_ident
except ImportError:
    from _thread import allocate_lock, get_ident

# In the package; or, for `busy check`, in a folder with its script.
if __name__.startswith("busy."):
    from busy._beside import Delay, Insisting, Stopping, Undo, Wanting, clock, sleep
    from busy._refusal import Refused, refuse_function, refuse_result
else:
    from _beside import Delay, Insisting, Stopping, Undo, Wanting, clock, sleep
    from _refusal import Refused, refuse_function, refuse_result

__all__ = ["Refused", "verdict"]

MOST_HELD = 0.1  # of its time, by a call that releases
LONGEST_HOLD_S = 0.010  # by a call that releases
SHORTEST_S = 0.0003  # of a call that can be told anything about
LONG_ENOUGH_S = 0.020  # all the calls of a pass together
SHORT_INTERVAL_S = 0.00002
IN_ONE_PIECE = 0.5  # of what a call holds, and more: the longest hold of a call that does not yield
MOST_CALLS = 200  # of a pass
PAUSE_S = 0.05  # for others to finish what they do

_DISTURBED = "other processes kept it off its core, so that %s can't be told: end them, and check again"

_HAS_OLD_GIL = sys.version_info < (3, 2)  # released every so many ticks, whether anybody asks or not

# One check at a time: the meter's windows, the switch interval and the thread that asks are the process's.
_turn = allocate_lock()
_turn_of = []


def verdict(meter, function, args=(), kwargs=None):
    """Calls `function` some times and tells, as a dict, how it stands to the GIL: verdict (releases, partly, yields,
    holds, no-gil, inconclusive), held_share (0 to 1), longest_hold_s, longest_stall_s (of others, by one call), calls
    (how many were made) and reason (None, or a sentence). What could not be had is None.

    What the function raises comes through. Refused: a coroutine, a generator and the like. RuntimeError: called from
    inside a function that is being checked.
    """
    refuse_function(function)
    with Undo() as undo:
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
        sleep(0.005)
    _turn_of[:] = [get_ident()]

    def give_back():
        if _turn_of == [get_ident()]:
            del _turn_of[:]
            _turn.release()

    undo.add(give_back)


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
        start = clock()
        refuse_result(self.call())
        length = clock() - start
        for _ in range(2 if length < LONG_ENOUGH_S else 0):
            start = clock()
            self.call()
            length = min(length, clock() - start)
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
        with self.beside(Wanting(self.meter, self.meter.tid(), 0.001)):
            pass
        self.delay = Delay(self.meter.tid())
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
                sleep(PAUSE_S)
        return True, "inconclusive", _DISTURBED % "how much of its time it holds the GIL"

    def asked(self, length):
        """Pass B: verdict and reason of a call that never gives the GIL up by itself."""
        self.switch_often()
        wanted = 12 if length < 0.002 else 8 if length < 0.01 else 3 if length < 0.1 else 1
        end, held = clock() + max(1.0, 4 * length), []
        try:
            with self.beside(Insisting(self.meter, self.meter.tid(), SHORT_INTERVAL_S)) as insisting:
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
                    if clock() > end:
                        break
        finally:
            self.switch_as_before()
        return "inconclusive", _DISTURBED % "whether it gives the GIL up when asked to"

    def as_programs_run(self, length):
        """Pass C: longest hold, and longest stall of others, by one call."""
        longest, stall, most = [], [], []
        pause = min(max(length / 10, SHORT_INTERVAL_S), 0.0005)
        for _ in range(3):
            with self.beside(Wanting(self.meter, self.meter.tid(), pause)) as wanting:
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
        delayed, start = self.delay.read(), clock()
        self.call()
        end = clock()
        return self.delay.read() - delayed, (start, end)

    def sample(self):
        """One call, metered."""
        tid, meter = self.meter.tid(), self.meter
        delayed = self.delay.read()
        window = meter.window()
        try:
            # Kept until then: to free it takes time of its own.
            start = clock()
            result = self.call()
            end = clock()
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
            row.voluntary_releases,
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
        self.delay = Delay(self.meter.tid())
        self.undo.add(self.delay.close)
        calls, found, end = [], [], clock() + max(2.0, 8 * length)
        with self.beside(Stopping(min(max(length / 20, 0.00002), 0.005))) as stopping:
            while len(found) < 3 and (clock() < end or not calls):
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
