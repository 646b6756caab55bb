"""Digests of many images are in their order, whatever the number of threads; slow sources are read by many."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from featurebank.dataset.fingerprint import digest_all
from featurebank.system import digest


class Source:
    """Images whose digests take some time; the images 5 and 40 are missing."""

    def __init__(self, seconds: float, *, in_threads: bool = True) -> None:
        self.seconds, self.in_threads = seconds, in_threads
        self.used: set[str] = set()

    def digest(self, index: int) -> str:
        self.used.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if index in {5, 40}:
            raise FileNotFoundError
        return digest.of_bytes(b"%d" % index)


@pytest.mark.parametrize(("seconds", "in_threads"), [(0.0, True), (0.0, False), (0.02, True)])
@pytest.mark.parametrize("count", [0, 5, 60])
def test_digests_are_in_order_and_failures_have_reasons(seconds: float, in_threads: bool, count: int) -> None:
    shown: list[int] = []
    digests, failures = digest_all(Source(seconds, in_threads=in_threads), count, shown.append)
    missing = [index for index in (5, 40) if index < count]
    assert failures == [(index, "file not found") for index in missing]
    expected = [b"" if index in missing else digest.of_bytes(b"%d" % index).encode() for index in range(count)]
    np.testing.assert_array_equal(digests, np.array(expected, "S32"))
    assert sum(shown) == count


def test_a_slow_source_is_read_by_many_threads_and_shows_its_progress() -> None:
    source, shown = Source(0.02), list[int]()
    digest_all(source, 200, shown.append)
    assert len(source.used) > 8
    assert max(shown) <= 8
