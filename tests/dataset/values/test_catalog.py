"""What a program holds as a dataset: arrays, lists of files, data frames, datasets of Keras and tf.data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import featurebank as fb
from featurebank.dataset.values import registry
from featurebank.errors import ConfigError, DatasetError, RamLimitError

COUNT = 6
LABELS = ["ant", "bee", "ant", "bee", "bee", "ant"]


@pytest.fixture
def images() -> np.ndarray:
    """(6, 8, 8, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path: Path, images: np.ndarray) -> list[Path]:
    """The same images as files, each in the folder of its class."""
    paths = []
    for number, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        path = tmp_path / "files" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        paths.append(path)
    return paths


def labels_of(dataset: fb.Dataset) -> list[str]:
    return [dataset.classes[label] for label in dataset.labels]


def images_of(dataset: fb.Dataset) -> np.ndarray:
    return np.stack([dataset.image(index) for index in range(len(dataset))])


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        list,
        lambda x: x / np.float32(255),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int64),
        lambda x: pd.Series(list(x)),
    ],
)
def test_pairs_of_arrays(images: np.ndarray, form: Callable[[np.ndarray], Any]) -> None:
    dataset = fb.load_dataset((form(images), LABELS))
    assert labels_of(dataset) == LABELS
    assert np.array_equal(images_of(dataset), images)


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        pd.Series,
        lambda y: np.array(y, object),
        lambda y: np.array(y)[:, np.newaxis],
        lambda y: pd.Series(y, dtype="category"),
    ],
)
def test_labels_are_names_in_any_container(images: np.ndarray, form: Callable[[list[str]], Any]) -> None:
    assert labels_of(fb.load_dataset((images, form(LABELS)))) == LABELS


@pytest.mark.parametrize(
    "form",
    [np.asarray, lambda y: np.asarray(y, np.float32), lambda y: np.eye(2)[y], lambda y: np.eye(2, dtype=bool)[y]],
)
def test_labels_are_numbers_or_one_hot(images: np.ndarray, form: Callable[[list[int]], Any]) -> None:
    numbers = [int(name == "bee") for name in LABELS]
    assert labels_of(fb.load_dataset((images, form(numbers)))) == [str(number) for number in numbers]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:4], r"y of \(X, y\) has the shape \(4,\): expected \(6,\)"),
        ([0.5] * COUNT, "is of type float64: expected whole numbers or strings"),
        ([[1, 1]] * COUNT, "names no class, or several"),
        ([None] * COUNT, "is of type object"),
    ],
)
def test_wrong_labels_are_named(images: np.ndarray, labels: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        fb.load_dataset((images, labels))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3)), r"X of '\(X, y\)' has the shape \(2, 3\)"),
        (np.full((2, 4, 4), 7.5), "has values from 7.5 to 7.5: expected floats from 0 to 1"),
        (np.zeros((0, 4, 4), np.uint8), "holds no images"),
        (3, "X of .* is of type int"),
    ],
)
def test_wrong_images_are_named(images: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        fb.load_dataset((images, [0, 1][: len(images) if hasattr(images, "__len__") else 2]))


def test_images_of_different_sizes() -> None:
    images = [np.full((size, 5, 3), size, np.uint8) for size in (3, 4, 5)]
    dataset = fb.load_dataset((images, ["a", "b", "a"]))
    assert [dataset.image(index).shape[0] for index in range(3)] == [3, 4, 5]


def test_equal_arrays_are_one_dataset_and_others_are_not(images: np.ndarray) -> None:
    one, again = fb.load_dataset((images, LABELS)), fb.load_dataset((images.copy(), np.array(LABELS)))
    assert one.name == again.name
    assert (
        len({one.name, fb.load_dataset((images, LABELS[::-1])).name, fb.load_dataset((images[::-1], LABELS)).name}) == 3
    )


def test_the_options_of_load_dataset_apply(images: np.ndarray) -> None:
    dataset = fb.load_dataset((images, LABELS), per_class=2, split=(0.5, 0.5), test=(images[:2], LABELS[:2]))
    assert len(dataset) == 6
    assert sum(dataset.counts()["test"].values()) == 2
    with pytest.raises(ConfigError, match="columns are given for a dataset that is not a table"):
        fb.load_dataset((images, LABELS), columns={"path": "x"})


def test_a_list_of_files_has_the_classes_of_their_folders(files: list[Path], images: np.ndarray) -> None:
    for paths in (files, [str(path) for path in files], np.array(files, str), pd.Series([str(p) for p in files])):
        dataset = fb.load_dataset(paths)
        assert labels_of(dataset) == LABELS
        assert np.array_equal(images_of(dataset), images)


def test_files_with_labels(files: list[Path]) -> None:
    numbers = [3, 1, 3, 1, 1, 2]
    dataset = fb.load_dataset((files, numbers))
    assert labels_of(dataset) == [str(number) for number in numbers]
    assert dataset.ids == tuple(str(path) for path in files)


def test_relative_files_start_from_the_current_folder(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files[0].parents[2])
    relative = [path.relative_to(Path.cwd()) for path in files]
    assert fb.load_dataset(relative).name == fb.load_dataset(files).name


def test_files_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of its 2 images exists"):
        fb.load_dataset([tmp_path / "a" / "1.png", tmp_path / "b" / "2.png"])


def test_a_data_frame_is_read_as_a_manifest(files: list[Path], images: np.ndarray) -> None:
    frame = pd.DataFrame(
        {
            "path": files,
            "label": LABELS,
            "split": ["train", "val", None, "test", np.nan, "train"],
            "weight": np.arange(COUNT) / 2,
        },
        index=range(10, 10 + COUNT),
    )
    dataset = fb.load_dataset(frame)
    assert labels_of(dataset) == LABELS
    assert np.array_equal(images_of(dataset), images)
    assert dataset.weights is not None
    assert dataset.weights.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert dataset.splits[[0, 1, 3, 5]].tolist() == [0, 1, 2, 0]
    renamed = frame.rename(columns={"path": "where", "label": "what"})
    assert fb.load_dataset(renamed, columns={"path": "where", "label": "what"}).ids == dataset.ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [*LABELS[:5], None]}, "row 5 .*: the label is empty"),
        ({"split": ["train"] * 5 + ["x"]}, "unknown split 'x'"),
    ],
)
def test_wrong_rows_of_a_data_frame_are_named(files: list[Path], change: dict[str, Any], message: str) -> None:
    frame = pd.DataFrame({"path": files, "label": LABELS}).assign(**change)
    with pytest.raises(DatasetError, match=message):
        fb.load_dataset(frame)
    with pytest.raises(DatasetError, match="has no column 'label'"):
        fb.load_dataset(frame.drop(columns="label"))


