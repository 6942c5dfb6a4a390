"""Counts wrong verdicts. Checks calls of the standard library and of packages from PyPI, each TIMES times, beside each
of the numbers of other processes that spin. The calls last from 0.5 ms to 1 s. Their sources show the right verdict.

python verdicts.py LIBBUSY [TIMES [SPINNERS ...]]

Prints a row per call, and after each number of spinners how many verdicts were wrong or inconclusive, and how many
longest holds and stalls are far from all those without spinners, by more than 25 % and more than 1 ms, without being
marked as upper bounds. All those, not their median: a virtual machine's cores become slower and faster, as no clock
shows, and two spinners slow down the other thread of a core. So 0 may be given several times. The calls that sleep with
the GIL held last as long on any core. The exit code is 1 if a verdict was wrong, or if too many were inconclusive. With
TIMES 20 it takes some nine minutes without spinners, ten beside one, and an hour beside three, so CI does not run it.
"""

import array
import base64
import bisect
import bz2
import collections
import copy
import csv
import ctypes
import decimal
import difflib
import functools
import hashlib
import heapq
import io
import itertools
import json
import logging
import lzma
import marshal
import math
import operator
import os
import pickle
import pprint
import queue
import random
import re
import select
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
import xml.etree.ElementTree
import zlib
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pyext/python/busy"))
from _ctypes_meter import Meter  # noqa: E402
from _samples import differ  # noqa: E402
from _verdict import verdict  # noqa: E402

chance = random.Random(1)
zeros, more_zeros = bytes(20_000_000), bytes(100_000_000)
noise = bytes(chance.randrange(256) for _ in range(1_000_000))
some_noise = noise[:50_000]
text = "the quick brown fox jumps over the lazy dog. " * 20_000
long = text * 5
numbers = [chance.random() for _ in range(200_000)]
few = numbers[:10_000]
tree = [{"name": str(i), "values": [1, 2.5, None, True]} for i in range(10_000)]
as_json, pickled, marshalled = json.dumps(tree), pickle.dumps(tree), marshal.dumps(tree)
big = 7**20_000
rows = ["%d,%d,%d" % (i, i, i) for i in range(50_000)]  # noqa: UP031
document = "<a>" + "<b c='d'>e</b>" * 30_000 + "</a>"
source = "x = [1, 2, (3, 4)]\n" * 5000
lock, event, empty = threading.Lock(), threading.Event(), queue.Queue()
lock.acquire()
reader, writer = socket.socketpair()
reader.settimeout(0.005)
device = os.open("/dev/zero", os.O_RDONLY)
scratch = tempfile.TemporaryFile()
pool, pair = ThreadPoolExecutor(1), ThreadPoolExecutor(2)
log = logging.getLogger("verdicts")
log.addHandler(logging.StreamHandler(io.StringIO()))
log.propagate = False
json_file = tempfile.NamedTemporaryFile("w")
json_file.write(as_json)
json_file.flush()
libc = ctypes.PyDLL(None)
database = sqlite3.connect(":memory:")
COUNT = (
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select max(i) from n"
)


def timed_out(function, *arguments):
    try:
        function(*arguments)
    except (queue.Empty, TimeoutError, OSError):
        pass


def warn_and_dump():
    log.warning("x")
    json.dumps(tree)


def compress_and_dump():
    zlib.compress(noise)
    json.dumps(tree)


def load_file():
    with open(json_file.name) as file:
        json.load(file)


def sleep_and_loop():
    time.sleep(0)
    loop(500_000)


def loop(times):
    for _ in range(times):
        pass


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def consume(iterable):
    collections.deque(iterable, 0)


