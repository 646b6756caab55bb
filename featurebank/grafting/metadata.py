"""The metadata of a model file: its classes, its resize rule, its origin."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_networks.keras_file import ABOUT
from featurebank.certainty.record import Certainty
from featurebank.errors import ConfigError, FormatVersionError
from featurebank.grafting.seen.record import SeenImages
from featurebank.grafting.several.squares import Square
from featurebank.system import digest
from featurebank.system.archive import open_archive
from featurebank.words import counted

MEMBER = ABOUT
"""The name of the metadata inside a model file that is, or ends with, a ZIP archive."""
KEY = "featurebank"
"""The name of the entry in the metadata of the other formats."""
_LARGEST_SIDE = 1 << 15
"""The largest side of an input in pixels."""
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading the metadata of a stranger may raise: of values of a wrong type, huge numbers, and deep nesting."""
VERSION = 4
"""Version 1 had no `any_size` and no `usage`, version 2 no `certainty`, version 3 no `seen`."""


@dataclass(frozen=True)
class Proof:
    """A comparison of the grafted model's probabilities with those of the head on stored features."""

    images: int
    """The number of images that were compared."""
    difference: float
    """The largest difference of a probability, from the image on."""
    tolerance: float
    """The largest difference that was accepted."""
    features: float | None = None
    """For a joined model: the largest difference of a feature, relative to the largest feature of its image."""
    layers: float | None = None
    """For a Keras model: the largest difference of a probability of the head's layers on the stored features."""


@dataclass(frozen=True)
class About:
    """The metadata of a model file."""

    classes: tuple[str, ...]
    """The names of the classes, in the order of the probabilities."""
    image_size: int
    """The side of the square input in pixels."""
    resize: str
    """The rule that resizes images to it; see `featurebank.backbone.resize`."""
    backbone: Mapping[str, Any]
    """The recipe of the backbone."""
    tap: str
    """The tap that the head was trained on."""
    head: str
    """A description of the head."""
    bank: str
    """The digest of the bank that the head was trained on."""
    run: str | None = None
    """The id of the run."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """The metrics of the run."""
    proof: Proof | None = None
    """None if the model was not compared with the head."""
    format: str = ""
    """The format of the file."""
    featurebank: str = ""
    """The version of featurebank that wrote the file."""
    any_size: bool = False
    """Whether the model takes uint8 images of any size and resizes them to `image_size` itself."""
    usage: str = ""
    """Python code that runs the file without featurebank."""
    further: tuple[Mapping[str, Any], ...] = ()
    """The recipes of the backbones beside the first, of a head on taps of several networks."""
    certainty: Certainty | None = None
    """What the model knows about its doubts; None in files of version 2, and without validation images."""
    seen: SeenImages | None = None
    """Digests of the images that the model was trained on and chosen by; None in files of version 3, and if they were
    left out."""

    @property
    def title(self) -> str:
        """A description in one line: the head and its network, the classes, and the images that the model takes."""
        network = f"{self.head} on {self.backbone.get('backbone')} {self.tap}"
        images = "images of any size" if self.any_size or self.further else f"images of {self.image_size} px"
        form = f", {self.format}" if self.format else ""
        return f"{network}: {images}, {counted(len(self.classes), 'class')}{form}"

    @property
    def pixels(self) -> str:
        """The dtype of the pixels that the model takes."""
        return "uint8" if self.any_size or self.further else "float32"

    @property
    def squares(self) -> list[Square]:
        """The input of each network."""
        others = [Square(int(recipe["image_size"]), str(recipe["resize"])) for recipe in self.further]
        return [Square(self.image_size, self.resize), *others]

    def to_text(self) -> str:
        """Returns the metadata as JSON."""
        values = asdict(replace(self, certainty=None, seen=None))
        values["certainty"] = self.certainty and self.certainty.to_json()
        values["seen"] = self.seen and self.seen.to_json()
        weights = digest.of_recipe(dict(self.backbone))
        return json.dumps({"version": VERSION, "backbone_digest": weights, **values}, ensure_ascii=False)


def about_from_text(text: str, path: Path) -> About:
    """Parses the result of `About.to_text`.

    Raises:
        FormatVersionError: a newer featurebank wrote it.
        ConfigError: it is damaged.
    """
    try:
        value = json.loads(text)
        version = value.pop("version")
        if version > VERSION:
            newer = value.get("featurebank", "a newer featurebank")
            message = (
                f"'{path}' was written by featurebank {newer}, this one reads version {VERSION}: install a newer one"
            )
            raise FormatVersionError(message)
        del value["backbone_digest"]
        proof, certainty, seen = value.pop("proof"), value.pop("certainty", None), value.pop("seen", None)
        about = About(
            **{
                **value,
                "classes": tuple(value["classes"]),
                "proof": Proof(**proof) if proof else None,
                "further": tuple(dict(recipe) for recipe in value.get("further", ())),
            },
            certainty=None if certainty is None else Certainty.from_json(certainty),
            seen=None if seen is None else SeenImages.from_json(seen),
        )
        _check(about)
        return about
    except _DAMAGE as error:
        message = f"the metadata of '{path}' is damaged ({type(error).__name__}): export it again"
        raise ConfigError(message) from error


def operation_in(text: str | None) -> str:
    """Returns the operation of a Keras model whose output its features are, from its metadata; "" if it has none.

    What is damaged is reported by `about_from_text`, which reads all of it.
    """
    try:
        name = json.loads(text or "")["certainty"]["operation"]
    except _DAMAGE:
        return ""
    return name if isinstance(name, str) else ""


def _check(about: About) -> None:
    """Raises ValueError if a prediction would fail because of a wrong type or value in the metadata."""
    texts = (
        *about.classes, about.resize, about.tap, about.head, about.format, about.featurebank, about.bank, about.usage,
        about.run or "", *(recipe["resize"] for recipe in about.further),
    )  # fmt: skip
    proof = (*vars(about.proof).values(),) if about.proof else ()
    sound = (
        bool(about.classes)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(value, Mapping) for value in (about.backbone, about.metrics))
        and all(value is None or type(value) in {int, float} for value in proof)
        and type(about.any_size) is bool
    )
    sizes = [about.image_size, *(recipe["image_size"] for recipe in about.further)]
    if not (sound and all(type(size) is int and 0 < size <= _LARGEST_SIDE for size in sizes)):
        message = "types"
        raise ValueError(message)


def add_member(path: Path, text: str) -> None:
    """Adds the text to a file that is a ZIP archive, or appends an archive with it to any other file.

    TensorFlow Lite appends the files that belong to a model in the same way.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, text)


def read_member(path: Path) -> str | None:
    """Returns the text that `add_member` added to a file; None if there is none.

    Raises:
        ArchiveError: the archive is damaged, or not safe to open.
    """
    if not zipfile.is_zipfile(path):
        return None
    with open_archive(path) as archive:
        return archive.read(MEMBER).decode() if MEMBER in archive.names else None
