"""Model files of other kinds: what each is, and how it becomes a .keras file."""

from __future__ import annotations

import os
from pathlib import Path

from featurebank.backbone.naming import OPENVINO_SUFFIXES
from featurebank.errors import ConfigError

_OTHERS = {
    ".tflite": "a model of TensorFlow Lite",
    ".pb": "a graph of TensorFlow without layers",
    ".safetensors": "weights alone",
    ".pt": "a file of PyTorch",
    ".pth": "a file of PyTorch",
}
_SAVE = "build the network in Keras and save it once with model.save('NAME.keras')"


def refuse_foreign(name: str) -> None:
    """Refuses the name of a model file that is not a .keras file.

    Raises:
        ConfigError: it is one; the message says what the file is and what to do.
    """
    path = Path(name)
    suffix, problem = path.suffix.lower(), ""
    if path.name.lower().endswith(".weights.h5"):
        problem = (
            "holds weights without a network: pass them to a known network with --weights, or build the network, "
            f"load_weights('{path.name}') and save it once with model.save('NAME.keras')"
        )
    elif suffix in {".h5", ".hdf5"}:
        problem = (
            "has the old format of Keras, for a whole model or only weights: save the model once with "
            f"keras.models.load_model('{path.name}').save('{path.stem}.keras'); pass weights with --weights"
        )
    elif suffix in OPENVINO_SUFFIXES and path.suffix != suffix:
        problem = f"ends with {path.suffix}: rename it to {path.stem}{suffix}"
    elif suffix in OPENVINO_SUFFIXES:
        return
    elif suffix in _OTHERS:
        problem = f"is {_OTHERS[suffix]}, not a whole model of Keras: {_SAVE}"
    elif os.path.isfile(path / "saved_model.pb"):  # noqa: PTH113 - returns False, not an error, for an overlong name
        problem = f"is a SavedModel, which holds no layers: save the model itself with model.save('{path.name}.keras')"
    elif os.path.isdir(path):  # noqa: PTH112 - as above
        problem = f"is a folder: expected a .keras file; {_SAVE}"
    if problem:
        message = f"backbone '{name}' {problem}"
        raise ConfigError(message)
