"""The OpenVINO engine: runs the converted network with several parallel requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS
from featurebank.engine import converted
from featurebank.engine.conversions.table import conversion_of
from featurebank.engine.pool import PooledEngine, request_size
from featurebank.engine.saved_networks import load_saved, recipe_of, recorded_version, tap_name
from featurebank.engine.table import ENGINES
from featurebank.errors import ConfigError, EngineError, FeatureBankError, MissingDependencyError
from featurebank.system.backing.temporaries import temporary_folder
from featurebank.system.imports.openvino import compile_model, import_openvino, preserve_signal_stack
from featurebank.system.runtime import threads

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""The supported precisions, and OpenVINO's names for them."""

_OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "out of memory")
"""Signs of a lack of memory in OpenVINO's messages; it has no exception for that."""
_TOLERANCE = 1e-3
"""Largest allowed difference of a converted network from the original, relative to an image's largest feature."""


REQUEST = 4
"""Images of 224 x 224 pixels per request, so that their maps fit the core's own cache.

Measured on two cores, images a second of processor time. EfficientNet-Lite0 at 224 pixels: 219 for 1 image, 223 for 2,
214 for 4, 194 for 8, 184 for 16; at 32 pixels 3770, 5610 for 4, 6030 for 8, 6380 for 32. ResNet50 in bfloat16: 64 for
1, 67 for 2, 69 for 4 and 8. ViT-S/16: 20.6 for 1, 21.3 for 2, 21.8 for 4, 20.7 for 8."""


