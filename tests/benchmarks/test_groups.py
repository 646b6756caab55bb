"""Where images come in groups, only a split by group says how good a head is on new groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.groups import MadeImages


def test_images_left_out_say_95_and_groups_left_out_say_the_truth() -> None:
    """The law of the benchmark, without banks: its split leaves out images, or whole groups."""
    made, random = MadeImages(0, 100), np.random.default_rng(0)
    new, labels, _ = made.draw(100, 10)
    promised = {}
    for name, left_out in (("image", random.random(len(made.y)) < 0.15), ("group", made.groups >= 70)):
        head = KNeighborsClassifier(5).fit(made.X[~left_out], made.y[~left_out])
        promised[name] = head.score(made.X[left_out], made.y[left_out]), head.score(new, labels)
    assert promised["image"][0] > 0.9
    assert promised["image"][1] < 0.65
    assert abs(promised["group"][0] - promised["group"][1]) < 0.15


@pytest.mark.slow
def test_a_split_by_image_says_95_and_a_split_by_group_says_the_truth(tmp_path: Path) -> None:
    found = {}
    for by_group in (False, True):
        made = MadeImages(0)
        found[by_group] = made.measure(made.bank(tmp_path / str(by_group), by_group=by_group), groups=100)
    by_image, by_group = found[False], found[True]
    assert by_image["test"] > 0.93
    assert by_image["truth"] < 0.65
    assert by_image["truth"] < by_image["low"], "not even its interval says so"
    assert abs(by_group["test"] - by_group["truth"]) < 0.08
    assert by_group["low"] <= by_group["truth"] <= by_group["high"]
