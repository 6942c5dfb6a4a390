"""Refuses functions that a check cannot measure: those whose work has not run when the call returns.

Serves CPython 2.7 and 3.x, and needs only the standard library.
"""

import functools
import inspect


class NotMetered(RuntimeError):
    """The GIL cannot be metered, or its figures may be incomplete; the message gives the reason."""


class Refused(TypeError):
    """The function cannot be checked by calling it; the message gives the reason."""


def refuse_function(function):
    """Raises Refused if calling `function` would not run it."""
    if not callable(function):
        raise Refused("expected a function to call, found %r" % (function,))
    while isinstance(function, functools.partial):
        function = function.func
    own = [function]
    if not inspect.isroutine(function) and not inspect.isclass(function):
        own.append(type(function).__call__)
    for kind, is_one in (
        ("a coroutine function", "iscoroutinefunction"),
        ("an asynchronous generator function", "isasyncgenfunction"),
        ("a generator function", "isgeneratorfunction"),
    ):
        if any(getattr(inspect, is_one, lambda _: False)(one) for one in own):
            raise Refused(
                "%s is %s, and calling it does not run its body: check a function that runs it to completion"
                % (getattr(function, "__name__", repr(function)), kind)
            )


def refuse_result(result):
    """Raises Refused if `result`, returned by a call, still has to run."""
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
                "the call returned %s, which has not run: check a function that runs it to completion" % name
            )
