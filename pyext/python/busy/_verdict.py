"""The verdict on a call: does it release the GIL, as other threads experience it? Up to three passes, over a meter such
as `_ctypes_meter.Meter`.

A  Alone: no other thread requests the GIL. For what share of its time does the call hold it, and how long at a time? A
   small share with short holds `releases`; a share under 0.9 is `partly`.
B  Contended, from a share of 0.9 on, even if the call releases the GIL for a moment here and there: another thread
   keeps requesting the GIL, at a switch interval of a tenth of the call. A call that still holds the GIL in long pieces
   `holds`; a call whose holds are cut short is Python code, which `yields`.
C  Probed, as programs run: the usual switch interval, and a thread that requests the GIL now and then. How long does
   that thread wait?

Calls too short for this are repeated by a loop of native code in the passes A and B: in a loop of Python code, each
turn could drop the GIL, and a call that holds it would seem to yield.

The work that other threads do for the call is part of it: see `verdict`.

Other processes can only make a hold or a wait longer: by the run delay of its threads, which the kernel reports; and
the host of a virtual machine, by the time that it steals. So a figure has an upper and a lower bound; a verdict needs
bounds that agree, or, in pass B, pieces of CPU time, of which run delays are no part. Without these within `patience`
seconds, the verdict is `inconclusive`.

Serves CPython 2.7 and 3.x, and needs only the standard library. It does not depend on libbusy or on the command.
"""

import collections
import functools
import gc
import itertools
import os
import sys

try:
    from thread import _local as local
except ImportError:
    from _thread import _local as local

# Part of the package, or, for `busy check`, unpacked into a folder beside its script.
if __name__.startswith("busy."):
    from busy import _samples
    from busy._background import Contender, Prober, RunDelays, Undo, WorldStopper, clock, cpu_time, sleep
    from busy._refusal import NotMetered, Refused, refuse_function, refuse_result
    from busy._units import duration, percent
else:
    import _samples
    from _background import Contender, Prober, RunDelays, Undo, WorldStopper, clock, cpu_time, sleep
    from _refusal import NotMetered, Refused, refuse_function, refuse_result
    from _units import duration, percent

__all__ = ["Refused", "verdict"]

# The largest share of a call that releases.
MAX_HELD_SHARE = 0.1
# From this share on, the call holds or yields.
MIN_HELD_SHARE = 0.9

MIN_CALL_S = 0.0003  # shorter calls are repeated
MIN_REPEATED_S = 0.000002  # even shorter calls are inconclusive: the loop would be a part of the figures
LOOP_S = 0.002  # of the repeated calls together
MIN_PASS_S = 0.020  # all calls of a pass together
MAX_CALLS = 200  # of a pass
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.00002, 0.001  # the switch interval of pass B
PAUSE_S = 0.05  # gives other processes time to finish
PATIENCE_S = 5.0
BASELINE_S = 0.03  # of threads that hold the GIL without the call
WORKER_SHARE = 0.1  # of the time held: a thread that holds more is named in the reason

_DISTURBED = "other processes took the CPU %s, so busy could not determine %s: stop them, then retry"

# One check at a time: the switch interval and the contender belong to the process. The checks that have begun and not
# ended, in the order of arrival: the first one of this process has its turn. A forked child inherits the entries of
# threads that it does not have.
_turns = []
_thread = local()
# The steps that restore what the running check has changed in the process, for a child that is forked meanwhile.
_changes = []


def _restore_in_child():
    while _changes:
        _changes.pop()()
    # If the function that is being checked has forked, its child may use a check.
    _thread.checks = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restore_in_child)


def verdict(meter, function, args=(), kwargs=None, whole_process=False, patience=PATIENCE_S, native=None):
    """Calls `function` several times and returns a dict:

    verdict         releases, partly, yields, holds, no-gil or inconclusive
    held_share      0 to 1
    longest_hold_s
    longest_stall_s of other threads, by one call
    lower_bounds    a dict: a share, hold or stall that other processes may have made longer is an upper bound, and its
                    lower bound is here, by the key of the figure, however little they differ
    calls           how many were made
    disturbed       True if the verdict is inconclusive because of other processes
    reason          None, or a sentence

    A figure that could not be measured is None. The holds of other threads are part of the call if these threads work
    for it: with `whole_process`, all threads; otherwise, those that did not hold the GIL just before the check.

    `native` returns what a loop of native code may call, without arguments, instead of `function`; or None.

    An exception of the function propagates. Raises Refused for a coroutine, a generator and the like, and RuntimeError
    if it is called inside a function that is being checked.
    """
    refuse_function(function)
    with Undo() as undo:
        _take_turn(undo)
        undo.add(_forget_changes)
        if gc.isenabled():
            undo.add(gc.enable)
            _changes.append(gc.enable)
            gc.disable()
        check = _Check(meter, function, args, kwargs or {}, undo, patience, native)
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            return check.without_gil()
        try:
            return check.with_gil(whole_process)
        except NotMetered as reason:
            return check.report("inconclusive", str(reason))


