"""A model file of another kind is named, with the way to a .keras file."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurebank import load_backbone
from featurebank.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.h5", r"old format of Keras.*load_model\('m\.h5'\)\.save\('m\.keras'\)"),
        ("some/m.HDF5", r"old format of Keras.*load_model\('m\.HDF5'\)\.save\('m\.keras'\)"),
        ("m.weights.h5", r"weights without a network.*--weights.*load_weights\('m\.weights\.h5'\)"),
        ("C:\\models\\m.pth", "a file of PyTorch"),
        ("saved", r"a SavedModel.*model\.save\('saved\.keras'\)"),
        ("folder", r"is a folder: expected a \.keras file"),
    ],
)
def test_what_the_file_is_and_what_to_do(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("saved", "folder", "vgg16"):
        Path(place).mkdir()
    Path("saved", "saved_model.pb").touch()
    with pytest.raises(ConfigError, match=message) as caught:
        load_backbone(name, preprocessing="none")
    assert "\n" not in str(caught.value)
    assert load_backbone("vgg16", weights="random:0").name == "vgg16", "known whatever lies beside"
