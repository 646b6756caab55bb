"""A digest depends on everything that matters, on nothing else, and never changes in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.system import digest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
recipes = st.dictionaries(st.text(), values, min_size=1, max_size=6)


def test_golden_values() -> None:
    """If one of these changes, every bank on every disk is orphaned."""
    assert digest.of_bytes(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert digest.of_recipe({"b": [1, 2.5, None, True], "a": "ü"}) == "4f4854757726f3591bad0aa2d00e1fa9"
    assert digest.of_array(np.arange(6, dtype="<f4").reshape(2, 3)) == "7304badd40057db3d807d7bddc2110c3"


@given(recipes)
def test_order_of_keys_does_not_matter(recipe: dict[str, object]) -> None:
    assert digest.of_recipe(dict(reversed(recipe.items()))) == digest.of_recipe(recipe)


@given(recipes, st.data())
def test_every_field_matters(recipe: dict[str, object], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(recipe)))
    other = data.draw(values.filter(lambda v: repr(v) != repr(recipe[field])))
    if digest.canonical_json(other) != digest.canonical_json(recipe[field]):
        assert digest.of_recipe({**recipe, field: other}) != digest.of_recipe(recipe)
    without = {name: value for name, value in recipe.items() if name != field}
    assert digest.of_recipe(without) != digest.of_recipe(recipe)


@pytest.mark.parametrize("pair", [(1, 1.0), (1, True), (0, None), ("1", 1), ([], {}), (0.0, -0.0), ("a", "a ")])
def test_near_values_differ(pair: tuple[object, object]) -> None:
    assert digest.of_recipe(pair[0]) != digest.of_recipe(pair[1])


def test_nan_and_foreign_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest.of_recipe({"a": float("nan")})
    with pytest.raises(TypeError):
        digest.of_recipe({"a": Path()})


def test_array_digest_is_of_type_shape_and_elements() -> None:
    array = np.arange(6, dtype=np.int32)
    different = [array, array.reshape(2, 3), array.astype(np.int64), array.astype(">i4"), array[::-1], array[:0]]
    assert len({digest.of_array(a) for a in different}) == len(different)
    assert digest.of_array(np.asfortranarray(array.reshape(2, 3))) == digest.of_array(array.reshape(2, 3))


def test_addresses_are_never_digested() -> None:
    with pytest.raises(TypeError, match="no digest"):
        digest.of_array(np.array([object()], dtype=object))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_file_digest_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(data)
    assert digest.of_file(tmp_path / "file") == digest.of_bytes(data)


@given(st.lists(st.sampled_from([b"0" * 16, b"1" * 16, b"f" * 15, b"", b"\xff"]).flatmap(
    lambda head: st.binary(max_size=3).map(lambda tail: head + tail)), max_size=9))  # fmt: skip
def test_distinct_digests_are_sorted(values: list[bytes]) -> None:
    """Also such as have the same first half, or are no hexadecimal digits."""
    digests = np.array(values, "S32")
    found = digest.distinct(digests)
    assert found.dtype == "S32"
    assert found.tolist() == np.unique(digests).tolist()
