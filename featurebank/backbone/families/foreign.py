"""Model files of other kinds than a backbone can be: what each is, and how it becomes a .keras file."""

from __future__ import annotations

import os
from pathlib import Path

from featurebank.errors import ConfigError

_OTHERS = {
    ".onnx": "a model of ONNX",
    ".tflite": "a model of TensorFlow Lite",
    ".xml": "a model of OpenVINO",
    ".pb": "a graph of TensorFlow without layers",
    ".safetensors": "weights alone",
    ".pt": "a file of PyTorch",
    ".pth": "a file of PyTorch",
}
_SAVE = "build the network in Keras and save it once with model.save('NAME.keras')"


def refuse_foreign(name: str) -> None:
    """Refuses a name that is a model file of another kind than .keras.

    Raises:
        ConfigError: it is; the message says what the file is and what to do.
    """
    path = Path(name)
    suffix, told = path.suffix.lower(), ""
    if path.name.lower().endswith(".weights.h5"):
        told = (
            "holds weights without their network: give them to a known network with --weights, or build the network, "
            f"load_weights('{path.name}') and save it once with model.save('NAME.keras')"
        )
    elif suffix in {".h5", ".hdf5"}:
        told = (
            "has the old format of Keras, of a whole model or of weights alone: save the model once with "
            f"keras.models.load_model('{path.name}').save('{path.stem}.keras'); give weights with --weights"
        )
    elif suffix in _OTHERS:
        told = f"is {_OTHERS[suffix]}, not a whole model of Keras: {_SAVE}"
    elif os.path.isfile(path / "saved_model.pb"):  # noqa: PTH113 - false, not an error, of a name that is too long
        told = f"is a SavedModel, which holds no layers: save the model itself with model.save('{path.name}.keras')"
    elif os.path.isdir(path):  # noqa: PTH112 - as above
        told = f"is a folder: expected a .keras file; {_SAVE}"
    if told:
        message = f"backbone '{name}' {told}"
        raise ConfigError(message)