class OpenVINOEngine(PooledEngine):
    """Runs a backbone's taps in OpenVINO on the processor.

    The precision is always set: OpenVINO would choose bfloat16 itself wherever the processor has it. Threads are not
    pinned to cores: decoding needs cores too, and several processes of one machine would choose the same ones.

    Args:
        backbone: the network to run.
        taps: the taps to compute in one pass; the network is cut after the last layer that they need.
        batch_size: number of images per batch.
        precision: "float32" or "bfloat16".
        cache: directory for converted networks; None writes none.
        say: callback that receives one-line notes for the user.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ConfigError: the engine or the processor does not support the precision.
        EngineError: OpenVINO cannot run this network.
        UnknownNameError: the network has no such tap.
    """

    name = "openvino"

    def __init__(
        self, backbone: Backbone, taps: Sequence[str], *, batch_size: int, precision: str = "float32",
        cache: Path | None = None, say: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        with preserve_signal_stack():
            core = import_openvino().Core()
            self.precision = _checked(precision, core)
            request = request_size(backbone.image_size, batch_size, most=REQUEST)
            model = _network(core, backbone, taps, cache, say)
            compiled = compile_network(core, model, (request, backbone.image_size), precision)
            # One request more than can run at a time: no stream waits while an answer is copied.
            requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1
            runs = [_OpenVINORequest(compiled, taps, backbone.form) for _ in range(requests)]
        super().__init__(runs, request=request, batch_size=batch_size, image_size=backbone.image_size)


def openvino_version() -> str | None:
    """Returns the version of the installed OpenVINO, without importing it; None if it is not installed."""
    if find_spec("openvino") is None:
        return None
    return recorded_version()


def starts_at_once(backbone: Backbone, taps: Sequence[str], cache: Path) -> bool:
    """Returns whether the engine starts without a conversion, which needs TensorFlow and takes seconds.

    Args:
        backbone: the network to run.
        taps: the taps to compute.
        cache: the cache of banks.
    """
    try:
        openvino = import_openvino()
    except MissingDependencyError:
        return False
    if backbone.form == "openvino":
        return True
    with preserve_signal_stack():
        return load_saved(openvino, openvino.Core(), backbone, taps, cache) is not None


def has_bfloat16() -> bool:
    """Returns whether the processor computes bfloat16 natively.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    with preserve_signal_stack():
        return _has_bfloat16(import_openvino().Core())


class _OpenVINORequest:
    """One inference request of OpenVINO, used repeatedly."""

    def __init__(self, compiled: Any, taps: Sequence[str], form: str) -> None:
        others = [f"--engine {name}" for name, kind in ENGINES.items() if name != "openvino" and form in kind.forms]
        self._remedy = f"try {' or '.join(others) or 'a smaller --batch-size'}"
        self._request = compiled.create_infer_request()
        self._images = self._request.get_input_tensor().data
        self._taps = {tap: self._request.get_tensor(tap_name(place)).data for place, tap in enumerate(taps)}

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        count = len(images)
        self._images[:count] = images
        try:
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            if any(word in str(error) for word in _OUT_OF_MEMORY):
                raise MemoryError(_line(error)) from error
            message = f"engine openvino failed on a batch: {_line(error)}; {self._remedy}"
            raise EngineError(message) from error
        return {tap: rows[:count] for tap, rows in self._taps.items()}


def convert_network(backbone: Backbone, taps: Sequence[str], core: Any = None) -> Any:
    """Returns taps of a network as a model of OpenVINO, whose features equal those of the original.

    Args:
        backbone: the network, of any form.
        taps: the taps to compute in one pass.
        core: the `openvino.Core`; None makes one.

    Returns:
        An `openvino.Model`: (n, s, s, 3) uint8 -> an output for each tap, whose tensor has the name `tap_name(place)`.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        EngineError: OpenVINO cannot run this network, or computes other features.
        UnknownNameError: the network has no such tap.
    """
    core = core or import_openvino().Core()
    size = backbone.image_size
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    try:
        conversion = conversion_of(backbone, taps)
        compiled = compile_network(core, conversion.model.clone(), (len(images), size), "float32")
        features = _OpenVINORequest(compiled, taps, backbone.form)(images)
    except FeatureBankError:
        raise
    except Exception as error:  # converting an arbitrary network can fail in any way
        message = f"OpenVINO cannot run {backbone.name}: {_line(error)}"
        raise EngineError(message) from error
    if conversion.original is not None:
        for tap, expected in zip(taps, conversion.original(images), strict=True):
            _refuse_difference(backbone, tap, expected, features[tap])
    return conversion.model


def _network(core: Any, backbone: Backbone, taps: Sequence[str], cache: Path | None, say: Callable[[str], None]) -> Any:
    """Loads a network from the cache, or converts it and saves it there; a network of a file is read from that."""
    if cache is None or backbone.form == "openvino":
        return convert_network(backbone, taps, core)
    if (model := load_saved(import_openvino(), core, backbone, taps, cache)) is not None:
        return model
    model, recipe = convert_network(backbone, taps, core), recipe_of(backbone, taps)
    path = converted.path_of(cache, backbone.name, recipe)
    try:
        converted.save(path, recipe, *_serialized(model, path.parent))
    except (OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError if it cannot write
        say(f"the converted network cannot be saved for the next time: {_line(error)}")
    return model


def _refuse_difference(backbone: Backbone, tap: str, expected: np.ndarray, features: np.ndarray) -> None:
    agree = expected.shape == features.shape
    if agree:
        expected, features = expected.reshape(len(expected), -1), features.reshape(len(features), -1)
        scale = np.where(np.isfinite(expected), np.abs(expected), 0).max(axis=1, keepdims=True)
        agree = np.allclose(features, expected, rtol=0, atol=_TOLERANCE * scale, equal_nan=True)
    if not agree:
        message = (
            f"OpenVINO computes other features than {FORMS[backbone.form]} for tap '{tap}' of {backbone.name}: "
            f"expected a difference of at most {_TOLERANCE:g} of the largest"
        )
        raise EngineError(message)


def compile_network(core: Any, model: Any, shape: tuple[int, int], precision: str) -> Any:
    """Compiles a network for the processor, as the engine does.

    Args:
        core: the `openvino.Core`.
        model: from `convert_network`; it gets the shape.
        shape: the number of images of a request, and the side of an image in pixels.
        precision: one of `PRECISIONS`.
    """
    count, size = shape
    model.reshape([count, size, size, 3])
    options = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads(),
        "ENABLE_CPU_PINNING": False,
    }
    return compile_model(core, model, options)


def _serialized(model: Any, place: Path) -> tuple[bytes, np.ndarray]:
    place.mkdir(parents=True, exist_ok=True)
    with temporary_folder(place) as directory:
        description, weights = directory / "network.xml", directory / "network.bin"
        import_openvino().serialize(model, description, weights)
        return description.read_bytes(), np.fromfile(weights, np.uint8)


def _checked(precision: str, core: Any) -> str:
    if precision not in PRECISIONS:
        message = f"engine openvino cannot compute in '{precision}': expected {' or '.join(PRECISIONS)}"
        raise ConfigError(message)
    if precision == "bfloat16" and not _has_bfloat16(core):
        processor = core.get_property("CPU", "FULL_DEVICE_NAME")
        message = f"this processor ({processor}) has no native bfloat16: use float32, which is faster here"
        raise ConfigError(message)
    return precision


def _has_bfloat16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
