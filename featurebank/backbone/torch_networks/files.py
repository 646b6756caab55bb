"""Weights files of networks of PyTorch: read without running what they name, and loaded whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurebank.backbone.torch_networks.spec import SAFETENSORS_SUFFIX, TorchSpec
from featurebank.backbone.weights.files import first_line
from featurebank.backbone.weights.torch_file import read_tensors
from featurebank.errors import WeightsError
from featurebank.system.imports.torch import import_torch

_COUNTERS = "num_batches_tracked"
"""Of batch normalisation in training; many files lack them."""


def load_weights(module: Any, path: Path, spec: TorchSpec) -> None:
    """Loads a weights file into a network.

    Args:
        module: from `TorchSpec.build`; changed in place.
        path: a `.safetensors`, `.pth` or `.pt` file of tensors by name.
        spec: the specification of the network.

    Raises:
        WeightsError: the file is missing, unreadable or of another network; the message names the first tensor that is
            missing, has another shape, or does not belong to the network.
    """
    torch = import_torch()
    expected = module.state_dict()
    tensors = dict(spec.adapt(read_torch_tensors(path), module))
    for name, parameter in expected.items():
        if name not in tensors and not name.endswith(_COUNTERS):
            raise _of_another(path, spec, f"it has no tensor '{name}' of shape {tuple(parameter.shape)}")
        if name in tensors and tensors[name].shape != parameter.shape:
            got = tuple(tensors[name].shape)
            raise _of_another(path, spec, f"its tensor '{name}' has shape {got}, expected {tuple(parameter.shape)}")
    others = sorted(name for name in tensors if name not in expected and not spec.is_classifier(name))
    if others:
        raise _of_another(path, spec, f"its tensor '{others[0]}' is none of this network")
    with torch.no_grad():
        for name, parameter in expected.items():
            if name in tensors:
                parameter.copy_(tensors[name])


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


def _of_another(path: Path, spec: TorchSpec, reason: str) -> WeightsError:
    return WeightsError(f"'{path}' does not fit {spec.name}: {reason}; use the weights of {spec.name}")
