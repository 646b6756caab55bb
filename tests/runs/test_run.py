"""Runs: their ids, their files, their words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, event, row_keys
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.runs.run import RunRecord, belongs, load_runs, run_id
from featurebank.system import digest
from featurebank.system.sealed_json import read_sealed, write_sealed

pytestmark = pytest.mark.heavy


class FakeBank:
    """As much of a bank as an id needs."""

    views = 0
    classes = ("a", "b", "c")
    taps = ("pooled", "map")

    def __init__(self, digest: str = "0" * 32, path: Path = Path(), dtype: str = "float32") -> None:
        self.digest, self.former_digest, self.path, self._dtype = digest, "f" * 32, path, dtype

    def tap_dtype(self, tap: str) -> str:
        return self._dtype


def make_run(
    name: str, accuracy: float = 0.5, loss: float = 1.0, seconds: float = 1.0, seed: int = 0, **more: Any
) -> RunRecord:
    scores = {"accuracy": accuracy, "loss": loss}
    metrics = {"val": scores, "train": scores}
    options: dict[str, Any] = {"head": "knn", "params": {"name": name}, "tap": "pooled", "metrics": metrics} | more
    return RunRecord(run=f"{name}{seed}", seed=seed, seconds=seconds, bank="0" * 32, created="", **options)


def test_ids_are_golden() -> None:
    """Who changes these makes every recorded run be trained again."""
    bank: Any = FakeBank()
    assert run_id(HeadSpec("softmax", {"learning_rate": 0.01, "l2": 0.0}), 0, bank) == "fe1cccc00b"
    assert run_id(HeadSpec("knn", {}, "map"), 3, bank) == "3039b16b60"


KEYS = {
    "softmax": "ec0ef46dc1", "mlp": "7f34263df8", "conv": "8b907aacc2", "attention_pool": "0c538d2519",
    "gem_pool": "8da8545f50", "cam": "68c3808d05", "tail": "ac518b9b78", "residual_stage": "0c6d5e1e2a",
    "logistic": "55a89bdfa8", "ridge": "bb382f9c1a", "lda": "7e2889167d", "svm": "67595faa94",
    "kernel_ridge": "2ccaddca79", "nearest_mean": "a3459aca07", "xgboost": "e2e43eb20f", "xgboost_pca": "e17b4223a3",
    "xgboost_coarse": "2a8ed77653",
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in HEADS if HEADS[kind].own])
def test_keys_of_default_heads_are_golden(kind: str) -> None:
    """A key changes with a parameter's name or default; the lists that people read change with their order, too."""
    params = kind_of(kind).full_params({})
    assert digest.of_recipe([HeadSpec(kind, params).key, list(params)])[:10] == KEYS[kind]


def test_runs_name_classes_where_records_number_them(tmp_path: Path) -> None:
    bank: Any = FakeBank(path=tmp_path)
    run = make_run("a", head="ridge", params={"class_weight": {"1": 2.0}}, directory=tmp_path)
    run = replace(run, revision=run.spec.revision(3))
    run.save()
    (loaded,) = load_runs(bank)
    assert "{'b':2}" in loaded.title
    assert loaded.spec == run.spec
    assert loaded.record() == run.record()
    assert "class_names" not in loaded.record()


def test_runs_of_a_rule_that_was_mended_are_left_out(tmp_path: Path) -> None:
    bank: Any = FakeBank(path=tmp_path)
    old = make_run("a", head="svm", params={"kernel": "linear"}, directory=tmp_path)
    new = make_run("b", head="svm", params={"kernel": "linear"}, directory=tmp_path, revision=2)
    other = make_run("c", head="svm", params={"kernel": "rbf"}, directory=tmp_path)
    for run in (old, new, other):
        run.save()
    assert load_runs(bank) == [new, other]
    assert run_id(HeadSpec("svm", {"kernel": "linear"}), 0, bank) == "a22e3e4253", "not that of the old rule"


def test_the_order_of_parameters_does_not_matter_and_all_else_does() -> None:
    bank: Any = FakeBank()
    spec = HeadSpec("mlp", {"a": 1, "b": [2, 3]})
    assert run_id(HeadSpec("mlp", {"b": [2, 3], "a": 1}), 0, bank) == run_id(spec, 0, bank)
    other: Any = FakeBank("1" * 32)
    coarse: Any = FakeBank(dtype="float16")
    different = {
        run_id(spec, 0, bank),
        run_id(spec, 1, bank),
        run_id(spec, 0, other),
        run_id(spec, 0, coarse),
        run_id(HeadSpec("mlp", spec.params, views=1), 0, bank),
        run_id(HeadSpec("mlp", spec.params, views=4), 0, bank),
        run_id(HeadSpec("mlp", {**spec.params, "calibrate": "temperature"}), 0, bank),
        run_id(spec, 0, bank, fold=(0, 5, 0)),
        run_id(spec, 0, bank, fold=(0, 5, 1)),
        run_id(spec, 0, bank, rung=(1, 3, 5)),
        run_id(HeadSpec("softmax", spec.params), 0, bank),
        run_id(HeadSpec("mlp", spec.params, "map"), 0, bank),
        run_id(HeadSpec("mlp", {"a": 1, "b": [3, 2]}), 0, bank),
        run_id(HeadSpec("mlp", {"a": 1.0, "b": [2, 3]}), 0, bank),  # max_features=1 is one feature, 1.0 all of them
    }
    assert len(different) == 14


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = make_run("a", notes=("careful",), history={"loss": [1.0, None]}, tested="2026-01-01", directory=tmp_path)
    run.save()
    bank: Any = FakeBank(path=tmp_path)
    assert load_runs(bank) == [run]
    assert load_runs(bank)[0].saved_path == tmp_path / "runs" / "a0.head"


