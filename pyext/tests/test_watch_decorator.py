"""busy.watch as a decorator of functions and coroutine functions."""

import asyncio
import functools
import threading
import time

import busy
import pytest
from watching import own


def test_a_decorated_function_has_histograms():
    @busy.watch(histograms=True)
    def hold():
        time.sleep(0)

    hold()
    assert sum(hold.watch.histograms.holds) >= 1


def test_as_a_decorator_it_watches_each_call():
    @busy.watch()
    def wait(seconds, *, fail=False):
        """A wait."""
        busy.with_lock(seconds)
        if fail:
            raise ValueError("as expected")
        return "done"

    assert wait.watch is None and wait.__doc__ == "A wait." and wait.__name__ == "wait"
    assert wait(0.02) == "done"
    first = wait.watch
    with pytest.raises(ValueError, match="as expected"):
        wait(0.01, fail=True)
    assert wait.watch is not first
    assert own(first).held_s >= 0.02 and own(wait.watch).held_s >= 0.01


def test_without_parentheses_it_decorates_a_function():
    @busy.watch
    def wait(seconds):
        """A wait."""
        busy.with_lock(seconds)

    @busy.watch
    async def sleep():
        await asyncio.sleep(0.01)

    wait(0.02)
    asyncio.run(sleep())
    assert own(wait.watch).held_s >= 0.02 and wait.__doc__ == "A wait."
    assert sleep.watch.wall_s >= 0.01
    for wrong in (5, None, dict):
        with pytest.raises(TypeError, match="expected a function to watch, found"):
            busy.watch(wrong)


def test_recursion_of_a_decorated_function_nests():
    @busy.watch()
    def down(depth):
        if depth:
            down(depth - 1)

    down(100)
    assert down.watch.wall_s > 0


def test_a_coroutine_function_is_watched_to_its_end():
    @busy.watch()
    async def wait():
        await asyncio.sleep(0.05)
        busy.with_lock(0.02)
        return "done"

    assert asyncio.run(wait()) == "done"
    assert wait.watch.wall_s >= 0.06 and own(wait.watch).longest_hold_s >= 0.02


def test_an_object_with_an_asynchronous_call_is_watched_until_it_ends():
    class Callable:
        async def __call__(self):
            await asyncio.sleep(0.05)
            return 7

    for function in (Callable(), functools.partial(Callable())):
        watched = busy.watch(function)
        assert asyncio.run(watched()) == 7
        assert watched.watch.wall_s >= 0.05


async def agenerator():
    yield


@pytest.mark.parametrize(
    "target", [lambda: (yield), agenerator, 5, dict], ids=lambda target: str(target)[:20]
)
def test_the_decorator_refuses_generators_and_other_objects(target):
    with pytest.raises(TypeError, match="generator|expected a function"):
        busy.watch()(target)


def test_what_a_call_does_not_run_is_refused():
    class Generator:
        def __call__(self):
            yield

    def function():
        pass

    with pytest.raises(TypeError, match="cannot watch a generator function"):
        busy.watch(Generator())
    for wrong in (staticmethod(function), classmethod(function)):
        with pytest.raises(TypeError, match=rf"put @{type(wrong).__name__} above @busy\.watch"):
            busy.watch(wrong)


def test_200_parallel_calls_of_a_decorated_function_are_all_watched():
    gate, found = threading.Barrier(200), []

    @busy.watch()
    def wait():
        gate.wait(60)
        return threading.get_native_id()

    threads = [threading.Thread(target=lambda: found.append(wait())) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 200
    assert wait.watch.threads.keys() >= set(found)


def test_a_decorated_function_runs_unwatched_if_the_gil_cannot_be_metered(child):
    unwatched = child("""
        import asyncio, busy, resource
        @busy.watch
        def wait(depth):
            with_lock(0.001)
            return wait(depth - 1) if depth else "done"
        @busy.watch
        async def sleep():
            await asyncio.sleep(0.001)
            return "done"
        # Only so many windows fit into this address space.
        with busy.watch():
            limit = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (8 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        wait(10)
        watched = wait.watch.wall_s
        watches = []
        try:
            while len(watches) < 1000:
                watches.append(busy.watch().__enter__())
        except RuntimeError:
            pass
        results = [wait(3), asyncio.run(sleep())]
        errors = []
        def note(call):
            try:
                errors.append(repr(call()))
            except BaseException as error:
                errors.append(f"{type(error).__name__}: {error}")
        note(lambda: wait.watch.held_share)
        note(lambda: sleep.watch.to_dict())
        note(lambda: wait.watch.read())
        note(lambda: wait.watch)
        note(lambda: busy.watch().__enter__())
        for w in watches:
            w.__exit__()
        wait(3)
        report(watched=watched, results=results, errors=errors, again=wait.watch.wall_s)
    """)
    found = unwatched.report()
    assert found["watched"] >= 0.011 and found["results"] == ["done", "done"]
    reason = "there is no address space for another window of the GIL meter: close one first"
    refused = f"GilNotMeterable: {reason}"
    assert found["errors"] == [refused, refused, refused, f"<busy.watch, not watched: {reason}>", refused]
    assert found["again"] >= 0.004, "there are free windows again"
