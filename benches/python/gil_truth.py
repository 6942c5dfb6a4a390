"""Measures the error of a GIL meter. Native code in this process repeatedly holds the GIL for a known time and releases
it for a known time, while METER measures the held share.

python gil_truth.py METER LIBBUSY GENERATOR PERIOD_US SECONDS [CORE COMMAND...]

METER is busy, gilknocker or gil_load, which run in this process; or sampler, py-spy or profiling.sampling, for which
COMMAND is run on core CORE with the id of this process. GENERATOR is the compiled c/gil_generator.c.

Prints one round, with a value for each of DUTIES: the errors of the held share in percentage points (share), of the
longest hold in microseconds (hold), and of the held time in nanoseconds per release or acquire (event); and by how many
nanoseconds the truth may be wrong about each of them (uncertainty).
"""

import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pyext/python/busy"))
from _ctypes_meter import Meter  # noqa: E402
from gil_generator import TRIES, Generator, Truth  # noqa: E402

DUTIES = (0, 10, 25, 50, 75, 90, 100)
CLOCK = getattr(time, "perf_counter", time.time)
# Between two slices, a measurement checks whether it is over.
SLICE_NS = 10000000
# Makes one hold the longest. Its length is known exactly; the first and the last hold of a measurement begin or end in
# the interpreter.
EXTRA_NS = 300000


class InProcess(object):
    """A meter in this process. Each measurement lasts `seconds`."""

    def __init__(self, seconds):
        self._seconds = seconds

    def begin(self):
        self.start()
        self._end = CLOCK() + self._seconds

    def is_over(self):
        return CLOCK() >= self._end


class Busy(InProcess):
    def __init__(self, libbusy, seconds):
        InProcess.__init__(self, seconds)
        self._meter = Meter(libbusy)
        self._meter.start()

    def start(self):
        self._window = self._meter.window()

    def found(self):
        metered, threads = self._window.read()
        self._window.close()
        (row,) = threads.values()
        share, longest_us = float(row.held_ns) / metered, row.longest_hold_ns / 1e3
        return {"share": share, "hold": longest_us, "metered_ns": metered}


class GilKnocker(InProcess):
    def __init__(self, _libbusy, seconds):
        from gilknocker import KnockKnock

        InProcess.__init__(self, seconds)
        use_all_cores()
        self._knocker = KnockKnock(polling_interval_micros=1000)
        self._knocker.start()

    def start(self):
        self._knocker.reset_contention_metric()

    def found(self):
        return {"share": self._knocker.contention_metric}


class GilLoad(InProcess):
    """gil_load at the sampling rate of busy's sampler; its default is 200 Hz."""

    def __init__(self, _libbusy, seconds):
        import gil_load

        # gil_load's library has to be loaded before Python starts.
        if gil_load.preload_path not in os.environ.get("LD_PRELOAD", ""):
            os.environ["LD_PRELOAD"] = gil_load.preload_path
            os.execv(sys.executable, [sys.executable, "-B"] + sys.argv)
        InProcess.__init__(self, seconds)
        use_all_cores()
        gil_load.init()
        self._load = gil_load

    def start(self):
        self._load.start(av_sample_interval=1 / 5000.0, reset_counts=True)

    def found(self):
        self._load.stop()
        return {"share": self._load.get()[0]["held"]}


def use_all_cores():
    """Unpins this process: on one core, the meter's thread would have to wait for the metered thread."""
    os.sched_setaffinity(0, range(os.cpu_count()))


class OtherProcess(object):
    """A sampler in a separate process, which exits after `seconds`."""

    def __init__(self, _libbusy, seconds, core, *command):
        self._seconds, self._core, self._command = seconds, int(core), list(command)
        # The peers accept only whole seconds.
        self._whole = max(1, round(seconds))

    def begin(self):
        self._output, self._file = tempfile.TemporaryFile(), tempfile.NamedTemporaryFile()
        command = self._command + self.arguments(str(os.getpid()), self._file.name)
        self._sampler = subprocess.Popen(command, stdout=self._output, stderr=subprocess.STDOUT)
        os.sched_setaffinity(self._sampler.pid, {self._core})

    def is_over(self):
        return self._sampler.poll() is not None

    def found(self):
        self._output.seek(0)
        output = self._output.read().decode("utf-8", "replace")
        if self._sampler.returncode:
            raise SystemExit("{}: {}".format(self._command[0], output.strip()[-300:]))
        with self._output, self._file:
            return self.read(output)


