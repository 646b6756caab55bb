"""The digits and .npz files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import DatasetError

GREY = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
Y = np.array([0, 1, 2, 0, 1, 2])


def load(path: Path, **arrays: Any) -> Any:
    np.savez(path / "a.npz", **arrays)
    return load_dataset(f"npz:{path / 'a.npz'}")


def message_of(path: Path, **arrays: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        load(path, **arrays)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_digits_are_scaled_to_the_whole_range() -> None:
    dataset = load_dataset("digits")
    assert len(dataset) == 1797
    assert dataset.classes == tuple("0123456789")
    assert dataset.ids[:2] == ("0", "1")
    image = dataset.image(0)
    assert image.shape == (8, 8, 3)
    assert image[0, :, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 5, 13, 9, 1 of 16
    assert max(int(dataset.image(index).max()) for index in range(20)) == 255


def test_grey_with_or_without_channels_is_the_same(tmp_path: Path) -> None:
    shapes = [GREY, GREY[..., None], np.repeat(GREY[..., None], 3, 3)]
    found = [load(tmp_path, x=shape, y=Y) for shape in shapes]
    assert len({dataset.digests.tobytes() for dataset in found}) == 1
    np.testing.assert_array_equal(found[0].image(3), shapes[2][3])


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.float32, np.float64, np.float16])
def test_other_types_that_mean_the_same(tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.dataset.sources.arrays._BLOCK_BYTES", 200)  # several blocks
    x = (GREY / 255).astype(kind) if np.issubdtype(kind, np.floating) else GREY.astype(kind)
    dataset = load(tmp_path, x=x, y=Y)
    np.testing.assert_array_equal(np.stack([dataset.image(i)[..., 0] for i in range(6)]), GREY)


@pytest.mark.parametrize(
    ("x", "part"),
    [
        (GREY.astype(np.float32), "values from 0.0 to 119.0: expected floats from 0 to 1"),
        (-GREY.astype(np.float32) / 255, "expected floats from 0 to 1"),
        (np.full((6, 2, 2), np.nan), "holds NaN or infinity"),
        (np.full((6, 2, 2), np.inf), "holds NaN or infinity"),
        (GREY.astype(np.int32) * 3, "values from 0 to 357: expected whole numbers from 0 to 255"),
        (GREY > 3, "is of type bool"),
        (GREY[0], "has the shape (4, 5)"),
        (np.zeros((6, 4, 5, 4), np.uint8), "has the shape (6, 4, 5, 4)"),
        (np.zeros((6, 0, 5), np.uint8), "has the shape (6, 0, 5)"),
    ],
)
def test_wrong_images(tmp_path: Path, x: np.ndarray, part: str) -> None:
    assert part in message_of(tmp_path, x=x, y=Y)


@pytest.mark.parametrize(
    ("y", "part"),
    [
        (Y[:5], "has the shape (5,): expected (6,)"),
        (np.zeros((6, 2), int), "has the shape (6, 2)"),
        (Y / 2, "is of type float64"),
    ],
)
def test_wrong_labels(tmp_path: Path, y: np.ndarray, part: str) -> None:
    assert part in message_of(tmp_path, x=GREY, y=y)


def test_labels_and_classes(tmp_path: Path) -> None:
    assert load(tmp_path, images=GREY, labels=Y[:, None]).labels.tolist() == Y.tolist()
    numbered = load(tmp_path, x=GREY, y=np.array([10, 9, 2, 10, 9, 2]))
    assert numbered.classes == ("2", "9", "10")  # by number
    words = np.array(["b", "a", "c", "b", "a", "c"])
    for named in (load(tmp_path, x=GREY, y=words), load(tmp_path, x=GREY, y=words.astype("S"))):
        assert named.classes == ("a", "b", "c")
        assert named.labels.tolist() == [1, 0, 2, 1, 0, 2]
    for y in (Y, np.array(["z", "b", "m"])[Y]):
        listed = load(tmp_path, x=GREY, y=y, classes=np.array(["z", "b", "m", "unused"]))
        assert listed.classes == ("b", "m", "unused", "z")
        assert [listed.classes[label] for label in listed.labels[:3]] == ["z", "b", "m"]
        assert "class 'unused' has no images" in listed.warnings()


def test_wrong_classes(tmp_path: Path) -> None:
    assert "has the label '2': expected one of the 2" in message_of(tmp_path, x=GREY, y=Y, classes=np.array(["a", "b"]))
    assert "has the label '-1'" in message_of(tmp_path, x=GREY, y=Y - 1, classes=np.array(["a", "b", "c"]))
    words = np.array(["a", "b", "q"])[Y]
    assert "has the label 'q'" in message_of(tmp_path, x=GREY, y=words, classes=np.array(["a", "b"]))
    for classes in (np.array([1, 2]), np.array(["a", "a"]), np.array([["a", "b"]])):
        assert "expected one list of different strings" in message_of(tmp_path, x=GREY, y=Y, classes=classes)


def test_given_splits(tmp_path: Path) -> None:
    both = {"x_train": GREY, "y_train": Y, "x_test": GREY[:2], "y_test": Y[:2]}
    dataset = load(tmp_path, **both, x_val=GREY[2:3], y_val=Y[2:3])
    assert dataset.ids == (*(f"train/{n}" for n in range(6)), "val/0", "test/0", "test/1")
    assert dataset.splits.tolist() == [TRAIN] * 6 + [VAL] + [TEST] * 2
    assert load(tmp_path, x_train=GREY, y_train=Y).ids[0] == "train/0"
    assert "have images of shapes (4, 5), (4, 3)" in message_of(tmp_path, **{**both, "x_test": GREY[:2, :, :3]})


def test_wrong_members(tmp_path: Path) -> None:
    assert "holds the arrays x_test, y_test: expected x and y" in message_of(tmp_path, x_test=GREY, y_test=Y)
    assert "holds the arrays (none)" in message_of(tmp_path)
    assert "holds no images" in message_of(tmp_path, x=GREY[:0], y=Y[:0])
    assert "pickled objects" in message_of(tmp_path, x=GREY, y=np.array([{}] * 6, object))


def test_other_files(tmp_path: Path, make: SimpleNamespace) -> None:
    with pytest.raises(DatasetError, match="there is no file"):
        load_dataset(f"npz:{tmp_path / 'none.npz'}")
    whole = make.npz(tmp_path / "whole.npz").read_bytes()
    np.save(tmp_path / "single.npy", GREY)
    flipped = bytearray(whole)
    flipped[300] ^= 1
    for data in (b"", b"hello", whole[: len(whole) // 2], bytes(flipped), (tmp_path / "single.npy").read_bytes()):
        (tmp_path / "b.npz").write_bytes(data)
        with pytest.raises(DatasetError, match=r"not a whole \.npz file") as caught:
            load_dataset(str(tmp_path / "b.npz"))
        assert "\n" not in str(caught.value)
        assert "allow_pickle" not in str(caught.value)