def test_a_dataset_of_keras_leads_to_its_files(files: list[Path], images: np.ndarray) -> None:
    import keras

    folder = files[0].parents[1]
    batches = keras.utils.image_dataset_from_directory(folder, image_size=(4, 4), batch_size=4, shuffle=True, verbose=0)
    dataset = fb.load_dataset(batches)
    assert sorted(dataset.ids) == sorted(str(path) for path in files)
    assert all(Path(name).parent.name == label for name, label in zip(dataset.ids, labels_of(dataset), strict=True))
    assert dataset.image(0).shape == (8, 8, 3)


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("batch", [0, 4])
def test_a_dataset_of_tensors_is_read(images: np.ndarray, batch: int, *, one_hot: bool) -> None:
    import tensorflow as tf

    numbers = np.array([0, 1, 0, 1, 1, 0])
    batches = tf.data.Dataset.from_tensor_slices(
        (images.astype(np.float32), np.eye(2)[numbers] if one_hot else numbers)
    )
    dataset = fb.load_dataset(batches.batch(batch) if batch else batches)
    assert labels_of(dataset) == [str(number) for number in numbers]
    assert np.array_equal(images_of(dataset), images)


def test_a_dataset_of_tensors_without_end_or_labels_is_refused(images: np.ndarray) -> None:
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(COUNT)))
    with pytest.raises(DatasetError, match="repeats without end"):
        fb.load_dataset(batches.repeat())
    with pytest.raises(DatasetError, match="expected pairs of images and labels"):
        fb.load_dataset(batches.map(lambda x, _: x))
    fb.set_ram("1MB")
    try:
        with pytest.raises(RamLimitError, match="name the folder of the images instead"):
            fb.load_dataset(tf.data.Dataset.from_tensor_slices((np.zeros((2, 800, 800, 3), np.uint8), [0, 1])))
    finally:
        fb.set_ram(None)


def test_a_sequence_of_keras_is_read(images: np.ndarray) -> None:
    import keras

    class Pairs(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(3 * index, 3 * index + 3)
            return images[rows], np.array(LABELS)[rows]

    dataset = fb.load_dataset(Pairs())
    assert labels_of(dataset) == LABELS
    assert np.array_equal(images_of(dataset), images)


def test_images_of_a_bank_are_found_again(
    files: list[Path],
    images: np.ndarray,
    lite: fb.Backbone,
    pixels: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of files in any process; of arrays in one that has been given them."""
    from featurebank.extraction.source_images import source_dataset

    listed = fb.extract(files, lite, cache=tmp_path / "cache")
    arrays = fb.extract((images, LABELS), lite, cache=tmp_path / "cache")
    assert np.array_equal(images_of(source_dataset(arrays)), images)
    monkeypatch.setattr(registry, "_contents_by_spec", {})  # as in a new process
    found = source_dataset(listed)
    assert {name: found.image(row).tobytes() for row, name in enumerate(found.ids)} == {
        str(path): image.tobytes() for path, image in zip(files, images, strict=True)
    }
    with pytest.raises(DatasetError, match="was in the memory of another process"):
        source_dataset(arrays)
    fb.load_dataset((images, LABELS))
    assert np.array_equal(images_of(source_dataset(arrays)), images)
