"""How python_extension.c turns seconds into nanoseconds: always up, never down, held against exact arithmetic.

tests/c_examples.rs runs this with a libbusy whose busy_wait_ns() waits for nothing and gives back as its count what it
was asked to wait for. So the functions return their nanoseconds.
"""

import math
import random
import struct

import busy_c

BOTH = [busy_c.with_lock, busy_c.without_lock]
MOST = 2**63 - 1
SEED = random.randrange(2**32)


def expected(seconds):
    """What a call has to return or to raise."""
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
    """The float that is `count` floats away, of those above zero."""
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
            told = (seconds.hex(), found(function, seconds), expected(seconds), f"seed {SEED}")
            assert told[1] == told[2], told
print("all as expected")
