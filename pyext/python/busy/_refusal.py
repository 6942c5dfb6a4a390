"""What can't be checked by calling it: functions, and results of calls, that would still have to run.

Serves CPython 2.7 and 3.x, and needs only the standard library.
"""

import functools
import inspect


class Refused(TypeError):
    """What was given can't be checked by calling it, for the reason given."""


def refuse_function(function):
    """Raises what speaks against it."""
    if not callable(function):
        raise Refused("expected a function to call, found %r" % (function,))
    while isinstance(function, functools.partial):
        function = function.func
    own = [function]
    if not inspect.isroutine(function) and not inspect.isclass(function):
        own.append(type(function).__call__)
    for kind, is_one in (
        ("coroutine function", "iscoroutinefunction"),
        ("asynchronous generator function", "isasyncgenfunction"),
        ("generator function", "isgeneratorfunction"),
    ):
        if any(getattr(inspect, is_one, lambda _: False)(one) for one in own):
            raise Refused(
                "%s is a %s: calling it does not run it; check a function that runs it to its end"
                % (getattr(function, "__name__", repr(function)), kind)
            )


def refuse_result(result):
    """Raises what speaks against what a call has returned."""
    kind = type(result)
    for name, is_one in (
        ("a generator", inspect.isgenerator(result)),
        ("a coroutine", getattr(inspect, "iscoroutine", lambda _: False)(result)),
        ("an asynchronous generator", hasattr(kind, "__aiter__") and hasattr(kind, "asend")),
        ("an awaitable", hasattr(kind, "__await__")),
    ):
        if is_one:
            if hasattr(kind, "close"):
                result.close()
            raise Refused(
                "the call returned %s, which has not run: check a function that runs it to its end" % name
            )
