"""Variants that share a bank share its split; all others may differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurebank import read_variants, run_variants
from featurebank.errors import ConfigError
from featurebank.pipeline import plan_variants

FILE = """
dataset.name = "photos"
dataset.groups = 'path:(?P<group>[0-9])[0-9]*\\.'
extract = { backbone = "basenet", weights = "random:0", image_size = 32 }
heads.grid = "heads.toml"
[[variant]]
name = "a"
[[variant]]
name = "b"
"""


@pytest.fixture
def file(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("heads.toml").write_text('[[head]]\nkind = "ridge"\n')
    return tmp_path / "a.toml"


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("dataset.groups = false", r"dataset.groups is 'path:.*' and not set"),
        ("dataset.seed = 3", "dataset.seed is 0 and 3"),
        ("dataset = { split = [0.5, 0.5], name = './photos' }", r"dataset.split is not set and \(0.5, 0.5\)"),
        (
            "dataset = { layout = 'classes', seed = 1 }",
            "dataset.seed is 0 and 1, dataset.layout is not set and 'classes'",
        ),
    ],
)
def test_variants_with_one_bank_have_one_split(file: Path, own: str, told: str) -> None:
    file.write_text(FILE + own)
    with pytest.raises(ConfigError, match=f"variants 'a' and 'b' have one bank, .*, but {told}.*: set it in") as error:
        list(run_variants(read_variants(file)))
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=told):
        plan_variants(read_variants(file))
    assert not Path("cache").exists()
    assert len(plan_variants(read_variants(file, only=["b"]))) == 1


@pytest.mark.parametrize(
    "own",
    [
        "dataset.split = [0.7, 0.15, 0.15]",
        "dataset = { limit = 9, seed = 3 }",
        "dataset = { test = 'photos', seed = 3 }",
        "dataset.seed = 3\nextract.image_size = 48",
    ],
)
def test_variants_with_banks_of_their_own_may_differ(file: Path, own: str) -> None:
    file.write_text(FILE.replace("dataset.groups", "# ") + own)
    assert len(plan_variants(read_variants(file))) == 2
