"""Slide 22: the interpreter as an instance. Two threads run in an interpreter each, with a GIL each or with a shared
GIL; and the cost of an exchange of state between threads, interpreters and processes.

usage: slide22_interpreters.py CASE SECONDS VARIANT [PATH]

CASE own-gil, shared-gil: one interpreter counts, and the other runs the VARIANT:
    python       counts too
    ctypes       calls busy_wait of libbusy.so, which is PATH
    extension    calls with_lock of busy_c, which is in the folder PATH
CASE pool-executor: VARIANT is interpreters or threads.
CASE sharing: VARIANT is a key of SHARING.
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
        import _xxsubinterpreters as low  # 3.12 and earlier
    except ImportError:
        low = None

try:
    from concurrent import interpreters as public
except ImportError:
    public = None  # 3.13 and earlier

HAS_EXEC = sys.version_info >= (3, 13)


class Low:
    """An interpreter made with the private module. The public module cannot make one with a shared GIL."""

    def __init__(self, own_gil):
        if low is None:
            raise Skip("this build has no module for subinterpreters")
        if HAS_EXEC:
            self.id = low.create("isolated" if own_gil else "legacy")
        elif sys.version_info >= (3, 12):
            self.id = low.create(isolated=own_gil)
        elif own_gil:
            raise Skip("no interpreter can have a GIL of its own before Python 3.12 (PEP 684)")
        else:
            self.id = low.create()

    def execute(self, text):
        if HAS_EXEC:
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
    """Returns an interpreter that can import the modules beside this script."""
    created = Public() if public and own_gil else Low(own_gil)
    folder = os.path.dirname(os.path.abspath(__file__))
    created.execute("import json, os, sys\nsys.path.insert(0, %r)\nimport interpreter_loops" % folder)
    return created


def usage(seconds, work):
    """Returns the counts and the CPU usage of `work`, a call that returns a list of (count, run delay)."""
    start, cpu = time.monotonic(), time.process_time()
    found = work(seconds)
    wall, cpu = time.monotonic() - start, time.process_time() - cpu
    return {
        "threads": len(found),
        "counts": [count for count, _ in found],
        "counts_per_s": sum(count for count, _ in found) / wall,
        "cpu_percent": 100 * cpu / wall,
        "run_delay_percent": 100 * sum(run_delay for _, run_delay in found) / wall,
        "took_s": wall,
    }


def side_by_side(own_gil):
    def run(seconds, variant, *path):
        created = []
        try:
            created.extend(interpreter(own_gil) for _ in range(2))
            # One interpreter at a time: on 3.12, two threads that import ctypes at once crash the process.
            if variant != "python":
                prepare(created[1], variant, path)
            metrics = usage(seconds, lambda seconds: in_both(created, seconds, variant))
        finally:
            for one in created:
                one.close()
        if variant != "python":
            python, native = metrics["counts"]
            metrics.update(counts_per_s=python / metrics["took_s"], native_per_s=native / metrics["took_s"])
        return metrics

    return run


def prepare(one, variant, path):
    work = {
        "ctypes": "interpreter_loops.external(*%r)" % (path,),
        "extension": "interpreter_loops.with_lock(*%r)" % (path,),
    }[variant]
    try:
        one.execute("work = " + work)
    except Exception as error:
        refused = re.search(r"ImportError\W+(.*)", str(error))
        if not refused:
            raise
        raise Skip("the interpreter refuses the import: ImportError: %s" % refused.group(1))


def in_both(created, seconds, variant):
    """Runs each interpreter in a thread of its own. Results arrive by a pipe: interpreters share file descriptors."""
    start_reader, start_writer = os.pipe()
    result_reader, result_writer = os.pipe()
    report = "os.write(%d, (json.dumps([%%d, interpreter_loops.%%s]) + '\\n').encode())" % result_writer
    if variant == "python":
        calls = ["counted(%d)" % seconds] * 2
    else:
        calls = ["first(%d, %d)" % (seconds, start_writer), "second(%d, %d, work)" % (seconds, start_reader)]
    texts = [report % numbered for numbered in enumerate(calls)]
    failures = []

    def work(one, text):
        try:
            one.execute(text)
        except Exception as error:
            failures.append(error)
            os.write(start_writer, b"x")

    threads = [threading.Thread(target=work, args=both) for both in zip(created, texts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(result_writer)
    with open(result_reader) as lines:
        found = dict(map(json.loads, lines))
    os.close(start_reader)
    os.close(start_writer)
    if failures:
        raise failures[0]
    return [found[0], found[1]]


def pool_executor(seconds, variant):
    if variant == "threads":
        executor = futures.ThreadPoolExecutor
    elif hasattr(futures, "InterpreterPoolExecutor"):
        executor = futures.InterpreterPoolExecutor
    else:
        raise Skip("InterpreterPoolExecutor needs Python 3.14 or later")
    with executor(2) as pool:
        # Starts both workers before the clock.
        list(pool.map(time.sleep, [0.5, 0.5]))
        return usage(seconds, lambda seconds: list(pool.map(interpreter_loops.counted, [seconds] * 2)))


STATE_BYTES = 64 * 1024
ROUNDS = 100


def sharing(seconds, variant):
    """Sends the state to the other side and back, repeatedly; each direction is one transfer.

    The fastest block of ROUNDS rounds is reported, as in timeit: other processes slow the rest down.
    """
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
    transfers = 2 * ROUNDS
    return {
        "state_bytes": STATE_BYTES,
        "handovers": transfers * len(took),
        "handover_us": 1e6 * min(took) / transfers,
    }


def expect(found, expected):
    if found != expected:
        raise AssertionError("expected the state %r back, found %r" % (expected, found))


def among_threads():
    """Exchanges a reference."""
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
    """Returns a pipe for each direction, and a function that wakes the other side and waits for its answer."""
    (signal, wake), (answered, answer) = os.pipe(), os.pipe()

    def call():
        os.write(wake, b"x")
        os.read(answered, 1)

    return signal, answer, wake, call


def other_interpreter(names, text):
    """Runs hand_back(signal, answer, get, put) in an interpreter with `names`. `text` defines get and put."""
    signal, answer, wake, call = signals()
    other = interpreter(own_gil=True)
    if names:
        other.share(**names)  # 3.14 and later
    hand_back = "\ninterpreter_loops.hand_back(%d, %d, get, put)" % (signal, answer)
    thread = threading.Thread(target=other.execute, args=(text + hand_back,))
    thread.start()

    def close():
        os.write(wake, b"q")
        thread.join()
        other.close()

    return call, close


def by_interpreter_queue():
    """Exchanges copies through a queue. A pipe wakes the other side, since the queue's own get() polls every 10 ms."""
    if not HAS_EXEC:
        raise Skip("queues between interpreters need Python 3.13 or later")
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
    """Uses the private module on which 3.14's queues build (see slide08_queues.py)."""
    import _interpqueues as queues

    class QueueEmpty(queues.QueueError):
        pass

    class QueueFull(queues.QueueError):
        pass

    queues._register_heap_types(int, QueueEmpty, QueueFull)
    shared_only, unbound = 0, 3
    there, back = (queues.create(0, shared_only, unbound) for _ in range(2))
    text = (
        "import _interpqueues\n"
        "get = lambda: _interpqueues.get(%d)[0]\n"
        "put = lambda state: _interpqueues.put(%d, state, %d, %d)" % (there, back, shared_only, unbound)
    )
    return lambda state: queues.put(there, state, shared_only, unbound), lambda: queues.get(back)[0], text


def by_interpreter_memoryview():
    """All interpreters see the same bytes, so only the signal is sent."""
    if public is None:
        raise Skip("sharing a memoryview between interpreters needs Python 3.14 or later")
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
    """Starts a process, and returns a function that ends it."""
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
    """Both processes map the same memory, so only the signal is sent."""
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
    main(cases, "CASE SECONDS VARIANT [PATH]")