def _forget_changes():
    del _changes[:]


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


class _Check(object):
    """The check of one function, which is called as often as the passes need."""

    def __init__(self, meter, function, args, kwargs, undo, patience, native):
        self.meter, self.function, self.args, self.kwargs, self.undo = meter, function, args, kwargs, undo
        self.calls, self.patience = 0, patience
        # Above 1, a call is repeated.
        self.native, self.repeats = native, 1
        # The threads that do not work for the call, and how long each of the others held the GIL.
        self.others, self.workers = set(), {}

    def call(self):
        self.calls += self.repeats
        if self.repeats > 1:
            # The arguments of each call, then an iterator that notes its use and ends at once, in C code.
            ended = []
            calls = itertools.chain(
                itertools.repeat((), self.repeats), iter(functools.partial(ended.append, True), None)
            )
            collections.deque(itertools.starmap(self.repeated, calls), 0)
            if not ended:
                # The loop took the exception of a call for its own end.
                raise StopIteration("raised by the function that is being checked")
            return None
        return self.function(*self.args, **self.kwargs)

    def report(self, verdict, reason=None, share=None, hold=None, stall=None, disturbed=False):
        """`share`, `hold` and `stall` are (upper bound, lower bound), or None."""
        figures = {"held_share": share, "longest_hold_s": hold, "longest_stall_s": stall}
        found = {
            "verdict": verdict,
            "lower_bounds": dict(
                (key, pair[1]) for key, pair in figures.items() if pair and pair[1] < pair[0]
            ),
            "calls": self.calls,
            "disturbed": disturbed,
            "reason": "; ".join(text for text in (reason, self._workers_named()) if text) or None,
        }
        found.update((key, pair and pair[0]) for key, pair in figures.items())
        return found

    def disturbed(self, share, what):
        """`share` is the share of the calls' time for which other processes took the CPU from them."""
        if share < 0.01:
            when = "from the threads that the check runs beside the call"
        else:
            when = "for %s of the calls' time" % percent(share)
        return self.report("inconclusive", _DISTURBED % (when, what), disturbed=True)

    def too_short(self, length, kind="calls", limit=MIN_REPEATED_S):
        return self.report(
            "inconclusive",
            "a call takes %s, and %s under %s cannot be measured: give the call more work"
            % (duration(length), kind, duration(limit)),
        )

    def not_native(self, length):
        """Python code within a short call that holds the GIL, be it only the statement around a native call."""
        if self.native:
            native = "it is a single native call whose arguments are names or constants, as in f(data): make it one"
        else:
            native = (
                "its function is native and is passed with its arguments, as in check(f, data): pass it so"
            )
        return self.report(
            "inconclusive",
            "a call takes %s, and one under %s that holds the GIL can be measured only if %s, or give it more work"
            % (duration(length), duration(MIN_CALL_S), native),
        )

    def with_gil(self, whole_process):
        # Added before the start, since Ctrl-C may come at any moment.
        started = [True]
        self.undo.add(lambda: started and started.pop() and self.meter.stop())
        try:
            self.meter.start()
        except RuntimeError as reason:
            del started[:]
            return self.report("inconclusive", str(reason))
        self.caller = self.meter.tid()
        # Once a second thread has existed, a release costs more; and Python 2 creates its GIL for that thread.
        with self.beside(Prober(self.meter, self.others, 0.001)):
            if not whole_process:
                self.others |= self.holders_without_the_call()
        self.run_delays = RunDelays()
        self.undo.add(self.run_delays.close)
        length = self.warm_up()
        if length < MIN_REPEATED_S:
            return self.too_short(length)
        if length < MIN_CALL_S:
            self.repeated = (self.native and self.native()) or functools.partial(
                self.function, *self.args, **self.kwargs
            )
            # Twice: the first length has the reading of the clocks in it, which makes most of a very short call.
            for _ in range(2):
                self.repeats = int(LOOP_S / length) + 1
                length = min([self.sample().length() for _ in range(2)]) / self.repeats
                if length < MIN_REPEATED_S:
                    return self.too_short(length)
        self.deadline = clock() + self.patience
        return self.alone(length)

    def holders_without_the_call(self):
        window = self.meter.window()
        try:
            sleep(BASELINE_S)
            _, rows = window.read()
        finally:
            window.close()
        return set(tid for tid, row in rows.items() if row.held_ns and tid != self.caller)

    def warm_up(self):
        """Returns the duration of a call, in seconds. The first call imports modules, fills caches, and shows whether
        the result is refused, and which threads work for the call."""
        length = self.sample(refuse_result).length()
        for _ in range(2 if length < MIN_PASS_S else 0):
            length = min(length, self.sample().length())
        return length

    def alone(self, length):
        """Pass A, and the passes that follow from it. `length` is that of one call, however often it is repeated."""
        wanted, samples = _calls_for(length * self.repeats), []
        while True:
            samples += [self.sample() for _ in range(wanted)]
            best = _samples.least_disturbed(samples)
            share, least_share = (
                _samples.typical_share(samples, upper=True),
                _samples.typical_share(samples, upper=False),
            )
            hold, least_hold = (
                _samples.typical_hold(best, upper=True),
                _samples.typical_hold(best, upper=False),
            )
            shares = (share, min(share, least_share))
            if share <= MAX_HELD_SHARE and hold <= _samples.MAX_HOLD_S:
                return self.probed(length, "releases", None, shares, self.of_one_call(hold, least_hold))
            if least_share >= MIN_HELD_SHARE:
                return self.contended(length, best, shares)
            if share < MIN_HELD_SHARE and (least_share > MAX_HELD_SHARE or least_hold > _samples.MAX_HOLD_S):
                at_most = "at most " if _samples.shares_differ(*shares) else ""
                reason = "the call releases the GIL, but holds it for %s%s of its time" % (
                    at_most,
                    percent(share),
                )
                bounds = self.of_one_call(hold, least_hold)
                if bounds:
                    reason += " and for up to %s at a time" % duration(hold)
                return self.probed(length, "partly", reason, shares, bounds)
            if clock() > self.deadline:
                return self.disturbed(
                    _samples.disturbance(best), "for what share of its time the call holds the GIL"
                )
            sleep(PAUSE_S)

    def of_one_call(self, *bounds):
        """The bounds of a longest hold, or None if the hold may have spanned several calls."""
        return bounds if self.repeats == 1 else None

    def contended(self, length, alone, shares):
        """Pass B, for a call that holds the GIL for nearly all of its time; `alone` are its samples of pass A."""
        if self.repeats > 1 and _samples.describe_releases(alone):
            return self.too_short(length, "calls that release the GIL for a moment", MIN_CALL_S)
        if self.repeats > 1 and self.runs_python():
            return self.not_native(length)
        # The first call may have been longer, and a call may be repeated.
        whole = _samples.median([sample.length_on_a_core() for sample in alone])
        wanted = 6 if whole < 0.01 else 3 if whole < 0.1 else 1
        end, word, interval = max(clock() + max(1.0, 4 * whole), self.deadline), None, _interval_for(whole)
        samples, proofs, cut_up = [], [], 0
        self.set_switch_interval(interval)
        try:
            with self.beside(Contender(self.meter, self.others, MIN_INTERVAL_S, interval)) as contender:
                while word is None and (not samples or clock() < end):
                    samples.append(self.sample())
                    cut_up += samples[-1].is_cut_up(contender)
                    # A wait is recorded only when the contender has read its run delay.
                    recent = max(0, len(samples) - 4)
                    proofs[recent:] = [
                        _samples.weight_of_proof(sample, contender) for sample in samples[recent:]
                    ]
                    contender.forget(samples[recent].times[0])
                    # The kernel does not report when the host of a virtual machine takes a core away.
                    rare = len(samples) / 50.0
                    if cut_up >= max(min(2, wanted), rare):
                        word = "yields"
                    elif sum(proofs) >= max(wanted, rare):
                        word = "holds"
        finally:
            self.restore_switch_interval()
        if word is None:
            return self.disturbed(_samples.disturbance(samples), "whether the call drops the GIL on request")
        return self.probed(length, word, _samples.describe_releases(alone), shares, None)

    def probed(self, length, word, reason, shares, hold):
        """Pass C: the longest hold, unless pass A has measured it as `hold`, and the longest stall by one call."""
        self.repeats = 1
        pause, wanted = min(max(length / 10, MIN_INTERVAL_S), 0.0005), _calls_for(length)
        holds, stalls, least_stalls, elapsed, least_held = [], [], [], [], []
        while len(holds) < 3 or (_samples.differ(*min(holds)) and clock() < self.deadline):
            stolen = self.run_delays.stolen()
            with self.beside(Prober(self.meter, self.others, pause)) as prober:
                samples = _samples.least_disturbed([self.sample() for _ in range(wanted)])
            stolen = (self.run_delays.stolen() - stolen) / 1e9
            longest = max(sample.longest_hold() for sample in samples)
            least = max(sample.longest_hold(upper=False) for sample in samples)
            if word == "yields":
                # The prober's rounds cut the holds short, and their run delays are known more closely.
                longest, least = min(longest, prober.hold), max(least, prober.least_hold - stolen)
            holds.append((longest, min(least, longest)))
            stalls.append(prober.stall)
            least_stalls.append(prober.least_stall - stolen)
            elapsed.append(max(sample.elapsed for sample in samples))
            # The rest of a wait is the time that the kernel needs to wake the prober up, which is in no run delay.
            least_held.append(max(sample.held_less_delay(upper=False) for sample in samples))
            # Otherwise the prober may have come too late to the only long hold.
            if longest < 0.001 or (prober.stall > 0.8 * longest and not _samples.differ(*holds[-1])):
                break
        # A wait of the prober may span several calls, but one call adds no more than its own duration, and no more than
        # its holds for certain. And the prober acquires the GIL at the first release after its request, if it has a
        # core then.
        stall, least_stall = min(max(stalls), min(elapsed)), min(max(least_stalls), min(least_held))
        if not _samples.HAS_OLD_GIL:
            longest, least = (max(bound, sys.getswitchinterval()) for bound in min(holds))
            stall, least_stall = min(stall, longest), min(least_stall, least)
        return self.report(
            word, reason, shares, hold or min(holds), (stall, max(0.0, min(stall, least_stall)))
        )

    def runs_python(self):
        """True if the call runs Python code, which drops the GIL on request at the start of each function
        (_PyEval_EvalFrameDefault, Python/ceval.c), or if that is unknown, because another profiler is installed."""
        if sys.getprofile() is not None:
            return True
        events = []
        self.undo.add(lambda: sys.setprofile(None))
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            self.repeated()
        finally:
            sys.setprofile(None)
        self.calls += 1
        return "call" in events

    def beside(self, thread):
        """Returns `thread`, which will be ended even if Ctrl-C comes before its block begins."""
        self.undo.add(thread.end)
        return thread

    def timed(self):
        """Makes one call. Returns its run delay, and when it started and ended."""
        run_delay, start = self.run_delays.read(self.caller), clock()
        self.call()
        end = clock()
        return self.run_delays.read(self.caller) - run_delay, (start, end)

    def sample(self, inspect=None):
        """Makes one call and meters it. Passes its result to `inspect`."""
        known = set(self.workers) | set([self.caller])
        # Outside the window, since reading a file releases the GIL.
        before = clock()
        stolen, delays = self.run_delays.stolen(), self.run_delays.read_all(known)
        cpu_readings = [self.read_cpu_times(known)]
        window = self.meter.window()
        try:
            start = clock()
            # Kept until the window is read, since freeing the result takes time of its own.
            result = self.call()
            end = clock()
            elapsed, rows = window.read()
        finally:
            window.close()
        cpu_readings.append(self.read_cpu_times(known))
        now, stolen = self.run_delays.read_all(known), self.run_delays.stolen() - stolen
        after = clock()
        if inspect:
            inspect(result)
        del result
        rows = dict((tid, row) for tid, row in rows.items() if row.held_ns)
        mine = dict((tid, row) for tid, row in rows.items() if tid not in self.others)
        for tid, row in mine.items():
            self.workers[tid] = self.workers.get(tid, 0) + row.held_ns
        around, parts = (after - before) - (end - start), []
        for tid in set(mine) | set([self.caller]):
            # The run delay of a thread that is seen for the first time, or has ended, is not known.
            run_delay = max(0, now[tid] - delays[tid]) / 1e9 if tid in known else 0.0
            part = mine.get(tid, _samples.Nothing)
            parts.append(_samples.Part(part, run_delay + stolen / 1e9, max(0.0, run_delay - around)))
        holder = max(mine, key=lambda tid: mine[tid].held_ns) if mine else self.caller
        return _samples.Sample(
            elapsed / 1e9,
            parts,
            sum(row.held_ns for tid, row in rows.items() if tid in self.others) / 1e9,
            sum(row.voluntary_releases for row in mine.values()),
            (start, end),
            holder,
            [readings.get(holder) for readings in cpu_readings],
        )

    def read_cpu_times(self, tids):
        """Returns (time, CPU time) of each thread that has one."""
        readings = ((tid, clock(), cpu_time(tid)) for tid in tids)
        return dict((tid, (at, time)) for tid, at, time in readings if time is not None)

    def _workers_named(self):
        """Names the threads other than the caller that hold the GIL for the call, or returns None."""
        total = sum(self.workers.values())
        threads = [
            tid
            for tid, held in self.workers.items()
            if tid != self.caller and held > WORKER_SHARE * total and held > 1e5
        ]
        if not threads:
            return None
        names = ", ".join(sorted(_name(tid) for tid in threads))
        return "other threads that work for the call are part of it: %s" % names

    def set_switch_interval(self, seconds):
        if _samples.HAS_OLD_GIL:
            before, change, short = sys.getcheckinterval(), sys.setcheckinterval, 100
        else:
            before, change, short = sys.getswitchinterval(), sys.setswitchinterval, seconds
        self.restore_switch_interval = lambda: change(before)
        self.undo.add(self.restore_switch_interval)
        _changes.append(self.restore_switch_interval)
        change(short)

    def without_gil(self):
        """The check on a free-threaded build: can other threads stop the world during the call, as the garbage
        collector must?"""
        self.caller, self.run_delays = self.meter.tid(), RunDelays()
        self.undo.add(self.run_delays.close)
        refuse_result(self.call())
        # A list, since a generator would turn a StopIteration of the call into another exception.
        length = min(end - start for _, (start, end) in [self.timed() for _ in range(3)])
        if length < MIN_CALL_S:
            return self.too_short(length)
        calls, found, end = [], [], clock() + max(2.0, 8 * length)
        with self.beside(WorldStopper(min(max(length / 20, 0.00002), 0.005))) as stopper:
            while len(found) < 3 and (clock() < end or not calls):
                calls += [self.timed() for _ in range(max(8, 2 * _calls_for(length)) if length < 0.1 else 3)]
                found = [(run_delay, stopper.stall_between(*times)) for run_delay, times in calls]
                found = sorted((run_delay, stall) for run_delay, stall in found if stall)
        if len(found) < 3:
            delayed = sum(run_delay for run_delay, _ in calls) / 1e9
            share = min(1.0, delayed / max(1e-9, sum(end - start for _, (start, end) in calls)))
            return self.disturbed(share, "whether other threads can stop the world during the call")
        # One stop that ended during the call proves that the call allows it; longer stops may be due to the machine.
        attached = min(stall / rest for _, (stall, rest) in found) >= _samples.ONE_PIECE
        stalls = sorted(stall for _, (stall, _) in found[: max(3, len(found) // 2)])
        longest = stalls[-1 if attached else -2]
        return self.report(
            "no-gil",
            "this interpreter has no GIL, but the call stays attached: a thread that stops the world, "
            "as gc.collect() does, waits until the call ends"
            if attached
            else "this interpreter has no GIL, and other threads can stop the world during the call, "
            "as gc.collect() does",
            stall=(longest, longest),
        )


def _interval_for(length):
    """The switch interval of pass B. A tenth of the call's length is enough to cut it up; and the fewer times the
    contender wakes up during a wait, the less of the wait it spends without a core."""
    return min(max(length / 10, MIN_INTERVAL_S), MAX_INTERVAL_S)


def _name(tid):
    """The name of a thread for people: the one that threading has, if it knows the thread."""
    threading = sys.modules.get("threading")
    # threading.enumerate() would take a lock, which Ctrl-C may leave locked (busy._call_under).
    for thread in tuple(threading._active.values()) if threading else ():
        if getattr(thread, "native_id", None) == tid:
            return thread.name
    return "thread %d" % tid


def _calls_for(length):
    return max(1, min(MAX_CALLS, int(MIN_PASS_S / max(length, 1e-6)) + 1))
