"""What do joined taps bring, and does it matter how their parts are weighted?

Four choices of features are compared with `pooled` of EfficientNet-Lite0: with middle layers of the same network, with
`pooled` of EfficientNet-Lite1, with columns of metadata (of photos, the sides and the size of their files), and all
together. Each is scaled in several ways: "plain" puts stored features side by side, "standardised" makes every feature
equally large, "by feature" gives each part the same weight after that. "joined" is what `featurebank heads` does (each
part has one scale and the same weight, whatever its width), and "1/sqrt(width) alone" is "by feature" without the
common factor that keeps features about as large as the defaults of heads expect.

Every image is predicted by heads that were trained on the other folds, and each way has the best of the same parameters
of each head, or only the default ones. Differences are of paired images, in points of accuracy, with 95 % intervals.

`--photos DIR` takes the folders `flowers` and `cifar10` in DIR, each with folders of classes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import featurebank as fb
from benchmarks.harness import conditions
from featurebank.bank import Bank
from featurebank.fitting.folds import assign_folds
from featurebank.heads.joined.encoding import ColumnEncoding
from featurebank.heads.joined.scaling import JoinedScaling
from featurebank.system.parallel import ordered_map

FOLDS = 5
MIDDLE = ("block5c_add:avg", "block6d_add:avg")
HEADS: Mapping[str, list[dict[str, Any]]] = {
    "ridge": [{"alpha": "loo", "standardize": False}, {"alpha": "loo"}],
    "logistic": [{"C": c} for c in (1.0, 0.001, 0.01, 0.1)],
    "svm": [{"C": c} for c in (1.0, 3.0, 10.0)],
}
"""The parameters of each head; the first are the defaults, but for ridge."""
WAYS = ("plain", "standardised", "by feature", "joined", "1/sqrt(width) alone")


@dataclass(frozen=True)
class Trial:
    """One head on some features, with the folds of each repeat."""

    kind: str
    parts: tuple[Part, ...]
    way: str
    y: np.ndarray
    folds: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Part:
    """Some features of all images."""

    name: str
    X: np.ndarray
    """(n, d) float32."""
    encoding: ColumnEncoding | None = None
    """Of columns of metadata."""


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    about = conditions() | {"engine": "auto"}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    results = {}
    with tempfile.TemporaryDirectory() as cache:
        for name, dataset in _datasets(photos, quick=quick):
            lite0, lite1 = _banks(dataset, Path(cache), quick=quick)
            parts = _parts(dataset, lite0, lite1)
            results[name] = _compare(name, lite0, parts, 1 if quick else rounds, quick=quick)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"conditions": about, "datasets": results}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {output}")


def _datasets(photos: Path | None, *, quick: bool) -> Iterator[tuple[str, Any]]:
    if photos is None:
        yield "digits", fb.load_dataset("digits", limit=200 if quick else None)
        return
    for name in ("flowers", "cifar10"):
        yield name, fb.load_dataset(f"folder:{photos / name}")


def _banks(dataset: Any, cache: Path, *, quick: bool) -> list[Bank]:
    size = {"image_size": 32} if quick else {}
    return [
        fb.extract(dataset, fb.load_backbone(name, **size), taps, cache=cache)
        for name, taps in (("efficientnet_lite0", ["pooled", *MIDDLE]), ("efficientnet_lite1", ["pooled"]))
    ]


def _parts(dataset: Any, lite0: Bank, lite1: Bank) -> dict[str, Part]:
    """Returns the parts by name, with the images in the order of the first bank."""
    order = {digest: place for place, digest in enumerate(lite1.digests().tolist())}
    other = lite1.rows("pooled", [order[digest] for digest in lite0.digests().tolist()])
    columns = _columns(dataset, lite0)
    encoding = ColumnEncoding.of(columns)
    return {
        "pooled": Part("pooled", lite0.features("pooled")),
        **{tap: Part(tap, lite0.features(tap)) for tap in MIDDLE},
        "lite1": Part("lite1", other),
        "columns": Part("columns", encoding.encode(columns), encoding),
    }


def _columns(dataset: Any, bank: Bank) -> dict[str, np.ndarray]:
    """Returns numbers that are no pixels: of files, their sides and sizes; of arrays, the mean of each image."""
    places = {name: place for place, name in enumerate(dataset.ids)}
    images = [places[name] for name in bank.ids()]
    if not dataset.spec.startswith("folder:"):
        return {"brightness": np.array([dataset.image(place).mean() for place in images])}
    root = Path(dataset.spec.removeprefix("folder:"))
    sides = np.array([dataset.image(place).shape[:2] for place in images])
    kilobytes = np.array([(root / name).stat().st_size / 1000 for name in bank.ids()])
    return {"height": sides[:, 0], "kilobytes": kilobytes, "width": sides[:, 1]}


CHOICES = {
    "pooled": ("pooled",),
    "pooled + middle": ("pooled", *MIDDLE),
    "pooled + lite1": ("pooled", "lite1"),
    "pooled + columns": ("pooled", "columns"),
    "all": ("pooled", *MIDDLE, "lite1", "columns"),
}


def _compare(name: str, bank: Bank, parts: Mapping[str, Part], repeats: int, *, quick: bool) -> dict[str, Any]:
    """Prints and returns the accuracies and differences of all choices on one dataset."""
    y, digests = bank.labels(), bank.digests()
    folds = [assign_folds(digests, y, FOLDS, repeat) for repeat in range(repeats)]
    print(f"\n{name}: {len(y)} images, {len(bank.classes)} classes, {FOLDS} folds, {repeats} times")
    print(
        f"{'features':<20}{'width':>6}  {'scale':<21}{'head':<10}{'accuracy':>9}  {'against pooled':<24}against plain"
    )
    results: dict[str, Any] = {}
    for kind, grid in HEADS.items():
        for setting, tried in (("default", grid[:1]), ("best", grid[:2] if quick else grid)):
            base: np.ndarray | None = None
            for choice, names in CHOICES.items():
                chosen, plain = tuple(parts[one] for one in names), None
                for way in WAYS[: None if kind == "logistic" else -1]:  # the others do not see a common factor
                    right = _best(Trial(kind, chosen, way, y, folds), tried)
                    base, plain = (right if base is None else base), (right if plain is None else plain)
                    row = {"accuracy": float(right.mean()), "over_pooled": _paired(right, base),
                           "over_plain": _paired(right, plain)}  # fmt: skip
                    results[f"{kind}, {setting}: {choice}, {way}"] = row
                    width = sum(part.X.shape[1] for part in chosen)
                    label = f"{kind} {setting}"
                    print(
                        f"{choice:<20}{width:>6}  {way:<21}{label:<17}{100 * row['accuracy']:>7.2f}  "
                        f"{_shown(row['over_pooled']):<24}{_shown(row['over_plain'])}", flush=True,
                    )  # fmt: skip
    return results


_answers: dict[tuple[Any, ...], np.ndarray] = {}
"""Which images are right, by kind, parameters, parts, way and repeat: the default is one of the parameters tried."""


def _best(trial: Trial, grid: list[dict[str, Any]]) -> np.ndarray:
    """Returns how often each image is right, (n,) from 0 to 1, with the parameters that are best on all folds."""
    found = []
    for params in grid:
        key = trial.kind, json.dumps(params), trial.parts, trial.way
        if key not in _answers:
            rights = [_right(trial, params, numbers) for numbers in trial.folds]
            _answers[key] = np.mean(rights, axis=0)
        found.append(_answers[key])
    return max(found, key=lambda right: float(right.mean()))


def _right(trial: Trial, params: dict[str, Any], numbers: np.ndarray) -> np.ndarray:
    """Returns which images are classified correctly by the head that was trained on the other folds, (n,) bool."""
    X, y = np.concatenate([part.X for part in trial.parts], axis=1), trial.y
    right = np.zeros(len(y), bool)

    def fold(number: int) -> tuple[np.ndarray, np.ndarray]:
        inside = numbers == number
        scaled = _scaled(X, trial.parts, ~inside, trial.way)
        head = fb.make_head(trial.kind, params).fit(scaled[~inside], y[~inside])
        return inside, head.predict(scaled[inside]) == y[inside]

    for inside, answers in ordered_map(fold, range(FOLDS), name="folds", count=2):
        right[inside] = answers
    return right


def _scaled(X: np.ndarray, parts: tuple[Part, ...], training: np.ndarray, way: str) -> np.ndarray:
    if way == "plain":
        return X
    if way != "joined":
        deviation = X[training].std(axis=0)
        X = (X - X[training].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
        if way == "standardised":
            return X
    taps = [(part.name, part.X.shape[1]) for part in parts if part.encoding is None]
    scaled = JoinedScaling.fit([X[training]], taps, parts[-1].encoding).apply(X)
    if way == "1/sqrt(width) alone":
        scaled /= np.sqrt(np.mean(scaled[training] ** 2) * X.shape[1] / len(parts))
    return scaled


def _paired(right: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean difference of paired images and its 95 % interval, in points."""
    difference = right.astype(np.float64) - other
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    mean = difference.mean()
    return 100 * float(mean), 100 * float(mean - half), 100 * float(mean + half)


def _shown(interval: tuple[float, float, float]) -> str:
    mean, low, high = interval
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
