"""Relabelling a bank: the manifest alone changes."""

from __future__ import annotations

from collections.abc import Callable

from featurebank.bank import Bank
from featurebank.bank.maintenance.relabelling import relabel
from featurebank.bank.pages.corrections import read_corrections


def test_features_splits_and_ids_stay(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    content, label = bytes(bank.digests()[4]), int(bank.labels()[4])
    other = (label + 1) % 3
    changed = relabel(bank.path, {content: (label, other)})
    assert changed.labels().tolist() == [other if row == 4 else old for row, old in enumerate(bank.labels().tolist())]
    assert changed.ids() == bank.ids()
    assert (changed.splits() == bank.splits()).all()
    assert (changed.features() == bank.features()).all()
    assert changed.manifest.shards == bank.manifest.shards
    (correction,) = read_corrections(changed.manifest.dataset)
    assert (correction.was, correction.label) == (bank.classes[label], bank.classes[other])
    assert changed.manifest.history[-1]["relabelled"] == 1


def test_a_second_correction_keeps_what_the_dataset_says(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    content, label = bytes(bank.digests()[0]), int(bank.labels()[0])
    first = relabel(bank.path, {content: (label, (label + 1) % 3)})
    second = relabel(bank.path, {content: ((label + 1) % 3, (label + 2) % 3)})
    (correction,) = read_corrections(second.manifest.dataset)
    assert (correction.was, correction.label) == (bank.classes[label], bank.classes[(label + 2) % 3])
    back = relabel(bank.path, {content: ((label + 2) % 3, label)})
    assert read_corrections(back.manifest.dataset) == ()
    assert back.digest == bank.digest != first.digest, "runs of the first labels count again"
