"""Random weights of networks of PyTorch: identical bits everywhere, and finite in float16 at any depth.

PyTorch's own initialisers depend on its version. The numbers are those of `weights.random.bell`; each parameter has its
own stream, by its name, so that a library may add a parameter without changing the others. Any change of a number
below needs a new name of the scheme, `TorchSpec.random_scheme`.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from featurebank.backbone.torch_networks.recording import Recording
from featurebank.backbone.torch_networks.structure import Roles, roles_of
from featurebank.backbone.weights.random import bell
from featurebank.system.imports.torch import import_torch

_BRANCH_SCALE = 0.25
_OPEN_GATE = 4.0
_SMALL = 0.02
"""Deviation of positions, class tokens and the like."""
_MATRIX = 2


def fill_with_random(module: Any, seed: int, recording: Recording) -> None:
    """Sets the parameters of a network from a seed.

    Kernels and matrices get the variance 1 / fan-in, or 2 / fan-in before an activation; normalisations are the
    identity, biases zero. The last layer of a residual branch is scaled by a quarter: the sum of all branches then
    stays finite in float16. The gates of squeeze-and-excitation start open. Positions, class tokens and tables of
    embeddings get a deviation of .02. A parameter to which the library gives one constant, as a temperature, keeps it,
    and so do all buffers: running statistics, indices, frequencies of positions.

    Args:
        module: a `torch.nn.Module`; changed in place.
        seed: from 0 to `weights.random.MAX_SEED`.
        recording: a forward pass of the same network.
    """
    torch = import_torch()
    roles = roles_of(recording)
    owners = dict(module.named_modules())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            owner = owners[name.rpartition(".")[0]]
            value = _value(name, parameter, owner, seed, roles)
            if value is not None:
                parameter.copy_(torch.from_numpy(value))


def _value(name: str, parameter: Any, owner: Any, seed: int, roles: Roles) -> np.ndarray | None:
    """Returns the value of a parameter; None if it keeps that of the library."""
    shape = tuple(parameter.shape)
    last = name.rpartition(".")[2]
    scale = _BRANCH_SCALE if name in roles.ends else 1.0
    if "bias" in last and len(shape) == 1:
        return np.full(shape, _OPEN_GATE if name in roles.gates else 0.0, np.float32)
    if "weight" in last and len(shape) >= _MATRIX and "Embedding" not in type(owner).__name__:
        gain = 2 if name in roles.activated else 1
        return _bell(name, shape, seed, scale * math.sqrt(gain / math.prod(shape[1:])))
    if "weight" in last and len(shape) == 1:
        return np.full(shape, scale, np.float32)
    constant = parameter.flatten()[0].item() if (parameter == parameter.flatten()[0]).all() else None
    if name in roles.ends and constant is not None:  # the scale of a layer
        return np.full(shape, _BRANCH_SCALE, np.float32)
    return None if constant else _bell(name, shape, seed, _SMALL)


def _bell(name: str, shape: tuple[int, ...], seed: int, deviation: float) -> np.ndarray:
    index = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return bell(seed, index, math.prod(shape)).reshape(shape) * np.float32(deviation)
