"""The parameters of a head as the record of its run holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.errors import ConfigError
from featurebank.heads.kinds import HeadKind
from featurebank.metrics import metric_of
from featurebank.system import digest
from featurebank.training.monitors import LOSS, MONITOR, identified_monitor, metric_name


def recorded_params(params: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Returns parameters as the record of a run holds them, and as its id depends on them.

    Args:
        params: the parameters of a head, without problems; see `unrecordable`.
        classes: the names of the classes.
    """
    return {name: _plain(value) for name, value in identified_monitor(params, classes).items()}


def unrecordable(kind: HeadKind, params: Mapping[str, Any], classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the name and the problem of each parameter whose value a record cannot hold.

    It has no form in JSON, or it is a monitor whose class or file of costs cannot be used.

    Args:
        kind: the kind of the head.
        params: its parameters.
        classes: the names of the classes.
    """
    for name, value in params.items():
        try:
            digest.canonical_json(_plain(value))
        except (TypeError, ValueError) as error:
            yield name, f"head '{kind.name}' has a parameter that a run's record cannot hold: {name}: {error}"
    try:
        metric_of(metric_name(str(params.get(MONITOR, LOSS))), classes)
        identified_monitor(params, classes)
    except ConfigError as error:
        yield MONITOR, f"head '{kind.name}': {error}"


def _plain(value: Any) -> Any:
    """Returns a value with types as read from JSON, so that a run's id does not depend on the number types."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
