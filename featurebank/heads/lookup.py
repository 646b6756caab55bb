"""The parameters of a kind of head, with their defaults and meaning.

Meanings are read from the docstrings: the `Args` of featurebank's classes, the `Parameters` of scikit-learn's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from featurebank.heads.kinds import HeadKind
from featurebank.training.common_parameters import CALIBRATE, SAMPLE_WEIGHT
from featurebank.words import described_arguments

_CALIBRATE = (
    '"temperature" divides the logits by the number that is best for the validation images, so that the probabilities '
    "can be believed; null leaves them as they are"
)
_SAMPLE_WEIGHT = (
    '"ignore" counts all training images alike where the dataset has a column of weights (images of weight 0 stay left '
    "out); null weighs them"
)
_THEIRS = re.compile(r"^(\w+(?:, \w+)*)\s*:\s")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a head."""

    name: str
    default: Any
    meaning: str
    """One paragraph; empty where the class does not say."""


def list_parameters(kind: HeadKind) -> list[Parameter]:
    """Returns the parameters of a kind of head, in the order of its signature.

    Raises:
        UnknownNameError, ConfigError: there is no such head.

    Example:
        >>> from featurebank.heads.catalog import kind_of
        >>> [parameter.name for parameter in list_parameters(kind_of("ridge"))]
        ['alpha', 'standardize', 'pca', 'class_weight', 'calibrate', 'sample_weight']
    """
    meanings = _ours(kind.target_class) if kind.own else {**_of_steps(), **dict(_theirs(kind.target_class))}
    parameters = [Parameter(name, default, meanings.get(name, "")) for name, default in kind.default_params.items()]
    return [*parameters, Parameter(CALIBRATE, None, _CALIBRATE), Parameter(SAMPLE_WEIGHT, None, _SAMPLE_WEIGHT)]


def _of_steps() -> dict[str, str]:
    from featurebank.heads.estimators import EstimatorHead

    return {name: text for name, text in _ours(EstimatorHead).items() if name in {"standardize", "pca"}}


def _ours(own: type) -> dict[str, str]:
    """Returns the meaning of each parameter: that of the nearest class which does not refer to another one."""
    meanings: dict[str, str] = {}
    for owner in own.__mro__:
        for name, text in described_arguments(owner.__doc__ or ""):
            if re.match(r"see `[A-Z]", meanings.get(name, "see `A")):
                meanings[name] = text
    return meanings


def _theirs(own: type) -> Iterator[tuple[str, str]]:
    """Yields name and the first paragraph of each entry under "Parameters" of a docstring in numpy's style."""
    _, begins, rest = inspect.cleandoc(own.__doc__ or "").partition("\nParameters\n----------\n")
    names, lines, open_ = "", [""], False
    for line in rest.split("\n") if begins else ():
        if re.match(r"^-{3,}$", line):  # the line before is the title of the next section
            break
        entry = _THEIRS.match(line)
        if entry:
            yield from ((name, " ".join(lines).strip()) for name in names.split(", ") if name)
            names, lines, open_ = entry[1], [], True
        elif not line.strip():
            open_ = not lines
        elif open_ and line.startswith(" "):
            lines.append(line.strip())
    yield from ((name, " ".join(lines).strip()) for name in names.split(", ") if name)
