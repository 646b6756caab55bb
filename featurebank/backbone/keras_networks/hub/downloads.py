"""The files of a preset, which KerasHub keeps on Kaggle: downloaded once, and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_networks.hub.kinds import KINDS
from featurebank.backbone.keras_networks.hub.library import import_keras_hub
from featurebank.backbone.keras_networks.hub.presets import Architecture, Preset, recorded_architecture
from featurebank.backbone.weights.files import first_line
from featurebank.errors import ConfigError, WeightsError
from featurebank.system.progress import step

WEIGHTS = "model.weights.h5"
_SHARDS = "model.weights.json"
_CONFIG, _CONVERTER = "config.json", "image_converter.json"
_OF_MODELS = ("name", "trainable", "dtype", "data_format")
"""Arguments that do not belong to an architecture."""
_SCHEME = "kaggle://"


def fetch(preset: Preset, name: str) -> Path:
    """Returns a file of a preset; downloads it if it is missing.

    Raises:
        WeightsError: it cannot be downloaded, because the hub cannot be reached, has no such file, or wants the user to
            accept a licence first.
    """
    import_keras_hub()
    try:
        import kagglehub

        with step(f"downloading {name} of {preset.name}"):
            return Path(kagglehub.model_download(preset.handle.removeprefix(_SCHEME), name))
    except Exception as error:  # kagglehub raises its own errors, those of requests, and plain ones
        message = (
            f"'{name}' of keras_hub:{preset.name} cannot be downloaded from Kaggle ({first_line(error)}): check the "
            f"connection, accept the licence at https://www.kaggle.com/models/{_page(preset)} if it has one, or use "
            "--weights FILE or random:0"
        )
        raise WeightsError(message) from error


def fetch_weights(preset: Preset) -> list[Path]:
    """Returns the files of the weights; the first is the one that Keras loads, the others are its parts.

    Raises:
        WeightsError: see `fetch`.
    """
    try:
        return [fetch(preset, WEIGHTS)]
    except WeightsError as error:
        try:
            index = fetch(preset, _SHARDS)
        except WeightsError:
            raise error from None
    return [index, *(fetch(preset, name) for name in _parts(_read(index)))]


def is_downloaded(preset: Preset) -> bool:
    """Returns whether the weights are in kagglehub's cache; asks no server."""
    folder = os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub"
    owner, model, framework, *rest = preset.handle.removeprefix(_SCHEME).split("/")
    place = Path(folder).expanduser() / "models" / owner / model / framework / Path(*rest)
    return any((place / name).is_file() for name in (WEIGHTS, _SHARDS))


def fetch_architecture(preset: Preset) -> Architecture:
    """Returns the architecture and the input of a preset, as its own files say.

    Raises:
        WeightsError: a file cannot be downloaded, or is not what KerasHub writes.
        ConfigError: its images are resized in a way that no rule of ours equals.
    """
    described, converter = _read(fetch(preset, _CONFIG)), _read(fetch(preset, _CONVERTER))["config"]
    arguments = tower_arguments(preset, described)
    try:
        known = recorded_architecture(preset)
    except ConfigError:
        known = Architecture(arguments, 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "", 0, int(arguments.get("hidden_dim", 0)))
    side = converter.get("image_size") or [converter.get("height")]
    if not side[0]:
        side = _tower(preset, described)[KINDS[preset.family].image_argument]
    return replace(_with_input(known, converter, preset), arguments=arguments, image_size=int(side[0]))


def tower_arguments(preset: Preset, described: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of the network of images in `config.json`.

    Raises:
        WeightsError: the file describes another class.
    """
    left_out = {*_OF_MODELS, KINDS[preset.family].image_argument}
    return {name: value for name, value in _tower(preset, described).items() if name not in left_out}


def whole_configuration(preset: Preset) -> dict[str, Any]:
    """Returns the arguments of the network of images and text that contains a tower, from `config.json`."""
    return dict(_read(fetch(preset, _CONFIG))["config"])


def _tower(preset: Preset, described: Mapping[str, Any]) -> dict[str, Any]:
    kind = KINDS[preset.family]
    expected, config = kind.whole or kind.constructor, described.get("config", {})
    if described.get("class_name") != expected:
        message = f"{_CONFIG} of keras_hub:{preset.name} describes {described.get('class_name')}, expected {expected}"
        raise WeightsError(message)
    return dict(config["vision_encoder"]["config"] if kind.whole else config)


def _with_input(architecture: Architecture, converter: Mapping[str, Any], preset: Preset) -> Architecture:
    """Adds what an image converter does to an architecture."""
    scale, offset = (_three(converter.get(name), default) for name, default in (("scale", 1.0), ("offset", 0.0)))
    mean, deviation = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if "norm_mean" in converter:  # DeiT's converter of older versions
        mean, deviation = _three(converter["norm_mean"], 0.0), _three(converter["norm_std"], 1.0)
    elif "variance" in converter:  # all converters of older versions
        mean, deviation = _three(converter["mean"], 0.0), _three([one**0.5 for one in converter["variance"]], 1.0)
    # Together: (pixel * scale + offset - mean) / deviation, with pixels from 0 to 255.
    deviation = _three([one / (255 * by) for one, by in zip(deviation, scale, strict=True)], 1.0)
    mean = _three([(m - o) / (255 * by) for m, o, by in zip(mean, offset, scale, strict=True)], 0.0)
    if converter.get("pad_to_aspect_ratio"):
        message = f"keras_hub:{preset.name} pads its images to squares: choose a resize rule, as --resize pad"
        raise ConfigError(message)
    form = "crop" if converter.get("crop_to_aspect_ratio", True) else "stretch"
    resize = f"{form} {converter.get('interpolation', 'bilinear')}"
    return replace(architecture, mean=mean, deviation=deviation, resize=resize)


def _three(value: Any, default: float) -> tuple[float, float, float]:
    if value is None:
        value = default
    first, second, third = value if isinstance(value, list | tuple) else (value,) * 3
    return float(first), float(second), float(third)


def _parts(index: Mapping[str, Any]) -> list[str]:
    """Returns the names of the parts of sharded weights."""
    names = (name for value in index["weight_map"].values() for name in (value if isinstance(value, list) else [value]))
    return sorted({Path(name).name for name in names})


def _read(file: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**value}
    except (ValueError, TypeError, OSError) as error:
        message = f"'{file}' is damaged ({first_line(error)}): delete it, and it is downloaded again"
        raise WeightsError(message) from error


def _page(preset: Preset) -> str:
    return "/".join(preset.handle.removeprefix(_SCHEME).split("/")[:2])
