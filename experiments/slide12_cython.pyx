# cython: language_level=3, freethreading_compatible=True
"""Slide 12: Cython (Pyrex before it): a call into C keeps the GIL, unless it stands below `with nogil`.

What slide15_extension.py imports for it, translated into C and compiled against libbusy at first use.
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
