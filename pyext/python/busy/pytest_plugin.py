"""A plugin of pytest: tests that say how calls stand to the GIL. Installed with busy-gil, it needs no further ado.

def test_it_lets_others_run(assert_releases_gil):
    assert_releases_gil(hashlib.sha256, bytes(50_000_000), max_stall="20ms")

@pytest.mark.gil(max_stall="20ms")
def test_nothing_in_here_stalls_others(): ...
"""

import reprlib
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

import pytest

import busy

if TYPE_CHECKING:
    from busy import Verdict

_MARKER = (
    'gil(max_stall="20ms", max_held="50%"): fail if, during the test, one thread keeps another waiting for the GIL '
    "longer than max_stall, or if the GIL is held for more than max_held of the time (busy)"
)
_VERDICTS = ("releases", "partly", "yields", "holds", "no-gil", "inconclusive")
_RELEASE = (
    "Py_BEGIN_ALLOW_THREADS in C, py.detach in PyO3, `with nogil` in Cython, CDLL in place of PyDLL in ctypes"
)
_WHAT_TO_DO = {
    "releases": "It lets others run, which says nothing about thread safety: is that what the test should expect?",
    "partly": "Look for what it does before and after its release: do less of it there, or in smaller pieces.",
    "yields": "It is Python code, or calls it: others run, but not beside it. Native code could release the GIL.",
    "holds": f"Release the GIL around what touches no Python object ({_RELEASE}), or do it in another process.",
    "no-gil": "There is no GIL in this interpreter.",
    "inconclusive": "Nothing is shown, one way or the other: see to the reason given, and run it again.",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def assert_gil() -> Callable[..., "Verdict"]:
    """assert_gil(function, *args, verdict="holds", **kwargs): fail unless busy.check comes to this verdict, or to one
    of several in a tuple. Returns the busy.Verdict. Where the GIL can't be metered, the test is skipped."""
    return _assert_gil


@pytest.fixture
def assert_releases_gil() -> Callable[..., "Verdict"]:
    """assert_releases_gil(function, *args, max_stall=None, max_held=None, **kwargs): fail unless it releases the GIL.

    That is the verdict `releases`; or, with bounds, `releases` or `partly` if one call makes no other thread wait for
    longer than `max_stall` ("20ms", or seconds) and holds the GIL for no more of its time than `max_held` ("30%", or
    0.3). Returns the busy.Verdict. Where the GIL can't be metered, the test is skipped."""
    return _assert_releases_gil


def _assert_gil(
    function: Callable[..., object], /, *args: Any, verdict: str | Iterable[str], **kwargs: Any
) -> "Verdict":
    __tracebackhide__ = True
    expected = (verdict,) if isinstance(verdict, str) else tuple(verdict)
    unknown = [word for word in expected if word not in _VERDICTS]
    if unknown or not expected:
        raise ValueError(f"verdict: expected one or more of {', '.join(_VERDICTS)}, found {verdict!r}")
    found = _check(function, args, kwargs)
    if found.verdict not in expected:
        raise AssertionError(_message(function, f"to be found as: {' or '.join(expected)}", found))
    return found


def _assert_releases_gil(
    function: Callable[..., object],
    /,
    *args: Any,
    max_stall: str | float | None = None,
    max_held: str | float | None = None,
    **kwargs: Any,
) -> "Verdict":
    __tracebackhide__ = True
    bounds = _Bounds(max_stall, max_held)
    found = _check(function, args, kwargs)
    enough = ("releases", "partly") if bounds else ("releases",)
    broken = bounds.broken(found.longest_stall_s, found.held_share)
    if found.verdict not in enough:
        raise AssertionError(_message(function, "to release the GIL", found))
    if broken:
        raise AssertionError(_message(function, f"to release the GIL with {' and '.join(broken)}", found))
    return found


def _check(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Verdict":
    __tracebackhide__ = True
    try:
        busy.watch().__enter__().__exit__()
    except busy.GilNotMeterable as reason:
        pytest.skip(str(reason))
    return busy.check(function, *args, **kwargs)


def _message(function: object, expected: str, found: "Verdict") -> str:
    name = getattr(function, "__qualname__", None)
    name = f"{getattr(function, '__module__', None) or '?'}.{name}" if name else reprlib.repr(function)
    return f"expected {name} {expected}, found\n  {found}\n{_WHAT_TO_DO[found.verdict]}"


class _Bounds:
    """The arguments of the marker and of assert_releases_gil."""

    def __init__(self, max_stall: object = None, max_held: object = None) -> None:
        from busy import _units

        self.max_stall_s = None if max_stall is None else _units.seconds(max_stall, "max_stall")
        self.max_held = None if max_held is None else _units.share(max_held, "max_held")

    def __bool__(self) -> bool:
        return self.max_stall_s is not None or self.max_held is not None

    def broken(self, stall_s: float | None, held_share: float | None) -> list[str]:
        """The bounds that don't hold, in words. What is not known holds none."""
        from busy import _units

        broken = []
        if self.max_stall_s is not None and (stall_s is None or stall_s > self.max_stall_s):
            broken.append(f"a stall of others of at most {_units.time(self.max_stall_s)}")
        if self.max_held is not None and (held_share is None or held_share > self.max_held):
            broken.append(f"the GIL held for at most {_units.percent(self.max_held)} of its time")
        return broken


def _bounds_of(marker: pytest.Mark) -> _Bounds:
    wrong = 'expected max_stall, max_held or both, by name: gil(max_stall="20ms")'
    unknown = marker.kwargs.keys() - {"max_stall", "max_held"}
    if unknown:
        wrong += f", found {', '.join(sorted(unknown))}"
    elif marker.kwargs and not marker.args:
        try:
            bounds = _Bounds(**marker.kwargs)
            if bounds:
                return bounds
        except (TypeError, ValueError) as error:
            wrong = str(error)
    pytest.fail(f"@pytest.mark.gil: {wrong}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watches a test that has the marker."""
    marker = item.get_closest_marker("gil")
    if marker is None:
        return (yield)
    bounds = _bounds_of(marker)
    w = busy.watch()
    not_metered = None
    try:
        w.__enter__()
    except busy.GilNotMeterable as reason:
        not_metered = str(reason)
    if not_metered:
        result = yield
        pytest.skip(f"it passed, but its bounds of the GIL were not looked at: {not_metered}")

    from busy import _probe, _units

    try:
        with _probe.Probe() as probe:
            result = yield
    finally:
        w.__exit__()
    stall = _probe.longest_stall_s(w)
    w.threads.pop(probe.tid, None)
    broken = bounds.broken(stall, w.held_share)
    if broken:
        pytest.fail(
            f"@pytest.mark.gil: expected {' and '.join(broken)}, found a longest stall of {_units.time(stall)}; {w}\n"
            f"Look for the longest hold. Native code should release the GIL around its work ({_RELEASE}).",
            pytrace=False,
        )
    return result
