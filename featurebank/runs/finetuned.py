"""Loading of the model of a fine-tuned run."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.errors import HeadError
from featurebank.runs.run import RunRecord
from featurebank.system import digest
from featurebank.system.backing.directories import is_file

PROBABILITIES = "probabilities"
"""The layer of a graft whose input is the logits of the classes that the head has seen."""
BATCH = 32
"""Images per forward pass."""


def is_finetuned(run: Any) -> bool:
    """Returns whether an object is a run whose network was trained, too."""
    return isinstance(run, RunRecord) and run.is_finetune


def finetuned_model(run: RunRecord) -> Any:
    """Loads the model of a fine-tuned run.

    Returns:
        A Keras model, (n, s, s, 3) RGB 0..255 -> (n, classes) probabilities.

    Raises:
        HeadError: the run failed, or its file is missing or was changed.
    """
    if run.failure:
        message = f"run {run.run} failed ({run.failure}): choose another"
        raise HeadError(message)
    if not is_file(run.saved_path) or digest.of_file(run.saved_path) != run.weights:
        start = (run.finetune or {}).get("from", "best")
        message = (
            f"the model of run {run.run}, '{run.saved_path}', is missing or was changed: fine-tune again from "
            f"{start} with the same options"
        )
        raise HeadError(message)
    try:
        return load_keras_file(run.saved_path)
    except Exception as error:  # a damaged or hostile file fails anywhere in Keras
        message = (
            f"the model of run {run.run}, '{run.saved_path}', cannot be read ({' '.join(str(error).split())[:300]})"
        )
        raise HeadError(message) from error


def predict_batch(model: Any, images: np.ndarray) -> np.ndarray:
    """Returns the probabilities of a model for a batch, (n, classes) float64.

    Args:
        model: the result of `finetuned_model`.
        images: (n, s, s, 3) uint8.
    """
    return np.asarray(model.predict_on_batch(images.astype(np.float32)), np.float64)


def class_places(model: Any) -> np.ndarray:
    """Returns for each class its place among those that the head has seen, -1 for others: (classes,) int32.

    Args:
        model: a graft, or the result of `finetuned_model`.
    """
    classes = model.output.shape[-1]
    places = np.arange(classes, dtype=np.int32)
    names = [layer.name for layer in model.layers]
    if "all_classes" in names:
        (kernel,) = model.get_layer("all_classes").get_weights()
        places[:] = -1
        places[kernel.argmax(axis=1)] = np.arange(len(kernel), dtype=np.int32)
    return places
