"""The contract of a network of PyTorch: how its library builds it, and what its last features are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.torch_networks.files import SAFETENSORS_SUFFIX, fill_with_tensors, read_torch_tensors
from featurebank.backbone.weights.files import TORCH_SUFFIXES


class TorchFeatures(NamedTuple):
    """What one forward pass of a network gives.

    Args:
        final: the features after the last normalisation: a map (n, c, h, w) or (n, h, w, c), or tokens (n, T, d); None
            if the network gives only vectors.
        pooled: the vector that the network's own classifier takes, (n, d).
    """

    final: Any
    pooled: Any


@dataclass(frozen=True)
class TorchSpec(BackboneSpec):
    """A network of PyTorch. A family says how it is built and what its parts are; it computes nothing itself.

    A module is built twice: on the device "meta", where it has shapes but no memory, to list its layers; and for real.
    So `build`, `forward` and `layout` use nothing but the module and their arguments, and look at no tensor's values.
    `channels`, `parameters` and `pooled_by` are found out by `network.torch_backbone`.

    Example:
        A family for one network, whose module has the methods `features` and `pool`::

            @dataclass(frozen=True)
            class MySpec(TorchSpec):
                def build(self, image_size):
                    return MyNetwork(image_size)

                def forward(self, module, images):
                    final = module.features(images)
                    return TorchFeatures(final, module.pool(final))
    """

    random_scheme: ClassVar[str] = "philox-roles-bell:v1"
    pooled_by: str = field(default="", kw_only=True)
    """See `pooling`; `torch_backbone` finds it out."""
    patch: int = field(default=0, kw_only=True)
    """The side of the patches that an image must fill, 0 if there are none; `torch_backbone` finds it out."""

    suffixes: ClassVar[tuple[str, ...]] = (SAFETENSORS_SUFFIX, *TORCH_SUFFIXES)

    @property
    def layers_hint(self) -> str:
        """How to list the names of its layers, for messages."""
        name = getattr(self, "known_as", self.name)
        return f"'featurebank backbones {name} --layers' lists them" if name else "its layers() lists them"

    @property
    def sizes(self) -> str:
        """Which image sizes the network takes; see `BackboneSpec.sizes`."""
        is_free = self.minimum_size < self.image_size
        return f"image sizes: multiples of {self.patch} pixels" if self.patch and is_free else super().sizes

    @property
    def pooling(self) -> str:
        """How the network makes `pooled`; see `BackboneSpec.pooling`."""
        return self.pooled_by

    @abstractmethod
    def build(self, image_size: int) -> Any:
        """Builds the network without pretrained weights; called again for each copy, perhaps on the device "meta".

        Args:
            image_size: the side of the square input in pixels.

        Returns:
            A `torch.nn.Module`, preferably without its classifier. Its modules' names are the names of the layers.

        Raises:
            ConfigError: the network cannot be built for this size.
        """

    @abstractmethod
    def forward(self, module: Any, images: Any) -> TorchFeatures:
        """Computes the last features as the library itself does.

        Args:
            module: from `build`, in evaluation mode.
            images: (n, 3, s, s) float, preprocessed.
        """

    def layout(self, module: Any, image_size: int) -> TokenLayout | None:
        """Returns how the tokens of the last features are laid out; not called if these are a map.

        Args:
            module: from `build`.
            image_size: the side of the square input in pixels.
        """
        return None

    def is_channels_last(self, module: Any) -> bool:
        """Returns whether the module's maps are (n, h, w, c), where the shape itself does not say it."""
        return False

    def load(self, path: Path | None, image_size: int) -> Any:
        """Builds the network with weights from a file; a library that converts its files overrides this.

        Args:
            path: a file with one of `suffixes`; None means the network's own weights.
            image_size: the side of the square input in pixels.

        Returns:
            As `build`.

        Raises:
            WeightsError: the file is missing, unreadable or of another network; the message names the first tensor that
                is missing, has another shape, or does not belong to the network.
        """
        path = path or self.own_file(top=False)
        module = self.build(image_size)
        fill_with_tensors(module, read_torch_tensors(path), path, self.name, self.is_classifier)
        return module

    def is_classifier(self, tensor: str) -> bool:
        """Returns whether a tensor of a weights file belongs to the classifier, which the module does not have."""
        return False