CALLS = {
    "releases": {
        "time.sleep 5 us": lambda: time.sleep(0.000005),
        "hashlib.sha256 50 kB": lambda: hashlib.sha256(some_noise),
        "time.sleep 0.5 ms": lambda: time.sleep(0.0005),
        "time.sleep 1 s": lambda: time.sleep(1),
        "Event.wait": lambda: event.wait(0.01),
        "Lock.acquire": lambda: lock.acquire(timeout=0.003),
        "Queue.get": lambda: timed_out(empty.get, True, 0.02),
        "select.select": lambda: select.select([reader], [], [], 0.002),
        "socket.recv": lambda: timed_out(reader.recv, 1),
        "hashlib.sha256 1 MB": lambda: hashlib.sha256(noise),
        "hashlib.sha1 20 MB": lambda: hashlib.sha1(zeros),
        "hashlib.md5 20 MB": lambda: hashlib.md5(zeros),
        "hashlib.sha512 20 MB": lambda: hashlib.sha512(zeros),
        "hashlib.pbkdf2_hmac": lambda: hashlib.pbkdf2_hmac("sha256", b"a", b"b", 20_000),
        "hashlib.scrypt": lambda: hashlib.scrypt(b"a", salt=b"b", n=1024, r=8, p=1),
        "zlib.compress 1 MB": lambda: zlib.compress(noise),
        "zlib.compress 20 MB": lambda: zlib.compress(zeros),
        "zlib.crc32 20 MB": lambda: zlib.crc32(zeros),
        "zlib.adler32 20 MB": lambda: zlib.adler32(zeros),
        "bz2.compress": lambda: bz2.compress(noise),
        # With a smaller preset, since an encoder of preset 6 clears 90 MB while it holds the GIL.
        "lzma.compress": lambda: lzma.compress(noise[:300_000], preset=0),
        "os.read 100 MB": lambda: os.read(device, 100_000_000),
        "os.urandom 1 MB": lambda: os.urandom(1_000_000),
        "os.pwrite 100 MB": lambda: os.pwrite(scratch.fileno(), more_zeros, 0),
        "sqlite3 execute": lambda: database.execute(COUNT).fetchone(),
    },
    "holds": {
        "json.dumps": lambda: json.dumps(tree),
        "json.loads": lambda: json.loads(as_json),
        "pickle.dumps": lambda: pickle.dumps(tree),
        "pickle.loads": lambda: pickle.loads(pickled),
        "marshal.dumps": lambda: marshal.dumps(tree),
        "marshal.loads": lambda: marshal.loads(marshalled),
        "sorted": lambda: sorted(numbers),
        "heapq.heapify": lambda: heapq.heapify(numbers[:]),
        "re, catastrophic": lambda: re.match("(a+)+$", "a" * 20 + "b"),
        "re.findall": lambda: re.findall("q[a-z]+k", text),
        "pow": lambda: pow(7, big, 10**60 + 7),
        "int multiplication": lambda: big * big * big,
        "math.factorial": lambda: math.factorial(6000),
        "decimal": lambda: decimal.Context(prec=20_000).sqrt(decimal.Decimal(2)),
        "sum": lambda: sum(numbers),
        "functools.reduce": lambda: functools.reduce(operator.add, numbers),
        "itertools.permutations": lambda: consume(itertools.permutations(range(9))),
        "list(range)": lambda: list(range(500_000)),
        "dict.fromkeys": lambda: dict.fromkeys(numbers),
        "str.replace": lambda: long.replace("fox", "wolf"),
        "str.upper": lambda: long.upper(),
        "unicodedata.normalize": lambda: unicodedata.normalize("NFD", "\u00e9" * 100_000),
        "base64.b64encode": lambda: base64.b64encode(zeros),
        "struct.unpack": lambda: struct.unpack("200000d", zeros[:1_600_000]),
        "array.array": lambda: array.array("d", numbers),
        "csv.reader": lambda: consume(csv.reader(rows)),
        "ElementTree.fromstring": lambda: xml.etree.ElementTree.fromstring(document),
        "compile": lambda: compile(source, "", "exec"),
        "usleep 5 ms, GIL held": lambda: libc.usleep(5_000),
        "usleep 20 ms, GIL held": lambda: libc.usleep(20_000),
        "usleep 100 ms, GIL held": lambda: libc.usleep(100_000),
        # They release the GIL for a moment, or another thread holds it for them.
        "log.warning, json.dumps": warn_and_dump,
        "json.load(file)": load_file,
        "a pool's json.dumps": lambda: pool.submit(json.dumps, tree).result(),
    },
    "partly": {"zlib.compress, json.dumps": compress_and_dump},
    "yields": {
        "for, 1 ms": lambda: loop(100_000),
        "for, 1 s": lambda: loop(30_000_000),
        "recursion": lambda: fibonacci(22),
        "list comprehension": lambda: [number * 2 for number in numbers],
        "sum(generator)": lambda: sum(number for number in numbers),
        "max(key=lambda)": lambda: max(numbers, key=lambda number: -number),
        "map(lambda)": lambda: consume(map(lambda number: number, numbers)),
        "functools.reduce(lambda)": lambda: functools.reduce(lambda one, other: one, numbers),
        "random.shuffle": lambda: chance.shuffle(few),
        "copy.deepcopy": lambda: copy.deepcopy(tree[:1000]),
        "difflib": lambda: difflib.SequenceMatcher(None, text[:4000], text[100:4100]).ratio(),
        "pprint.pformat": lambda: pprint.pformat(tree[:150]),
        "re.sub(function)": lambda: re.sub("[a-z]+", lambda match: "x", text[:50_000]),
        "bisect in a loop": lambda: [bisect.bisect(few, number) for number in few],
        "time.sleep(0), for": sleep_and_loop,
        "two threads, for": lambda: list(pair.map(loop, [100_000, 100_000])),
    },
}


def of_numpy():
    import numpy

    square, column, row = numpy.ones((1000, 1000)), numpy.array(numbers), numpy.ones(3_000_000)
    large, objects = numpy.tile(column, 10), column.astype(object)
    return {
        "releases": {
            "numpy a @ a": lambda: square @ square,
            "numpy.sort": lambda: numpy.sort(large),
            "numpy.exp": lambda: numpy.exp(row),
        },
        "holds": {
            "numpy.array(list)": lambda: numpy.array(numbers),
            "numpy tolist": lambda: column.tolist(),
            "numpy.sort of objects": lambda: numpy.sort(objects),
        },
        "yields": {"numpy.vectorize": lambda: numpy.vectorize(lambda number: number)(column)},
    }


