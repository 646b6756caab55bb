"""How much does a split by image promise if images come in groups, and does a split by group say the truth?

A made dataset: 200 groups ("patients") of 20 images, each of one of four classes. The features of an image are a weak
signal of its class, a strong signature of its group, and noise. A head of nearest neighbours is trained on the same
images twice: with the split by image and with the split by group. The truth is its accuracy on 2000 new groups.

Also: how often the 95 % interval of the test accuracy covers the truth.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import featurebank as fb
from benchmarks.harness import conditions
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.dataset.grouping.components import component_keys, components
from featurebank.dataset.splits import DEFAULT_FRACTIONS, assign
from featurebank.system import digest

GROUPS, EACH, NEW_GROUPS, WIDTH, CLASSES = 200, 20, 2000, 24, 4
SIGNAL, SIGNATURE, NOISE = 0.45, 1.0, 0.86
HEAD = [{"kind": "knn", "n_neighbors": 5}]


class MadeImages:
    """Features of groups of images.

    Args:
        seed: decides everything.
        groups: the number of groups.
        each: the number of images of a group.
    """

    def __init__(self, seed: int, groups: int = GROUPS, each: int = EACH) -> None:
        self._random = np.random.default_rng(seed)
        self._means = np.linalg.qr(self._random.normal(0, 1, (WIDTH, CLASSES)))[0].T * WIDTH**0.5
        self.X, self.y, self.groups = self.draw(groups, each)

    def draw(self, groups: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns features, labels and group numbers of new groups."""
        own = np.repeat(np.arange(groups), each)
        labels = self._random.integers(0, CLASSES, groups)[own]
        signature = self._random.normal(0, SIGNATURE, (groups, WIDTH))[own]
        X = SIGNAL * self._means[labels] + signature + self._random.normal(0, NOISE, (len(own), WIDTH))
        return X.astype(np.float32), labels.astype(np.int32), own

    def bank(self, path: Path, *, by_group: bool, seed: int = 0) -> Bank:
        """Writes a bank of the images, split by image or by group."""
        ids = [f"{number}.png" for number in range(len(self.y))]
        digests = np.array([digest.of_recipe([name, self.X[0].tolist()]) for name in ids], "S32")
        names = np.array([f"patient {number}" for number in self.groups])
        keys = component_keys(names, components(names, digests)) if by_group else digests
        splits = assign(keys, None, DEFAULT_FRACTIONS, seed)
        record = {
            "name": "made",
            "spec": "made",
            "classes": list("abcd"),
            **({"groups": "patient"} if by_group else {}),
        }
        items = Items(ids, digests, self.y, splits, {"group": names} if by_group else {}).sorted()
        with BankWriter(path, {"backbone": "made", "precision": "float32"}, record) as writer:
            writer.append(ids, row_keys(digests), {"pooled": self.X}, {"pooled": "float32"})
            writer.finish(items, ("pooled",), (), None)
        return Bank(path)

    def measure(self, bank: Bank, *, groups: int = NEW_GROUPS) -> dict[str, float]:
        """Trains a head on a bank, and returns its test accuracy, the ends of its interval, and the truth."""
        run = fb.evaluate_test(bank, fb.select(fb.train_heads(bank, HEAD)))
        test = run.metrics["test"]
        X, y, _ = self.draw(groups, EACH)
        truth = float(np.mean(run.load().predict(X) == y))
        low, high = test["accuracy_interval"]
        return {"test": test["accuracy"], "low": low, "high": high, "truth": truth}


def run(rounds: int, *, quick: bool, output: Path) -> None:
    """Prints the figures and writes them as JSON."""
    about = conditions()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    count = 3 if quick else max(20, rounds)
    results = {}
    for by_group in (False, True):
        with tempfile.TemporaryDirectory() as place:
            each = []
            for seed in range(count):
                made = MadeImages(seed)
                each.append(made.measure(made.bank(Path(place) / str(seed), by_group=by_group, seed=seed)))
        results["by group" if by_group else "by image"] = _summary(each)
    for name, figures in results.items():
        print(
            "split {}: test accuracy {test:.3f}, truth {truth:.3f}; the truth is in the 95 % interval in {covered:.0%} "
            "of {draws} draws".format(name, **figures)
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"conditions": about, "splits": results}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {output}")


def _summary(each: list[dict[str, float]]) -> Mapping[str, float]:
    means = {name: float(np.mean([one[name] for one in each])) for name in ("test", "truth")}
    covered = float(np.mean([one["low"] <= one["truth"] <= one["high"] for one in each]))
    return {**means, "covered": covered, "draws": len(each)}
