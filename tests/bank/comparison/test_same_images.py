"""Banks that may be compared, and each way in which they may differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.bank.comparison.same_images import check_same_images
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.errors import ConfigError

COUNT = 9
Save = Callable[..., Bank]


@pytest.fixture
def save(tmp_path: Path, rows: Any) -> Save:
    """Writes a bank with the given changes of its images."""

    def saved(name: str, change: Callable[[Items], Items] = lambda items: items, **dataset: Any) -> Bank:
        items = change(rows.items(range(COUNT)))
        with BankWriter(tmp_path / name, {**rows.recipe, "backbone": name}, {**rows.dataset, **dataset}) as to:
            numbers = [int(word, 16) for word in items.digests.tolist()]
            rows.append(to, sorted(set(numbers)), "pooled")
            to.finish(items, ("pooled",), [], None)
        return Bank(tmp_path / name)

    return saved


def differences(*banks: Bank) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        check_same_images(banks)
    *lines, remedy = str(raised.value).splitlines()
    assert remedy.startswith("the runs of these banks cannot be compared: extract them again")
    return lines


def test_corrected_labels_can_be_corrected_in_the_other_bank_as_well(save: Save) -> None:
    def relabelled(items: Items) -> Items:
        return replace(items, labels=np.where(np.arange(COUNT) == 0, 1 - items.labels[0], items.labels))

    *_, advice = differences(save("a"), save("b", relabelled, corrections=[]))
    assert "advise" not in advice
    *_, advice = differences(
        save("c"), save("d", relabelled, corrections=[{"digest": "0" * 32, "was": "a", "label": "b"}])
    )
    assert "'featurebank advise --apply FILE.csv --bank BANK' corrects those of another" in advice


def test_networks_and_names_of_files_may_differ(save: Save) -> None:
    renamed = save("renamed", lambda items: replace(items, ids=[f"other/{name}" for name in items.ids]))
    check_same_images([save("a"), save("b"), renamed])
    check_same_images([])
    check_same_images([renamed])


def test_missing_and_additional_images(save: Save) -> None:
    few = save("few", lambda items: items.select(np.arange(3, COUNT)))
    assert differences(save("a"), save("b"), few) == ["'few' lacks 3 images ('a/0.png', 'b/1.png', 'a/2.png') of 'a'"]
    reverse = differences(save("c", lambda items: items.select(np.arange(3, COUNT))), save("d"), few)
    assert reverse == ["'d' has 3 images ('a/0.png', 'b/1.png', 'a/2.png') that 'c' lacks"], "most banks are right"


def test_labels_splits_and_classes(save: Save) -> None:
    first = save("a")
    other = save("labels", lambda items: replace(items, labels=np.where(np.arange(COUNT) < 5, 1, items.labels)))
    assert differences(first, save("b"), other) == [
        "'labels' has another label than 'a' for 3 images ('a/0.png', 'a/2.png', 'a/4.png')"
    ]
    moved = save("moved", lambda items: replace(items, splits=(items.splits + 1) % 3))
    assert differences(first, save("c"), moved) == [
        f"'moved' has {COUNT} images (the first: 'a/0.png', 'b/1.png', 'a/2.png') in another split than 'a'"
    ]
    named = save("named", classes=["a", "c"])
    assert differences(first, save("d"), named) == ["'named' has the classes a, c, but 'a' a, b"]


def test_repeated_images_count(save: Save) -> None:
    twice = save("twice", lambda items: items.select(np.array([0, *range(COUNT)])))
    assert differences(save("a"), save("b"), twice) == [
        f"'twice' lists {COUNT + 1} images and 'a' {COUNT}: some images occur several times, and not as often in both"
    ]


def test_groups_and_weights(save: Save) -> None:
    def with_columns(**columns: Any) -> Callable[[Items], Items]:
        return lambda items: replace(items, metadata={name: np.array(value) for name, value in columns.items()})

    names = [f"g{number // 3}" for number in range(COUNT)]
    grouped = with_columns(group=names)
    first = save("a", grouped, groups="patient")
    check_same_images([first, save("renamed", with_columns(group=[f"x{name}" for name in names]), groups="patient")])
    other = save("other", with_columns(group=[*names[:-1], "g0"]), groups="patient")
    (line,) = differences(first, save("b", grouped, groups="patient"), other)
    assert line.startswith("'other' has other groups than 'a' for ")
    assert differences(first, save("c", grouped, groups="patient"), save("none")) == [
        "'a' has groups of images, but 'none' has none"
    ]
    light = save("light", with_columns(weight=np.ones(COUNT)), weight="w")
    heavy = save("heavy", with_columns(weight=np.r_[2.0, np.ones(COUNT - 1)]), weight="w")
    assert differences(light, heavy) == ["'heavy' has other weights than 'light' for 1 image ('a/0.png')"]
