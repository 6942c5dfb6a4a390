"""Slide 8: what it costs to pass items through a queue to another process, to another thread, and to nobody.

usage: slide08_queues.py CASE SECONDS

One side puts ITEMS numbers in, the other takes them out; the time goes from the start of the first to the last item
taken out. As many such rounds as fit into SECONDS, at least one; the median counts.
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
            raise AssertionError("item %d came out of its order" % i)


def process():
    """As in the talk the process is forked: on Python 3.14 and later that has to be asked for."""
    context = multiprocessing
    if hasattr(multiprocessing, "get_context"):
        context = multiprocessing.get_context("fork")
    passage = context.Queue()
    start = now()
    other = context.Process(target=put_all, args=(passage,))
    other.start()
    try:
        empty(passage.get)
        return now() - start
    finally:
        other.terminate()
        other.join()


def put_all(passage):
    """Behind its last item the process stays until its queue's own thread has sent all."""
    fill(passage.put)


def thread(new):
    def round():
        passage = new()
        start = now()
        other = threading.Thread(target=fill, args=(passage.put,))
        other.start()
        empty(passage.get)
        took = now() - start
        other.join()
        return took

    return round


def one_thread():
    passage = queue.Queue()
    start = now()
    fill(passage.put)
    empty(passage.get)
    return now() - start


def simple():
    if not hasattr(queue, "SimpleQueue"):
        raise Skip("SimpleQueue came with Python 3.7")
    return thread(queue.SimpleQueue)()


def interpreter():
    """The other interpreter has its own GIL. It is there before the clock starts, and its thread is not."""
    try:
        from concurrent import interpreters
    except ImportError:
        return interpreter_of_3_13()
    passage = interpreters.create_queue()
    other = interpreters.create()
    try:
        other.prepare_main(passage=passage)
        # Python 2 takes other.exec for a statement.
        return between(getattr(other, "exec"), FILL % ("passage.put(i)", ITEMS), passage.get)
    finally:
        other.close()


def interpreter_of_3_13():
    """3.13 has what 3.14 builds on, without the face: no waiting, so this waits as 3.14's get does."""
    try:
        import _interpqueues
        import _interpreters
    except ImportError:
        raise Skip("queues between interpreters came with Python 3.13")

    class QueueEmpty(_interpqueues.QueueError):
        pass

    class QueueFull(_interpqueues.QueueError):
        pass

    # Else it looks for these in CPython's own tests, which are not everywhere.
    _interpqueues._register_heap_types(int, QueueEmpty, QueueFull)
    as_it_is, unbound = 0, 3
    passage = _interpqueues.create(0, as_it_is, unbound)

    def get():
        while True:
            try:
                return _interpqueues.get(passage)[0]
            except QueueEmpty:
                time.sleep(0.01)

    put = "_interpqueues.put(%d, i, %d, %d)" % (passage, as_it_is, unbound)
    other = _interpreters.create()
    try:
        execute = getattr(_interpreters, "exec")
        return between(lambda text: execute(other, text), "import _interpqueues" + FILL % (put, ITEMS), get)
    finally:
        _interpreters.destroy(other)
        _interpqueues.destroy(passage)


# In a function, since a module's names are slower than a function's.
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
