"""Pixels in flight stay below the limit, every image gets its turn, and nobody waits for itself."""

from __future__ import annotations

import threading

import pytest

from featurebank import set_ram
from featurebank.dataset.decoding.budget import PixelBudget, pixel_budget

M = 1_000_000


def in_threads(count: int, work) -> None:
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "one waits for ever"


@pytest.mark.parametrize("block", [False, True])
def test_many_threads_stay_below_the_limit(block: bool) -> None:
    budget, lock = PixelBudget(10 * M), threading.Lock()
    now, most, done = 0, 0, 0

    def note(pixels: int) -> None:
        nonlocal now, most
        with lock:
            now += pixels
            most = max(most, now)

    def work(number: int) -> None:
        nonlocal done
        for round_ in range(20):
            pixels = (1 + (number + round_) % 6) * M
            if block:
                with budget.block():
                    with budget.decoding(pixels):
                        note(pixels)
                    note(-pixels)
            else:
                with budget.decoding(pixels):
                    note(pixels)
                    note(-pixels)
            with lock:
                done += 1

    in_threads(8, work)
    assert most <= 10 * M
    assert done == 160


def test_an_image_above_the_limit_is_decoded_alone() -> None:
    budget, alone = PixelBudget(2 * M), []

    def work(number: int) -> None:
        with budget.decoding(5 * M):
            alone.append(number)
            assert len(alone) == 1
            alone.remove(number)

    in_threads(4, work)


def test_a_thread_that_holds_pixels_does_not_wait() -> None:
    budget = PixelBudget(4 * M)

    def work(_: int) -> None:
        with budget.block(), budget.decoding(3 * M):
            pass
        with budget.block():
            with budget.decoding(3 * M):
                pass
            with budget.decoding(3 * M):  # another image, while the first is still there
                pass

    in_threads(4, work)


def test_what_fails_is_given_back() -> None:
    budget = PixelBudget(2 * M)

    def work(_: int) -> None:
        with budget.block():
            for _ in range(3):
                with pytest.raises(ValueError, match="x"), budget.decoding(2 * M):
                    raise ValueError("x")
        with pytest.raises(ValueError, match="y"), budget.block(), budget.decoding(2 * M):
            raise ValueError("y")

    in_threads(3, work)
    in_threads(1, lambda _: budget.decoding(2 * M).__enter__())


def test_small_images_never_wait() -> None:
    budget = PixelBudget(1)
    with budget.decoding(5 * M):
        in_threads(2, lambda _: budget.decoding(999_999).__enter__())


def test_the_limit_follows_the_memory_and_lets_every_image_in() -> None:
    try:
        set_ram("1GB")
        assert pixel_budget(10 * M).limit == 10**9 // 64
        assert pixel_budget(10 * M) is pixel_budget(10 * M)
        assert pixel_budget(120 * M).limit == 120 * M
    finally:
        set_ram(None)
