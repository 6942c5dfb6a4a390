"""Parks threads in known places, and prints their stacks as Python itself sees them.

argv: a folder for a module, and optionally the name of one place, which is then the only one
stdout: one line for each thread: `place tid frame...`, a frame as `file:function:line`, the innermost first, the texts
as hexadecimal UTF-8; then `ready`. The program ends at the end of stdin.
"""

import ctypes
import functools
import os
import sys
import threading
import time

PY3 = sys.version_info[0] >= 3
NEVER = threading.Lock()
NEVER.acquire()
# The number of characters that the reader keeps of a text.
LONGEST = 4096
PLACES = []
THREADS = {}


def place(function):
    PLACES.append(function)
    return function


def park():
    NEVER.acquire()


@place
def nested():
    def outer():
        def inner():
            time.sleep(
                # The line of a call is that of its function.
                1000
            )

        inner()

    outer()


class Outer(object):
    class Inner(object):
        def __init__(self):
            self.value

        @property
        def value(self):
            return self()

        def __call__(self):
            return Outer.static(self)

        def __del__(self):
            pass

    @staticmethod
    def static(inner):
        return Outer.of_class()

    @classmethod
    def of_class(cls):
        park()


@place
def methods():
    Outer.Inner()


@place
def class_body():
    class Parked(object):
        park()


def numbers(depth):
    if depth == 0:
        park()
    for number in numbers(depth - 1):
        yield number


@place
def generators():
    list(x for x in numbers(50) if x)


@place
def comprehension():
    return [[park() for _ in (0,)] for _ in (1,)]


@place
def dict_comprehension():
    return {x: (lambda: park())() for x in (0,)}


@place
def callbacks():
    """Python code that native code calls."""
    twice = functools.partial(map, lambda x: sorted([x, 2], key=lambda y: park()))
    list(twice([1]))


@place
def raises():
    try:
        raise ValueError
    except ValueError:
        try:
            raise KeyError
        finally:
            with threading.Lock():
                park()


@place
def traced():
    def trace(frame, event, argument):
        return trace

    sys.settrace(trace)
    park()


@place
def recursion():
    def recurse(n):
        if n == 0:
            park()
        else:
            recurse(n - 1)

    recurse(5000)


def imports():
    with open(os.path.join(sys.argv[1], "busy_parked_module.py"), "w") as module:
        module.write("import threading\n\n\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n")
    sys.path.insert(0, sys.argv[1])
    import busy_parked_module  # noqa: F401


def many_lines():
    """Code with long jumps, many lines, and blank ones."""
    lines = ["def long():", "    x = 0"]
    for i in range(3000):
        lines.append("" if i % 7 else "    x += %d; y = [x, x + 1, (x, x)]; z = y[0] if x else y[1]" % i)
    lines += ["    for _ in (0,):", "        park(", "            *[]", "        )"]
    return "\n".join(lines) + "\n"


def executed(name, file, source, call):
    def execute():
        space = {"park": park, "time": time}
        exec(compile(source, file, "exec"), space)
        space[call]()

    execute.__name__ = name
    return execute


PLACES.append(executed("executed", "<odd name: a:b\tc>", "def f():\n\n\n    park()\n", "f"))
PLACES.append(executed("long_file", "/" + "x" * 6000 + ".py", "def f(): park()\n", "f"))
PLACES.append(executed("long_code", "long.py", many_lines(), "long"))
long_name = "f" + "g" * 5000
PLACES.append(executed("long_name", "long_name.py", "def %s(): park()\n" % long_name, long_name))

if PY3:
    # In 2.7 the import lock would stop every other import, even that of a codec.
    PLACES.append(imports)
    for number, file in enumerate(["na\xefve.py", "\u3053.py", "\U0001f600.py", "\udcff.py", ""]):
        PLACES.append(executed("file_%d" % number, file, "def f():\n    park()\n", "f"))
    for number, name in enumerate(["\xe9t\xe9", "\u51fd\u6570", "\U00020000\U00020001", "a" * 87]):
        PLACES.append(executed("name_%d" % number, "<string>", "def %s():\n    park()\n" % name, name))
    PLACES.append(
        executed(
            "coroutines",
            "coroutines.py",
            """
import asyncio
async def inner():
    await asyncio.sleep(0)
    async with Context():
        pass
class Context:
    async def __aenter__(self):
        [x async for x in numbers()]
    async def __aexit__(self, *args):
        pass
async def numbers():
    for i in range(3):
        yield i
        if i == 1:
            park()
async def main():
    await asyncio.gather(inner())
def run():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
def delegate(depth):
    if depth:
        yield from delegate(depth - 1)
    else:
        yield 1
        park()
""",
            "run",
        )
    )
    PLACES.append(
        executed(
            "yield_from",
            "yield_from.py",
            "def delegate(n):\n if n:\n  yield from delegate(n - 1)\n else:\n  yield 1\n  park()\n"
            "def f():\n for _ in delegate(30):\n  pass\n",
            "f",
        )
    )


def start(task):
    started = threading.Event()

    def body():
        THREADS[threading.current_thread().ident] = (task.__name__, ctypes.CDLL(None).syscall(186))
        started.set()
        task()

    thread = threading.Thread(target=body)
    thread.daemon = True
    thread.start()
    started.wait()


def text(name):
    if len(name) > LONGEST:
        name = name[:LONGEST] + b"\xe2\x80\xa6".decode("utf-8")
    encoded = name if isinstance(name, bytes) else name.encode("utf-8", "backslashreplace")
    return "".join("%02x" % byte for byte in bytearray(encoded))


def report():
    """Prints the stacks of all other threads."""
    for ident, frame in sys._current_frames().items():
        name, tid = THREADS.get(ident, ("?", 0))
        frames = []
        while frame:
            code = frame.f_code
            function = getattr(code, "co_qualname", code.co_name)
            frames.append("%s:%s:%s" % (text(code.co_filename), text(function), frame.f_lineno))
            frame = frame.f_back
        if name not in ("reporter", "tick"):
            sys.stdout.write(" ".join([name, str(tid)] + frames) + "\n")
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def tick():
    """Acquires the GIL all the time: up to 3.6, threads are found from the one that holds it."""
    while True:
        sum(range(1000))
        time.sleep(0.0001)


def are_parked(frames):
    parked = ("park", "inner", "main", "<module>")
    others = [
        frame
        for ident, frame in frames.items()
        if THREADS.get(ident, ("?", 0))[0] not in ("reporter", "tick")
    ]
    return all(frame.f_code.co_name in parked for frame in others)


def reporter():
    # A module that is being imported may look parked for a moment.
    times = 0
    while times < 4:
        time.sleep(0.2)
        times = times + 1 if are_parked(sys._current_frames()) else 0
    report()
    park()


def main():
    THREADS[threading.current_thread().ident] = ("main", os.getpid())
    if not PY3 or sys.version_info < (3, 7):
        start(tick)
    # The deepest stack needs some 0.5 kB for each frame up to 3.10.
    threading.stack_size(256 << 20)
    sys.setrecursionlimit(6000)
    for task in PLACES:
        if task.__name__ in sys.argv[2:] or not sys.argv[2:]:
            start(task)
    start(reporter)
    sys.stdin.readline()


main()
