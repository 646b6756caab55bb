"""The contract of a network of Keras: how its family builds it and loads its weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.weights.files import KERAS_SUFFIXES, TORCH_SUFFIXES, Part, load_keras, load_torch


@dataclass(frozen=True)
class KerasSpec(BackboneSpec):
    """A network of Keras: `build` adds it to a graph."""

    replaces_weights: ClassVar[bool] = True
    """Whether all weights that `build` draws are replaced; if so, they are not drawn (see `initial_weights`)."""

    @property
    def normalizes_average(self) -> bool:
        """Whether the network's own classifier normalises the average of the map, not the map; `pooled` then does, too.

        The last layer of the network is that normalisation; `map` is the normalised map, as in Keras.
        """
        return False

    @property
    def averages_map(self) -> bool:
        """Whether `pooled` is the average over the places of `map`; see `BackboneSpec`."""
        return super().averages_map and not self.normalizes_average

    @property
    def tokens_layer(self) -> str:
        """The layer that outputs all tokens after the last normalisation, for a transformer; else empty."""
        return ""

    def token_layout(self, image_size: int) -> TokenLayout | None:
        """Returns how the tokens of a transformer are arranged for images of a size; None for other networks."""
        return None

    @property
    def has_fixed_classifier(self) -> bool:
        """Whether the trained classifier works only at `image_size`."""
        return False

    @abstractmethod
    def build(self, prepared: Any, *, top: bool) -> Any:
        """Adds the network, with untrained weights, to a graph.

        Args:
            prepared: a Keras tensor (n, s, s, 3) float32, preprocessed.
            top: whether the network's own classifier follows.

        Returns:
            The last map, (n, h, w, c); of a transformer, the vector that it pools from its tokens, (n, d); with the
            top, the output of the classifier.
        """

    def finish(self, model: Any) -> Any:
        """Brings a network with its weights into its final form; by default, returns the model itself."""
        return model

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Loads weights into an unfinished network.

        Args:
            model: a Keras model that ends in the output of `build`; changed in place.
            path: a weights file with one of `suffixes`; None means the network's own weights.
            top: whether the model includes the classifier.

        Raises:
            WeightsError: the file is missing, unreadable or of another network.
        """
        load_keras(model, path or self.own_file(top=top), self.name, top=top)


@dataclass(frozen=True)
class PortedSpec(KerasSpec):
    """A network whose weights may also come from a file of PyTorch."""

    suffixes: ClassVar[tuple[str, ...]] = KERAS_SUFFIXES + TORCH_SUFFIXES

    @abstractmethod
    def correspondence(self, *, top: bool) -> Iterator[tuple[str, list[Part]]]:
        """Yields each Keras layer with the PyTorch tensors of its weights, in their order."""

    def load(self, model: Any, path: Path | None, *, top: bool) -> None:
        """Loads weights from a file of Keras or PyTorch; see `KerasSpec.load`."""
        path = path or self.own_file(top=top)
        if path.suffix.lower() in TORCH_SUFFIXES:
            load_torch(model, path, self.name, self.correspondence(top=top))
        else:
            load_keras(model, path, self.name, top=top)