def of_orjson():
    import orjson

    return {
        "holds": {"orjson.dumps": lambda: orjson.dumps(tree), "orjson.loads": lambda: orjson.loads(as_json)}
    }


def of_lxml():
    from lxml import etree

    parsed = etree.fromstring(document)
    # The time of the query grows with the square of the number of nodes.
    small = etree.fromstring(document[:40_000].rsplit("<b", 1)[0] + "</a>")
    return {
        "releases": {"lxml xpath": lambda: small.xpath("count(//b[@c='d' and ../b])")},
        "holds": {"lxml iter": lambda: consume(parsed.iter())},
    }


def of_cryptography():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    def sha256():
        digest = hashes.Hash(hashes.SHA256())
        digest.update(zeros)
        digest.finalize()

    # Hashes and RSA release the GIL since 2026 (pyca/cryptography, pull requests 15359 and 14370).
    return {
        "releases": {
            "cryptography Scrypt": lambda: Scrypt(b"a", 32, 1024, 8, 1).derive(b"b"),
            "cryptography SHA256": sha256,
            "cryptography RSA key": lambda: rsa.generate_private_key(65537, 2048),
        }
    }


def of_pillow():
    from PIL import Image, ImageFilter

    image = Image.new("RGB", (1500, 1500))
    return {
        "releases": {
            "PIL resize": lambda: image.resize((700, 700), Image.Resampling.LANCZOS),
            "PIL GaussianBlur": lambda: image.filter(ImageFilter.GaussianBlur(5)),
        },
        "holds": {"PIL getcolors": lambda: image.getcolors()},
    }


def of_zstandard():
    import zstandard

    return {"releases": {"zstandard compress": lambda: zstandard.ZstdCompressor(level=9).compress(zeros)}}


def of_packages():
    """Adds the calls of the packages that are installed."""
    for package in (of_numpy, of_orjson, of_lxml, of_cryptography, of_pillow, of_zstandard):
        try:
            found = package()
        except ImportError as error:
            print(f"skipped: {error}")
            continue
        for expected, calls in found.items():
            CALLS.setdefault(expected, {}).update(calls)


# How many verdicts may be inconclusive, by the number of spinners.
INCONCLUSIVE = {0: 0.02, 1: 0.05, 3: 0.15}
# Ends with its parent, even if that is killed.
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
FIGURES = ("longest_hold_s", "longest_stall_s")


def is_far(figure, usual):
    nearest = min(max(figure, min(usual)), max(usual))
    return abs(figure - nearest) > max(0.25 * nearest, 0.001)


def check_all(meter, times, spinners, quiet):
    """Checks all calls and prints the figures. Adds them to `quiet` if nothing spins, or if it has none of the call.
    Returns True if the verdicts are as good as expected."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(spinners)]
    tally = collections.Counter()
    try:
        for expected, calls in CALLS.items():
            for name, call in calls.items():
                verdicts = [verdict(meter, call) for _ in range(times)]
                found = collections.Counter(one["verdict"] for one in verdicts)
                reasons = {
                    f"{one['verdict']}: {one['reason']}" for one in verdicts if one["verdict"] != expected
                }
                figures = {}
                for key in FIGURES:
                    pairs = [
                        (one[key], one["lower_bounds"].get(key, one[key]))
                        for one in verdicts
                        if one[key] is not None
                    ]
                    exact = [upper for upper, lower in pairs if not differ(upper, lower)]
                    marked = len(pairs) - len(exact)
                    usual = quiet.setdefault((name, key), [])
                    if spinners == 0 or not usual:
                        usual += exact
                    tally["marked"] += marked
                    far = [figure for figure in exact if is_far(figure, usual)]
                    tally["far and not marked"] += len(far)
                    figures[key] = (
                        f"{1e3 * statistics.median(exact or [0]):9.3f} ms, {marked:2} marked, {len(far):2} far"
                    )
                    reasons |= {
                        f"{key}: {1e3 * one:.3f} ms, {1e3 * min(usual):.3f} to {1e3 * max(usual):.3f} before"
                        for one in far
                    }
                print(f"{expected:9} {name:24} {'  '.join(figures.values())}  {dict(found)}", flush=True)
                for reason in reasons:
                    print(f"          {reason}")
                tally["right"] += found.pop(expected, 0)
                tally["inconclusive"] += found.pop("inconclusive", 0)
                tally["wrong"] += sum(found.values())
    finally:
        for spinner in spinning:
            spinner.kill()
            spinner.wait()
    calls = sum(map(len, CALLS.values()))
    print(f"{calls} calls, {times} times, beside {spinners} spinners: {dict(tally)}", flush=True)
    return tally["wrong"] == 0 and tally["inconclusive"] <= INCONCLUSIVE.get(spinners, 0.15) * calls * times


def main(libbusy, times=20, *spinners):
    of_packages()
    meter, quiet = Meter(libbusy), {}
    results = [check_all(meter, int(times), int(number), quiet) for number in spinners or (0, 1, 3)]
    return not all(results)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
