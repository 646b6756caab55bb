"""Each image is read once, for all the rows that it lacks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.extraction.plan import ExtractionJob
from featurebank.extraction.reading import Reading

IMAGES = st.integers(0, 12)


def digests_of(numbers: list[int]) -> np.ndarray:
    return np.array([f"{n:032x}".encode() for n in numbers], "S32")


@given(st.lists(IMAGES), st.data())
def test_an_image_is_read_once_for_all_its_jobs(dataset: list[int], data: st.DataObject) -> None:
    """Whatever the dataset's order and duplicates are."""
    some = st.sets(st.sampled_from(dataset)) if dataset else st.just(set[int]())
    wanted = data.draw(st.lists(some, max_size=5))
    jobs = [ExtractionJob(0, ("pooled",), view, digests_of(sorted(n))) for view, n in enumerate(wanted)]
    reading = Reading.plan(digests_of(dataset), jobs)
    read = reading.indices.tolist()
    assert [dataset[index] for index in read] == sorted(set().union(*wanted)), "each content once"
    assert all(dataset.index(dataset[index]) == index for index in read), "the first of duplicates"
    assert [reading.place[index] for index in read] == list(range(len(read)))
    assert (reading.place < 0).sum() == len(dataset) - len(read)
    for index in read:
        assert [job.view for job in reading.jobs_of(index)] == [v for v, n in enumerate(wanted) if dataset[index] in n]
