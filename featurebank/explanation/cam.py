"""Heat maps in plain numpy: class activation maps of linear heads, and the Grad-CAM of dense heads on an average.

References:
    Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016,
    arXiv:1512.04150.
"""

from __future__ import annotations

import numpy as np

from featurebank.errors import HeadError
from featurebank.explanation.subject import Subject


def linear_weights(subject: Subject) -> np.ndarray:
    """Returns the weights of the map in the scores of the classes that the head knows.

    Returns:
        (c, classes) if the head sees the average over the places of the map, (h, w, c, classes) if it sees the map.

    Raises:
        HeadError: the scores are no linear function of the map.
    """
    run = subject.run
    if subject.is_finetune:
        message = f"run {run.run} is a fine-tune, whose network is not that of the stored maps"
        raise HeadError(message)
    if subject.lack_of_places:
        raise HeadError(subject.lack_of_places)
    if subject.map_tap is None or subject.pooling == "max":
        message = f"the features of tap '{run.tap}' are neither a map nor the average of one"
        raise HeadError(message)
    try:
        weights, _ = subject.fitted.linear_scores_()
    except HeadError as error:
        message = f"{run.spec} is no linear function of the features of '{run.tap}'"
        raise HeadError(message) from error
    shape = subject.bank.tap_shape(run.tap)
    return np.asarray(weights if len(weights) == shape[-1] else weights.reshape(*shape, -1), np.float32)


def class_activation_maps(maps: np.ndarray, weights: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns what each place of a map adds to the score of a class, and how much: (n, h, w) float32.

    Args:
        maps: (n, h, w, c) float32.
        weights: the result of `linear_weights`.
        places: (n,) the class of each map, as a place among the classes that the head knows.

    Example:
        >>> maps = np.array([[[[1.0, 0.0], [0.0, 2.0]]]], np.float32)
        >>> class_activation_maps(maps, np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([1])).tolist()
        [[[0.0, 2.0]]]
    """
    return weighted_sums(maps, np.moveaxis(weights[..., places], -1, 0))


def has_dense_gradients(subject: Subject) -> bool:
    """Returns whether `dense_grad_cam` explains a run: its head is on an average, and has gradients in numpy."""
    if subject.map_tap is None or subject.pooling != "avg":
        return False
    row = np.zeros((1, *subject.bank.tap_shape(subject.run.tap)), np.float32)
    try:
        subject.fitted.score_gradients_(row, np.zeros(1, np.int64))
    except HeadError:
        return False
    return True


def dense_grad_cam(subject: Subject, maps: np.ndarray, features: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the Grad-CAM of a head on the average of a map, in plain numpy: (n, h, w) float32.

    The gradient of the score by each place of a channel is that by the channel's average, over the number of places.

    Args:
        subject: what is explained.
        maps: (n, h, w, c) float32.
        features: (n, c) float32, their averages.
        places: (n,) the class of each map, as a place among the classes that the head knows.
    """
    gradients = subject.fitted.score_gradients_(features, places)
    return weighted_sums(maps, gradients / (maps.shape[1] * maps.shape[2]))


def weighted_sums(maps: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Returns sums over the channels of maps (n, h, w, c), with weights (n, c) or (n, h, w, c): (n, h, w) float32."""
    if own.ndim == maps.ndim:
        return np.asarray((maps * own).sum(axis=-1), np.float32)
    height, width, channels = maps.shape[1:]
    sums = np.matmul(maps.reshape(len(maps), height * width, channels), own[:, :, None])
    return np.asarray(sums, np.float32).reshape(maps.shape[:3])


def positive_part(maps: np.ndarray) -> np.ndarray:
    """Returns maps (n, h, w) as heat from 0 to 1: what speaks against the class is 0, the strongest place is 1."""
    heat = np.maximum(maps, 0)
    most = heat.max(axis=(1, 2), keepdims=True)
    return np.asarray(heat / np.where(most > 0, most, 1), np.float32)
