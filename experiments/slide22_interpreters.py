"""Slide 22: the interpreter as an instance: two threads, each in an interpreter of its own, with a GIL of its own or
under a common one; and what it costs to hand a state over between threads, interpreters and processes.

usage: slide22_interpreters.py CASE SECONDS WAY [WHERE]

CASE own-gil or shared-gil, WAY python, ctypes (WHERE: the path of libbusy.so) or extension (WHERE: the folder of
busy_c): one interpreter counts, the other one counts too, calls busy_wait, or calls with_lock. CASE pool-executor, WAY
interpreters or threads. CASE sharing, WAY one of SHARING.
"""

import json
import mmap
import multiprocessing
import os
import queue
import re
import sys
import threading
import time
from concurrent import futures

import interpreter_loops
from reporting import Skip, main

try:
    import _interpreters as low
except ImportError:
    try:
        import _xxsubinterpreters as low  # until 3.12
    except ImportError:
        low = None

try:
    from concurrent import interpreters as public
except ImportError:
    public = None  # until 3.13

NEW = sys.version_info >= (3, 13)


class Low:
    """An interpreter by the module below the public one, which has no word for a common GIL."""

    def __init__(self, own_gil):
        if low is None:
            raise Skip("this build has no module that makes interpreters")
        if NEW:
            self.id = low.create("isolated" if own_gil else "legacy")
        elif sys.version_info >= (3, 12):
            self.id = low.create(isolated=own_gil)
        elif own_gil:
            raise Skip("no interpreter can have a GIL of its own before Python 3.12 (PEP 684)")
        else:
            self.id = low.create()

    def execute(self, text):
        if NEW:
            failure = low.exec(self.id, text)
            if failure is not None:
                raise RuntimeError(failure.formatted)
        else:
            low.run_string(self.id, text)

    def close(self):
        low.destroy(self.id)


class Public:
    """An interpreter with a GIL of its own, as users of 3.14 and later make them."""

    def __init__(self):
        self.interpreter = public.create()
        self.execute = getattr(self.interpreter, "exec")
        self.share = self.interpreter.prepare_main
        self.close = self.interpreter.close


def interpreter(own_gil):
    """Able to import what stands beside this script."""
    created = Public() if public and own_gil else Low(own_gil)
    folder = os.path.dirname(os.path.abspath(__file__))
    created.execute("import json, os, sys\nsys.path.insert(0, %r)\nimport interpreter_loops" % folder)
    return created


def usage(seconds, work):
    """What `work`, a call that returns [(count, waited for a core)], counted and used of the CPU."""
    start, cpu = time.monotonic(), time.process_time()
    found = work(seconds)
    wall, cpu = time.monotonic() - start, time.process_time() - cpu
    return {
        "threads": len(found),
        "counts": [count for count, _ in found],
        "counts_per_s": sum(count for count, _ in found) / wall,
        "cpu_percent": 100 * cpu / wall,
        "run_delay_percent": 100 * sum(waited for _, waited in found) / wall,
        "took_s": wall,
    }


def side_by_side(own_gil):
    def run(seconds, variant, *where):
        created = []
        try:
            created.extend(interpreter(own_gil) for _ in range(2))
            # Alone: two threads that import ctypes at once end the process on 3.12.
            if variant != "python":
                get_ready(created[1], variant, where)
            metrics = usage(seconds, lambda seconds: in_both(created, seconds, variant))
        finally:
            for one in created:
                one.close()
        if variant != "python":
            python, native = metrics["counts"]
            metrics.update(counts_per_s=python / metrics["took_s"], native_per_s=native / metrics["took_s"])
        return metrics

    return run


def get_ready(one, variant, where):
    work = {
        "ctypes": "interpreter_loops.external(*%r)" % (where,),
        "extension": "interpreter_loops.with_lock(*%r)" % (where,),
    }[variant]
    try:
        one.execute("work = " + work)
    except Exception as error:
        refused = re.search(r"ImportError\W+(.*)", str(error))
        if not refused:
            raise
        raise Skip("the interpreter refuses the import: ImportError: %s" % refused.group(1))


