"""Does a race of backbones find the winner of a full search, how much does it save, and is its interval honest?

Four questions, on the photos of `--photos DIR` (by default, on the bundled digits in small):

- The race against the full search, each in an empty cache: three pretrained networks and the same three with random
  weights. The full search extracts everything in one decoding pass and trains the grid on each bank. The grid is the
  one that `race` and `heads` take if no other is named. Both find the networks converted, as a second use does, and
  each runs in a process of its own, which pays for the first use of every library. Not counted in either is what a
  process does before: the import of TensorFlow, and the digests of the images. Seconds of the processor stand beside
  those of the clock, because other work on the machine disturbs them less.
- The winners on `SPLITS` other splits of the same photos: the race and the full search choose with the grid `quick`,
  and the chosen heads are compared on test images, which neither of them saw. One split says little: on the 125 test
  images of 500 photos, a difference between two heads has a standard error of more than two points.
- The rules of the race on resampled tasks: some classes and images of the photos, with the features of the full search,
  reduced to their principal components. The regret is how much more accurate the network that a full search of the task
  chooses is than the winner, both on images outside the task. Beside it stands the distance from the best by
  leave-one-out on all images: it counts the noise of this measure as a loss, so the full search and a coin among the
  three best networks have it, too.
- The interval of the winner: choices among many heads (leave-one-out answers of ridge with several penalties) by a few
  images, and how often the interval holds the accuracy on all of them. Heads are as they are, made equally accurate,
  neighbours in their ranking, or one good one among bad ones.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.harness import conditions
from featurebank.backbone import BackboneOptions
from featurebank.bank import Bank
from featurebank.dataset import Dataset, DatasetOptions, load_images
from featurebank.engine.converted import DIRECTORY
from featurebank.extraction import ExtractOptions, run_extractions
from featurebank.grid import GridOptions, read_grid
from featurebank.grid.several import train_on_banks
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.left_out import loo_predictions
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps
from featurebank.racing import RaceOptions, run_race
from featurebank.racing.candidates import load_candidates
from featurebank.racing.evidence import PENALTIES, PartEvidence, evidence_of
from featurebank.racing.halving import first_part, next_part, staying
from featurebank.racing.options import SHARE
from featurebank.racing.parts import Parts
from featurebank.racing.winner import share_winner
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run, open_test
from featurebank.runs.several import bank_of
from featurebank.statistics import proportion_interval
from featurebank.system.progress import Reporter
from featurebank.system.runtime import import_tensorflow, limited_blas

PRETRAINED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
NAMES = (*PRETRAINED, *(f"{name}@random:0" for name in PRETRAINED))
SPLITS, SPLIT = 40, (0.6, 0.15, 0.25)
COMPONENTS = 192
TASKS, CHOICES = 200, 1000
TASK = 0.6
"""The share of the photos of its classes that a task has."""
KINDS = ("as they are", "equal", "neighbours", "one clear")


class Lines(Reporter):
    """Shows the lines of a stage, and no bars."""

    def say(self, line: str) -> None:
        """Prints a line."""
        print(f"  {line}", flush=True)


class _Watch:
    """Measures the clock and the processor."""

    def __init__(self) -> None:
        self._began, self._busy, self._seconds = time.perf_counter(), time.process_time(), 0.0

    @property
    def passed(self) -> float:
        """The seconds since the beginning."""
        return time.perf_counter() - self._began

    def stop(self) -> None:
        """Ends the measurement."""
        self._seconds, self._busy = self.passed, time.process_time() - self._busy

    def summary(self) -> dict[str, float]:
        """Returns the seconds between beginning and end."""
        return {"seconds": self._seconds, "seconds of the processor": self._busy}


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    about, console = conditions() | {"engine": "auto"}, Console(width=130, highlight=False)
    with tempfile.TemporaryDirectory() as directory:
        spec, limit = str(photos or "digits"), 300 if quick else None
        names = [f"{name}@64px" for name in NAMES] if photos is None else NAMES
        against, banks = race_against_all(spec, limit, names, Path(directory))
        console.print(", ".join(f"{name} {value}" for name, value in about.items()), soft_wrap=True)
        console.print_json(json.dumps(against))
        splits = races_on_splits(_digested(spec, limit), names, Path(directory) / "splits", 2 if quick else SPLITS)
        console.print_json(json.dumps(splits))
        features, labels = _components(banks)
        tasks = simulated_races(features, labels, 20 if quick else TASKS)
        console.print_json(json.dumps(tasks))
        choices = simulated_choices(features, labels, 100 if quick else CHOICES)
        console.print_json(json.dumps(choices))
    output.parent.mkdir(parents=True, exist_ok=True)
    value = {"conditions": about, "race": against, "splits": splits, "tasks": tasks, "choices": choices}
    output.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {output}")


def race_against_all(
    spec: str, limit: int | None, names: Sequence[str], place: Path
) -> tuple[dict[str, Any], list[Bank]]:
    """Runs the race and the full search; returns their figures, and the banks of the full search.

    Args:
        spec: the dataset.
        limit: the largest number of its images.
        names: the networks.
        place: directory for the caches.
    """
    _convert(_digested(spec, limit), names, place)
    race, full = (
        _alone(_whole_race, spec, limit, names, place / "race"),
        _alone(_full_search, spec, limit, names, place / "all"),
    )
    watches = {"race": race.pop("watch"), "full search": full.pop("watch")}
    figures: dict[str, Any] = {"images": race.pop("images")}
    for name in ("seconds", "seconds of the processor"):
        values = {run: watch[name] for run, watch in watches.items()}
        figures[name] = {**values, "ratio": values["race"] / values["full search"]}
    figures["seconds"]["of which extraction"] = full.pop("extraction")
    banks, rest = [Bank(path) for path in full.pop("banks")], {name: race.pop(name) for name in ("interval", "rounds")}
    return figures | {name: {"race": race[name], "full search": full[name]} for name in race} | rest, banks


def _alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Returns what a function of this module returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _whole_race(spec: str, limit: int | None, names: Sequence[str], cache: Path) -> dict[str, Any]:
    dataset = _digested(spec, limit)
    watch = _Watch()
    found = run_race(dataset, names, RaceOptions(), cache=cache, reporter=Lines())
    watch.stop()
    assert found.chosen is not None
    assert found.bank is not None
    return {
        "watch": watch.summary(), "winner": found.winner, **_accuracies(found.bank, found.chosen),
        "images": found.images / found.full_images,
        "interval": None if found.interval is None else found.interval.summary(),
        "rounds": [[one.summary() for one in scores] for scores in found.rounds],
    }  # fmt: skip


def _full_search(spec: str, limit: int | None, names: Sequence[str], cache: Path) -> dict[str, Any]:
    dataset = _digested(spec, limit)
    watch = _Watch()
    networks = [one.backbone for one in load_candidates(names, BackboneOptions())[0]]
    banks = [one.bank for one in run_extractions(dataset, networks, ExtractOptions(), cache=cache, reporter=Lines())]
    extraction = watch.passed
    runs = train_on_banks(banks, read_grid(RaceOptions().grid), GridOptions(), Lines())
    watch.stop()
    best = choose_run(runs)
    place = [bank.name for bank in banks].index(best.bank_name)
    return {
        "watch": watch.summary(), "extraction": extraction, "banks": [bank.path for bank in banks],
        "winner": names[place], **_accuracies(banks[place], best),
    }  # fmt: skip


def _digested(spec: str, limit: int | None) -> Dataset:
    """Returns a dataset whose images were read once, and imports TensorFlow."""
    import_tensorflow()
    dataset = load_images(spec, DatasetOptions(limit=limit))
    dataset.fingerprint()
    return dataset


def _accuracies(bank: Bank, record: RunRecord) -> dict[str, float]:
    """Returns the accuracy of a run on validation images, and on validation and test images together."""
    metrics = open_test(bank, record).metrics
    counts = [metrics[split]["images"] for split in ("val", "test")]
    shares = [metrics[split]["accuracy"] for split in ("val", "test")]
    return {
        "validation accuracy": float(shares[0]),
        "accuracy on validation and test": float(np.average(shares, weights=counts)),
    }


def races_on_splits(dataset: Dataset, names: Sequence[str], cache: Path, count: int) -> dict[str, Any]:
    """Chooses by a race and by a full search on several splits; returns how much worse the race's head is on average.

    Nothing is computed twice: banks share the features of equal images.
    """
    networks = [one.backbone for one in load_candidates(names, BackboneOptions())[0]]
    gaps, same, shares = [], [], []
    for seed in range(count):
        other = Dataset(dataset.contents, SPLIT, seed)
        other.know_digests(dataset.digests)
        banks = [one.bank for one in run_extractions(other, networks, ExtractOptions(), cache=cache)]
        best = choose_run(train_on_banks(banks, read_grid("quick"), GridOptions()))
        found = run_race(other, names, RaceOptions(grid="quick"), cache=cache)
        assert found.chosen is not None
        tested = [open_test(bank_of(run, banks), run).metrics["test"]["accuracy"] for run in (best, found.chosen)]
        gaps.append(100 * (tested[0] - tested[1]))
        same.append(found.chosen.bank_name == best.bank_name)
        shares.append(found.images / found.full_images)
    return {
        "splits": count, "points behind the full search on test images": float(np.mean(gaps)),
        "standard error if splits were independent": float(np.std(gaps, ddof=1) / count**0.5),
        "the same network": float(np.mean(same)), "share of the images": float(np.mean(shares)),
    }  # fmt: skip


def _convert(dataset: Dataset, names: Sequence[str], place: Path) -> None:
    """Converts the networks for the caches of the race and of the full search."""
    networks = [one.backbone for one in load_candidates(names, BackboneOptions())[0]]
    run_extractions(Parts(dataset).part(2), networks, ExtractOptions(), cache=place / "once", reporter=Lines())
    if (converted := place / "once" / DIRECTORY).is_dir():
        for name in ("race", "all"):
            shutil.copytree(converted, place / name / DIRECTORY)


def simulated_races(features: Sequence[np.ndarray], labels: np.ndarray, count: int) -> dict[str, Any]:
    """Runs the rules of the race on resampled tasks; returns the regret and the share of the images.

    A task has 60 % of the photos of some classes. Its full search and its race each name a network, and both are
    measured on the other 40 %, which neither of them saw.
    """
    rng, found = np.random.default_rng(0), defaultdict(list)
    for _ in range(count):
        classes = rng.choice(labels.max() + 1, int(rng.integers(3, labels.max() + 2)), replace=False)
        pool = rng.permutation(np.flatnonzero(np.isin(labels, classes)))
        rows = pool[: round(TASK * len(pool))]
        left, used = _race(features, labels, rows, len(classes))
        validation, new = np.array([_validated(part, labels, pool, len(rows)) for part in features]).T
        whole = np.array([_answers(part[pool], labels[pool]).mean(axis=1).max() for part in features])
        full, best = int(validation.argmax()), np.sort(whole)[-3:]
        found["regret in points"].append(100 * (new[full] - new[left[0]]))
        found["distance from the best of all images"].append(100 * (best[-1] - whole[left[0]]))
        found["distance of the full search"].append(100 * (best[-1] - whole[full]))
        found["distance of a coin"].append(100 * (best[-1] - best.mean()))
        found["share of the images"].append(used / (len(rows) * len(features)))
        found["candidates that stay"].append(len(left))
    return {"tasks": count} | {name: float(np.mean(values)) for name, values in found.items()}


def _validated(features: np.ndarray, labels: np.ndarray, pool: np.ndarray, count: int) -> tuple[float, float]:
    """Returns the accuracy of ridge on the validation images of a task, and of the same head on the images outside.

    Args:
        features: (n, d).
        labels: (n,).
        pool: the images; those of the task come first.
        count: the number of images of the task.
    """
    train, rest = np.split(pool, [round(0.7 * count)])
    last = round(0.85 * count) - len(train)
    rows = features[train].astype(np.float64)
    mean, targets = rows.mean(axis=0), (labels[train][:, None] == np.unique(labels[pool])) * 2.0 - 1
    centre = targets.mean(axis=0)
    with limited_blas():
        squares, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))
        hidden, weights = (features[rest] - mean) @ vectors, vectors.T @ (rows - mean).T @ (targets - centre)
        alphas = PENALTIES * squares.sum() / min(rows.shape)
        guesses = [((hidden / (squares + alpha)) @ weights + centre).argmax(axis=1) for alpha in alphas]
    right = np.unique(labels[pool])[np.array(guesses)] == labels[rest]
    shares = right[:, :last].mean(axis=1)
    head = int(shares.argmax())
    return float(shares[head]), float(right[head, count - len(train) :].mean())


def simulated_choices(features: Sequence[np.ndarray], labels: np.ndarray, count: int) -> dict[str, Any]:
    """Simulates choices among heads; returns how often the intervals hold the truth."""
    answers = np.concatenate([_answers(part, labels) for part in features])
    rng, hits = np.random.default_rng(0), defaultdict(list)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        heads = _heads(answers, kind, int(rng.integers(5, 51)), rng)
        truth, images = heads.mean(axis=1), round(float(np.exp(rng.uniform(np.log(75), np.log(1000)))))
        right = heads[:, rng.integers(0, heads.shape[1], images)]
        best = int(right.mean(axis=1).argmax())
        found, (low, high) = share_winner(right, best), proportion_interval(float(right[best].mean()), images)
        result = (
            found.low <= truth[best] <= found.high,
            found.high - found.low,
            low <= truth[best] <= high,
            high - low,
        )
        hits[kind].append(result)
        hits["all"].append(result)
    names = ("coverage", "width", "coverage of Wilson's", "width of Wilson's")
    return {kind: dict(zip(names, np.mean(values, axis=0).tolist(), strict=True)) for kind, values in hits.items()}


def _race(features: Sequence[np.ndarray], labels: np.ndarray, rows: np.ndarray, classes: int) -> tuple[list[int], int]:
    """Returns the candidates that stay, the best first, and how many images were used."""
    left, used = list(range(len(features))), [0] * len(features)
    size: int | None = first_part(len(rows), classes)
    while size is not None:
        losses = [_scored(features[number], labels, rows[:size]).losses for number in left]
        for number in left:
            used[number] = size
        left = [left[place] for place in staying(np.stack(losses))]
        size = next_part(size, len(left), SHARE * len(rows) * len(features) - sum(used), round(0.7 * len(rows)))
    return left, sum(used)


def _scored(features: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> PartEvidence:
    return evidence_of(features[rows], labels[rows])


def _heads(answers: np.ndarray, kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the answers of some heads, (count, images) bool."""
    order = np.argsort(-answers.mean(axis=1), kind="stable")
    if kind == "neighbours":
        return np.asarray(answers[order[(first := int(rng.integers(0, 5))) : first + count]])
    if kind == "one clear":
        return np.asarray(
            answers[[order[0], *rng.choice(order[len(order) // 2 :], min(count, len(order) // 2) - 1, replace=False)]]
        )
    heads = answers[rng.choice(order, count, replace=False)].copy()
    if kind == "equal":
        least = int(heads.sum(axis=1).min())
        for head in heads:
            head[rng.choice(np.flatnonzero(head), int(head.sum()) - least, replace=False)] = False
    return np.asarray(heads)


def _answers(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the leave-one-out answers of ridge with several penalties, (penalties, n) bool."""
    shared = Shared(features, labels)
    with limited_blas():
        scatter = gram(shared, Steps())
        alphas = PENALTIES * np.trace(scatter.matrix) / min(scatter.n, scatter.d)
        return np.asarray(loo_predictions(shared, Steps(), alphas).argmax(axis=2) == shared.positions)


def _components(banks: Sequence[Bank]) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the principal components of all features of each bank, (n, COMPONENTS), and the labels."""
    found = []
    for bank in banks:
        rows = bank.features("pooled", None).astype(np.float64)
        rows -= rows.mean(axis=0)
        vectors = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :COMPONENTS]
        found.append((rows @ vectors).astype(np.float32))
    return found, banks[0].labels(None)
