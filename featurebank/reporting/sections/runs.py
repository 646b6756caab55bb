"""Gathers what was run, and the run that is chosen."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.metrics import ACCURACY
from featurebank.metrics.group_effects import groups_in_words
from featurebank.reporting.content import Conclusion, Fact, WhatRan, Winner
from featurebank.reporting.evidence import Evidence, heads_of
from featurebank.reporting.sections.board import alike_heads, images_of, in_numbers, name_of, near_heads
from featurebank.reporting.sections.savings import extraction_seconds, training_seconds
from featurebank.reporting.sections.wording import gap, nothing_to_choose, share_of, what_ran, winner
from featurebank.runs.comparison import Entry
from featurebank.runs.ranking import in_words
from featurebank.runs.run import RunRecord
from featurebank.system.html import SPLIT_WORDS
from featurebank.words import between, counted, duration, one_line, percent

SAMPLES, SAMPLED_CLASSES, IN_CLASS = 60, 60, 6
"""The maximum number of sample pictures, of classes that have some, and of pictures of one class."""
ALIKE = 6
PACKAGES = ("featurebank", "numpy", "scikit-learn", "tensorflow", "keras", "openvino")


def gather_what_ran(evidence: Evidence) -> WhatRan:
    """Returns the dataset, the network, the splits, the bank, the versions and the seconds."""
    bank = evidence.bank
    counts = {split: [by_class[name] for name in bank.classes] for split, by_class in bank.counts().items()}
    trained = [run for run in evidence.runs if not run.failure]
    sentence = what_ran(
        str(bank.recipe["backbone"]), images=len(bank), classes=len(bank.classes), seconds=extraction_seconds(bank),
        heads=heads_of(evidence.runs), training=training_seconds(trained),
    )  # fmt: skip
    return WhatRan(Conclusion("What was run", sentence), _facts(evidence), bank.classes, counts, _samples(evidence))


def _facts(evidence: Evidence) -> list[Fact]:
    bank, recipe = evidence.bank, evidence.bank.recipe
    dataset = bank.manifest.dataset
    skipped = "\n".join(f"{entry['id']}: {entry['reason']}" for entry in bank.skipped[:50])
    facts = [
        Fact("dataset", str(dataset["name"]), str(dataset.get("spec", ""))),
        Fact("splits", _splits(bank), _split_rule(dataset)),
        *([Fact("left out", counted(len(bank.skipped), "unusable image"), skipped)] if bank.skipped else []),
        Fact("network", _network(recipe), f"weights {recipe.get('weights', '')}"),
        Fact("weights", one_line(bank.manifest.source.get("weights") or "not recorded")),
        Fact("taps", ", ".join(f"{tap} ({_shape(bank, tap)})" for tap in bank.taps)),
        Fact("bank", bank.name, f"{bank.path.resolve()}\nrecipe {bank.manifest.key}\nstate {bank.digest}"),
        Fact("heads were validated on", in_words(evidence.folds)),
    ]
    return [*facts, *_versions(bank)]


def _splits(bank: Bank) -> str:
    return ", ".join(f"{len(bank.labels(split))} {name}" for split, name in SPLIT_WORDS.items())


def _split_rule(dataset: Mapping[str, Any]) -> str:
    fractions = dataset.get("fractions")
    return f"fractions {fractions}, seed {dataset.get('seed')}" if fractions else ""


def _network(recipe: Mapping[str, Any]) -> str:
    pixels = f", {recipe['image_size']} pixels" if "image_size" in recipe else ""
    return f"{recipe['backbone']}{pixels}, {recipe.get('precision', 'float32')}"


def _shape(bank: Bank, tap: str) -> str:
    return f"{' x '.join(map(str, bank.tap_shape(tap)))}, {bank.tap_dtype(tap)}"


def _versions(bank: Bank) -> list[Fact]:
    """Returns the versions that computed the features, and those of today."""
    event = bank.manifest.last_extraction or {}
    recorded = event.get("versions") or {}
    engine = f"engine {event['engine']}, " if event.get("engine") else ""
    facts = []
    if recorded:
        facts.append(
            Fact("features computed by", f"{engine}featurebank {recorded.get('featurebank', '?')}", _listed(recorded))
        )
    today = {name: number for name in PACKAGES if (number := _version(name))}
    return [
        *facts,
        Fact(
            "report written by",
            f"featurebank {today.get('featurebank', '?')}",
            _listed({**today, "python": platform.python_version()}),
        ),
    ]


def _listed(versions: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} {one_line(number)}" for name, number in versions.items())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _samples(evidence: Evidence) -> dict[str, list[int]]:
    """Returns the pictures of some training images of each class; of other splits where a class has no others."""
    bank = evidence.bank
    labels, in_training = bank.labels(), bank.splits() == "train"
    shown = min(len(bank.classes), SAMPLED_CLASSES)
    each = max(1, min(IN_CLASS, SAMPLES // max(1, shown)))
    samples = {}
    for label, name in enumerate(bank.classes[:shown]):
        members = np.flatnonzero((labels == label) & (bank.splits() != "test"))
        members = members[np.argsort(~in_training[members], kind="stable")]  # in the order of digests, which is random
        samples[name] = evidence.gallery.add_all(members[:each].tolist())
    return samples


def gather_winner(evidence: Evidence) -> Winner:
    """Returns the chosen run, with its results and the heads that cannot be told apart from it."""
    run, best = evidence.winner, evidence.best
    if run is None or best is None:
        reason = one_line(evidence.failed[0].failure or "") if evidence.failed else ""
        return Winner(Conclusion("The winner", nothing_to_choose(len(evidence.failed), reason)), [], "", [])
    alike, near = alike_heads(evidence.entries), near_heads(evidence.entries)
    sentence = winner(
        name_of(best), best.mean, best.interval, images_of(best), classes=len(evidence.bank.classes),
        heads=len(evidence.entries), alike=len(alike), near=len(near), verdict=best.verdict, train=best.train,
        at_chance=is_at_chance(evidence),
    )  # fmt: skip
    facts = [*_results(evidence, run, best), *_test_facts(evidence, run)]
    titles = [name_of(entry) for entry in (near or alike)[:ALIKE]]
    return Winner(Conclusion("The winner", sentence), facts, run.run, titles, len(alike) - len(titles))


def is_at_chance(evidence: Evidence) -> bool:
    """Returns whether the best head may be no better than guessing."""
    best = evidence.best
    return best is not None and (best.verdict == "at chance" or best.interval[0] <= 1 / len(evidence.bank.classes))


def _results(evidence: Evidence, run: RunRecord, best: Entry) -> list[Fact]:
    facts = [
        *_ranking_facts(best),
        Fact("validation accuracy", percent(best.mean), _how_sure(evidence, best)),
        Fact("run", f"{run.run}, seed {run.seed}", f"state of the bank {run.bank}"),
        Fact("head", str(run.spec)),
        Fact("tap", run.tap),
        Fact("training accuracy", percent(best.train)),
        Fact("training minus validation", gap(best.train, best.mean, best.verdict)),
        Fact("trained in", duration(run.seconds)),
    ]
    facts += [Fact("parameters", f"{run.parameters:,}")] if run.parameters is not None else []
    return facts + [Fact("note", one_line(note)) for note in run.notes[:5]]


def _ranking_facts(best: Entry) -> list[Fact]:
    """Returns the metric that ranks the heads, if it is another than the accuracy."""
    if best.metric == ACCURACY or math.isnan(best.value):
        return []
    interval = best.value_interval
    sure = "" if interval is None else f"95 % interval {in_numbers(interval)}"
    return [Fact(f"validation {best.metric.name}", f"{best.value:.4f}", sure)]


def _how_sure(evidence: Evidence, best: Entry) -> str:
    """Returns what a validation accuracy rests on."""
    images = images_of(best)
    parts = [
        f"95 % interval {between(best.interval)}",
        *([f"{counted(images, 'image')}"] if images else []),
        *([f"by groups of images, not by single images: {groups_in_words(best.groups)}"] if best.groups else []),
        *([] if evidence.folds == 1 else [f"on {in_words(evidence.folds)}"]),
        *(
            [f"standard deviation {percent(best.std)} over {counted(len(best.runs), 'run')}"]
            if best.std is not None
            else []
        ),
    ]
    return ", ".join(parts)


def _test_facts(evidence: Evidence, run: RunRecord) -> list[Fact]:
    """Returns the test result if it was opened; a report never opens the test images."""
    test = run.metrics.get("test")
    if test is None:
        if not len(evidence.bank.labels("test")):
            return [Fact("test accuracy", "the bank has no test images")]
        return [
            Fact("test accuracy", "not opened: 'featurebank leaderboard --test' opens the test images for this run")
        ]
    interval = test.get("accuracy_interval")
    shown = share_of(test["accuracy"], test.get("images"))
    if "groups" in test:
        shown += f" of {groups_in_words(test['groups'])}"
    times = int(test.get("opened_before", 0) or 0)
    often = (
        f"; the test images had been opened {counted(times, 'time')} before, which makes it look better"
        if times
        else ""
    )
    return [Fact("test accuracy", f"{shown}{f', 95 % interval {between(interval)}' if interval else ''}{often}")]
