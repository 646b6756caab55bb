"""Images without a label in a dataset and in its bank: in no class, in no split, and in nobody's way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command
from PIL import Image

import featurebank as fb
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.errors import ConfigError, DatasetError, UnknownNameError
from featurebank.fitting.folds import Fold, FoldedImages

CLASSES, EACH, UNLABELLED = ("ant", "bee", "cow"), 12, 5
LINE = "5 images without a label: in no class and in no split, and no head is trained on them"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three class folders, one of them without labels beside them; an image there has a copy in a class."""
    random, root = np.random.default_rng(0), tmp_path / "photos"
    for name, count in (*((name, EACH) for name in CLASSES), ("Unlabelled", UNLABELLED - 1)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 60, (16, 16, 3), dtype=np.uint8)
            if name in CLASSES:
                pixels[..., CLASSES.index(name)] += 150
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "Unlabelled" / "copy.png").write_bytes((root / "ant" / "0.png").read_bytes())
    return root


@pytest.fixture
def table(photos: Path) -> Path:
    """The same images as a table, with weights."""
    rows = []
    for path in sorted(photos.rglob("*.png")):
        label = path.parent.name if path.parent.name in CLASSES else ""
        rows.append(f"{path.relative_to(photos)},{label},{'1' if label else ''}")
    (photos / "t.csv").write_text("\n".join(["path,label,weight", *rows]))
    return photos / "t.csv"


@pytest.fixture
def make(photos: Path, tmp_path: Path, lite: Any, pixels: Any) -> Callable[..., Any]:
    """Extracts the bank of the folder."""

    def made(spec: Any = photos, cache: str = "cache", **options: Any) -> Any:
        dataset = fb.load_dataset(spec, **{"unlabelled": "keep", "split": (0.6, 0.2, 0.2), **options})
        return fb.extract(dataset, lite, cache=tmp_path / cache)

    return made


def test_a_dataset_keeps_them_if_asked(photos: Path, table: Path) -> None:
    for spec in (str(photos), str(table)):
        dataset = fb.load_dataset(spec, unlabelled="keep")
        assert dataset.classes == CLASSES
        assert (dataset.labels < 0).sum() == (dataset.splits == 3).sum() == UNLABELLED
        assert sum(sum(row.values()) for row in dataset.counts().values()) == 3 * EACH
        assert LINE in dataset.warnings()
        again = fb.load_dataset(dataset.spec)
        assert (again.ids, again.labels.tolist()) == (dataset.ids, dataset.labels.tolist())
        assert [again.label_names[label] for label in again.labels.tolist()].count("unlabelled") == UNLABELLED
        few = fb.load_dataset(spec, unlabelled="keep", per_class=2)
        assert few.labels.tolist() == [0, 0, 1, 1, 2, 2]
        two = fb.load_dataset(spec, unlabelled="keep", classes=["ant", "cow"])
        assert np.unique(two.labels, return_counts=True)[1].tolist() == [UNLABELLED, EACH, EACH]


def test_it_is_never_a_guess(photos: Path, table: Path) -> None:
    plain = fb.load_dataset(str(photos))
    assert "Unlabelled" in plain.classes
    assert any("--unlabelled keep takes its images as images without a label" in line for line in plain.warnings())
    with pytest.raises(DatasetError) as caught:
        fb.load_dataset(str(table))
    assert str(caught.value).count("keep images without a label by --unlabelled keep") == 1
    with pytest.raises(ConfigError, match="only a folder and a table can have images without a label"):
        fb.load_dataset("digits", unlabelled="keep")
    with pytest.raises(UnknownNameError, match="unknown value of unlabelled"):
        fb.load_dataset(f"{photos}#unlabelled=maybe")
    (photos / "empty.csv").write_text("path,label\nant/0.png,\nant/1.png,\n")
    with pytest.raises(DatasetError, match="no image has a label"):
        fb.load_dataset(photos / "empty.csv", unlabelled="keep")