def in_both(created, seconds, variant):
    """Each in a thread of its own; what they find comes by a pipe, which a process's interpreters have in common."""
    door, opener = os.pipe()
    result, results = os.pipe()
    tell = "os.write(%d, (json.dumps([%%d, interpreter_loops.%%s]) + '\\n').encode())" % results
    if variant == "python":
        calls = ["counted(%d)" % seconds] * 2
    else:
        calls = ["first(%d, %d)" % (seconds, opener), "second(%d, %d, work)" % (seconds, door)]
    texts = [tell % numbered for numbered in enumerate(calls)]
    failures = []

    def work(one, text):
        try:
            one.execute(text)
        except Exception as error:
            failures.append(error)
            os.write(opener, b"x")

    threads = [threading.Thread(target=work, args=both) for both in zip(created, texts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(results)
    with open(result) as lines:
        found = dict(map(json.loads, lines))
    os.close(door)
    os.close(opener)
    if failures:
        raise failures[0]
    return [found[0], found[1]]


def pool_executor(seconds, variant):
    if variant == "threads":
        executor = futures.ThreadPoolExecutor
    elif hasattr(futures, "InterpreterPoolExecutor"):
        executor = futures.InterpreterPoolExecutor
    else:
        raise Skip("InterpreterPoolExecutor came with Python 3.14")
    with executor(2) as pool:
        # Both workers are there before the clock starts.
        list(pool.map(time.sleep, [0.5, 0.5]))
        return usage(seconds, lambda seconds: list(pool.map(interpreter_loops.counted, [seconds] * 2)))


STATE_BYTES = 64 * 1024
ROUNDS = 100


def sharing(seconds, variant):
    """The state goes to the other side and comes back, again and again: each of the two is a handover. The fastest
    ROUNDS rounds count, as in timeit: what slows others down is other processes."""
    exchange, close = SHARING[variant]()
    took, now = [], time.monotonic()
    end = now + seconds
    try:
        while now < end:
            for number in range(ROUNDS):
                exchange(number)
            start, now = now, time.monotonic()
            took.append(now - start)
    finally:
        close()
    handovers = 2 * ROUNDS
    return {
        "state_bytes": STATE_BYTES,
        "handovers": handovers * len(took),
        "handover_us": 1e6 * min(took) / handovers,
    }


def expect(found, expected):
    if found != expected:
        raise AssertionError("expected the state %r back, found %r" % (expected, found))


def among_threads():
    """A reference goes over, and back."""
    there, back = queue.SimpleQueue(), queue.SimpleQueue()

    def other():
        for state in iter(there.get, None):
            interpreter_loops.change(state)
            back.put(state)

    thread = threading.Thread(target=other)
    thread.start()
    state = bytearray(STATE_BYTES)

    def exchange(number):
        state[0] = number
        there.put(state)
        expect(back.get()[0], (number + 1) % 256)

    def close():
        there.put(None)
        thread.join()

    return exchange, close


def signals():
    """A pipe for each direction, and the call that wakes the other side and waits for it."""
    (signal, wake), (answered, answer) = os.pipe(), os.pipe()

    def call():
        os.write(wake, b"x")
        os.read(answered, 1)

    return signal, answer, wake, call


def other_interpreter(names, text):
    """Runs hand_back(signal, answer, get, put) in an interpreter with `names`, `text` saying what get and put are."""
    signal, answer, wake, call = signals()
    other = interpreter(own_gil=True)
    if names:
        other.share(**names)  # from 3.14 on
    hand_back = "\ninterpreter_loops.hand_back(%d, %d, get, put)" % (signal, answer)
    thread = threading.Thread(target=other.execute, args=(text + hand_back,))
    thread.start()

    def close():
        os.write(wake, b"q")
        thread.join()
        other.close()

    return call, close


def by_interpreter_queue():
    """The queue copies the bytes. A pipe wakes the other side: by itself its get() looks every 10 ms."""
    if not NEW:
        raise Skip("queues between interpreters came with Python 3.13")
    if public:
        there, back = public.create_queue(), public.create_queue()
        names, text = {"there": there, "back": back}, "get, put = there.get_nowait, back.put"
        put, get = there.put, back.get_nowait
    else:
        put, get, text = queues_of_3_13()
        names = None
    call, close = other_interpreter(names, text)
    return copied(put, call, get), close


def queues_of_3_13():
    """What 3.14's queues are made of (see slide08_queues.py)."""
    import _interpqueues as queues

    class QueueEmpty(queues.QueueError):
        pass

    class QueueFull(queues.QueueError):
        pass

    queues._register_heap_types(int, QueueEmpty, QueueFull)
    as_it_is, unbound = 0, 3
    there, back = (queues.create(0, as_it_is, unbound) for _ in range(2))
    text = (
        "import _interpqueues\n"
        "get = lambda: _interpqueues.get(%d)[0]\n"
        "put = lambda state: _interpqueues.put(%d, state, %d, %d)" % (there, back, as_it_is, unbound)
    )
    return lambda state: queues.put(there, state, as_it_is, unbound), lambda: queues.get(back)[0], text


def by_interpreter_memoryview():
    """All of them see the same bytes. Only the signal goes over."""
    if public is None:
        raise Skip("a memoryview can be shared between interpreters from Python 3.14 on")
    state = bytearray(STATE_BYTES)
    text = "get = lambda: state\nput = interpreter_loops.change"
    call, close = other_interpreter({"state": memoryview(state)}, text)
    return in_place(state, call), close


def copied(put, call, get):
    state = bytearray(STATE_BYTES)

    def exchange(number):
        state[0] = number
        put(bytes(state))
        call()
        expect(get(), state)

    return exchange


def in_place(state, call):
    def exchange(number):
        state[0] = number
        call()
        expect(state[0], (number + 1) % 256)

    return exchange


def forked(target, *arguments):
    """A process that ends with the experiment."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments, daemon=True)
    process.start()

    def close():
        process.terminate()
        process.join()

    return close


def by_process_pipe():
    own, others = multiprocessing.Pipe()

    def other():
        while True:
            others.send_bytes(others.recv_bytes())

    return copied(own.send_bytes, lambda: None, own.recv_bytes), forked(other)


def by_process_shared_memory():
    """Memory that both have mapped. Only the signal goes over."""
    signal, answer, _, call = signals()
    state = mmap.mmap(-1, STATE_BYTES)
    arguments = signal, answer, lambda: state, interpreter_loops.change
    return in_place(state, call), forked(interpreter_loops.hand_back, *arguments)


SHARING = {
    "threads": among_threads,
    "interpreters-queue": by_interpreter_queue,
    "interpreters-memoryview": by_interpreter_memoryview,
    "processes-pipe": by_process_pipe,
    "processes-shared-memory": by_process_shared_memory,
}

if __name__ == "__main__":
    cases = {
        "own-gil": side_by_side(own_gil=True),
        "shared-gil": side_by_side(own_gil=False),
        "pool-executor": pool_executor,
        "sharing": sharing,
    }
    main(cases, "CASE SECONDS WAY [WHERE]")
