"""Checks of a user's module: one image in, one tensor out, the same each time."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from featurebank.backbone.weights.files import first_line
from featurebank.errors import ConfigError
from featurebank.system import digest
from featurebank.system.imports.torch import import_torch

_LEAST_AXES, _MOST_AXES = 2, 4


def checked_copy(module: Any, origin: str, size: int) -> Any:
    """Returns a copy of a module in evaluation mode on the processor, if it can be a backbone.

    Args:
        module: a `torch.nn.Module`; it is not changed.
        origin: its name in messages.
        size: the side of its square input in pixels.

    Raises:
        ConfigError: it has several inputs or outputs, does not run on such images, gives something else each time, or
            changes its state.
    """
    inputs = _inputs(module)
    if len(inputs) != 1:
        message = (
            f"{origin} takes {len(inputs)} inputs ({', '.join(inputs)}): expected one, images (n, 3, height, width)"
        )
        raise ConfigError(message)
    try:
        frozen = copy.deepcopy(module).cpu().float().eval().requires_grad_(requires_grad=False)
    except Exception as error:  # the user's classes may refuse it in any way
        message = f"{origin} cannot be copied ({first_line(error)}): expected a module that copy.deepcopy can copy"
        raise ConfigError(message) from error
    before = weights_digest(frozen)
    first, second = (_output(frozen, origin, size) for _ in range(2))
    torch = import_torch()
    if weights_digest(frozen) != before or not torch.equal(first, second):
        message = (
            f"{origin} changes its state or gives other features each time, also in evaluation mode: expected a module "
            "that only computes"
        )
        raise ConfigError(message)
    return frozen


def weights_digest(module: Any) -> str:
    """Returns the digest of the parameters and buffers of a module, also of those that are not saved."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    values = [(name, digest.of_array(tensor.detach().cpu().float().numpy())) for name, tensor in tensors]
    return digest.of_recipe([list(pair) for pair in values])


def _inputs(module: Any) -> Sequence[str]:
    """Returns the names of the inputs that `forward` needs."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    usable = [one for one in parameters if one.kind not in kinds]
    needed = [one.name for one in usable if one.default is one.empty and one.kind is not one.VAR_POSITIONAL]
    return needed or [one.name for one in usable[:1]]


def _output(module: Any, origin: str, size: int) -> Any:
    torch = import_torch()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, size, size, generator=generator)
    try:
        with torch.no_grad():
            output = module(images)
    except Exception as error:  # whatever the user's code raises
        message = (
            f"{origin} cannot run on images (n, 3, {size}, {size}) in evaluation mode ({type(error).__name__}: "
            f"{first_line(error)}): use another image size, or mend its forward"
        )
        raise ConfigError(message) from error
    if not isinstance(output, torch.Tensor):
        message = (
            f"{origin} returns a {type(output).__name__}: expected one tensor; wrap it in a module that returns its "
            "features or its classifier's output"
        )
        raise ConfigError(message)
    if not _LEAST_AXES <= output.ndim <= _MOST_AXES or output.shape[0] != len(images):
        message = (
            f"{origin} returns a tensor of shape {tuple(output.shape)} for two images: expected (2, d), (2, T, d) or "
            "(2, c, height, width)"
        )
        raise ConfigError(message)
    return output
