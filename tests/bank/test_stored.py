"""Banks of every version that ever was: they open, for ever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from featurebank import evaluate_test, select
from featurebank.bank.items import Items
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import FORMAT_VERSION, load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.dataset.splits import SPLITS
from featurebank.runs.run import load_runs

DATA = Path(__file__).resolve().parents[1] / "data"
VERSIONS = range(1, FORMAT_VERSION + 1)


@pytest.fixture(params=VERSIONS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the stored bank of a version."""
    return Path(shutil.copytree(DATA / f"bank-v{request.param}", tmp_path / "bank"))


def expected(view: int) -> dict[str, list[float]]:
    """Features by id, as `make_bank.py` has made them; the last two images of class 2 are the same."""
    rows = np.arange(30, dtype=np.float32)[:, None] % 3 * 8 + np.arange(4, dtype=np.float32) / 4 + view
    classes = ("ant", "bee", "ünï 图")
    return {f"{classes[n % 3]}/{n}.png": rows[26 if n == 29 else n].tolist() for n in range(30)}


def test_all_of_it_is_read(stored: Path) -> None:
    bank = Bank(stored)
    assert (len(bank), bank.taps, bank.views, bank.classes) == (
        30,
        ("pooled", "block/a:max"),
        1,
        ("ant", "bee", "ünï 图"),
    )
    for view in (0, 1):
        for tap, shape in (("pooled", (4,)), ("block/a:max", (1, 2, 2))):
            features = bank.features(tap, view=view)
            assert features.shape == (30, *shape)
            assert dict(zip(bank.ids(), features.reshape(30, 4).tolist(), strict=True)) == expected(view)
    numbers = [int(name.split("/")[1].removesuffix(".png")) for name in bank.ids()]
    assert bank.labels().tolist() == [n % 3 for n in numbers]
    assert bank.splits().tolist() == [("train", "val", "test")[n // 3 % 3] for n in numbers]
    assert bank.metadata()["camera"].tolist() == [f"c{n % 2}" for n in numbers]
    assert bank.metadata()["metres"].tolist() == [n * 0.5 for n in numbers]
    assert [entry["id"] for entry in bank.skipped] == ["ant/bad.jpg"]
    assert bank.manifest.last_extraction
    assert bank.digest == "55609adbca3a7df259e6c49e9b24e086"
    assert bank.former_digest == "7ac058ab1d5182ad1081bb29df26d7a5"


def test_its_checksums_hold(stored: Path) -> None:
    assert verify_bank(stored).damaged == ()


def test_its_runs_go_on(stored: Path) -> None:
    bank = Bank(stored)
    runs = load_runs(bank)
    assert sorted(run.head for run in runs) == ["ridge", "softmax"]
    best = select(runs)
    assert best.saved_path.is_file()
    tested = evaluate_test(bank, best).metrics
    assert tested["test"]["accuracy"] == tested["val"]["accuracy"], "these splits have the same rows"


def test_it_can_be_written(stored: Path) -> None:
    """New rows go into an old bank, and clean-up works on it."""
    bank = Bank(stored)
    keep = np.arange(30) > 3
    manifest = load_manifest(stored)
    with BankWriter(stored, manifest.recipe, manifest.dataset) as to:
        assert len(to.stored("pooled", 1)) == 29
        new = np.array([b"f" * 32], "S32")
        for view in (0, 1):
            taps = {"pooled": np.ones((1, 4), np.float32), "block/a:max": np.ones((1, 1, 2, 2), np.float32)}
            to.append(["new"], row_keys(new, view), taps, {"pooled": "float32", "block/a:max": "float16"})
        splits = np.array([SPLITS.index(name) for name in bank.splits()], np.uint8)
        table = Items(bank.ids(), bank.digests(), bank.labels(), splits).select(np.flatnonzero(keep))
        to.finish(table, manifest.taps, [], None, views=1)
    assert collect(stored).dead_rows > 0
    after = Bank(stored)
    for view in (0, 1):
        found = dict(zip(after.ids(), after.features(view=view).tolist(), strict=True))
        assert found == {name: row for name, row in expected(view).items() if name in set(after.ids())}
    assert len(after) == 26
    assert load_manifest(stored).version == FORMAT_VERSION, "the first writer writes the last version"
    assert verify_bank(stored).damaged == ()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the permissions of this user forbid nothing")
def test_it_is_read_where_nothing_can_be_written(stored: Path) -> None:
    stored.chmod(0o500)
    try:
        test_all_of_it_is_read(stored)
    finally:
        stored.chmod(0o700)


def test_reading_changes_nothing(stored: Path) -> None:
    before = {file: file.read_bytes() for file in stored.rglob("*") if file.is_file()}
    test_all_of_it_is_read(stored)
    assert verify_bank(stored).damaged == ()
    assert not plan_gc(stored)
    assert {file: file.read_bytes() for file in stored.rglob("*") if file.is_file()} == before


def test_it_is_merged_with_banks_of_other_versions(stored: Path, tmp_path: Path) -> None:
    others = [Path(shutil.copytree(DATA / f"bank-v{version}", tmp_path / f"v{version}")) for version in VERSIONS]
    merged = merge_banks([stored, *others], tmp_path / "cache")
    assert merged.manifest.version == FORMAT_VERSION
    for view in (0, 1):
        found = dict(zip(merged.ids(), merged.features(view=view).tolist(), strict=True))
        assert found == expected(view)
    assert merged.metadata()["metres"].dtype.kind == "f"
    assert verify_bank(merged.path).damaged == ()
