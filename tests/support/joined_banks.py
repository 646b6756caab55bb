"""Two banks of the same images by two backbones, in another order, with columns of metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.system import digest

N = 120
WIDTHS = {"pooled": 8, "late:avg": 3, "cls": 5}
SITES = ("north", "south", "west")


def features(tap: str, numbers: np.ndarray) -> np.ndarray:
    """The features of images by their numbers, which tell half of the classes each."""
    width = WIDTHS[tap]
    X = np.random.default_rng(width).normal(0, 1, (N, width)) * np.linspace(0.1, 3, width) + width
    X[:, 0] += 20 * (np.arange(N) % 4 // 2 if tap == "pooled" else np.arange(N) % 2)
    return X[numbers].astype(np.float32)


def columns() -> dict[str, np.ndarray]:
    """Metadata by the images' numbers; the site "west" is in the validation split alone."""
    sites = np.array(SITES[:2])[np.arange(N) // 4 % 2]
    return {
        "age": np.arange(N) % 7 * 10.0, "site": np.where(np.arange(N) == N - 25, "west", sites),
        "name": np.array([f"image {i}" for i in range(N)]), "gaps": np.where(np.arange(N) < 2, np.nan, 1.0),
    }  # fmt: skip


def save(
    path: Path, backbone: str, taps: tuple[str, ...], numbers: np.ndarray, *, views: int = 0, columns: Any = None,
    name: str = "made",
) -> Bank:  # fmt: skip
    """Writes a bank of images by their numbers: 60 for training, 30 to validate, 30 to test."""
    digests = np.array([digest.of_recipe(int(i)) for i in numbers], "S32")
    ids = tuple(f"{i}.png" for i in numbers)
    splits = np.repeat(np.arange(3, dtype=np.uint8), (60, 30, 30))[numbers]
    blocks: dict[str, np.ndarray] = {tap: features(tap, numbers) for tap in taps if tap != "map"}
    if "map" in taps:
        blocks["map"] = np.zeros((len(numbers), 1, 2, 3), np.float32)
    labels = (numbers % 4).astype(np.int32)
    recipe = {"backbone": backbone, "precision": "float32", **({"views": {"augment": "flip"}} if views else {})}
    with BankWriter(path, recipe, {"name": name, "classes": list("abcd")}) as writer:
        for view in range(views + 1):
            shifted = {tap: block + np.float32(view) for tap, block in blocks.items()}
            for part in np.array_split(np.arange(len(numbers)), 3):
                rows = {tap: block[part] for tap, block in shifted.items()}
                writer.append(
                    [ids[i] for i in part], row_keys(digests[part], view), rows, dict.fromkeys(taps, "float32")
                )
                writer.flush()
        metadata = {} if columns is None else {key: column[numbers] for key, column in columns.items()}
        writer.finish(Items(ids, digests, labels, splits, metadata).sorted(), taps, (), None, views=views)
    return Bank(path)


@pytest.fixture
def joined_banks(tmp_path: Path) -> Callable[..., Bank]:
    """Makes a bank with the taps "pooled", "late:avg" and "map"; beside it lies one of `vit` with the tap "cls"."""

    def made(views: int = 0, others: int = N) -> Bank:
        save(tmp_path / "vit-bank", "vit", ("cls",), np.random.default_rng(5).permutation(N)[:others], views=views)
        save(tmp_path / "unlabelled-bank", "vit", ("cls",), np.arange(N), name="unlabelled-cls")
        return save(
            tmp_path / "bank", "net", ("pooled", "late:avg", "map"), np.arange(N), views=views, columns=columns()
        )

    return made
