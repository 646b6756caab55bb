"""Chooses how a run is explained: by class activation maps if its head is linear, by gradients, or by occlusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS
from featurebank.errors import HeadError
from featurebank.explanation import cam, gradients
from featurebank.explanation.subject import Subject
from featurebank.grafting.trunk import taps_of

CAM, GRADCAM, OCCLUSION = "cam", "gradcam", "occlusion"


class ImageBatch(NamedTuple):
    """Images to explain, and the class of each."""

    features: Mapping[str, np.ndarray]
    """(n, ...) float32 for each tap that the method needs."""
    squares: np.ndarray
    """(n, s, s, 3) uint8, the input of the network."""
    classes: np.ndarray
    """(n,) indices into the classes of the bank."""


@dataclass(frozen=True)
class Method:
    """A way to explain a run."""

    name: str
    """"cam", "gradcam" or "occlusion"."""
    taps: tuple[str, ...]
    """The taps whose features it needs."""
    compute: Callable[[ImageBatch], np.ndarray]
    """Returns what each place of the network's square adds to the score of the class, (n, h, w) float32."""
    layer: str | None = None
    """The layer whose maps are used, where gradients are."""


def choose_method(subject: Subject, name: str, layer: str | None, backbone: Callable[[], Backbone]) -> Method | None:
    """Returns the method for a run; None for occlusion, which asks only for probabilities.

    Args:
        subject: what is explained.
        name: "cam", "gradcam" or "occlusion"; "auto" for the first that fits.
        layer: the layer of Grad-CAM; None for the last map.
        backbone: loads the network of the bank.

    Raises:
        HeadError: the method does not fit the head, and which one does.
        ConfigError: the layer has no map.
        UnknownNameError: there is no such layer.
    """
    if name == OCCLUSION:
        return None
    if name != GRADCAM and layer is None:
        try:
            return _cam(subject)
        except HeadError as error:
            if name == CAM:
                message = f"{error}: use --method gradcam or occlusion (method='gradcam')"
                raise HeadError(message) from error
    try:
        return _gradcam(subject, layer, backbone)
    except HeadError as error:
        message = f"{error}: use --method occlusion (method='occlusion'), which works for every head"
        raise HeadError(message) from error


def _cam(subject: Subject) -> Method:
    weights, tap = cam.linear_weights(subject), str(subject.map_tap)

    def compute(batch: ImageBatch) -> np.ndarray:
        return cam.class_activation_maps(batch.features[tap], weights, subject.places[batch.classes])

    return Method(CAM, (subject.run.tap, tap), compute)


def _gradcam(subject: Subject, layer: str | None, backbone: Callable[[], Backbone]) -> Method:
    if layer in (None, subject.map_tap) and (in_numpy := _dense_gradcam(subject)):
        return in_numpy
    of_head = gradients.of_head(subject, layer)
    if of_head is not None:
        tap = str(subject.map_tap)
        return Method(
            GRADCAM, (subject.run.tap, tap),
            lambda batch: of_head(batch.features[tap], subject.places[batch.classes]), of_head.layer or tap,
        )  # fmt: skip
    if layer is None and subject.lack_of_places:
        raise HeadError(subject.lack_of_places)
    network = None if subject.is_finetune else backbone()
    if network is not None and network.form != "keras":
        message = (
            f"{network.name} is a network of {FORMS[network.form]}, and only networks of Keras have gradients here"
        )
        raise HeadError(message)
    whole = gradients.of_network(subject, layer, network)
    taps = [] if subject.is_finetune else taps_of(subject.bank, subject.run.tap)
    return Method(
        GRADCAM, tuple(taps), lambda batch: whole(batch.squares, subject.places[batch.classes]), whole.layer
    )  # fmt: skip


def _dense_gradcam(subject: Subject) -> Method | None:
    """Returns the Grad-CAM that needs no TensorFlow; None if the head needs it."""
    if not cam.has_dense_gradients(subject):
        return None
    own, tap = subject.run.tap, str(subject.map_tap)

    def compute(batch: ImageBatch) -> np.ndarray:
        places = subject.places[batch.classes]
        return cam.dense_grad_cam(subject, batch.features[tap], batch.features[own], places)

    return Method(GRADCAM, (own, tap), compute, tap)
