# cython: language_level=3, freethreading_compatible=True
"""Slide 12: Cython, and Pyrex before it: a call into C holds the GIL, unless it stands inside `with nogil`.

slide15_extension.py imports this module. The lab translates it into C and compiles it against libbusy at first use.
"""

cdef extern from "busy.h":
    unsigned long long busy_wait(unsigned int seconds) nogil


def with_lock(unsigned int seconds):
    return busy_wait(seconds)


def without_lock(unsigned int seconds):
    cdef unsigned long long count
    with nogil:
        count = busy_wait(seconds)
    return count
