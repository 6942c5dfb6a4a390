"""The verdict on a call: does it release the GIL? Up to three passes, over a meter such as `_ctypes_meter.Meter`.

A  Alone: no other thread requests the GIL. Does the call release it voluntarily, and for what share of its time does
   the call hold it?
B  Contended, if the call does not release it voluntarily: another thread keeps requesting the GIL, at a switch interval
   of 20 us, so that it acquires the GIL as often as possible. A call that still keeps it in one piece `holds`; a call
   whose hold is cut into pieces is Python code, which `yields`.
C  Probed, as programs run: the usual switch interval, and a thread that requests the GIL now and then. How long does
   that thread wait?

Other processes can only make a hold or a wait longer. So a verdict rests on calls that were undisturbed by the kernel's
own account, or on a result that recurred; if there is neither, the verdict is `inconclusive`.

Serves CPython 2.7 and 3.x, and needs only the standard library. It does not depend on libbusy or on the command.
"""

import gc
import os
import sys

try:
    from thread import _local as local
except ImportError:
    from _thread import _local as local

# Part of the package, or, for `busy check`, unpacked into a folder beside its script.
if __name__.startswith("busy."):
    from busy._background import Contender, Prober, RunDelay, Undo, WorldStopper, clock, sleep
    from busy._refusal import Refused, refuse_function, refuse_result
    from busy._units import duration, percent
else:
    from _background import Contender, Prober, RunDelay, Undo, WorldStopper, clock, sleep
    from _refusal import Refused, refuse_function, refuse_result
    from _units import duration, percent

__all__ = ["Refused", "verdict"]

# The limits of a call that releases.
MAX_HELD_SHARE = 0.1
MAX_HOLD_S = 0.010

MIN_CALL_S = 0.0003  # shorter calls are inconclusive
MIN_PASS_S = 0.020  # all calls of a pass together
MAX_CALLS = 200  # of a pass
SHORT_INTERVAL_S = 0.00002
ONE_PIECE = 0.5  # of the time held: a call whose longest hold is at least this share does not yield
PAUSE_S = 0.05  # gives other processes time to finish

_DISTURBED = (
    "other processes took the CPU during the calls, so busy could not determine %s: stop them, then retry"
)

# The GIL before CPython 3.2 is released every so many ticks, whether or not another thread requests it.
_HAS_OLD_GIL = sys.version_info < (3, 2)

# One check at a time: the switch interval and the contender belong to the process. The checks that have begun and not
# ended, in the order of arrival: the first one of this process has its turn. A forked child inherits the entries of
# threads that it does not have.
_turns = []
_thread = local()


