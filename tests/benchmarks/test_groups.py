"""Where images come in groups, only a split by group says how good a head is on new groups."""

from __future__ import annotations

from pathlib import Path

from benchmarks.groups import MadeImages


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
