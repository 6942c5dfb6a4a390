"""A pytest plugin that tests how calls use the GIL. pytest loads it wherever busy-gil is installed.

def test_it_lets_others_run(assert_releases_gil):
    assert_releases_gil(hashlib.sha256, bytes(50_000_000), max_stall="20ms")

@pytest.mark.gil(max_stall="20ms")
def test_nothing_in_here_stalls_others(): ...
"""

import argparse
import functools
import os
import reprlib
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import busy

if TYPE_CHECKING:
    from busy import Verdict
    from busy._bounds import Bounds, Pair

_MARKER = (
    'gil(max_stall="20ms", max_held="50%"): fail the test if one of its threads makes a thread of busy\'s wait for the '
    "GIL for longer than max_stall, or if its threads together hold the GIL for more than max_held of the test's time "
    "(busy)"
)
# The folder for the notes about tests, in the environment of a recorded run.
_NOTES = "BUSY_RECORD_TESTS"
# Set in the stash of a test that was run, but whose bounds could not be checked.
_WAS_SKIPPED_HERE = pytest.StashKey[bool]()
_VERDICTS = ("releases", "partly", "yields", "holds", "no-gil", "inconclusive")
_HOW_TO_RELEASE = (
    "Py_BEGIN_ALLOW_THREADS in C, py.detach in PyO3, `with nogil` in Cython, CDLL instead of PyDLL in ctypes"
)
_ADVICE = {
    "releases": "Other threads can run during the call (which does not make it thread-safe). "
    "If that is intended, change what the test expects.",
    "partly": "Find the work before and after the release: do less of it, or do it in smaller pieces.",
    "yields": "The call runs Python code: other threads run in turn with it, but not in parallel. "
    "Native code could release the GIL.",
    "holds": "Release the GIL around code that touches no Python object "
    f"({_HOW_TO_RELEASE}), or run that code in another process.",
    "no-gil": "This interpreter has no GIL.",
    "inconclusive": "The check shows nothing either way: resolve the reason given, then run the test again.",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("busy")
    group.addoption(
        "--gil-retries",
        type=_retries,
        default=2,
        metavar="N",
        help="how often assert_gil and assert_releases_gil repeat a check that other processes made inconclusive, "
        "before the test is skipped (busy; default: 2)",
    )
    group.addoption(
        "--busy-record",
        metavar="FILE.busy",
        help="run these tests under `busy record`: the recording goes to FILE.busy, and the figures, with the test of "
        "each stall, to FILE.json (busy)",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Runs pytest again under `busy record` if that was requested: before any conftest.py is imported, and before
    pytest captures its output."""
    file = early_config.known_args_namespace.busy_record
    if file is not None and _NOTES not in os.environ:
        from busy import _installation, _recorded_tests

        try:
            code = _recorded_tests.rerun(file, early_config.invocation_params.args, _NOTES)
        except (_recorded_tests.Refused, _installation.NotInstalled) as reason:
            raise pytest.UsageError(str(reason)) from None
        raise SystemExit(code)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Notes which test this process runs, in a recorded run."""
    folder = os.environ.get(_NOTES)
    if folder is None:
        return (yield)
    from busy import _recorded_tests

    with _recorded_tests.noted(folder, item.nodeid):
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def assert_gil(request: pytest.FixtureRequest) -> Callable[..., "Verdict"]:
    """assert_gil(function, *args, verdict=..., **kwargs): fail unless busy.check returns the verdict, such as "holds",
    or one of several in a tuple. All other arguments are those of the function. Returns the busy.Verdict. The test is
    skipped if the GIL cannot be metered, or if other processes make the verdict inconclusive, --gil-retries times."""
    return functools.partial(_assert_gil, request.config.getoption("--gil-retries"))


@pytest.fixture
def assert_releases_gil(request: pytest.FixtureRequest) -> Callable[..., "Verdict"]:
    """assert_releases_gil(function, *args, max_stall=None, max_held=None, **kwargs): fail unless it releases the GIL.

    Without bounds, the verdict must be `releases`. With bounds, `partly` passes too; but one call must not make another
    thread wait for longer than `max_stall` ("20ms", or seconds), nor hold the GIL for a larger share of its time than
    `max_held` ("30%", or 0.3). Returns the busy.Verdict. The test is skipped if the GIL cannot be metered, or if other
    processes make the verdict inconclusive, --gil-retries times."""
    return functools.partial(_assert_releases_gil, request.config.getoption("--gil-retries"))


def _assert_gil(
    retries: int, function: Callable[..., object], /, *args: Any, verdict: str | Iterable[str], **kwargs: Any
) -> "Verdict":
    __tracebackhide__ = True
    expected = (verdict,) if isinstance(verdict, str) else tuple(verdict)
    unknown = [word for word in expected if word not in _VERDICTS]
    if unknown or not expected:
        raise ValueError(f"verdict: expected one or more of {', '.join(_VERDICTS)}, found {verdict!r}")
    found = _check(
        retries, function, args, kwargs, lambda found: found.verdict not in expected and found.disturbed
    )
    if found.verdict not in expected:
        raise AssertionError(_message(function, f"to get the verdict {' or '.join(expected)}", found))
    return found


def _retries(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number, zero or more, found {text!r}")


def _assert_releases_gil(
    retries: int,
    function: Callable[..., object],
    /,
    *args: Any,
    max_stall: str | float | None = None,
    max_held: str | float | None = None,
    **kwargs: Any,
) -> "Verdict":
    __tracebackhide__ = True
    from busy._bounds import Bounds

    bounds = Bounds(max_stall, max_held)
    enough = ("releases", "partly") if bounds else ("releases",)
    found = _check(
        retries,
        function,
        args,
        kwargs,
        lambda found: (
            found.disturbed or (found.verdict in enough and bool(bounds.undecided(*_figures(found))))
        ),
        bounds,
    )
    broken = bounds.broken(*_figures(found))
    if found.verdict not in enough:
        raise AssertionError(_message(function, "to release the GIL", found))
    if broken:
        raise AssertionError(_message(function, f"to release the GIL with {' and '.join(broken)}", found))
    return found


def _figures(found: "Verdict") -> "tuple[Pair | None, Pair | None]":
    """Returns the bounds of the longest stall and of the held share."""

    def pair(key: str, upper: float | None) -> "Pair | None":
        return None if upper is None else (upper, found.lower_bounds.get(key, upper))

    return pair("longest_stall_s", found.longest_stall_s), pair("held_share", found.held_share)


def _check(
    retries: int,
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_undecided: "Callable[[Verdict], bool]",
    bounds: "Bounds | None" = None,
) -> "Verdict":
    __tracebackhide__ = True
    try:
        busy.watch().__enter__().__exit__()
    except busy.GilNotMeterable as reason:
        pytest.skip(str(reason))
    found = busy.check(function, *args, **kwargs)
    for _ in range(retries):
        if not is_undecided(found):
            return found
        found = busy.check(function, *args, **kwargs)
    if is_undecided(found):
        stall, held = _figures(found)
        between = f" ({bounds.found(stall, held, 'the call')})" if bounds and stall and held else ""
        pytest.skip(f"the machine is too loaded to decide after {retries + 1} checks{between}: {found}")
    return found


def _message(function: object, expected: str, found: "Verdict") -> str:
    name = getattr(function, "__qualname__", None)
    name = f"{getattr(function, '__module__', None) or '?'}.{name}" if name else reprlib.repr(function)
    return f"expected {name} {expected}, found\n  {found}\n{_ADVICE[found.verdict]}"


def _bounds_of(marker: pytest.Mark) -> "Bounds":
    from busy._bounds import Bounds

    wrong = 'expected max_stall, max_held or both as keywords, such as gil(max_stall="20ms")'
    unknown = marker.kwargs.keys() - {"max_stall", "max_held"}
    if unknown:
        wrong += f", found {', '.join(sorted(unknown))}"
    elif marker.kwargs and not marker.args:
        try:
            bounds = Bounds(**marker.kwargs)
            if bounds:
                return bounds
        except (TypeError, ValueError) as error:
            wrong = str(error)
    pytest.fail(f"@pytest.mark.gil: {wrong}", pytrace=False)


def _not_checked(reason: str) -> str:
    return f"the test passed, but its GIL bounds were not checked: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watches a test that has the marker, and fails it if it breaks a bound."""
    markers = list(item.iter_markers("gil"))
    if not markers:
        return (yield)
    bounds = functools.reduce(lambda one, other: one.tighter(other), map(_bounds_of, markers))
    from busy import _probe, _units

    w = busy.watch()
    not_metered, has_passed = None, False
    try:
        w.__enter__()
        prober = _probe.WatchProber()
    except busy.GilNotMeterable as reason:
        not_metered = str(reason)
    if not_metered:
        result = yield
        _skip(item, _not_checked(not_metered))
    try:
        try:
            with prober:
                result = yield
                has_passed = True
        finally:
            w.__exit__()
        stall, held = prober.stalls(w), prober.held_shares(w)
    except busy.GilNotMeterable as reason:
        # Another tool has redirected the calls during the test. An exception of the test itself is the test's outcome.
        if not has_passed:
            raise
        _skip(item, _not_checked(str(reason)))
    w.threads.pop(prober.tid, None)
    broken, undecided = bounds.broken(stall, held), bounds.undecided(stall, held)
    found = bounds.found(stall, held)
    if broken:
        pytest.fail(
            f"@pytest.mark.gil: expected {' and '.join(broken)}, found {found}; {w}\n"
            f"pytest --busy-record=tests.busy shows what held the GIL. Native code should release the GIL around its "
            f"work ({_HOW_TO_RELEASE}).",
            pytrace=False,
        )
    if undecided:
        _skip(
            item,
            f"the test passed, but the machine is too loaded to decide on {' and '.join(undecided)}: found {found}, "
            f"and threads were runnable without a CPU for {_units.duration(prober.delay)}",
        )
    return result


def _skip(item: pytest.Item, reason: str) -> NoReturn:
    item.stash[_WAS_SKIPPED_HERE] = True
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Reports a skip by the marker at the test, and not at the line that skips it."""
    report = yield
    if report.skipped and item.stash.get(_WAS_SKIPPED_HERE, False) and isinstance(report.longrepr, tuple):
        _, line, _ = item.location
        report.longrepr = (str(item.path), (line or 0) + 1, report.longrepr[2])
    return report