class Sampler(OtherProcess):
    def arguments(self, pid, _file):
        return [pid, str(self._seconds)]

    def read(self, output):
        return json.loads(output)


class PySpy(OtherProcess):
    HZ = 1000

    def arguments(self, pid, file):
        length = ["--rate", str(self.HZ), "--duration", str(self._whole)]
        return ["record", "--gil"] + length + ["--format", "raw", "--output", file, "--pid", pid]

    def read(self, _output):
        with open(self._file.name) as lines:
            samples = sum(int(line.rsplit(" ", 1)[1]) for line in lines)
        return {"share": samples / self.HZ / self._whole}


class ProfilingSampling(OtherProcess):
    def arguments(self, pid, file):
        length = ["-r", "10khz", "-d", str(self._whole)]
        return ["-m", "profiling.sampling", "attach", "-a", "--gecko"] + length + ["-o", file, pid]

    def read(self, _output):
        with open(self._file.name) as file:
            profile = json.load(file)
        names, times = profile["shared"]["stringArray"], {"Has GIL": 0, "No GIL": 0}
        for markers in (thread["markers"] for thread in profile["threads"]):
            for name, start, end in zip(
                markers["name"], markers["startTime"], markers["endTime"], strict=True
            ):
                if names[name] in times:
                    times[names[name]] += end - start
        return {"share": times["Has GIL"] / sum(times.values())}


METERS = {
    "busy": Busy,
    "gilknocker": GilKnocker,
    "gil_load": GilLoad,
    "sampler": Sampler,
    "py-spy": PySpy,
    "profiling.sampling": ProfilingSampling,
}


def measure(meter, generator, hold_ns, release_ns, tries=TRIES):
    """Holds and releases the GIL while `meter` measures. Returns the meter's errors."""
    truth, now_ns = Truth(extra_ns=EXTRA_NS), generator.now_ns
    pairs = max(1, SLICE_NS // (hold_ns + release_ns))
    before_ns = now_ns()
    meter.begin()
    start_ns = now_ns()
    truth.begin(before_ns, start_ns)
    while not meter.is_over():
        generator.generate(truth, hold_ns, release_ns, pairs)
    end_ns = now_ns()
    figures = meter.found()
    after_ns = now_ns()
    truth.end(end_ns, after_ns)
    # Only the exact meter's error is smaller than that of a torn truth.
    if truth.torn and tries > 1 and "metered_ns" in figures:
        return measure(meter, generator, hold_ns, release_ns, tries - 1)
    # The meter's interval, if it reports one, has exactly the releases of the generator.
    metered_ns = figures.pop("metered_ns", end_ns - start_ns)
    if not end_ns - start_ns <= metered_ns <= after_ns - before_ns:
        raise SystemExit("measured for {} ns, the meter reports {} ns".format(end_ns - start_ns, metered_ns))
    # All time but the releases counts as held, including the interpreter's work between the calls.
    error_ns = truth.error_ns((1 - figures["share"]) * metered_ns)
    figures["share"] = 100 * error_ns / metered_ns
    longest_us = figures.pop("hold", None)
    if longest_us is not None and truth.pairs:
        figures["hold"] = truth.longest_hold_error_ns(longest_us * 1e3) / 1e3
        figures["event"] = error_ns / truth.pairs / 2
        figures["uncertainty"] = truth.uncertainty_ns()
    return figures


def main(name, libbusy, generator, period_us, seconds, *core_and_command):
    generator = Generator(generator)
    meter = METERS[name](libbusy, float(seconds), *core_and_command)
    figures = {}
    for duty in DUTIES:
        hold_ns = int(period_us) * 10 * duty
        found = measure(meter, generator, hold_ns, int(period_us) * 1000 - hold_ns)
        for figure, value in found.items():
            figures.setdefault(figure, []).append(value)
    print(json.dumps({"figures": figures}))
    # gilknocker may abort the process while the interpreter ends. By then it has been measured.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
