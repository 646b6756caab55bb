"""Weights files of networks of PyTorch: read without running what they name, and loaded whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featurebank.backbone.weights.files import first_line
from featurebank.backbone.weights.torch_file import read_tensors
from featurebank.errors import WeightsError
from featurebank.system.imports.torch import import_torch

SAFETENSORS_SUFFIX = ".safetensors"
_COUNTERS = "num_batches_tracked"
"""Of batch normalisation in training; many files lack them."""


def fill_with_tensors(
    module: Any, tensors: Mapping[str, Any], path: Path, name: str, is_classifier: Callable[[str], bool]
) -> None:
    """Copies the tensors of a weights file into a network, all of them or none.

    Args:
        module: a `torch.nn.Module`; changed in place.
        tensors: `torch.Tensor` by name.
        path: the file that they are from, for messages.
        name: name of the network, for messages.
        is_classifier: whether a tensor belongs to a classifier that the module does not have.

    Raises:
        WeightsError: a tensor is missing, has another shape, or does not belong to the network; the message names the
            first one.
    """
    expected = module.state_dict()
    for key, parameter in expected.items():
        if key not in tensors and not key.endswith(_COUNTERS):
            raise of_another_network(path, name, f"it has no tensor '{key}' of shape {tuple(parameter.shape)}")
        if key in tensors and tensors[key].shape != parameter.shape:
            got = tuple(tensors[key].shape)
            reason = f"its tensor '{key}' has shape {got}, expected {tuple(parameter.shape)}"
            raise of_another_network(path, name, reason)
    others = sorted(key for key in tensors if key not in expected and not is_classifier(key))
    if others:
        raise of_another_network(path, name, f"its tensor '{others[0]}' is none of this network")
    with import_torch().no_grad():
        for key, parameter in expected.items():
            if key in tensors:
                parameter.copy_(tensors[key])


def read_torch_tensors(path: Path) -> dict[str, Any]:
    """Reads the tensors of a weights file.

    Args:
        path: a `.safetensors` file, or one of `torch.save`, which is read by `weights.torch_file`.

    Returns:
        `torch.Tensor` by name.

    Raises:
        WeightsError: the file is missing, damaged, or holds something other than tensors by name.
    """
    torch = import_torch()
    if path.suffix.lower() != SAFETENSORS_SUFFIX:
        return {name: torch.from_numpy(value) for name, value in read_tensors(path).items()}
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Mapping[str, Any] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        message = f"'{path}' cannot be read as safetensors ({first_line(error)}): download or save it again"
        raise WeightsError(message) from error
    return dict(tensors)


def of_another_network(path: Path, name: str, reason: str) -> WeightsError:
    """Returns the error for a file of another network.

    Args:
        path: the file.
        name: name of the network.
        reason: the first difference.
    """
    return WeightsError(f"'{path}' does not fit {name}: {reason}; use the weights of {name}")
