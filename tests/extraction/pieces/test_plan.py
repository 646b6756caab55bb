"""What is left of each slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.extraction.pieces.plan import Piece, PieceBank, plan_pieces
from featurebank.extraction.plan import BankPlan, ExtractionJob
from featurebank.extraction.state import BankState


def names(numbers: list[int]) -> np.ndarray:
    return np.array([b"%032x" % number for number in numbers], "S32")


def planned(path: Path, images: list[int], bad: list[int]) -> BankPlan:
    recipe = {"backbone": path.name}
    state = BankState(recipe, (), 0, {}, {}, names(bad))
    jobs = [ExtractionJob(0, ("pooled",), 0, names(images))] if images else []
    return BankPlan(path, state, ("pooled",), 0, {"pooled": "float32"}, names(images), (), jobs)


@given(lacking=st.sets(st.integers(0, 40)), bad=st.sets(st.integers(0, 40)), size=st.integers(1, 10))
@settings(max_examples=40)
def test_pieces_are_what_is_lacking(lacking: set[int], bad: set[int], size: int) -> None:
    """The pieces are a partition of the lacking rows, one for each slice that lacks some."""
    images = names(list(range(41)))
    plan = plan_pieces([planned(Path("nowhere"), sorted(lacking), sorted(bad))], images, size)
    parts = [np.searchsorted(images, piece.images).tolist() for piece in plan.pieces]
    assert [number for part in parts for number in part] == sorted(lacking)
    assert all(
        {number // size for number in part} == {piece.number} for part, piece in zip(parts, plan.pieces, strict=True)
    )
    assert [piece.is_retry for piece in plan.pieces] == [set(part) <= bad for part in parts]
    assert (plan.slices, plan.finished) == (-(-41 // size), 0)


@pytest.mark.parametrize("change", ["recipe", "dtype", "images", "view"])
def test_another_piece_has_another_key(change: str) -> None:
    def piece(recipe: str, dtype: str, images: list[int], view: int) -> Piece:
        bank = PieceBank(Path("bank"), recipe, {"pooled": dtype})
        return Piece(0, (bank,), (ExtractionJob(0, ("pooled",), view, names(images)),))

    usual = {"recipe": "one", "dtype": "float32", "images": [1, 2], "view": 0}
    other = {"recipe": "other", "dtype": "float16", "images": [1, 3], "view": 1}
    one = piece(**usual).contents()[0].key  # type: ignore[arg-type]
    assert one == piece(**usual).contents()[0].key  # type: ignore[arg-type]
    assert one != piece(**{**usual, change: other[change]}).contents()[0].key  # type: ignore[arg-type]
