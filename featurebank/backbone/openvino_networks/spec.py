"""What is known of a network from a model file of ONNX or OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

from featurebank.backbone.openvino_networks.model_file import ModelFile
from featurebank.backbone.spec import OWN, BackboneSpec
from featurebank.errors import ConfigError


@dataclass(frozen=True)
class FileNetwork(BackboneSpec):
    """A network in a model file of ONNX or OpenVINO.

    Args:
        known_as: the path, as the user named it.
        file: the file.
        pooling_words: see `pooling`.
        own_resize: the resize rule that the file itself states; empty if it states none.
        description: what was chosen as the features, in one line.
    """

    known_as: str
    file: ModelFile = field(repr=False)
    pooling_words: str
    own_resize: str
    description: str

    suffixes: ClassVar[tuple[str, ...]] = ()
    default_weights: ClassVar[str] = OWN

    @property
    def identity(self) -> str:
        """The digest of the file's content."""
        return f"file:{self.file.digest}"

    @property
    def pooling(self) -> str:
        """How the network makes `pooled`; see `BackboneSpec`."""
        return self.pooling_words

    @property
    def resize_rule(self) -> str:
        """How its images become square: as the file says, if featurebank exported it."""
        return self.own_resize or super().resize_rule

    @property
    def weights_place(self) -> str:
        """Where the weights come from, as words for people."""
        return "in the model"

    @property
    def note(self) -> str:
        """The nodes that were chosen as the features."""
        return self.description

    def weights_file(self, *, top: bool = False) -> None:
        """Returns None: the weights are in the model."""

    def own_file(self, *, top: bool) -> NoReturn:
        """Raises ConfigError: the weights are in the model."""
        message = f"the weights of {self.known_as} are in the model: there is no file of them"
        raise ConfigError(message)

    def own_digest(self) -> str:
        """Returns the digest of the file's content."""
        return self.file.digest
