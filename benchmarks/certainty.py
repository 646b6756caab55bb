"""Do sets of classes cover as often as asked, and does abstention keep its error? Are other images recognised?

Each of 20 splits deals the images anew: half train, a fifth validate, the rest are the test. On each, a grid of heads
is trained as `featurebank heads` does, the best by validation is chosen, and everything is calibrated on the validation
images, which so have chosen the head, too. A head with a temperature, which was fitted on them, is measured beside it.
Coverage, error and share are those of the test images, which nothing else has seen.

AUROC: features of the test images against those of images of other kinds, by the distance that models store.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.harness import conditions
from featurebank.bank import Bank
from featurebank.certainty.likeness import Likeness
from featurebank.certainty.measured import measured
from featurebank.certainty.record import Certainty

SPLITS = 20
COVERAGES, ERRORS = (0.8, 0.9, 0.95, 0.98), (0.02, 0.05, 0.1, 0.2)
LEAST = 150
"""Folders with fewer photos are no datasets."""
ALLOWED = 0.015
"""How far the mean coverage may be from what was asked for."""
GRID = [*({"kind": "logistic", "C": value} for value in (0.001, 0.01, 0.1)), {"kind": "lda"}, {"kind": "nearest_mean"}]
TEMPERATURE = {"kind": "logistic", "C": 0.1, "calibrate": "temperature"}


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark on the folders of `--photos`, each a dataset; without, on painted photos."""
    splits = 4 if quick else SPLITS
    with tempfile.TemporaryDirectory() as place:
        folders = _folders(photos, Path(place))
        banks = {name: _extracted(folder, Path(place, "cache")) for name, folder in folders.items()}
        results = {name: _measured(bank, splits) for name, bank in banks.items() if len(bank.classes) > 1}
        likeness = _auroc(banks, splits)
    about = conditions()
    _print(results, likeness, splits)
    output.parent.mkdir(parents=True, exist_ok=True)
    value = {"conditions": about, "splits": splits, "datasets": results, "auroc": likeness}
    output.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    Console().print(f"written to {output}")


def _folders(photos: Path | None, place: Path) -> dict[str, Path]:
    """Returns the folders of the datasets: each folder in `photos` that has folders of classes, or a part with them."""
    if photos is None:
        _paint(place / "painted")
        _paint(place / "other", shift=90)
        return {"painted": place / "painted", "other": place / "other"}
    found = {}
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        root = folder / "train" if (folder / "train").is_dir() else folder
        if sum(path.suffix.lower() in {".jpg", ".jpeg"} for path in root.rglob("*")) < LEAST:
            continue
        if any(path.is_dir() for path in root.iterdir()):
            found[folder.name] = root
        elif any(path.suffix.lower() in {".jpg", ".jpeg"} for path in root.iterdir()):
            found[folder.name] = folder
    return found


