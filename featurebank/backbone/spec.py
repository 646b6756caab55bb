"""What a network must tell to be a backbone: one class for each family, one module for each class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from featurebank.backbone.weights.files import KERAS_SUFFIXES, TORCH_SUFFIXES, Part, file_digest, load_keras, load_torch

IMAGENET = "imagenet"
"""What users write for the weights that a network was published with."""

_VERSION = "v1"
"""Part of every recipe; to be raised where a network is built differently than before."""

BatchNorm = Literal["train", "frozen"]
"""What a fine-tune does with batch normalisation: normalise by the batch and learn statistics, or keep all of it."""


@dataclass(frozen=True)
class BackboneSpec(ABC):
    """A network that can be a backbone: its figures, and what its family knows of building and loading it.

    Nothing is imported or read before a method asks for it. A family states how it is built (`build`) and where its
    trained weights lie (`own_file`); whatever else differs from the defaults here is its own as well.

    Args:
        name: how users call it.
        image_size: the side in pixels of the images that it is made for.
        minimum_size: the smallest side that the network takes.
        channels: the width of the last map, hence of `pooled`.
        parameters: how many numbers its weights hold, without the classifier.
        preprocessing: the identifier of its preprocessing.
        made_for: that of the published network, where a user asked for another.
    """

    name: str
    image_size: int
    minimum_size: int
    channels: int
    parameters: int
    preprocessing: str
    made_for: str = field(default="", kw_only=True)

    suffixes: ClassVar[tuple[str, ...]] = KERAS_SUFFIXES
    """How the names of weights files end that it takes; none, and it takes no files."""
    default_weights: ClassVar[str | None] = IMAGENET
    """What users call the weights that the network comes with; None where there are none."""
    finetune_batch_norm: ClassVar[BatchNorm] = "train"
    """What a fine-tune of weights that were trained does with batch normalisation unless it is told: "train" or
    "frozen". "train" also stands where nothing was measured, and means nothing to networks without it."""

    @property
    def identity(self) -> str:
        """The architecture in recipes: networks of one identity compute the same from the same weights."""
        return f"{self.name}:{_VERSION}"

    @property
    def normalizes_average(self) -> bool:
        """Whether the network's own classifier normalises the average of the map, not the map: then `pooled` does too.

        The last layer of the network is that normalisation; `map` is the normalised map, as in Keras.
        """
        return False

    @property
    def has_embedded_weights(self) -> bool:
        """Whether the weights come with what is installed here."""
        return False

    @property
    def must_download(self) -> bool:
        """Whether the network's own weights are not on this machine yet, so that using them downloads a file."""
        return False

    @property
    def weights_place(self) -> str:
        """Where the weights come from, for people."""
        return "in the installation" if self.has_embedded_weights else "downloaded at first use"

    @property
    def layers_hint(self) -> str:
        """How to see the names of its layers, for messages."""
        return f"'featurebank backbones {self.name} --layers' lists them"

    @property
    def note(self) -> str:
        """What to know of it before it is used, in one line; empty where the table says all."""
        told = f"{self.name} gets its images as {self.preprocessing}; it was published with {self.made_for}"
        return told if self.made_for else ""

    @property
    def caution(self) -> str:
        """A warning to users of the network, in one line; empty where there is none."""
        return ""

    @property
    def has_fixed_classifier(self) -> bool:
        """Whether the trained classifier works at `image_size` only."""
        return False

    @abstractmethod
    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network, without meaningful weights, to a graph.

        Args:
            prepared: a Keras tensor (n, s, s, 3) float32, preprocessed.
            top: whether the network's own classifier follows.

        Returns:
            The last map, (n, h, w, c), or with the top what the classifier gives.
        """

    def finish(self, model: Any) -> Any:
        """Brings a network that has its weights into its final form; the model itself where nothing is to be done."""
        return model

    @abstractmethod
    def weights_file(self, *, top: bool = False) -> str | None:
        """Returns the name of the file with the network's own weights; None where there is none."""

    @abstractmethod
    def own_file(self, *, top: bool) -> Path:
        """Finds the file with the network's own weights, and downloads it where it is missing and that is possible.

        Args:
            top: whether the classifier is wanted too.

        Raises:
            WeightsError: the file is not there, or not whole, and cannot be downloaded.
            MissingDependencyError: it comes in a package that is not installed.
            ConfigError: there are no such weights.
        """

    def own_digest(self) -> str:
        """Returns the digest of the weights that the network comes with; raises as `own_file`."""
        return file_digest(self.own_file(top=False))

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Fills an unfinished network.

        Args:
            model: a Keras model that ends in what `build` gives; changed in place.
            path: a weights file with one of `suffixes`; None means the network's own weights.
            top: whether the model has the classifier.

        Raises:
            WeightsError: the file is missing, unreadable, or of another network.
        """
        load_keras(model, path or self.own_file(top=top), self.name, top=top)


@dataclass(frozen=True)
class TorchSpec(BackboneSpec):
    """A network whose weights may lie in a file of PyTorch too."""

    suffixes: ClassVar[tuple[str, ...]] = KERAS_SUFFIXES + TORCH_SUFFIXES

    @abstractmethod
    def correspondence(self, *, top: bool) -> Iterator[tuple[str, list[Part]]]:
        """Yields each Keras layer with the PyTorch tensors that fill its weights, in their order."""

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Fills the network from a file of Keras or PyTorch; see `BackboneSpec.load`."""
        path = path or self.own_file(top=top)
        if path.suffix.lower() in TORCH_SUFFIXES:
            load_torch(model, path, self.name, self.correspondence(top=top))
        else:
            load_keras(model, path, self.name, top=top)
