"""Which banks "all-of:DATASET" means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurebank.bank.catalog import RACED, find_bank_path
from featurebank.bank.comparison.all_of import banks_of_dataset, dataset_name, dataset_of
from featurebank.bank.writer import BankWriter
from featurebank.errors import BankNotFoundError, ConfigError, UnknownNameError

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, rows: Any) -> Save:
    """Writes a bank of a dataset into the cache of the test."""

    def saved(bank: str, name: str, spec: str = "folder:/photos", *, done: bool = True, **subset: int) -> Path:
        path = tmp_path / "cache" / bank
        dataset = {**rows.dataset, "name": name, "spec": spec, "subset": subset}
        with BankWriter(path, {**rows.recipe, "backbone": bank}, dataset) as to:
            rows.append(to, range(4), "pooled")
            to.flush()
            if done:
                to.finish(rows.items(range(4)), ("pooled",), [], None)
        return path

    return saved


def test_a_dataset_has_a_name_a_short_name_and_a_specification(save: Save, tmp_path: Path) -> None:
    paths = (save("a", "photos-0123ab"), save("b", "photos-0123ab"))
    save("c", "other-0123ab", "folder:/other")
    for text in ("photos-0123ab", "photos", "/photos", "folder:/photos", "/photos/../photos/"):
        found = banks_of_dataset(tmp_path / "cache", text)
        assert (found.dataset, found.paths) == ("photos-0123ab", paths), text
    assert dataset_name(paths[0]) == "photos-0123ab"


def test_a_part_of_a_dataset_counts_if_it_is_named_or_alone(save: Save, tmp_path: Path) -> None:
    part = save("part", "photos-0123ab-456789", limit=4)
    assert banks_of_dataset(tmp_path / "cache", "photos").paths == (part,)
    whole = save("whole", "photos-0123ab")
    assert banks_of_dataset(tmp_path / "cache", "photos").paths == (whole,)
    assert banks_of_dataset(tmp_path / "cache", "/photos").paths == (whole,)
    assert banks_of_dataset(tmp_path / "cache", "photos-0123ab-456789").paths == (part,)


def test_the_parts_of_a_race_are_not_the_dataset(save: Save, tmp_path: Path) -> None:
    part = save("part", f"photos-0123ab{RACED}")
    assert banks_of_dataset(tmp_path / "cache", "/photos").paths == (part,)
    whole = save("whole", "photos-0123ab")
    for text in ("photos", "/photos", "photos-0123ab"):
        assert banks_of_dataset(tmp_path / "cache", text).paths == (whole,), text
    assert banks_of_dataset(tmp_path / "cache", f"photos-0123ab{RACED}").paths == (part,)


def test_an_unfinished_bank_is_left_out_with_a_line(save: Save, tmp_path: Path) -> None:
    save("half", "photos-0123ab", done=False)
    with pytest.raises(BankNotFoundError, match="no bank of 'photos-0123ab' is complete"):
        banks_of_dataset(tmp_path / "cache", "photos")
    done = save("done", "photos-0123ab")
    found = banks_of_dataset(tmp_path / "cache", "photos")
    assert (found.paths, found.left_out) == ((done,), ("'half' is left out: its extraction has not finished",))


def test_what_is_not_there_or_may_be_two_is_one_line(save: Save, tmp_path: Path) -> None:
    with pytest.raises(BankNotFoundError, match="no bank in the cache"):
        banks_of_dataset(tmp_path / "cache", "photos")
    save("a", "photos-0123ab", "folder:/a/photos")
    save("b", "photos-cdef01", "folder:/b/photos")
    with pytest.raises(ConfigError, match=r"'photos' may be 2 datasets .*: photos-0123ab, photos-cdef01; name one"):
        banks_of_dataset(tmp_path / "cache", "photos")
    with pytest.raises(UnknownNameError, match="unknown dataset 'foto'"):
        banks_of_dataset(tmp_path / "cache", "foto")


def test_only_the_prefix_makes_a_name_one_of_several_banks(save: Save, tmp_path: Path) -> None:
    save("a", "photos-0123ab")
    assert (dataset_of("all-of:photos"), dataset_of("photos"), dataset_of(None)) == ("photos", None, None)
    with pytest.raises(ConfigError, match="names no dataset"):
        dataset_of("all-of:")
    with pytest.raises(ConfigError, match="'all-of:photos' names several banks, but one bank is expected here"):
        find_bank_path(tmp_path / "cache", "all-of:photos")
