"""The samples of `_verdict`: what a call has done to the GIL, each figure with an upper and a lower bound, since other
processes can only make it longer.

Serves CPython 2.7 and 3.x.
"""

import sys

# Part of the package, or, for `busy check`, unpacked into a folder beside its script.
if __name__.startswith("busy."):
    from busy._units import duration
else:
    from _units import duration

# The longest hold of a call that releases.
MAX_HOLD_S = 0.010
ONE_PIECE = 0.5  # of the time held: a call whose longest hold is at least this share does not yield
CALM = 0.01  # the disturbance up to which a call is as good as any other

# The GIL before CPython 3.2 is released every so many ticks, whether or not another thread requests it.
HAS_OLD_GIL = sys.version_info < (3, 2)


class Nothing(object):
    """The row of a thread that did not take part."""

    held_ns = longest_hold_ns = waited_ns = voluntary_releases = 0


class Part(object):
    """The part of one thread in a call, in seconds: how long it held the GIL, its longest hold, how long it waited; its
    run delay, some of which may have fallen just before or after the call or have hit another thread, and what fell
    into it for certain."""

    def __init__(self, row, run_delay, certain_delay):
        self.held, self.longest, self.waited = (
            row.held_ns / 1e9,
            row.longest_hold_ns / 1e9,
            row.waited_ns / 1e9,
        )
        self.run_delay, self.certain_delay = run_delay, certain_delay

    def held_less_delay(self, elapsed, upper):
        """The upper or the lower bound of the time held without the run delay, which may have fallen into the holds, or
        into the rest of the call."""
        return max(
            0.0, self.held - (max(0.0, self.certain_delay - elapsed + self.held) if upper else self.run_delay)
        )


class Sample(object):
    """One call: its duration in seconds; the parts of the threads that work for it; how long other threads held the
    GIL; the number of voluntary releases; the times at which it started and ended; the thread that held the GIL for the
    longest time; and readings of its CPU time, just before and just after the call, or None where it has none."""

    def __init__(self, elapsed, parts, others_held, releases, times, holder, cpu_readings):
        self.elapsed, self.parts, self.releases, self.times = elapsed, parts, releases, times
        self.holder, self.cpu_readings = holder, cpu_readings
        self.held = sum(part.held for part in parts)
        self.longest = max(part.longest for part in parts)
        # They may also wait for each other, which is no wait of the call.
        self.waited = min(sum(part.waited for part in parts), others_held)
        # The run delays of several threads may fall into the same time.
        self.run_delay = max(part.run_delay for part in parts)

    def length(self):
        return self.times[1] - self.times[0]

    def held_share(self, upper=True):
        return min(1.0, self.held_less_delay(upper) / max(self.elapsed - self.waited - self.run_delay, 1e-9))

    def held_less_delay(self, upper=True):
        return sum(part.held_less_delay(self.elapsed, upper) for part in self.parts)

    def longest_hold(self, upper=True):
        """The upper bound includes the run delay: a call that waits for a time, or for another process, while it holds
        the GIL would have held it as long without the run delay."""
        return self.longest if upper else max(max(0.0, part.longest - part.run_delay) for part in self.parts)

    def disturbance(self):
        return min(1.0, self.run_delay / max(self.elapsed, 1e-9))

    def is_in_one_piece(self):
        """True if the GIL was held in one piece, even if the whole run delay fell into the longest hold."""
        longest = self.longest_hold(upper=False)
        return longest > 0 and longest >= ONE_PIECE * self.held_less_delay()

    def is_cut_up(self, contender):
        """True if the GIL was held in many pieces: by the lengths of the holds, even if the whole run delay fell into
        the short ones, such as the moments before and after the call; or by the pieces of the holder's CPU time, which
        has no run delays. The time that the holder slept with the GIL is not in its CPU time, so it is added to the
        longest piece."""
        if self.has_long_holds() or self.is_in_one_piece():
            return False
        if self.longest < ONE_PIECE * self.held_less_delay(upper=False):
            return True
        if None in self.cpu_readings:
            return False
        start, end = self.cpu_readings
        longest, total = contender.cpu_pieces_between(start, end, self.holder)
        slept = max(0.0, self.held_less_delay() - total)
        return longest + slept < min(ONE_PIECE * total, MAX_HOLD_S)

    def proves_holding(self, contender):
        """True if the contender waited during the call for so long that it was not let in, although it had requested
        the GIL. A holder without a core can't let anyone in, so its run delay does not count."""
        if HAS_OLD_GIL:
            return True
        run_delay = sum(part.run_delay for part in self.parts)
        needed = min((self.length() - run_delay) / 4, self.longest_hold(upper=False) / 2)
        return contender.waited_between(*self.times) - run_delay >= max(needed, contender.shortest_proof)

    def length_on_a_core(self):
        return max(0.0, self.length() - self.run_delay)

    def has_long_holds(self):
        """True for a call such as three sorts in a row: it drops the GIL between them, but other threads wait long."""
        return self.longest_hold(upper=False) > MAX_HOLD_S


def weight_of_proof(sample, contender):
    """How much a call under pass B counts as a proof that calls like it keep the GIL from other threads."""
    in_one_piece = sample.is_in_one_piece()
    if not (in_one_piece or sample.has_long_holds()) or not sample.proves_holding(contender):
        return 0.0
    return 1.0 if in_one_piece else 0.5


def describe_releases(samples):
    """Describes the voluntary releases of a call that holds the GIL for nearly all of its time; None without any."""
    releases = median([sample.releases for sample in samples])
    if not releases:
        return None
    released = median([max(0.0, sample.elapsed - sample.waited - sample.held) for sample in samples])
    times = {1: "once", 2: "twice"}.get(releases, "%d times" % releases)
    return "the call releases the GIL %s, for %s in all" % (times, duration(released))


def differ(upper, lower):
    """True if the bounds differ by more than a quarter of the lower one and by more than a millisecond."""
    return upper - lower > max(0.25 * lower, 0.001)


def shares_differ(upper, lower):
    """The same of shares, with a percentage point instead of a millisecond."""
    return upper - lower > max(0.25 * lower, 0.01)


def median(values):
    return sorted(values)[len(values) // 2]


def least_disturbed(samples):
    return sorted(samples, key=Sample.disturbance)[: max(3, len(samples) // 4)]


def disturbance(samples):
    return median([sample.disturbance() for sample in least_disturbed(samples)])


def typical_share(samples, upper):
    """Returns the median held share of the least disturbed calls, and of those that are as calm. The more, the better,
    since the kernel reports neither a cold cache nor a core that the host of a virtual machine takes away."""
    limit = max(CALM, least_disturbed(samples)[-1].disturbance())
    return median([sample.held_share(upper) for sample in samples if sample.disturbance() <= limit])


def typical_hold(samples, upper):
    """Returns the longest hold. One that only one of several calls shows is due to the machine, and is left out."""
    longest = sorted(sample.longest_hold(upper) for sample in samples)
    return longest[-2 if len(longest) > 2 else -1]
