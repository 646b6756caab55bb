"""KerasHub's presets: their names, what they are, and the architectures that are recorded here.

The names are read from KerasHub's own lists, as plain data, so that a search imports neither KerasHub nor TensorFlow.
The lists do not contain the sizes of the networks, which KerasHub downloads. So that `random:SEED` needs no download,
`architectures.json` records them for the presets of the usual networks; it says where each family's come from.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_networks.hub.library import FAMILIES, PACKAGE
from featurebank.errors import ConfigError, unknown_name

_TABLE = Path(__file__).with_name("architectures.json")
_WHERE = "'featurebank backbones --source keras_hub' lists them"
_EXAMPLE = f"{PACKAGE}:vit_base_patch16_224_imagenet"
_IMAGE_AND_TEXT = "a network of images and text"
_OTHERS = {
    "basnet": "a network for segmentation",
    "blip2": _IMAGE_AND_TEXT,
    "d_fine": "a network for object detection",
    "deeplab_v3": "a network for segmentation",
    "depth_anything": "a network for depth estimation",
    "esm": "a network of proteins",
    "flux": "a network that generates images",
    "gemma3": _IMAGE_AND_TEXT,
    "gemma3n": _IMAGE_AND_TEXT,
    "gemma4": _IMAGE_AND_TEXT,
    "metaclip_2": _IMAGE_AND_TEXT,
    "mobilenetv5": "the image part of a language model, whose layers cannot be taken apart",
    "moonshine": "a network of speech",
    "pali_gemma": _IMAGE_AND_TEXT,
    "parseq": "a network that reads text in images",
    "qwen3_5": _IMAGE_AND_TEXT,
    "qwen3_5_moe": _IMAGE_AND_TEXT,
    "retinanet": "a network for object detection",
    "sam": "a network for segmentation",
    "sam3": "a network for segmentation",
    "segformer": "a network for segmentation",
    "stable_diffusion_3": "a network that generates images",
    "t5gemma2": _IMAGE_AND_TEXT,
    "video_prism": "a network of videos",
    "whisper": "a network of speech",
}
"""What the presets of the other families are; a family that is not listed is a language model."""


@dataclass(frozen=True)
class Preset:
    """An entry of KerasHub's lists.

    Args:
        name: its name.
        family: the sub-package of `keras_hub.src.models` that lists it.
        description: KerasHub's description, in one line.
        handle: where its files are, as "kaggle://keras/vit/keras/vit_base_patch16_224_imagenet/4".
    """

    name: str
    family: str
    description: str
    handle: str


@dataclass(frozen=True)
class Architecture:
    """What a network of a preset is built from, and the input that it expects.

    Args:
        arguments: the arguments of its class, without the image size.
        image_size: the side of its images in pixels.
        mean: of red, green and blue, on the scale from 0 to 1.
        deviation: of the same.
        resize: "crop" or "stretch" and the interpolation, as "crop bilinear".
        parameters: the number of weights.
        channels: the width of its features.
    """

    arguments: Mapping[str, Any]
    image_size: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    resize: str
    parameters: int
    channels: int


@functools.cache
def listed_presets() -> dict[str, Preset]:
    """Returns all presets of the installed KerasHub, of text as well, by their names.

    Raises:
        ConfigError: the lists are not where KerasHub 0.24 to 0.32 have them.
    """
    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    found = [
        preset
        for place in places or ()
        for file in sorted(Path(place, "src", "models").glob("*/*_presets.py"))
        for preset in _presets_of(file)
    ]
    if not found:
        message = "the presets of this KerasHub cannot be listed: pip install 'featurebank[keras-hub]'"
        raise ConfigError(message)
    return {preset.name: preset for preset in found}


def find_preset(name: str) -> Preset:
    """Returns a preset that is a network of images.

    Raises:
        UnknownNameError: there is no such preset; the message names the nearest.
        ConfigError: it is not a network that turns one image into features.
    """
    presets = listed_presets()
    if name not in presets:
        images = [known for known, preset in presets.items() if preset.family in FAMILIES]
        raise unknown_name("preset of KerasHub", name, images, where_listed=_WHERE)
    preset = presets[name]
    if preset.family not in FAMILIES:
        what = _OTHERS.get(preset.family, "a language model")
        message = f"{PACKAGE}:{name} is {what}: expected a network that turns an image into features, as {_EXAMPLE}"
        raise ConfigError(message)
    return preset


def recorded_architecture(preset: Preset) -> Architecture:
    """Returns the recorded architecture of a preset.

    Raises:
        ConfigError: there is none; the message names those of the same family.
    """
    known = _table().get(preset.family, {}).get("presets", {})
    if preset.name not in known:
        others = ", ".join(known) or _EXAMPLE
        message = (
            f"the sizes of {PACKAGE}:{preset.name} are not recorded, so it can be built only with the weights that "
            f"KerasHub downloads: leave --weights out, or take one of {others}"
        )
        raise ConfigError(message)
    return Architecture(**known[preset.name])


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


def _presets_of(file: Path) -> list[Preset]:
    """Reads the presets in a module of KerasHub without running it."""
    values = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            try:
                values.append(ast.literal_eval(node.value))
            except ValueError:  # it refers to other names
                continue
    return [
        Preset(name, file.parent.name, one.get("metadata", {}).get("description", ""), one.get("kaggle_handle", ""))
        for value in values
        for name, one in value.items()
        if isinstance(one, dict) and "metadata" in one
    ]
