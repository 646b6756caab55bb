"""What a model file says of itself: its classes, how images are brought to its size, where it comes from."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_file import ABOUT
from featurebank.errors import ConfigError, FormatVersionError
from featurebank.system import digest
from featurebank.system.archive import open_archive

MEMBER = ABOUT
"""Its name inside a model file that is, or carries, a zip archive."""
KEY = "featurebank"
"""Its name in the metadata of the other formats."""
_LARGEST_SIDE = 1 << 15
"""Of an input, in pixels."""
VERSION = 2
"""Version 1 had no `any_size` and no `usage`."""


@dataclass(frozen=True)
class Proof:
    """The grafted model's probabilities beside the head's on stored features."""

    images: int
    """How many of the bank's were compared."""
    difference: float
    """The largest, from image to probability."""
    tolerance: float
    features: float | None = None
    """Of a joined model: the largest of a feature, relative to the largest feature of its image."""
    layers: float | None = None
    """Of a Keras model: the largest of the head's layers alone, on the stored features."""


@dataclass(frozen=True)
class About:
    """What a model file says of itself."""

    classes: tuple[str, ...]
    image_size: int
    """The side in pixels of the square images that it takes."""
    resize: str
    """The rule by which images are brought to it; see `featurebank.backbone.resize`."""
    backbone: Mapping[str, Any]
    """Its recipe."""
    tap: str
    head: str
    """In words."""
    bank: str
    """The digest of the bank that the head was trained on."""
    run: str | None = None
    """The id of the run."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Of the run."""
    proof: Proof | None = None
    """None where it was left out."""
    format: str = ""
    """Of the file."""
    featurebank: str = ""
    """The version that wrote it."""
    any_size: bool = False
    """Whether the model takes images of any size, uint8, and brings them to `image_size` itself."""
    usage: str = ""
    """Python that runs the file without featurebank."""

    @property
    def pixels(self) -> str:
        """The type of the pixels that the file takes."""
        return "uint8" if self.any_size else "float32"

    def to_text(self) -> str:
        """Returns it as JSON."""
        weights = digest.of_recipe(dict(self.backbone))
        return json.dumps({"version": VERSION, "backbone_digest": weights, **asdict(self)}, ensure_ascii=False)


def about_from_text(text: str, path: Path) -> About:
    """Reads what `About.to_text` wrote.

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
        proof = value.pop("proof")
        about = About(**{**value, "classes": tuple(value["classes"]), "proof": Proof(**proof) if proof else None})
        _check(about)
        return about
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"what '{path}' says of itself is damaged ({type(error).__name__}): export it again"
        raise ConfigError(message) from error


def _check(about: About) -> None:
    """Raises ValueError where a prediction would fail on the types of what a file says."""
    texts = (*about.classes, about.resize, about.tap, about.head, about.format, about.featurebank)
    sound = bool(about.classes) and all(isinstance(text, str) for text in texts)
    if not (sound and type(about.image_size) is int and 0 < about.image_size <= _LARGEST_SIDE):
        message = "types"
        raise ValueError(message)


def add_member(path: Path, text: str) -> None:
    """Puts the text into a file that is a zip archive, or at the end of another one as an archive of its own.

    The latter is how TensorFlow Lite carries files that belong to a model.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, text)


def read_member(path: Path) -> str | None:
    """Returns the text that `add_member` put into a file; None where there is none.

    Raises:
        ArchiveError: the archive is damaged, or not safe to open.
    """
    if not zipfile.is_zipfile(path):
        return None
    with open_archive(path) as archive:
        return archive.read(MEMBER).decode() if MEMBER in archive.names else None
