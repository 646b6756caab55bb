"""`featurebank export` and `featurebank predict`: from a bank to a file to answers."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import extract, load_backbone, load_dataset, train_heads
from featurebank.bank import Bank
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system import digest

pytestmark = pytest.mark.heavy

Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def bank(photos: Path, tmp_path: Path) -> Bank:
    backbone = load_backbone("tiny:network")
    return extract(load_dataset(str(photos), split=(0.7, 0.3)), backbone, cache=tmp_path / "cache")


@pytest.fixture
def runs(bank: Bank) -> list[RunRecord]:
    return train_heads(bank, [{"kind": "ridge", "alpha": (1.0, 10.0)}, {"kind": "knn", "n_neighbors": 1}])


@pytest.fixture
def ask(tmp_path: Path, in_process: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs the command line in this process; returns what it writes on both streams."""
    monkeypatch.chdir(tmp_path)
    return partial(in_process, "--cache", tmp_path / "cache")


def test_from_a_run_to_answers(ask: Ask, runs: list[RunRecord], bank: Bank, photos: Path) -> None:
    run = next(run for run in runs if run.head == "ridge")
    out, errors = ask("export", run.run[:6], "-o", "model.keras", "--bank", bank.name, "--json")
    told: Any = json.loads(out)
    kept = next(other for other in load_runs(bank) if other.run == run.run)
    assert kept.graft is not None
    assert told == {
        "file": "model.keras", "format": "keras", "run": run.run,
        "proof": {"images": 16, "difference": kept.graft["difference"]},
    }  # fmt: skip
    assert "model and head agree to" in errors
    out, _ = ask("predict", "model.keras", photos, "--top", 1, "--json")
    answers = json.loads(out)
    assert len(answers) == 24
    assert set(answers[0]) == {"file", "label", "probability", "top", "unlike", "likeness"}
    assert len(answers[0]["top"]) == 1
    out, _ = ask("predict", "model.keras", photos / "ant", "--batch-size", 5)
    assert "ant" in out
    assert "%" in out


def test_a_line_an_image_and_a_csv_file(ask: Ask, runs: list[RunRecord], photos: Path) -> None:
    ask("export", "best", "-o", "model.fbmodel", "--no-proof")
    long = photos / "ant" / f"={'x' * 200} 1.png"
    long.write_bytes((photos / "ant" / "2.png").read_bytes())
    (photos / "bee" / "bad.png").write_bytes(b"")
    out, _ = ask("predict", "model.fbmodel", photos, "--top", 2, "--csv", "told.csv")
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) == 26
    assert str(long) in {row[0] for row in rows}
    assert all(Path(row[0]).is_file() for row in rows)
    written = Path("told.csv").read_text(encoding="utf-8").splitlines()
    told = {row["file"]: row for row in csv.DictReader(written)}
    assert list(told[str(long)]) == [
        "file",
        "label",
        "probability",
        "label_2",
        "probability_2",
        "error",
        "unlike",
        "likeness",
    ]
    for file, label, probability, _ in rows:
        assert told[file]["label"] == label
        assert not label or f"{float(told[file]['probability']):.1%}" == probability
    assert told[str(photos / "bee" / "bad.png")]["error"] == "empty file"
    ask("predict", "model.fbmodel", "=1.png", "--csv", "formula.csv", code=1)
    assert Path("formula.csv").read_text(encoding="utf-8").splitlines()[1].startswith("'=1.png")


def test_the_best_that_can_be_exported(ask: Ask, runs: list[RunRecord], tmp_path: Path) -> None:
    knn = next(run for run in runs if run.head == "knn")
    replace(knn, metrics={**knn.metrics, "val": {**knn.metrics["val"], "accuracy": 1.0}}).save()
    out, errors = ask("export", "best", "-o", "model.keras", "--no-proof", "--json")
    assert json.loads(out)["run"] == next(run.run for run in runs if run.head == "ridge")
    told = " ".join(errors.split())
    assert f"skipping {knn.run} (1.0000): knn(n_neighbors=1) cannot become Keras layers" in told
    words = f"featurebank --cache {tmp_path / 'cache'} export best -o model.fbmodel"
    assert f"the best head itself: {words}" in told
    out, errors = ask("export", "best", "-o", "model.fbmodel", "--no-proof", "--json")
    assert (json.loads(out)["run"], "skipping" in errors) == (knn.run, False)


def test_bad_images_are_rows(ask: Ask, runs: list[RunRecord], photos: Path) -> None:
    ask("export", "best", "-o", "model.fbmodel", "--no-proof")
    bad = photos / "ant" / "bad.png"
    bad.write_bytes(b"")
    out, _ = ask("predict", "model.fbmodel", bad, photos / "ant", "--json")
    assert json.loads(out)[0] == {"file": str(bad), "error": "empty file"}
    out, _ = ask("predict", "model.fbmodel", bad, "gone.png", "--json", code=1)
    assert [set(row) for row in json.loads(out)] == [{"file", "error"}] * 2
    out, _ = ask("predict", "model.fbmodel", bad, code=1)
    assert "empty file" in out


