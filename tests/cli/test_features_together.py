"""Groups, weights, images without a label, metrics, joined taps and several banks, all on one small dataset.

The figures are compared with those that scikit-learn and NumPy compute from the features of the bank.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from featurebank import find_bank
from featurebank.bank import Bank
from featurebank.certainty.record import Certainty
from featurebank.runs.predictions.stored import load_predictions
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

Ask = Callable[..., tuple[str, str]]
GROUPS, SIZE = 40, 4
RARE = (3, 17)
"""The groups with an image of the rare class."""


def write(folder: Path) -> Path:
    """Writes the images and their table: 40 patients, of whom the first two share an image; six have no label."""
    folder.mkdir()
    rng, lines = np.random.default_rng(0), ["path,label,patient,weight,age,site"]
    for number in range(GROUPS * SIZE + 6):
        has_label = number < GROUPS * SIZE
        patient = number // SIZE % GROUPS
        is_rare = has_label and number % SIZE == 0 and patient in RARE
        code = 2 if is_rare else int(rng.integers(2))
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        pixels[:16, :16] = code * 100
        Image.fromarray(pixels).save(folder / f"{number}.png")
        label = ("ant", "bee", "rare")[code] if has_label else ""
        lines.append(f"{number}.png,{label},P{patient:02},{1 + number % 3 / 2},{number % 50},{'ns'[number % 2]}")
    (folder / "again.png").write_bytes((folder / "0.png").read_bytes())
    lines.append(f"again.png,{lines[1].split(',')[1]},P01,1,30,n")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "costs.csv").write_text(",ant,bee,rare\nant,0,1,1\nbee,1,0,1\nrare,9,9,0\n")
    return folder


@pytest.fixture
def ask(tmp_path: Path, in_process: Ask, contestants: list[str]) -> Ask:
    """Runs a command on the cache of this test, where two networks have a bank of the dataset each."""
    ask = partial(in_process, "--cache", tmp_path / "cache")
    data = write(tmp_path / "data")
    for seed in (1, 4):
        ask(
            "extract", f"manifest:{data}/table.csv", "--groups", "patient", "--unlabelled", "keep", "--image-size", 32,
            "--backbone", "efficientnet_lite0", "--weights", f"random:{seed}",
        )  # fmt: skip
    return ask


def banks(tmp_path: Path) -> Iterator[Bank]:
    return (Bank(path) for path in sorted((tmp_path / "cache").glob("table-*")))


def sides(bank: Bank) -> dict[int, set[str]]:
    """Returns the splits of each component of images that share a patient or a content."""
    names = dict(zip(bank.ids(), map(str, bank.metadata()["patient"]), strict=True))
    parent = {name: name for name in names.values()}

    def top(name: str) -> str:
        return name if parent[name] == name else top(parent[name])

    by_content: dict[bytes, str] = {}
    for image, content in zip(bank.ids(), bank.digests(), strict=True):
        parent[top(names[image])] = top(by_content.setdefault(bytes(content), names[image]))
    found: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        for image in bank.ids(split):
            found.setdefault(top(names[image]), set()).add(split)
    return dict(enumerate(found.values()))


def test_the_figures_of_everything_together(ask: Ask, tmp_path: Path) -> None:
    first, other = banks(tmp_path)
    assert len(first) == GROUPS * SIZE + 7
    assert all(len(splits) == 1 for splits in sides(first).values())
    assert len(sides(first)) == len(np.unique(first.groups())) == GROUPS - 1
    assert "groups by 'patient', weights by 'weight'" in ask("cache", "show", first.name)[0]
    out, errors = ask("heads", "--bank", "all-of:table", "--head", "logistic", "--metric", "auroc", "--json")
    assert "6 images without a label" in errors
    board = json.loads(out)
    assert {entry["bank"] for entry in board["entries"]} == {first.name, other.name}
    for entry in board["entries"]:
        check_entry(find_bank(tmp_path / "cache", entry["bank"]), entry)


def check_entry(bank: Bank, entry: dict[str, Any]) -> None:
    """Compares a head with that of scikit-learn, and what is said of it with other computations."""
    X, y, Xv, yv = (get(*args) for get, args in (
        (bank.features, ("pooled", "train")), (bank.labels, ("train",)), (bank.features, ("pooled", "val")),
        (bank.labels, ("val",)),
    ))  # fmt: skip
    head = LogisticRegression(C=entry["params"]["C"], max_iter=2000, tol=1e-8)
    head.fit(X, y, sample_weight=bank.sample_weights("train"))
    expected = np.zeros((len(yv), 3))
    expected[:, head.classes_] = head.predict_proba(Xv)
    (run,) = [run for run in load_runs(bank) if run.run == entry["runs"][0]]
    images = load_predictions(run)
    assert images is not None
    assert images.probabilities is not None
    np.testing.assert_allclose(images.probabilities, expected, atol=2e-3)
    present = np.unique(yv)
    areas = [roc_auc_score(yv == code, images.probabilities[:, code]) for code in present]
    assert entry["value"] == pytest.approx(np.mean(areas))
    assert run.metrics["val"]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(yv, images.predicted))
    groups = bank.groups("val")
    assert groups is not None
    assert entry["groups"] == len(np.unique(groups))
    members, rng = [np.flatnonzero(groups == code) for code in np.unique(groups)], np.random.default_rng(1)
    drawn = (np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]) for _ in range(1000))
    shares = [images.right[rows].mean() for rows in drawn]
    (low, high), (least, most) = entry["accuracy_interval"], np.percentile(shares, [2.5, 97.5])
    assert low <= least + 0.02 <= most <= high + 0.02, "percentiles of few groups are too narrow"
    check_coverage(images.probabilities, yv, groups)


def check_coverage(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
    """Compares the threshold of sets of classes with its definition, where each group counts as one image."""
    own = probabilities[np.arange(len(labels)), labels].astype(float)
    doubts, count = np.log((1 - own) / own), len(np.unique(groups))
    shares = 1 / np.unique(groups, return_counts=True)[1][np.unique(groups, return_inverse=True)[1]]
    order = np.argsort(doubts)
    place = np.searchsorted(np.cumsum(shares[order]), (count + 1) * 0.6 - 1e-9)
    limit = Certainty.of(probabilities, labels, groups=groups).table.limit(0.6)
    assert limit == pytest.approx(doubts[order][place], rel=0.01, abs=0.01)


def test_a_rare_class_that_some_folds_lack(ask: Ask, tmp_path: Path) -> None:
    bank, other = banks(tmp_path)
    joined = f"pooled+{other.name}:pooled"
    words = (
        "heads",
        "--bank",
        bank.name,
        "--head",
        "nearest_mean",
        "--tap",
        joined,
        "--tap",
        "pooled+columns:age,site",
    )
    out, errors = ask(*words, "--folds", 4, "--metric", "recall:rare", "--json")
    assert "1 of 3 classes is in fewer groups than 4 folds: 'rare'" in errors
    assert "scored again" not in errors, "the predictions are stored"
    assert "'recall:rare' is not defined for the folds of" in errors
    for entry in json.loads(out)["entries"]:
        runs = [run for run in load_runs(bank) if run.run in entry["runs"]]
        stored = [images for run in runs if (images := load_predictions(run)) is not None]
        known = [images for images in stored if (images.labels == 2).any()]
        assert 0 < len(known) < len(stored) == 4
        recalls = [recall_score(images.labels, images.predicted, labels=[2], average="macro") for images in known]
        assert entry["value"] == pytest.approx(np.average(recalls, weights=[len(images) for images in known]))
        assert entry["value_interval"] is None, "two groups say nothing about others"
    assert "nan" not in ask(*words, "--folds", 4, "--metric", "recall:rare")[0]


def test_what_is_printed(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, _ = banks(tmp_path)
    monkeypatch.setenv("COLUMNS", "70")
    out, _ = ask("heads", "--bank", "all-of:table", "--head", "nearest_mean", "--metric", "macro_f1")
    assert "macro F1" in next(line for line in out.splitlines() if "val acc" in line), "the metric has its column"
    out, _ = ask("leaderboard", "--all", "--metric", f"cost:{tmp_path}/data/costs.csv", "--top", 1)
    assert f"--metric 'cost:{tmp_path}/data/costs.csv' --top " in out
    out, _ = ask("similar", f"{GROUPS * SIZE}.png", "--bank", bank.name)
    assert out.startswith(f"{GROUPS * SIZE}.png (unlabelled)\n")
    assert "the image itself has no label" in out
