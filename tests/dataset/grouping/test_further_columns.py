"""Groups come from columns that are read only then: of .npz files, of Hugging Face, and lists of a program."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featurebank as fb
from featurebank.dataset import Dataset
from featurebank.dataset.grouping.components import torn_groups
from featurebank.errors import ConfigError, DatasetError

COUNT = 24
PATIENTS = [f"p{number % 8}" for number in range(COUNT)]


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4), np.uint8)


def check(dataset: Dataset, groups: list[str]) -> None:
    assert dataset.groups is not None
    assert dataset.groups.tolist() == groups
    assert torn_groups(dataset.groups, dataset.splits) == {}


@pytest.mark.parametrize("dtype", ["U", "S", "O"])
def test_an_array_of_an_npz_file(tmp_path: Path, dtype: str) -> None:
    column = np.array(range(COUNT)) % 8 if dtype == "O" else np.array(PATIENTS, dtype)
    names = [str(value) for value in column] if dtype == "O" else PATIENTS
    np.savez(tmp_path / "a.npz", x=pixels(), y=np.arange(COUNT) % 2, patient=column, other=np.zeros((COUNT, 2)))
    check(fb.load_dataset(tmp_path / "a.npz", groups="patient"), names)
    part = fb.load_dataset(tmp_path / "a.npz", groups="patient", limit=15)
    check(part, [names[int(name)] for name in part.ids])
    with pytest.raises(DatasetError, match=r"there is no column 'other' \(found patient\)"):
        fb.load_dataset(tmp_path / "a.npz", groups="other")


def test_an_array_for_each_split_of_an_npz_file(tmp_path: Path) -> None:
    x, y, patients = pixels(), np.arange(COUNT) % 2, np.array([f"p{number // 3}" for number in range(COUNT)])
    arrays = {"x_train": x[:18], "y_train": y[:18], "x_test": x[18:], "y_test": y[18:], "patient_train": patients[:18]}
    np.savez(tmp_path / "a.npz", **arrays, patient_test=patients[18:])
    check(fb.load_dataset(tmp_path / "a.npz", groups="patient"), patients.tolist())
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(DatasetError, match=r"there is no column 'patient' \(it has no further columns\)"):
        fb.load_dataset(tmp_path / "b.npz", groups="patient")


def test_a_list_for_images_of_a_program() -> None:
    images = pixels(), np.arange(COUNT) % 2
    check(fb.load_dataset(images, groups=PATIENTS), PATIENTS)
    check(fb.load_dataset(images, groups=np.array(PATIENTS), limit=COUNT), PATIENTS)
    with pytest.raises(DatasetError, match=r"groups has the shape \(23,\): expected \(24,\), one group for each image"):
        fb.load_dataset(images, groups=PATIENTS[1:])
    with pytest.raises(DatasetError, match="1 image has no value, '0'"):
        fb.load_dataset(images, groups=[None, *PATIENTS[1:]])
    with pytest.raises(ConfigError, match="groups is a list, but 'digits' is read from files: name a column"):
        fb.load_dataset("digits", groups=PATIENTS)


def test_a_column_of_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")

    def encoded(image: np.ndarray) -> dict[str, object]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    features = datasets.Features({
        "image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"]),
        "patient": datasets.Value("string"), "visit": datasets.Value("int64"),
    })  # fmt: skip
    columns = {
        "image": [encoded(image) for image in pixels()], "label": [number % 2 for number in range(COUNT)],
        "patient": PATIENTS, "visit": [None, *(number // 4 for number in range(1, COUNT))],
    }  # fmt: skip
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(tmp_path / "d"))
    dataset = fb.load_dataset(f"hf:{tmp_path / 'd'}", groups="patient")
    check(dataset, PATIENTS)
    assert dataset.metadata == {}, "no other column is read"
    with pytest.raises(DatasetError, match="1 image has no value, '0'"):
        fb.load_dataset(f"hf:{tmp_path / 'd'}", groups="visit")
    with pytest.raises(DatasetError, match=r"no column 'doctor' \(found patient, visit\)"):
        fb.load_dataset(f"hf:{tmp_path / 'd'}", groups="doctor")
