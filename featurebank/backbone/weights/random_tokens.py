"""Random weights of the layers of transformers: attention, embeddings, and classes of which only the shapes are known.

The layers of one network differ in how many numbers each output sums up (the fan-in). Kernels get the variance 1 /
fan-in, so that normalised tokens stay of size one, also as queries and keys. What is added to tokens or looked up in a
table gets the usual small numbers, and what multiplies them is one.

References:
    A. Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929 (embeddings of deviation 0.02).
    H. Touvron et al., "Going deeper with Image Transformers", 2021, arXiv:2103.17239 (LayerScale).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

EMBEDDING = 0.02
"""Standard deviation of embeddings."""
_LAYER_SCALE = 0.25
_ADDED = re.compile(r"embed|position|token|cls|regist|table|query|probe|mask|relative", re.IGNORECASE)
_ONES = re.compile(r"gamma|scale|temperature|tau", re.IGNORECASE)
_ZEROS = re.compile(r"(^|_)(bias|beta|shift|offset)$|^b(_?[qkv]{1,3})?$", re.IGNORECASE)
_MATRIX = 2


@dataclass(frozen=True)
class Draw:
    """How a weight is filled: with a constant, or with random numbers of a standard deviation."""

    constant: float = 0.0
    deviation: float = 0.0


def owners_of(layer: Any) -> dict[int, Any]:
    """Returns for each weight, by its id, the innermost layer that has it: a block may hold its layers inside."""
    owners: dict[int, Any] = {}
    inner = sorted(layer._flatten_layers(), key=lambda one: len(one.weights), reverse=True)
    for one in inner:
        owners |= {id(weight): one for weight in one.weights}
    return owners


def draw_of(owner: Any, weight: Any) -> Draw | None:
    """Returns how a weight of a transformer is filled.

    Args:
        owner: the innermost layer that has the weight.
        weight: a Keras variable.

    Returns:
        None if its name and shape do not say what it is.
    """
    shape, name, kind = tuple(weight.shape), weight.name, type(owner).__name__
    is_matrix = len(shape) >= _MATRIX
    if name.endswith("kernel") and is_matrix:
        return Draw(deviation=math.sqrt(1 / _fan_in(owner, weight)))
    if "LayerScale" in kind:
        return Draw(constant=_LAYER_SCALE)
    if name == "bias" or (_ZEROS.search(name) and not is_matrix):
        return Draw()
    if kind == "Embedding" or _ADDED.search(name) or (is_matrix and shape[0] == 1):
        return Draw(deviation=EMBEDDING)
    if _ONES.search(name):
        return Draw(constant=1.0)
    return Draw(deviation=math.sqrt(1 / _fan_in(owner, weight))) if is_matrix else None


def _fan_in(owner: Any, weight: Any) -> int:
    """Returns how many numbers each output of a kernel sums up."""
    shape = tuple(weight.shape)
    equation = getattr(owner, "equation", None)
    if isinstance(equation, str) and weight is getattr(owner, "_kernel", weight):
        inputs, _, result = equation.partition("->")
        labels = inputs.partition(",")[2].strip()
        if len(labels) == len(shape):
            return math.prod(size for label, size in zip(labels, shape, strict=True) if label not in result) or 1
    if "Depthwise" in type(owner).__name__ and "pointwise" not in weight.name:
        return math.prod(shape[:-2])
    return math.prod(shape[:-1])
