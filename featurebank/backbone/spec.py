"""What every backbone says of itself before it is built: one class for each family, in its own module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from featurebank.backbone.resize import AUTO
from featurebank.backbone.taps import averages_map
from featurebank.backbone.weights.files import KERAS_SUFFIXES, file_digest

IMAGENET = "imagenet"
"""The users' word for the weights that a network was published with."""
OWN = "own"
"""The users' word for the weights that a network of their own comes with."""

_VERSION = "v1"
"""Part of every recipe; raise it whenever a network is built differently."""

BatchNorm = Literal["train", "frozen"]
"""Batch normalisation in a fine-tune: "train" normalises by the batch and learns; "frozen" keeps everything."""


@dataclass(frozen=True)
class BackboneSpec(ABC):
    """A network that can be a backbone: its figures, and where its weights are.

    Nothing is imported or read before a method needs it. `KerasSpec` adds how a network of Keras is built. A family
    defines where its trained weights are (`own_file`), and overrides whatever else differs from the defaults here.

    Args:
        name: the user's name for it.
        image_size: the side in pixels of the images that it was made for.
        minimum_size: the smallest side that it accepts.
        channels: the width of the last map, and so of `pooled`.
        parameters: number of weights, without the classifier.
        preprocessing: the identifier of its preprocessing.
        made_for: the preprocessing of the published network, if the user replaced it.
    """

    name: str
    image_size: int
    minimum_size: int
    channels: int
    parameters: int
    preprocessing: str
    made_for: str = field(default="", kw_only=True)

    suffixes: ClassVar[tuple[str, ...]] = KERAS_SUFFIXES
    """Suffixes of the weights files that it accepts; empty if it accepts none."""
    random_scheme: ClassVar[str] = "philox-he-bell:v1"
    """Name in digests of the scheme of random weights, `weights.random`; any change of its numbers needs a new one."""
    finetune_batch_norm: ClassVar[BatchNorm] = "train"
    """Default treatment of batch normalisation in a fine-tune of trained weights: "train" or "frozen". "train" is also
    the value where nothing was measured; it has no effect on networks without batch normalisation."""

    @property
    def default_weights(self) -> str | None:
        """The users' word for the weights that the network comes with; None if there are none."""
        return IMAGENET

    @property
    def identity(self) -> str:
        """The architecture in recipes: networks of the same identity compute the same from the same weights."""
        return f"{self.name}:{_VERSION}"

    @property
    def resize_rule(self) -> str:
        """How its images become square unless the user decides: an identifier of `featurebank.backbone.resize`."""
        return AUTO

    @property
    def pooling(self) -> str:
        """How the network makes `pooled`; empty if it averages the places of its map and does nothing else.

        It is one of the words of `featurebank.backbone.taps`, such as "class token", or says in other words what the
        network does. It is part of the recipe where it is not empty.
        """
        return ""

    @property
    def averages_map(self) -> bool:
        """Whether `pooled` is the average over the places of `map`, so that heat maps can be made of it."""
        return averages_map(self.pooling)

    @property
    def licence(self) -> str:
        """The licence of the network's own weights, as their source names it; empty if it does not."""
        return ""

    @property
    def sizes(self) -> str:
        """Which image sizes the network takes, in a few words."""
        if self.minimum_size >= self.image_size:
            return "fixed image size"
        return f"any image size from {self.minimum_size} pixels" if self.minimum_size > 1 else "any image size"

    @property
    def has_embedded_weights(self) -> bool:
        """Whether the weights are part of an installed package."""
        return False

    @property
    def must_download(self) -> bool:
        """Whether the network's own weights are not yet on this machine, so that using them downloads a file."""
        return False

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return "in the installation" if self.has_embedded_weights else "downloaded at first use"

    @property
    def layers_hint(self) -> str:
        """How to list the names of its layers, for messages."""
        return f"'featurebank backbones {self.name} --layers' lists them"

    @property
    def note(self) -> str:
        """What a user should know before using it, in one line; empty if the table says everything."""
        note = f"{self.name} gets its images as {self.preprocessing}; it was published with {self.made_for}"
        return note if self.made_for else ""

    @property
    def caution(self) -> str:
        """A warning to users of the network, in one line; empty if there is none."""
        return ""

    @abstractmethod
    def weights_file(self, *, top: bool = False) -> str | None:
        """Returns the name of the file with the network's own weights; None if there is none."""

    @abstractmethod
    def own_file(self, *, top: bool) -> Path:
        """Returns the path of the network's own weights; downloads them if they are missing and available.

        Args:
            top: whether the classifier is needed, too.

        Raises:
            WeightsError: the file is missing or damaged, and cannot be downloaded.
            MissingDependencyError: it belongs to a package that is not installed.
            ConfigError: there are no such weights.
        """

    def own_digest(self) -> str:
        """Returns the digest of the weights that the network comes with; for errors see `own_file`."""
        return file_digest(self.own_file(top=False))
