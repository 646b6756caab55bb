"""Relabels images of a bank: the features stay, the manifest lists the corrections, and the history records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from featurebank.bank.manifest import load_items, load_manifest
from featurebank.bank.pages.corrections import CORRECTIONS, Correction, correction_record, read_corrections
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter, event
from featurebank.errors import ConfigError
from featurebank.system.progress import SILENT, Reporter


def relabel(path: Path, labels: Mapping[bytes, tuple[int, int]], *, reporter: Reporter = SILENT) -> Bank:
    """Gives images of a bank other labels.

    Files of the dataset are not touched. Runs that were trained with the old labels are stale from now on, because the
    digest of the bank changes; with the old labels again, they count again.

    Args:
        path: the bank's directory.
        labels: for the content digest of images, the position of their class so far, and that of their new class.
        reporter: receives which process is waited for.

    Returns:
        The bank with the new labels.

    Raises:
        ConfigError: another process changed the labels meanwhile.
        BankError: the bank cannot be read or written.
        DiskFullError: no space is left on the disk.
    """
    before = load_manifest(path)
    classes = list(before.dataset["classes"])
    record = correction_record(_joined(read_corrections(before.dataset), labels, classes))
    dataset = {**before.dataset, CORRECTIONS: record}
    with BankWriter(path, before.recipe, dataset, source=before.source, wait=True, say=reporter.say) as writer:
        if writer.manifest.items != before.items or writer.manifest.dataset != before.dataset:
            message = f"another process changed the labels of '{path.name}' meanwhile: run the same command again"
            raise ConfigError(message)
        items = load_items(path, writer.manifest)
        changed = np.array(items.labels)
        digests = np.asarray(items.digests)
        for content, (old, new) in labels.items():
            changed[(digests == content) & (items.labels == old)] = new
        count = int((changed != items.labels).sum())
        everything = items.select(np.arange(len(items)))
        writer.finish(
            replace(everything, labels=changed), before.taps, before.skipped, event(relabelled=count),
            views=before.views,
        )  # fmt: skip
    return Bank(path)


def _joined(
    known: tuple[Correction, ...], labels: Mapping[bytes, tuple[int, int]], classes: list[str]
) -> list[Correction]:
    """Returns all corrections: a label that is corrected again keeps the label that the dataset has."""
    first = {(one.digest, one.label): one for one in known}
    for content, (old, new) in labels.items():
        name = content.decode()
        earlier = first.pop((name, classes[old]), None)
        was = classes[old] if earlier is None else earlier.was
        if was != classes[new]:
            first[name, classes[new]] = Correction(name, was, classes[new])
    return list(first.values())