def test_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    make_run("a", directory=tmp_path).save()
    folder = tmp_path / "runs"
    record = json.loads((folder / "a0.json").read_text())
    (folder / "b.json").write_text((folder / "a0.json").read_text()[:50])
    (folder / "c.json").write_text("[]")
    (folder / "d.json").write_text(json.dumps({"run": "d"}))
    (folder / "e.json").write_text(json.dumps({**record, "unheard": 1}))
    (folder / "f.json").write_bytes(b"\xff\xfe")
    (folder / "g.json").write_text("null")
    bank: Any = FakeBank(path=tmp_path)
    assert [run.run for run in load_runs(bank)] == ["a0"]


def test_runs_of_another_state_are_stale(tmp_path: Path) -> None:
    make_run("a", directory=tmp_path).save()
    changed: Any = FakeBank("1" * 32, tmp_path)
    assert load_runs(changed) == []
    assert [run.run for run in load_runs(changed, stale=True)] == ["a0"]


def test_a_summary_tells_a_failure() -> None:
    assert "failure" not in make_run("a").summary()
    assert make_run("a", failure="no", metrics={}).summary()["failure"] == "no"


@pytest.mark.parametrize(
    ("params", "text"),
    [({}, "knn"), ({"C": 0.001, "a": [1, 2], "max_iter": 9}, "knn(C=0.001, a=[1,2])"), ({"p": None}, "knn(p=None)")],
)
def test_a_specification_in_words(params: dict[str, Any], text: str) -> None:
    assert str(HeadSpec("knn", params)) == text


# ---------------------------------------------------------------- what a run belongs to

COUNT = 12


