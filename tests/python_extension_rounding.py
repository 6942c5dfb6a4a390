"""Tests, by exact arithmetic, that python_extension.c rounds up and never down when it converts seconds to nanoseconds.

tests/c_examples.rs runs this script with a libbusy whose busy_wait_ns() does not wait: it returns the requested
nanoseconds as its count. So the functions of busy_c return their nanoseconds.
"""

import math
import random
import struct

import busy_c

BOTH = [busy_c.with_lock, busy_c.without_lock]
MOST = 2**63 - 1
SEED = random.randrange(2**32)


def expected(seconds):
    """Returns the value that a call must return, or the type of the exception that it must raise."""
    if math.isnan(seconds) or math.isinf(seconds) or seconds < 0:
        return ValueError
    numerator, denominator = seconds.as_integer_ratio()
    nanoseconds = -(-numerator * 10**9 // denominator)
    return nanoseconds if nanoseconds <= MOST else OverflowError


def found(function, seconds):
    try:
        return function(seconds)
    except (ValueError, OverflowError) as error:
        return type(error)


def steps(seconds, count):
    """Returns the non-negative float that is `count` floats away from `seconds`."""
    (bits,) = struct.unpack("<q", struct.pack("<d", seconds))
    return struct.unpack("<d", struct.pack("<q", max(bits + count, 0)))[0]


def any_float():
    return struct.unpack("<d", struct.pack("<Q", random.getrandbits(64)))[0]


def near_whole_nanoseconds():
    most = random.choice([1000, 10**6, 10**9, MOST])
    return steps(random.randint(0, most) / 1e9, random.randint(-2, 2))


def near_the_longest():
    return steps(MOST / 1e9, random.randint(-1000, 1000))


random.seed(SEED)
for draw in [any_float, near_whole_nanoseconds, near_the_longest, random.random]:
    for _ in range(20000):
        seconds = draw()
        for function in BOTH:
            result, wanted = found(function, seconds), expected(seconds)
            assert result == wanted, (seconds.hex(), result, wanted, f"seed {SEED}")
print("all as expected")
