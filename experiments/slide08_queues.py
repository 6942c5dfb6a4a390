"""Slide 8: the cost of a queue between two processes, between two threads, and within one thread.

usage: slide08_queues.py CASE SECONDS

One side puts ITEMS numbers into the queue, and the other side gets them. A round lasts from the start of the first side
to the last item received. As many rounds as fit into SECONDS are run, at least one, and the median is reported.
"""

import multiprocessing
import threading
import time

from reporting import Skip, main

try:
    import queue
except ImportError:
    import Queue as queue  # Python 2

ITEMS = 100000

now = getattr(time, "monotonic", time.time)


def fill(put):
    for i in range(ITEMS):
        put(i)


def empty(get):
    for i in range(ITEMS):
        if get() != i:
            raise AssertionError("item %d arrived out of order" % i)


def process():
    """Forks the process, as the talk does. Python 3.14 and later do so only if requested."""
    context = multiprocessing
    if hasattr(multiprocessing, "get_context"):
        context = multiprocessing.get_context("fork")
    shared = context.Queue()
    start = now()
    other = context.Process(target=put_all, args=(shared,))
    other.start()
    try:
        empty(shared.get)
        return now() - start
    finally:
        other.terminate()
        other.join()


def put_all(shared):
    """Puts all items. The process then stays alive until the feeder thread of its queue has sent them."""
    fill(shared.put)


def thread(new):
    def round():
        shared = new()
        start = now()
        other = threading.Thread(target=fill, args=(shared.put,))
        other.start()
        empty(shared.get)
        took = now() - start
        other.join()
        return took

    return round


def one_thread():
    own = queue.Queue()
    start = now()
    fill(own.put)
    empty(own.get)
    return now() - start


def simple():
    if not hasattr(queue, "SimpleQueue"):
        raise Skip("SimpleQueue needs Python 3.7 or later")
    return thread(queue.SimpleQueue)()


def interpreter():
    """Uses an interpreter with its own GIL. It is created before the clock starts, and its thread afterwards."""
    try:
        from concurrent import interpreters
    except ImportError:
        return interpreter_of_3_13()
    shared = interpreters.create_queue()
    other = interpreters.create()
    try:
        other.prepare_main(shared=shared)
        # Python 2 parses other.exec as a statement.
        return between(getattr(other, "exec"), FILL % ("shared.put(i)", ITEMS), shared.get)
    finally:
        other.close()


def interpreter_of_3_13():
    """Uses the private modules of 3.13, on which 3.14 builds. They cannot wait, so this polls as 3.14's get() does."""
    try:
        import _interpqueues
        import _interpreters
    except ImportError:
        raise Skip("queues between interpreters need Python 3.13 or later")

    class QueueEmpty(_interpqueues.QueueError):
        pass

    class QueueFull(_interpqueues.QueueError):
        pass

    # Otherwise the module imports these from CPython's own tests, which are not always installed.
    _interpqueues._register_heap_types(int, QueueEmpty, QueueFull)
    shared_only, unbound = 0, 3
    shared = _interpqueues.create(0, shared_only, unbound)

    def get():
        while True:
            try:
                return _interpqueues.get(shared)[0]
            except QueueEmpty:
                time.sleep(0.01)

    put = "_interpqueues.put(%d, i, %d, %d)" % (shared, shared_only, unbound)
    other = _interpreters.create()
    try:
        execute = getattr(_interpreters, "exec")
        return between(lambda text: execute(other, text), "import _interpqueues" + FILL % (put, ITEMS), get)
    finally:
        _interpreters.destroy(other)
        _interpqueues.destroy(shared)


# In a function, since global names are slower than local ones.
FILL = """
def fill(items):
    for i in range(items):
        %s

fill(%d)
"""


def between(execute, text, get):
    start = now()
    other = threading.Thread(target=execute, args=(text,))
    other.start()
    empty(get)
    took = now() - start
    other.join()
    return took


def rounds(once):
    def run(seconds):
        took = []
        end = now() + seconds
        while not took or now() + took[-1] < end:
            took.append(once())
        middle = sorted(took)[len(took) // 2]
        return {"items": ITEMS, "rounds": len(took), "round_s": middle, "items_per_s": ITEMS / middle}

    return run


if __name__ == "__main__":
    cases = {
        "process": process,
        "thread": thread(queue.Queue),
        "one-thread": one_thread,
        "thread-simple": simple,
        "interpreter": interpreter,
    }
    main({name: rounds(once) for name, once in cases.items()})
