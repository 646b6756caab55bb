"""The files of a preset: its architecture, what its image converter does, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurebank.backbone.keras_networks.hub import downloads
from featurebank.backbone.keras_networks.hub.presets import Preset
from featurebank.errors import ConfigError, WeightsError

PRESET = Preset("vit_new", "vit", "", "kaggle://keras/vit/keras/vit_new/4")
TOWER = Preset("siglip_new", "siglip", "", "kaggle://keras/siglip/keras/siglip_new/1")
VIT = {"image_shape": [64, 64, 3], "hidden_dim": 32, "patch_size": 16, "name": "x", "dtype": {"a": 1}}


def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, converter: dict[str, Any], **described: Any) -> None:
    for name, value in {"config.json": described, "image_converter.json": {"config": converter}}.items():
        (tmp_path / name).write_text(json.dumps(value))
    monkeypatch.setattr(downloads, "fetch", lambda preset, name: tmp_path / name)


@pytest.mark.parametrize(
    ("converter", "mean", "deviation", "resize"),
    [
        ({"image_size": [64, 64], "scale": 1 / 127.5, "offset": -1.0}, 0.5, 0.5, "crop bilinear"),
        ({"height": 64, "width": 64, "scale": 1 / 255, "mean": [0.5] * 3, "variance": [0.25] * 3}, 0.5, 0.5,
         "crop bilinear"),
        ({"image_size": None, "scale": None, "offset": None, "interpolation": "bicubic"}, 0, 1 / 255, "crop bicubic"),
        (
            {"scale": 1 / 255, "norm_mean": [0.4] * 3, "norm_std": [0.2] * 3, "crop_to_aspect_ratio": False},
            0.4, 0.2, "stretch bilinear",
        ),
    ],
)  # fmt: skip
def test_input_of_a_preset(
    converter: dict[str, Any],
    mean: float,
    deviation: float,
    resize: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    files(monkeypatch, tmp_path, converter, class_name="ViTBackbone", config=VIT)
    found = downloads.fetch_architecture(PRESET)
    assert found.mean == pytest.approx((mean,) * 3)
    assert found.deviation == pytest.approx((deviation,) * 3)
    assert (found.resize, found.image_size, found.channels) == (resize, 64, 32)
    assert found.arguments == {"hidden_dim": 32, "patch_size": 16}


def test_the_image_tower_of_a_network_of_images_and_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = {"vision_encoder": {"config": VIT}, "text_encoder": {"config": {"hidden_dim": 8}}}
    files(monkeypatch, tmp_path, {"image_size": [64, 64]}, class_name="SigLIPBackbone", config=config)
    assert downloads.fetch_architecture(TOWER).arguments["hidden_dim"] == 32


def test_files_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files(monkeypatch, tmp_path, {"image_size": [64, 64]}, class_name="BertBackbone", config=VIT)
    with pytest.raises(WeightsError, match="describes BertBackbone, expected ViTBackbone"):
        downloads.fetch_architecture(PRESET)
    padded = {"image_size": [64, 64], "pad_to_aspect_ratio": True, "crop_to_aspect_ratio": False}
    files(monkeypatch, tmp_path, padded, class_name="ViTBackbone", config=VIT)
    with pytest.raises(ConfigError, match="--resize pad"):
        downloads.fetch_architecture(PRESET)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"is damaged .* delete it"):
        downloads.fetch_architecture(PRESET)


def test_weights_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index = {
        "weight_map": {"a": "model_00000.weights.h5", "b": ["model_00001.weights.h5", "../model_00000.weights.h5"]}
    }
    (tmp_path / "model.weights.json").write_text(json.dumps(index))

    def fetch(preset: Preset, name: str) -> Path:
        if name == downloads.WEIGHTS:
            message = "it is not there"
            raise WeightsError(message)
        return tmp_path / name

    monkeypatch.setattr(downloads, "fetch", fetch)
    found = [path.name for path in downloads.fetch_weights(PRESET)]
    assert found == ["model.weights.json", "model_00000.weights.h5", "model_00001.weights.h5"]


def test_what_is_in_the_cache_need_not_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert not downloads.is_downloaded(PRESET)
    place = tmp_path / "models" / "keras" / "vit" / "keras" / "vit_new" / "4"
    place.mkdir(parents=True)
    (place / downloads.WEIGHTS).touch()
    assert downloads.is_downloaded(PRESET)