def test_a_file_is_measured_on_labelled_images(ask: Ask, runs: list[RunRecord], photos: Path) -> None:
    ask("export", "best", "-o", "model.fbmodel", "--no-proof")
    (photos / "ant" / "bad.png").write_bytes(b"")
    out, errors = ask("evaluate", "model.fbmodel", photos, "--json")
    told = json.loads(out)
    assert (told["model"], told["images"]) == ("model.fbmodel", 24)
    assert told["skipped"] == [{"id": "ant/bad.png", "reason": "empty file"}]
    assert np.sum(told["confusion"]) == 24
    assert "ant/bad.png: empty file" in errors
    out, _ = ask("evaluate", "model.fbmodel", photos, "--batch-size", 5)
    assert f"accuracy {told['accuracy']:.4f}" in out
    assert "true class" in out


def test_nothing_is_loaded_for_what_is_not_there(
    ask: Ask, runs: list[RunRecord], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("export", "best", "-o", "model.fbmodel", "--no-proof")

    def loaded(*words: object) -> None:
        raise AssertionError("something heavy was loaded")

    monkeypatch.setattr("featurebank.grafting.prediction.read_model", loaded)
    monkeypatch.setattr("featurebank.grafting.export_stage.grafted", loaded)
    out, _ = ask("predict", "model.fbmodel", "gone.png", "--json", code=1)
    assert json.loads(out) == [{"file": "gone.png", "error": "there is no such file"}]
    _, errors = ask("evaluate", "gone.keras", photos, code=1)
    assert "there is no model file 'gone.keras'" in errors
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    _, errors = ask("export", "best", "-o", "model.onnx", code=1)
    assert "needs a package that is not installed (tf2onnx): pip install 'featurebank[onnx]'" in errors


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("export", "zzz", "-o", "m.keras"), 1, "unknown run 'zzz'"),
        (("export", "best"), 2, "Missing option '-o'"),
        (("export", "best", "-o", "m.bin"), 1, "has no suffix of a model format"),
        (("export", "best", "-o", "m.keras", "--format", "tflite"), 1, "ends with .tflite"),
        (("predict", "m.keras", "a.png"), 1, "there is no model file 'm.keras'"),
        (("predict", "b/M 1.XML", "a.png"), 1, 'export best -o "b/M 1.xml"\' writes one'),
        (("predict", "m.keras"), 2, "Missing argument"),
    ],
)
def test_mistakes_are_one_line(
    ask: Ask, runs: list[RunRecord], words: tuple[str, ...], code: int, message: str
) -> None:
    _, errors = ask(*words, code=code)
    assert message in errors
    assert "Traceback" not in errors


def test_images_that_are_gone(ask: Ask, runs: list[RunRecord], photos: Path) -> None:
    for path in photos.glob("*/*"):
        path.unlink()
    _, errors = ask("export", "best", "-o", "m.fbmodel", code=1)
    assert "--no-proof" in errors
    ask("export", "best", "-o", "m.fbmodel", "--no-proof")


@pytest.mark.parametrize("suffix", [".keras", ".fbmodel", ".onnx", ".xml", ".tflite"])
def test_a_broken_model_file_is_one_line(suffix: str, ask: Ask, tmp_path: Path, photos: Path) -> None:
    for name in ("model.bin", f"model{suffix}"):
        (tmp_path / name).write_bytes(b"TFL3" + bytes(range(256)) * 20)
    _, errors = ask("predict", f"model{suffix}", photos, code=1)
    assert errors.count("\n") == 1, errors
    assert f"model{suffix}" in errors
    assert "Traceback" not in errors


def test_a_hostile_head_in_a_bank_is_not_run(ask: Ask, runs: list[RunRecord], bank: Bank, tmp_path: Path) -> None:
    """Its record, with the checksum, is the stranger's, too; the head is trained again instead."""
    mark, run = tmp_path / "mark", max(runs, key=lambda run: run.head == "knn")
    call = {"__loader__": "ConstructorFromReduceNode", "__module__": "os", "__class__": "system"}
    text = json.dumps(f"touch {mark}")
    touch = {"__loader__": "JsonNode", "__module__": "builtins", "__class__": "str", "content": text}
    content = {"__loader__": "TupleNode", "__module__": "builtins", "__class__": "tuple", "content": [touch]}
    with zipfile.ZipFile(run.saved_path, "w") as archive:
        archive.writestr("schema.json", json.dumps({**call, "content": content, "protocol": 2}))
    replace(run, weights=digest.of_file(run.saved_path)).save()
    ask("export", run.run[:6], "-o", "model.fbmodel", "--bank", bank.name, "--no-proof")
    assert (tmp_path / "model.fbmodel").is_file()
    assert not mark.exists()
