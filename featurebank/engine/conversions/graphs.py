"""Networks that are OpenVINO's own already: nothing is converted, and there is nothing to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from featurebank.backbone import Backbone
from featurebank.engine.conversions.table import Conversion


def conversion_of(backbone: Backbone, taps: Sequence[str]) -> Conversion:
    """Returns taps of a network of OpenVINO; see `table.conversion_of`."""
    return Conversion(cast("Any", backbone).tap_graph(taps), None)
