"""Loads converted networks of OpenVINO from the cache, also for a map that a converted network computes on its way.

Conversions need Keras and TensorFlow and take seconds. The converted network of an extraction is on the disk, and a
network that averages a map computes the map before: so heat maps of a bank with averages alone need no conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featurebank.backbone import Backbone
from featurebank.engine import converted
from featurebank.system.runtime import installed_versions

_VERSION = 1
"""Part of a converted network's recipe; raise it whenever the conversion changes."""
CHANNELS_LAST, CHANNELS_FIRST = [1, 2], [2, 3]
"""The axes of the places of a map, in both layouts."""


def add_averaged_map(openvino: Any, model: Any, average: str, name: str) -> bool:
    """Makes the map that an output averages another output, (n, h, w, c).

    Args:
        openvino: the package.
        model: the converted network, which is changed.
        average: the name of the output.
        name: the name of the new output.

    Returns:
        Whether the network computes the output as an average over the places of a map; if not, nothing is changed.
    """
    mean = model.output(average).get_node().input_value(0).get_node()
    if mean.get_type_name() != "ReduceMean" or mean.input_value(1).get_node().get_type_name() != "Constant":
        return False
    axes = sorted(mean.input_value(1).get_node().data.ravel().tolist())
    if axes not in (CHANNELS_LAST, CHANNELS_FIRST):
        return False
    source = mean.input_value(0)
    ops = openvino.opset13
    order = [0, 1, 2, 3] if axes == CHANNELS_LAST else [0, 2, 3, 1]
    output = ops.transpose(source, ops.constant(order, dtype="int64")).output(0)
    output.get_tensor().set_names({name})
    model.add_outputs([output])
    return True


def tap_name(place: int) -> str:
    """Returns the name of a tap inside OpenVINO, which restricts colons in names."""
    return f"tap_{place}"


def recorded_version() -> str:
    """Returns the version of the installed OpenVINO, as recipes have it, without importing it."""
    return installed_versions("openvino").get("openvino", "of unknown version")


def recipe_of(backbone: Backbone, taps: Sequence[str]) -> dict[str, Any]:
    """Returns everything that a converted network depends on.

    A network that is not one of Keras is traced by the library that made it, whose version is a part.
    """
    libraries = {} if backbone.form == "keras" else installed_versions(*backbone.libraries)
    return {
        "backbone": backbone.digest, "taps": list(taps), "conversion": _VERSION, **libraries,
        "openvino": recorded_version(),
    }  # fmt: skip


def load_saved(openvino: Any, core: Any, backbone: Backbone, taps: Sequence[str], cache: Path) -> Any:
    """Loads the converted network of some taps; None if the cache lacks it.

    If there is one of all taps but the last, and the last is a map that one of them averages, it is found in there.

    Args:
        openvino: the package.
        core: its `Core`.
        backbone: the network.
        taps: the taps.
        cache: the cache of banks, which holds the directory of converted networks.
    """
    recipe = recipe_of(backbone, taps)
    if saved := converted.load(converted.path_of(cache, backbone.name, recipe), recipe):
        description, weights = saved
        return core.read_model(description, openvino.Tensor(weights))
    *others, last = taps
    averages = [place for place, tap in enumerate(others) if backbone.plain_tap(tap) == (last, "avg")]
    model = load_saved(openvino, core, backbone, others, cache) if averages else None
    if model is None:
        return None
    found = add_averaged_map(openvino, model, tap_name(averages[0]), tap_name(len(others)))
    return model if found else None
