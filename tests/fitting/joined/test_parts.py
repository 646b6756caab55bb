"""The parts of joined taps are found, or all problems are named at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from joined_banks import N, save

from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.fitting.joined.parts import has_same_columns, resolve


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("late:avg+pooled", "pooled+late:avg"),
        ("columns:site, age + vit:cls+pooled", "pooled+vit:cls+columns:age,site"),
        ("net:pooled+bank:late:avg", "pooled+late:avg"),
        ("columns:age+columns:site", "columns:age,site"),
        ("vit-bank:cls+pooled", "pooled+vit-bank:cls"),
    ],
)
def test_one_text_for_the_same_features(joined_banks: Callable[..., Bank], text: str, canonical: str) -> None:
    assert resolve(joined_banks(), text).text == canonical


def test_a_tap_of_the_bank_comes_before_a_bank(joined_banks: Callable[..., Bank], tmp_path: Path) -> None:
    joined_banks()
    own = save(tmp_path / "late", "late", ("pooled",), np.arange(N))
    assert own.name == "late"
    bank = Bank(tmp_path / "bank")
    assert [part.places is None for part in resolve(bank, "late:avg+pooled").parts] == [True, True]
    assert [part.places is None for part in resolve(bank, "late:pooled+pooled").parts] == [True, False]


def test_all_problems_at_once(joined_banks: Callable[..., Bank]) -> None:
    text = "pooled+map+pooled+layer+vit:tap+nobody:cls++columns:gaps,name,sex,"
    with pytest.raises(ConfigError) as error:
        resolve(joined_banks(), text)
    lines = str(error.value).splitlines()
    assert [line.removeprefix(f"tap '{text}': ") for line in lines] == [
        "'map' has rows of 1 x 2 x 3, and joined taps take vectors: use 'map:avg', which 'featurebank extract --tap "
        "map:avg' adds",
        "unknown tap 'layer': known: pooled, late:avg, map, vit:cls; 'featurebank extract --tap layer' adds it, or "
        "name a tap of another bank of these images",
        "unknown tap 'tap': known: cls; 'featurebank extract --tap tap' adds it",
        "unknown tap 'nobody:cls': known: pooled, late:avg, map, vit:cls; 'featurebank extract --tap nobody:cls' adds "
        "it, or name a tap of another bank of these images",
        "a part is empty: expected taps joined by '+', as pooled+resnet50:pooled",
        "'pooled' occurs twice",
        "column 'gaps' has no value for 2 of 120 images ('0.png', '1.png'): fill it in and extract again, or leave the "
        "column out",
        "column 'name' has 120 categories for 120 images: it names images and says nothing about new ones; leave it "
        "out",
        "unknown column 'sex': known: age, site, name, gaps",
        "a column has no name: expected names with commas, as columns:age,site",
    ]


def test_a_bank_of_other_images_is_refused(joined_banks: Callable[..., Bank]) -> None:
    bank = joined_banks(others=110)
    with pytest.raises(ConfigError, match=r"bank 'vit-bank' lacks 10 of the 120 images of 'bank' \('.*' and 7 more\)"):
        resolve(bank, "pooled+vit:cls")


def test_several_banks_of_one_backbone(joined_banks: Callable[..., Bank], tmp_path: Path) -> None:
    bank = joined_banks()
    recorded = resolve(bank, "pooled+vit:cls").identity()
    path = tmp_path / "other"
    save(path, "vit", ("cls",), np.arange(N), views=1)  # another recipe
    bank = Bank(bank.path)
    with pytest.raises(ConfigError, match="'vit:cls' may mean 2 banks: write 'other:cls' or 'vit-bank:cls'"):
        resolve(bank, "pooled+vit:cls")
    assert resolve(bank, "pooled+vit:cls", recorded).parts[1].bank.name == "vit-bank"
    assert resolve(bank, "pooled+other:cls").parts[1].bank.name == "other"
    shutil.rmtree(tmp_path / "vit-bank")
    bank = Bank(bank.path)
    assert resolve(bank, "pooled+vit:cls").parts[1].bank.name == "other", "a new head"
    with pytest.raises(ConfigError, match="the bank that the run was trained with is not in the cache any"):
        resolve(bank, "pooled+vit:cls", recorded)


def test_views_have_to_be_those_of_all_parts(joined_banks: Callable[..., Bank], tmp_path: Path) -> None:
    bank = joined_banks(views=1)
    assert not list(resolve(bank, "pooled+vit:cls").problems_with_views(1))
    save(tmp_path / "clean", "clean", ("cls",), np.arange(N))
    (line,) = resolve(bank, "pooled+clean:cls").problems_with_views(1)
    assert "train with --views 0" in line
    assert not list(resolve(bank, "pooled+clean:cls").problems_with_views(0))


def test_columns_identify_a_run(joined_banks: Callable[..., Bank], tmp_path: Path) -> None:
    recorded = resolve(joined_banks(), "pooled+columns:age").identity()
    assert has_same_columns(Bank(tmp_path / "bank"), recorded)
    ages = {"age": np.arange(N) % 9.0}
    changed = save(tmp_path / "new", "net", ("pooled",), np.arange(N), columns=ages)
    assert not has_same_columns(changed, recorded)
    assert not has_same_columns(save(tmp_path / "none", "net", ("pooled",), np.arange(N)), recorded)