def test_given_splits_are_those_of_the_labelled_images(photos: Path) -> None:
    """All labelled images in train is no split at all, whatever the others have."""
    rows = [f"ant/{n}.png,ant,train" for n in range(6)] + [f"bee/{n}.png,bee,train" for n in range(6)]
    (photos / "t.csv").write_text("\n".join(["path,label,split", *rows, "Unlabelled/0.png,,test"]))
    dataset = fb.load_dataset(photos / "t.csv", unlabelled="keep")
    assert dataset.contents.predefined is None
    assert dataset.splits[-1] == 3


def test_a_bank_has_their_features(make: Any, photos: Path) -> None:
    bank = make()
    assert len(bank.ids("unlabelled")) == len(bank.features("pooled", "unlabelled")) == UNLABELLED
    assert (bank.labels("unlabelled") == -1).all()
    assert (bank.splits() == "unlabelled").sum() == UNLABELLED
    assert sum(len(bank.labels(split)) for split in ("train", "val", "test")) == 3 * EACH
    assert sum(sum(row.values()) for row in bank.counts().values()) == 3 * EACH
    assert bank.unlabelled_line() == LINE
    fold = FoldedImages(bank, "pooled").data(Fold(0, 3))
    assert len(fold.y) + len(fold.y_val) == len(bank.labels("train")) + len(bank.labels("val"))
    for path in (photos / "Unlabelled").iterdir():
        path.unlink()
    assert make(unlabelled=None).digest == bank.digest  # runs do not depend on them


def test_banks_with_them_are_merged(make: Any, table: Path, tmp_path: Path) -> None:
    one, other = make(), make(table, "second")
    merged = merge_banks([one.path, other.path], tmp_path / "merged")
    assert len(merged.ids("unlabelled")) == UNLABELLED, "both banks hold the same images"
    assert merged.classes == CLASSES
    assert merged.sample_weights() is not None


@pytest.mark.slow
def test_every_command_works_on_such_a_bank(
    make: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = make()
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> str:
        return run_command(("--cache", tmp_path / "cache", *words), monkeypatch, capsys)[0]

    source = f"{photos}#unlabelled=keep"
    found = json.loads(run("inspect", source, "--bank", bank.name, "--json"))
    assert sum(found["splits"].values()) == 3 * EACH
    assert found["duplicates"] == []
    run("inspect", source, "-o", "inspect.html")
    ridge = json.loads(run("heads", "--head", "ridge", "--json", "--test"))
    assert "test" in next(run for run in ridge["runs"] if run["run"] == ridge["best"])["metrics"]
    run("heads", "--head", "nearest_mean", "--folds", "3")
    run("leaderboard", "--folds", "1")
    run("report", "-o", "report.html")
    similar = run("similar", photos / "Unlabelled" / "copy.png", "--json")
    assert "ant" in similar
    run("advise", "--json")
    run("cache", "show", bank.name)
    run("cache", "verify", "--canaries", "0")
    run("cache", "export", bank.name, "-o", "bank.npz")
    assert (np.load("bank.npz")["labels"] == -1).sum() == UNLABELLED


@pytest.mark.heavy
def test_every_function_works_on_such_a_bank(make: Any, tmp_path: Path) -> None:
    bank = make()
    runs = fb.train_heads(bank, ["ridge", "logistic"])
    best = fb.select(runs)
    assert fb.evaluate_test(best).metrics["test"]["images"] == len(bank.labels("test"))
    fb.leaderboard(bank)
    assert sum(len(block.labels) for block in bank.blocks()) == len(bank)
    for split in ("train", "val", "unlabelled"):
        bank.plot_map(split=split, method="pca")
    assert bank._repr_html_()
    bank.to_hdf5(tmp_path / "bank.h5")
    similar = fb.similar(bank.ids("unlabelled")[0], bank)
    assert similar[0].label == "unlabelled"