def _paint(root: Path, *, shift: int = 0) -> None:
    from PIL import Image

    random = np.random.default_rng(shift)
    for label, colour in enumerate(((200, 60, 60), (60, 200, 60), (130, 130, 60))):
        (root / str(label)).mkdir(parents=True)
        for number in range(60):
            pixels = random.normal(np.roll(colour, shift), 60, (8, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(root / str(label) / f"{number}.png")


def _extracted(folder: Path, cache: Path) -> Bank:
    """Extracts the images of a folder; those without folders of classes are all of one class."""
    from featurebank import extract, load_dataset

    if any(path.is_dir() for path in folder.iterdir()):
        return extract(load_dataset(f"folder:{folder}", split=(1, 0, 0)), "efficientnet_lite0", cache=cache)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg"})
    holder = cache.parent / f"{folder.name}_links" / folder.name
    holder.mkdir(parents=True)
    for path in files:
        (holder / path.name).symlink_to(path.resolve())
    return extract(load_dataset(f"folder:{holder.parent}", split=(1, 0, 0)), "efficientnet_lite0", cache=cache)


def _dealt(count: int, split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.random.default_rng(split).permutation(count)
    return order[: count // 2], order[count // 2 : int(count * 0.7)], order[int(count * 0.7) :]


def _measured(bank: Bank, splits: int) -> dict[str, Any]:
    """Returns the means over splits for the chosen head and for the head with a temperature."""
    from featurebank.fitting.data import TrainingData
    from featurebank.fitting.fit import fit_heads
    from featurebank.fitting.scoring import align
    from featurebank.fitting.spec import HeadSpec

    X, y, classes = bank.features("pooled"), bank.labels(), len(bank.classes)
    rows: dict[str, list[Any]] = defaultdict(list)
    specs = [
        HeadSpec(str(one["kind"]), {name: value for name, value in one.items() if name != "kind"}, "pooled")
        for one in (*GRID, TEMPERATURE)
    ]  # fmt: skip
    for split in range(splits):
        train, val, test = _dealt(len(y), split)
        data, heads = TrainingData("pooled", X[train], y[train], X[val], y[val], classes), {}
        fit_heads([(spec, 0) for spec in specs], data, lambda place, fitted, h=heads: h.update({place: fitted}))
        scores = [heads[place].metrics["val"]["accuracy"] for place in range(len(GRID))]
        for name, place in (("the best of a grid", int(np.argmax(scores))), ("with a temperature", len(GRID))):
            head = heads[place].head
            known = head.predict_validation(X[val], y[val]) if head.saw_validation else head.predict_proba(X[val])
            certainty = Certainty.of(align(known, head.classes_, classes), y[val])
            probabilities = align(head.predict_proba(X[test]), head.classes_, classes)
            rows[name].append(measured(certainty, probabilities, y[test], coverages=COVERAGES, errors=ERRORS))
    return {name: _means(found) for name, found in rows.items()} | {"images": len(y), "classes": classes}


def _means(found: Sequence[Any]) -> dict[str, Any]:
    sets = [
        {
            "target": target, "coverage": float(np.mean([one.sets[n].coverage for one in found])),
            "deviation": float(np.std([one.sets[n].coverage for one in found])),
            "size": float(np.mean([one.sets[n].size for one in found])),
            "empty": float(np.mean([one.sets[n].empty for one in found])),
        }
        for n, target in enumerate(COVERAGES)
    ]  # fmt: skip
    answers = [
        {
            "target": target, "share": float(np.mean([one.answers[n].share for one in found])),
            "error": float(np.mean([one.answers[n].error or 0.0 for one in found])),
            "nothing": float(np.mean([one.answers[n].error is None for one in found])),
        }
        for n, target in enumerate(ERRORS)
    ]  # fmt: skip
    return {"error": float(np.mean([one.curve[-1][1] for one in found])), "sets": sets, "answers": answers}


def _auroc(banks: dict[str, Bank], splits: int) -> list[dict[str, Any]]:
    """Returns for each pair of datasets how well images of the second are told from those of the first."""
    found = []
    for name, bank in banks.items():
        if len(bank.classes) < 2:
            continue
        X, y = bank.features("pooled"), bank.labels()
        others = {other: one.features("pooled") for other, one in banks.items() if other != name}
        values, flags = defaultdict(list), defaultdict(list)
        for split in range(splits):
            train, val, test = _dealt(len(y), split)
            likeness = Likeness.of(X[train], y[train], X[val])
            own = likeness.distances(X[test])
            flags[name].append(float(likeness.unlike(X[test]).mean()))
            for other, rows in others.items():
                values[other].append(_area(own, likeness.distances(rows)))
                flags[other].append(float(likeness.unlike(rows).mean()))
        size = len(json.dumps(likeness.to_json()))
        found += [
            {
                "of": name, "against": other, "auroc": float(np.mean(areas)), "flagged": float(np.mean(flags[other])),
                "flagged_of_own": float(np.mean(flags[name])), "bytes": size,
            }
            for other, areas in values.items()
        ]  # fmt: skip
    return found


def _area(own: np.ndarray, other: np.ndarray) -> float:
    """Returns the share of pairs in which the other image is farther away; ties count half."""
    ordered = np.sort(own)
    below = np.searchsorted(ordered, other, "left") + np.searchsorted(ordered, other, "right")
    return float(below.mean() / 2 / len(own))


def _print(results: dict[str, Any], likeness: list[dict[str, Any]], splits: int) -> None:
    console = Console(width=130, highlight=False)
    for name, dataset in results.items():
        for head in ("the best of a grid", "with a temperature"):
            found = dataset[head]
            title = f"{name}, {head}: {dataset['images']} images, error {found['error']:.1%}, {splits} splits"
            worst = max(abs(row["coverage"] - row["target"]) for row in found["sets"])
            verdict = "within" if worst <= ALLOWED else "MISSED"
            console.print(f"[bold]{title}[/bold]; coverage off by at most {worst:.2%} ({verdict} {ALLOWED:.1%})")
            table = Table(box=box.SIMPLE_HEAD)
            for column in ("coverage asked", "coverage", "one split +-", "classes", "empty"):
                table.add_column(column, justify="right")
            for row in found["sets"]:
                values = (row["target"], row["coverage"], row["deviation"], row["size"], row["empty"])
                table.add_row(*(f"{value:.3f}" for value in values))
            console.print(table)
            table = Table(box=box.SIMPLE_HEAD)
            for column in ("error asked", "answered", "error among them", "splits without a threshold"):
                table.add_column(column, justify="right")
            for row in found["answers"]:
                table.add_row(*(f"{row[key]:.3f}" for key in ("target", "share", "error", "nothing")))
            console.print(table)
    table = Table(title="images of other kinds", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("trained on", "against", "AUROC", "unlike", "unlike of its own", "kB in a file"):
        table.add_column(column)
    for row in likeness:
        table.add_row(
            row["of"], row["against"], f"{row['auroc']:.4f}", f"{row['flagged']:.1%}", f"{row['flagged_of_own']:.1%}",
            f"{row['bytes'] / 1000:.0f}",
        )  # fmt: skip
    console.print(table)