def items_of(**changes: Any) -> Items:
    """Twelve images of three classes, some of them changed."""
    numbers = np.arange(COUNT)
    columns: dict[str, Any] = {
        "ids": [f"{n}.png" for n in range(COUNT)],
        "digests": np.array([digest.of_recipe(["an image", n]) for n in range(COUNT)], "S32"),
        "labels": (numbers % 3).astype(np.int32),
        "splits": (numbers // 3 % 3).astype(np.uint8),
    }
    return Items(**{**columns, **changes})


def bank_of(
    path: Path, items: Items | None = None, recipe: Mapping[str, Any] | None = None, classes: str = "abc",
    views: int = 0, store: str = "float32",
) -> Bank:  # fmt: skip
    items = items or items_of()
    dataset = {"name": "made", "classes": list(classes)}
    with BankWriter(path, {"backbone": "none", "weights": "0", "augment": "flip", **(recipe or {})}, dataset) as to:
        for view in range(1 + views):
            X = np.random.default_rng(view).normal(size=(len(items.ids), 4)).astype(np.float32)
            X[np.arange(len(X)), items.labels] += 9
            to.append(list(items.ids), row_keys(items.digests, view), {"pooled": X}, {"pooled": store})
        to.finish(items, ["pooled"], [], event(added=1, views=views), views=views)
    return Bank(path)


def changed(column: str, place: int, value: Any) -> Items:
    whole = np.array(getattr(items_of(), column))
    whole[place] = value
    return items_of(**{column: whole})


CHANGES: dict[str, dict[str, Any]] = {
    "one image less": {"items": items_of().select(np.arange(COUNT - 1))},
    "one image twice": {"items": items_of().select(np.array([*range(COUNT), 0]))},
    "another content": {"items": changed("digests", 5, b"f" * 32)},
    "another label": {"items": changed("labels", 5, 0)},
    "another split": {"items": changed("splits", 5, 2)},
    "a class of another name": {"classes": "abd"},
    "one class more": {"classes": "abcd"},
    "other weights": {"recipe": {"weights": "1"}},
    "other views": {"recipe": {"augment": "flip,rotate=10"}},
    "another type": {"store": "float16"},
    "a view": {"views": 1},
    "more views": {"views": 4},
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_a_head_sees_is_in_the_id(tmp_path: Path, what: str) -> None:
    spec = HeadSpec("softmax", {"epochs": 1})
    one, other = bank_of(tmp_path / "one"), bank_of(tmp_path / "other", **CHANGES[what])
    views = CHANGES[what].get("views", 0)
    assert run_id(replace(spec, views=views), 0, other) != run_id(spec, 0, one)


@given(st.data())
@settings(max_examples=20)
def test_names_and_order_do_not_matter(data: st.DataObject) -> None:
    """Two images have one content, with another label and split."""
    digests = items_of().digests.copy()
    digests[7] = digests[2]
    items = items_of(digests=digests).sorted()
    names = data.draw(st.lists(st.text(min_size=1), min_size=COUNT, max_size=COUNT, unique=True))
    renamed = replace(items, ids=names).sorted()
    assert renamed.content_digest == items.content_digest
    assert items.select(np.array(data.draw(st.permutations(range(COUNT))))).content_digest == items.content_digest


def test_runs_stay_where_images_are_renamed(tmp_path: Path) -> None:
    bank = bank_of(tmp_path / "bank")
    runs = train_heads(bank, [{"kind": "nearest_mean"}, {"kind": "ridge"}])
    again = bank_of(tmp_path / "bank", items_of(ids=[f"renamed/{n}.jpg" for n in range(COUNT)]))
    assert sorted(run.run for run in load_runs(again)) == sorted(run.run for run in runs)
    assert load_runs(again, stale=True) == []
    assert load_runs(bank_of(tmp_path / "bank", changed("labels", 5, 0))) == []


def test_heads_are_trained_on_the_views_that_are_asked_for(tmp_path: Path) -> None:
    """Also where the bank has more of them by now; heads that see none are trained once."""
    grid = [{"kind": "softmax", "epochs": 1}, {"kind": "nearest_mean"}]
    first = {run.head: run for run in train_heads(bank_of(tmp_path / "bank", views=1), grid)}
    bank = bank_of(tmp_path / "bank", views=3)
    more = {run.head: run for run in train_heads(bank, grid)}
    again = {run.head: run for run in train_heads(bank, grid, views=1)}
    assert again == first
    assert more["nearest_mean"] == first["nearest_mean"]
    assert (first["softmax"].views, more["softmax"].views) == (1, 3)
    assert more["softmax"].metrics != first["softmax"].metrics
    assert str(more["softmax"].spec) == "softmax(epochs=1, 3 views)"
    assert len(load_runs(bank)) == 3
    with pytest.raises(ValueError, match="views is 4, but 'bank' has 3 views: expected 0 to 3"):
        train_heads(bank, grid, views=4)


def as_recorded_before(run: RunRecord, bank: Bank, name: str) -> None:
    """Writes a run as the versions did that named it by its images' ids, and not by its views."""
    record = {**run.record(), "run": name, "bank": bank.former_digest}
    del record["views"]
    (bank.path / "runs" / f"{run.run}.json").unlink()
    write_sealed(bank.path / "runs" / f"{name}.json", record)


@pytest.mark.parametrize("views", [0, 2])
def test_runs_of_earlier_versions_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int) -> None:
    """Shown, not trained again, and gone where the images are others."""
    bank = bank_of(tmp_path / "bank", views=views)
    grid = [{"kind": "softmax", "epochs": 1}, {"kind": "nearest_mean"}]
    names = {}
    for number, run in enumerate(train_heads(bank, grid)):
        as_recorded_before(run, bank, f"{number:010d}")
        names[run.head] = f"{number:010d}"
    assert {run.head: run.run for run in load_runs(bank)} == names
    assert all(belongs(run, bank) for run in load_runs(bank))
    assert {run.views for run in load_runs(bank)} == {0, views}

    def fit_heads(*_: Any) -> None:
        raise AssertionError("a head would be trained")

    monkeypatch.setattr("featurebank.grid.worker.fit_heads", fit_heads)
    assert {run.head: run.run for run in train_heads(bank, grid)} == names
    assert load_runs(bank_of(tmp_path / "bank", changed("splits", 0, 1), views=views)) == []


def test_views_that_nobody_knows_are_no_number(tmp_path: Path) -> None:
    """A bank without a history: the run is shown, and trained anew where a grid asks for it."""
    bank = bank_of(tmp_path / "bank", views=2)
    (run,) = train_heads(bank, [{"kind": "softmax", "epochs": 1}])
    as_recorded_before(replace(run, created="2000-01-01T00:00:00Z"), bank, "0" * 10)
    assert [(old.run, old.views, str(old.spec)) for old in load_runs(bank)] == [
        ("0" * 10, None, "softmax(epochs=1, views unknown)")
    ]
    assert train_heads(bank, [{"kind": "softmax", "epochs": 1}])[0].run == run.run
    assert {old.views for old in load_runs(bank)} == {None, 2}


def test_one_of_two_records_of_a_run(tmp_path: Path) -> None:
    """One of an earlier version, one of this: the one that was tested, else the later."""
    bank = bank_of(tmp_path / "bank")
    (run,) = train_heads(bank, [{"kind": "nearest_mean"}])
    record = read_sealed(bank.path / "runs" / f"{run.run}.json")
    old = {**record, "run": "0" * 10, "bank": bank.former_digest}
    write_sealed(bank.path / "runs" / "0000000000.json", old)
    assert load_runs(bank) == [run]
    write_sealed(bank.path / "runs" / "0000000000.json", {**old, "tested": "2026-01-01T00:00:00Z"})
    assert [found.run for found in load_runs(bank)] == ["0" * 10]
