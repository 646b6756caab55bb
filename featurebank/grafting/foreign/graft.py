"""Grafts of networks that are not of Keras: the trunk is a model of OpenVINO, and the head Keras layers behind it.

Such a graft predicts; it cannot be trained. In a file, trunk and head are one graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS
from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.errors import ConfigError, HeadError
from featurebank.grafting.converters import quiet, traced
from featurebank.grafting.foreign.trunks import OpenVINOTrunk
from featurebank.grafting.head_layers import no_layers, probabilities_of
from featurebank.grafting.metadata import About
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.runtime import import_tensorflow


class ForeignGraft:
    """A network of another library and a head as layers, with one `predict`.

    Args:
        trunk: the network up to the tap.
        layers: a Keras model from the features of the tap to the probabilities of all classes.
        backbone: the network, for formats that its own library writes.
        taps: the taps, whose vectors are joined if there are several.
    """

    def __init__(self, trunk: OpenVINOTrunk, layers: Any, backbone: Backbone, taps: Sequence[str]) -> None:
        self.trunk, self.layers, self.backbone, self.taps = trunk, layers, backbone, taps

    def predict(self, images: np.ndarray, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Returns probabilities (n, classes) float32.

        Args:
            images: (n, s, s, 3) RGB from 0 to 255.
            batch_size: the number of images per batch.
            verbose: not used.
        """
        return np.asarray(self.layers(self.trunk.predict(images, batch_size), training=False))

    def to_openvino(self) -> Any:
        """Returns trunk and head as one `openvino.Model`: images, float32 -> probabilities."""
        openvino, trunk = import_openvino(), self.trunk.model()
        with quiet():
            head = openvino.convert_model(traced(self.layers).get_concrete_function())
        features = trunk.get_results()[0].input_value(0)
        (parameter,) = head.get_parameters()
        for user in list(parameter.output(0).get_target_inputs()):
            user.replace_source_output(features)
        model = openvino.Model(head.get_results(), trunk.get_parameters(), "featurebank")
        model.validate_nodes_and_infer_types()
        return model


def join_foreign(backbone: Backbone, taps: Sequence[str], head: Any, about: About, form: str) -> tuple[Any, Any]:
    """Joins a network that is not of Keras with a head.

    Args:
        backbone: the network.
        taps: the taps that the head was trained on.
        head: the fitted head.
        about: the metadata.
        form: "layers" for a graft whose head is layers, otherwise the head stays as it is.

    Returns:
        The graft, and a Keras model of its head alone, or None for a `JoinedModel`.

    Raises:
        HeadError: `form` is "layers" and the head cannot become layers.
        EngineError: OpenVINO cannot run the network.
    """
    if form != "layers":
        return JoinedModel(OpenVINOTrunk.of(backbone, taps), head, about), None
    import_tensorflow()
    import keras

    trunk = OpenVINOTrunk.of(backbone, taps)
    features = keras.Input(trunk.row_shape, name="features")
    try:
        layers = keras.Model(features, probabilities_of(features, head, len(about.classes)))
    except HeadError as error:
        raise no_layers(about.head, error, "; or export it as a .fbmodel file") from error
    return ForeignGraft(trunk, layers, backbone, taps), layers


def check_form(backbone: Backbone, suffix: str, forms: tuple[str, ...]) -> None:
    """Checks that a model of a network can become a file of this kind, before anything is computed.

    Args:
        backbone: the network, which is not built.
        suffix: of the file.
        forms: of the networks that the file can hold; see `Backbone.form`.

    Raises:
        ConfigError: it cannot; the message names the files that can.
    """
    is_xml = isinstance(backbone, OpenVINOBackbone) and backbone.spec.file.path.suffix != ".onnx"
    if backbone.form not in forms or (is_xml and suffix == ".onnx"):
        able = ".xml or .fbmodel" if is_xml else ".onnx, .xml or .fbmodel"
        message = (
            f"{backbone.name} is a network of {FORMS[backbone.form]}, which cannot become a {suffix} file: write {able}"
        )
        raise ConfigError(message)
