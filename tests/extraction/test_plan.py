"""Nothing twice, nothing left out: decided from keys alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.extraction.plan import ExtractionJob, missing_taps, schedule

DIGESTS = st.sets(st.integers(0, 12)).map(
    lambda numbers: np.array([f"{n:032x}".encode() for n in sorted(numbers)], "S32")
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), DIGESTS, min_size=1), DIGESTS)
def test_missing_taps(stored: dict[str, np.ndarray], wanted: np.ndarray) -> None:
    groups = missing_taps(stored, wanted)
    lacking = {(tap, key) for tap, keys in stored.items() for key in set(wanted.tolist()) - set(keys.tolist())}
    found = [(tap, key) for taps, keys in groups.items() for tap in taps for key in keys.tolist()]
    assert len(found) == len(set(found)), "nothing twice"
    assert set(found) == lacking, "all that is missing, and nothing else"
    rows = [key for keys in groups.values() for key in keys.tolist()]
    assert len(rows) == len(set(rows)), "each image is in one group"
    assert all(sorted(keys.tolist()) == keys.tolist() for keys in groups.values())


@given(st.lists(DIGESTS, max_size=5))
def test_schedule(wanted: list[np.ndarray]) -> None:
    jobs = [ExtractionJob(0, ("pooled",), view, digests) for view, digests in enumerate(wanted)]
    distinct, numbers, bounds = schedule(jobs)
    assert distinct.tolist() == sorted(set(distinct.tolist())), "each image is decoded once"
    found = [
        (digest, number)
        for digest, start, stop in zip(distinct.tolist(), bounds[:-1], bounds[1:], strict=True)
        for number in numbers[start:stop].tolist()
    ]
    assert sorted(found) == sorted((d, n) for n, digests in enumerate(wanted) for d in digests.tolist())
