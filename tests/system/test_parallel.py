"""Ordered work in threads: results in order, a bounded look-ahead, and nobody waits for a thread when leaving."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.system import parallel
from featurebank.system.parallel import SharedValue, clean_up, cleaned_up_by, ordered_map


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that threads wait for; it is set at the end of the test, so that none of them stays."""
    event = threading.Event()
    yield event
    event.set()


def alive(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"featurebank-{name}")]


@settings(max_examples=30)
@given(items=st.lists(st.integers(), max_size=20), count=st.integers(1, 4), ahead=st.integers(1, 9))
def test_the_results_are_those_of_map_with_at_most_ahead_items_in_flight(
    items: list[int], count: int, ahead: int
) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for item in items:
            taken += 1
            yield item

    results = []
    for result in ordered_map(lambda item: 3 * item, source(), name="law", count=count, ahead=ahead):
        results.append(result)
        assert taken < len(results) + ahead
    assert results == [3 * item for item in items]
    assert not alive("law")


def test_items_wait_for_a_slow_caller() -> None:
    begun: list[int] = []
    results = ordered_map(begun.append, range(1000), name="slow", count=2, ahead=8)
    next(results)
    results.close()
    for thread in alive("slow"):
        thread.join(20)
    assert len(begun) <= 8


def test_an_error_is_raised_at_the_turn_of_its_item() -> None:
    results = ordered_map(lambda item: 6 // item, [3, 2, 0, 1], name="error", count=2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_a_closed_generator_does_not_wait_and_ends_its_threads(gate: threading.Event) -> None:
    begun = threading.Event()
    done: list[int] = []

    def work(item: int) -> None:
        if item:
            begun.set()
            assert gate.wait(20)
        done.append(item)

    results = ordered_map(work, range(100), name="closed", count=1, ahead=50)
    next(results)
    assert begun.wait(20)
    results.close()  # would wait for the gate, which is still shut
    (thread,) = alive("closed")
    gate.set()
    thread.join(20)
    assert not thread.is_alive()
    assert done == [0, 1]


def test_an_interrupt_does_not_wait_for_a_thread(gate: threading.Event) -> None:
    begun = threading.Event()

    def work(item: int) -> None:
        begun.set()
        assert gate.wait(20)

    def interrupted() -> Iterator[int]:
        yield 0
        assert begun.wait(20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, interrupted(), name="interrupted", count=1))
    (thread,) = alive("interrupted")
    gate.set()
    thread.join(20)
    assert not thread.is_alive()


def test_what_threads_leave_is_cleaned_up() -> None:
    done: list[str] = []

    def fail() -> None:
        message = "a cleanup that fails does not stop the others"
        raise OSError(message)

    with cleaned_up_by(fail), cleaned_up_by(lambda: done.append("inside")):
        clean_up()
    clean_up()
    assert done == ["inside"]


def test_a_kept_value_is_made_once_for_tasks_that_need_the_same() -> None:
    freed: list[str] = []
    kept: SharedValue[str] = SharedValue(freed.append)
    made = iter("abc")
    with kept.using("one", lambda: next(made)) as first, kept.using("one", lambda: next(made)) as second:
        assert (first, second) == ("a", "a")
    with kept.using("one", lambda: next(made)) as third:
        assert third == "a"
    with kept.using("two", lambda: next(made)) as fourth:
        assert (fourth, freed) == ("b", ["a"])
    assert kept._timer
    kept._timer.cancel()


def test_a_kept_value_is_freed_when_no_task_has_used_it_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "KEPT_S", 0.0)
    freed: list[str] = []
    kept: SharedValue[str] = SharedValue(freed.append)
    with kept.using("one", lambda: "value"):
        with kept.using("one", lambda: "another"):
            pass
        assert kept._timer
        kept._timer.join(60)
        assert freed == [], "a task still uses it"
    kept._timer.join(60)
    assert freed == ["value"]


def test_a_value_that_cannot_be_made_is_tried_again() -> None:
    kept: SharedValue[int] = SharedValue()
    with pytest.raises(ZeroDivisionError), kept.using("one", lambda: 1 // 0):
        pass
    with kept.using("one", lambda: 2) as value:
        assert value == 2
    assert kept._timer
    kept._timer.cancel()