def verdict(meter, function, args=(), kwargs=None):
    """Calls `function` several times and returns a dict: verdict (releases, partly, yields, holds, no-gil,
    inconclusive), held_share (0 to 1), longest_hold_s, longest_stall_s (of other threads, by one call), calls (how many
    were made) and reason (None, or a sentence). A figure that could not be measured is None.

    An exception of the function propagates. Raises Refused for a coroutine, a generator and the like, and RuntimeError
    if it is called inside a function that is being checked.
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


class _Turn(object):
    def __init__(self):
        self.process = os.getpid()


def _take_turn(undo):
    if getattr(_thread, "checks", False):
        raise RuntimeError(
            "check called inside a function that is being checked: remove one of the two checks"
        )
    turn = _Turn()

    def end_turn():
        if turn in _turns:
            _turns.remove(turn)
        _thread.checks = False

    undo.add(end_turn)
    _thread.checks = True
    _turns.append(turn)
    while True:
        place = [one for one in list(_turns) if one.process == turn.process].index(turn)
        if place == 0:
            return
        # Python 2 cannot interrupt the wait for a lock. The later its turn, the less often a thread disturbs the
        # check that runs.
        sleep(0.005 * min(place, 10))


class _Sample(object):
    """One call: its duration, the time that its thread held the GIL and waited for it, its longest hold and its run
    delay, in seconds; the number of voluntary releases; and the times at which the call started and ended."""

    def __init__(self, elapsed, held, waited, longest, voluntary_releases, run_delay, times):
        self.elapsed, self.held, self.waited, self.longest = elapsed, held, waited, longest
        self.voluntary_releases, self.run_delay, self.times = voluntary_releases, run_delay, times

    def length(self):
        return self.times[1] - self.times[0]

    def held_share(self, upper=True):
        """The upper or the lower bound of the held share. They differ because the run delay may have fallen into the
        holds of the thread, or between them."""
        ran = max(self.elapsed - self.waited - self.run_delay, 1e-9)
        return min(1.0, max(0.0, self.held - (0 if upper else self.run_delay)) / ran)

    def longest_hold(self, upper=True):
        """The upper or the lower bound of the longest hold, as `held_share`."""
        return max(0.0, self.longest - (0 if upper else self.run_delay))

    def disturbance(self):
        return self.run_delay / max(self.elapsed, 1e-9)

    def is_in_one_piece(self):
        """True if the GIL was held in one piece, even if the whole run delay fell into the longest hold."""
        return self.longest_hold(upper=False) >= ONE_PIECE * (self.held - self.run_delay)

    def is_cut_up(self):
        return self.longest < ONE_PIECE * self.held and not self.has_long_holds()

    def has_long_holds(self):
        """True for a call such as three sorts in a row: it drops the GIL between them, but other threads wait long."""
        return self.longest_hold(upper=False) > MAX_HOLD_S


class _Check(object):
    """The check of one function, which is called as often as the passes need."""

    def __init__(self, meter, function, args, kwargs, undo):
        self.meter, self.function, self.args, self.kwargs, self.undo = meter, function, args, kwargs, undo
        self.calls = 0

    def call(self):
        self.calls += 1
        return self.function(*self.args, **self.kwargs)

    def warm_up(self):
        """Returns the duration of a call, in seconds. The first call imports modules, fills caches, and shows whether
        the result is refused."""
        start = clock()
        refuse_result(self.call())
        length = clock() - start
        for _ in range(2 if length < MIN_PASS_S else 0):
            start = clock()
            self.call()
            length = min(length, clock() - start)
        return length

    def report(self, verdict, reason=None, held_share=None, longest_hold_s=None, longest_stall_s=None):
        return {
            "verdict": verdict,
            "held_share": held_share,
            "longest_hold_s": longest_hold_s,
            "longest_stall_s": longest_stall_s,
            "calls": self.calls,
            "reason": reason,
        }

    def too_short(self, length):
        return self.report(
            "inconclusive",
            "a call takes %s, and calls under %s cannot be measured: give the call more work"
            % (duration(length), duration(MIN_CALL_S)),
        )

    def with_gil(self):
        # Added before the start, since Ctrl-C may come at any moment.
        started = [True]
        self.undo.add(lambda: started and started.pop() and self.meter.stop())
        try:
            self.meter.start()
        except RuntimeError as reason:
            del started[:]
            return self.report("inconclusive", str(reason))
        # Once a second thread has existed, a release costs more; and Python 2 creates its GIL for that thread.
        with self.beside(Prober(self.meter, self.meter.tid(), 0.001)):
            pass
        self.run_delay = RunDelay(self.meter.tid())
        self.undo.add(self.run_delay.close)
        length = self.warm_up()
        if length < MIN_CALL_S:
            return self.too_short(length)
        is_voluntary, word, reason = self.alone(length)
        if is_voluntary is False:
            word, reason = self.contended(length)
        if word == "inconclusive":
            return self.report(word, reason)
        longest_hold, stall = self.probed(length)
        if is_voluntary:
            longest_hold = self.longest_hold
        return self.report(word, reason, self.held_share, longest_hold, stall)

    def alone(self, length):
        """Pass A. Returns whether the call releases the GIL voluntarily, and if it does, the verdict and the reason."""
        wanted, samples = _calls_for(length), []
        for _ in range(5):
            samples += [self.sample() for _ in range(wanted)]
            voluntary = [sample for sample in samples if sample.voluntary_releases]
            if 2 * len(voluntary) < len(samples):
                self.held_share = _median([sample.held_share() for sample in _least_disturbed(samples)])
                return False, None, None
            best = _least_disturbed(voluntary)
            self.held_share = _median(
                [sample.held / max(sample.elapsed - sample.waited, 1e-9) for sample in best]
            )
            share, self.longest_hold = _typical(best, upper=True)
            if share <= MAX_HELD_SHARE and self.longest_hold <= MAX_HOLD_S:
                return True, "releases", None
            share, longest = _typical(best, upper=False)
            if len(best) > 2 and (share > MAX_HELD_SHARE or longest > MAX_HOLD_S):
                return (
                    True,
                    "partly",
                    "the call releases the GIL, but holds it for %s of its time and for up to %s at a time"
                    % (percent(self.held_share), duration(self.longest_hold)),
                )
            if len(samples) > 2:
                sleep(PAUSE_S)
        return True, "inconclusive", _DISTURBED % "for what share of its time the call holds the GIL"

    def contended(self, length):
        """Pass B. Returns the verdict and the reason for a call that does not release the GIL voluntarily."""
        self.shorten_switch_interval()
        wanted = 12 if length < 0.002 else 8 if length < 0.01 else 3 if length < 0.1 else 1
        end, held = clock() + max(1.0, 4 * length), []
        try:
            with self.beside(Contender(self.meter, self.meter.tid(), SHORT_INTERVAL_S)) as contender:
                for _ in range(MAX_CALLS):
                    sample = self.sample()
                    if sample.is_cut_up():
                        return "yields", None
                    if sample.is_in_one_piece() or sample.has_long_holds():
                        held.append(sample)
                    # Keeping the GIL counts only if another thread requested it.
                    proofs = [
                        one
                        for one in held
                        if _HAS_OLD_GIL or contender.waited_between(*one.times) >= one.length() / 4
                    ]
                    if sum(1.0 if proof.is_in_one_piece() else 0.5 for proof in proofs) >= wanted:
                        return "holds", None
                    if clock() > end:
                        break
        finally:
            self.restore_switch_interval()
        return "inconclusive", _DISTURBED % "whether the call drops the GIL on request"

    def probed(self, length):
        """Pass C. Returns the longest hold, and the longest stall of another thread by one call."""
        longest, stall, elapsed = [], [], []
        pause = min(max(length / 10, SHORT_INTERVAL_S), 0.0005)
        for _ in range(3):
            with self.beside(Prober(self.meter, self.meter.tid(), pause)) as prober:
                samples = _least_disturbed([self.sample() for _ in range(_calls_for(length))])
            longest.append(max(sample.longest for sample in samples))
            stall.append(prober.stall)
            elapsed.append(max(sample.elapsed for sample in samples))
            # Otherwise the prober may have come too late to the only long hold.
            if min(longest) < 0.001 or max(stall) > 0.8 * min(longest):
                break
        # A wait of the prober may span several calls, but one call adds no more than its own duration. And the prober
        # acquires the GIL at the first release after its request, if it has a core then.
        bounds = (
            [min(elapsed)] if _HAS_OLD_GIL else [min(elapsed), max(min(longest), sys.getswitchinterval())]
        )
        return min(longest), min(max(stall), *bounds)

    def beside(self, thread):
        """Returns `thread`, which will be ended even if Ctrl-C comes before its block begins."""
        self.undo.add(thread.end)
        return thread

    def timed(self):
        """Makes one call. Returns its run delay, and when it started and ended."""
        run_delay, start = self.run_delay.read(), clock()
        self.call()
        end = clock()
        return self.run_delay.read() - run_delay, (start, end)

    def sample(self):
        """Makes one call and meters it."""
        tid, meter = self.meter.tid(), self.meter
        run_delay = self.run_delay.read()
        window = meter.window()
        try:
            start = clock()
            # Kept until the window is read, since freeing the result takes time of its own.
            result = self.call()
            end = clock()
            elapsed, rows = window.read()
            del result
        finally:
            window.close()
        run_delay = self.run_delay.read() - run_delay
        row = rows[tid]
        return _Sample(
            elapsed / 1e9,
            row.held_ns / 1e9,
            row.waited_ns / 1e9,
            row.longest_hold_ns / 1e9,
            row.voluntary_releases,
            run_delay / 1e9,
            (start, end),
        )

    def shorten_switch_interval(self):
        if _HAS_OLD_GIL:
            before, change, short = sys.getcheckinterval(), sys.setcheckinterval, 100
        else:
            before, change, short = sys.getswitchinterval(), sys.setswitchinterval, SHORT_INTERVAL_S
        self.restore_switch_interval = lambda: change(before)
        self.undo.add(self.restore_switch_interval)
        change(short)

    def without_gil(self):
        """The check on a free-threaded build: can other threads stop the world during the call, as the garbage
        collector must?"""
        length = self.warm_up()
        if length < MIN_CALL_S:
            return self.too_short(length)
        self.run_delay = RunDelay(self.meter.tid())
        self.undo.add(self.run_delay.close)
        calls, found, end = [], [], clock() + max(2.0, 8 * length)
        with self.beside(WorldStopper(min(max(length / 20, 0.00002), 0.005))) as stopper:
            while len(found) < 3 and (clock() < end or not calls):
                calls += [self.timed() for _ in range(max(8, 2 * _calls_for(length)) if length < 0.1 else 3)]
                found = [(run_delay, stopper.stall_between(*times)) for run_delay, times in calls]
                found = sorted((run_delay, stall) for run_delay, stall in found if stall)
        if len(found) < 3:
            return self.report(
                "inconclusive", _DISTURBED % "whether other threads can stop the world during the call"
            )
        # One stop that ended during the call proves that the call allows it; longer stops may be due to the machine.
        attached = min(stall / rest for _, (stall, rest) in found) >= ONE_PIECE
        stalls = sorted(stall for _, (stall, _) in found[: max(3, len(found) // 2)])
        longest = stalls[-1 if attached else -2]
        return self.report(
            "no-gil",
            "this interpreter has no GIL, but the call stays attached: a thread that stops the world, "
            "as gc.collect() does, waits until the call ends"
            if attached
            else "this interpreter has no GIL, and other threads can stop the world during the call, "
            "as gc.collect() does",
            longest_stall_s=longest,
        )


def _calls_for(length):
    return max(1, min(MAX_CALLS, int(MIN_PASS_S / max(length, 1e-6)) + 1))


def _median(values):
    return sorted(values)[len(values) // 2]


def _least_disturbed(samples):
    return sorted(samples, key=_Sample.disturbance)[: max(3, len(samples) // 4)]


def _typical(samples, upper):
    """Returns the held share and the longest hold. A longest hold that one of several samples shows and no other is due
    to the machine, and is left out."""
    longest = sorted(sample.longest_hold(upper) for sample in samples)
    return _median([sample.held_share(upper) for sample in samples]), longest[-2 if len(longest) > 2 else -1]
