"""What predictions say beside their class, and what is wrong with what somebody asked for."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import run_command

from featurebank import evaluate, export, load_model, predict, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DatasetWarning, FeatureBankError
from featurebank.grafting.certainty.embedding import ModelOutputs
from featurebank.grafting.certainty.verdicts import Verdicts
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.grafting.metadata import about_from_text, operation_in

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def file(bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = train_heads(bank, [{"kind": "logistic"}])[0]
    return export(run, tmp_path_factory.mktemp("model") / "model.fbmodel", proof=False)


@pytest.fixture(scope="module")
def model(file: Path) -> LoadedModel:
    return load_model(file)


def test_the_command_shows_sets_and_doubts(
    file: Path, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("predict", file, shown / "val", "--coverage", ".6", "--abstain-at-error", ".1")
    out, errors = run_command((*words, "--csv", tmp_path / "table.csv"), monkeypatch, capsys)
    assert "not sure: the threshold answers" in errors
    assert "sets of classes: coverage 0.6, calibrated on 16 validation images" in errors
    assert "answered: " in errors
    text, _ = run_command((*words, "--json"), monkeypatch, capsys)
    found = json.loads(text)
    assert list(found[0]) == ["file", "label", "probability", "top", "set", "answered", "unlike", "likeness"]
    doubtful = [one for one in found if not one["answered"]]
    assert out.count("not sure") == len(doubtful) > 0
    with (tmp_path / "table.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["set"] for row in rows] == ["|".join(one["set"]) for one in found]
    assert [row["answered"].lower() for row in rows] == [str(one["answered"]).lower() for one in found]


def test_images_unlike_the_training_images_are_named(model: LoadedModel) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 14, 14, 3), np.uint8)
    noise[:, ::2] = 0
    noise[:, 1::2, ::2] = 255
    certainty = model.about.certainty
    assert certainty is not None
    assert certainty.likeness is not None
    assert model.unlike(noise).all()
    with pytest.warns(DatasetWarning, match=r"5 of 5 images are unlike the training images.*: 0, 1, 2, \.\.\.$"):
        found = predict(model, noise)
    assert [one.unlike for one in found] == [True] * 5
    assert "unlike the training" in repr(found[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": 95}, r"^coverage is 95: expected a number between 0 and 1, as .95$"),
        ({"abstain_at_error": 0}, r"^the error to abstain at is 0: expected a number between 0 and 1, as .02$"),
        ({"coverage": 1, "abstain_at_error": -1}, r"^coverage is 1: .*\nthe error to abstain at is -1: [^\n]*$"),
        ({"abstain_at_error": 0.001}, "no threshold reaches an error of 0.001 on 16 validation images: the smallest"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, float], message: str, model: LoadedModel, shown: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        predict(model, shown / "val", **options)


def test_too_few_images_for_a_coverage_are_announced(model: LoadedModel) -> None:
    assert "too few for it (at most 0.941), so each set has all classes" in Verdicts(model.about, 0.99).notes()[0]


def test_a_model_that_stores_nothing_still_predicts(model: LoadedModel, file: Path, shown: Path, bank: Bank) -> None:
    old = LoadedModel(lambda images: ModelOutputs(model.predict(images)), replace(model.about, certainty=None))
    assert {"unlike", "set"}.isdisjoint(predict(old, shown / "val")[0].to_dict())
    assert evaluate(old, str(shown), split="val").certainty is None
    noise = np.zeros((1, 14, 14, 3), np.uint8)
    for ask in (
        lambda: predict(old, shown / "val", coverage=0.9),
        lambda: predict(old, shown / "val", abstain_at_error=0.1),
        lambda: old.predict_sets(noise, 0.9),
        lambda: old.abstention(0.1),
        lambda: old.unlike(noise),
    ):
        with pytest.raises(ConfigError, match=r"the model stores nothing about its doubts.*export it again"):
            ask()
    text = json.loads(model.about.to_text())
    del text["certainty"]
    assert about_from_text(json.dumps({**text, "version": 2}), file).certainty is None, "a file of the last version"
    run = train_heads(bank, [{"kind": "logistic"}])[0]
    without = load_model(export(run, file.with_name("without.fbmodel"), proof=False, certainty=False, seen=False))
    assert (without.about.certainty, without.about.seen) == (None, None)


def test_metadata_of_strangers_are_checked(model: LoadedModel, file: Path) -> None:
    text = json.loads(model.about.to_text())
    for change in (
        {"images": -1},
        {"images": 10**99},
        {"table": {"values": [0.5], "mass": [2.0]}},
        {"table": {"values": [], "mass": []}},
        {"table": {"values": [10**999], "mass": [0.5]}},
        {"table": {"values": [float("nan")], "mass": [0.5]}},
        {"table": {"values": [1e200], "mass": [0.5]}},
        {"likeness": {"width": 10**12}},
        {"likeness": {**text["certainty"]["likeness"], "rest": 1e-300}},
        {"answers": []},
        {"answers": {**text["certainty"]["answers"], "units": 10**999}},
    ):
        hostile = json.dumps({**text, "certainty": {**text["certainty"], **change}})
        with pytest.raises(ConfigError, match=r"the metadata of '.*' is damaged \(\w+\): export it again"):
            about_from_text(hostile, file)
    assert about_from_text(json.dumps(text), file).certainty is not None
    for name, value in (
        ("backbone", 5), ("metrics", "x"), ("any_size", "yes"), ("usage", None), ("run", 5), ("bank", []),
        ("further", [{"image_size": 32, "resize": 1}]), ("version", 10**999),
        ("seen", 5), ("seen", []), ("seen", {"training": text["seen"]["training"]}),
        ("seen", {**text["seen"], "validation": {"images": 10**6, "digests": "A" * 10**6}}),
        ("proof", {"images": 1, "difference": "x", "tolerance": 0.1}),
    ):  # fmt: skip
        with pytest.raises(FeatureBankError, match=r"is damaged \(\w+\)|install a newer one"):
            about_from_text(json.dumps({**text, name: value}), file)
    for nested in ("[" * 100_000, '{"version": 3, "certainty": ' + "[" * 100_000):
        assert operation_in(nested) == ""
        with pytest.raises(ConfigError, match=r"is damaged \(RecursionError\)"):
            about_from_text(nested, file)
    with pytest.raises(ConfigError, match=r"the metadata of .* is damaged"):
        about_from_text(json.dumps({**text, "certainty": 5}), file)
    narrow = LoadedModel(lambda images: ModelOutputs(model.predict(images), np.zeros((len(images), 2))), model.about)
    with pytest.raises(
        ConfigError, match=r"returns features of the shape \(1, 2\), but its metadata describe 6 features"
    ):
        predict(narrow, np.zeros((1, 14, 14, 3), np.uint8))


def test_evaluation_measures_sets_and_answers(
    model: LoadedModel, file: Path, shown: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(model, str(shown), split="train")
    assert found.certainty is not None
    assert found.certainty.images == 24
    assert [one.target for one in found.certainty.sets] == [0.8, 0.9, 0.95, 0.99]
    assert found.unlike is not None
    assert found.to_dict()["certainty"]["sets"][0]["coverage"] == found.certainty.sets[0].coverage
    out, _ = run_command(("evaluate", file, shown, "--on", "train"), monkeypatch, capsys)
    first = found.certainty.sets[0]
    assert f"{first.coverage:.4f}" in out
    assert f"unlike the training images: {found.unlike} of 24 images" in out
