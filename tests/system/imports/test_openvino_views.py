"""Outputs of OpenVINO that show memory which others show, too: the numbers are right, however often it is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featurebank.system.imports.openvino import compile_model, import_openvino
from featurebank.system.imports.openvino_views import separate_outputs

pytestmark = pytest.mark.heavy

SIDE, PATCH, WIDTH = 16, 4, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
Graph = Callable[[Any, Any, Any], tuple[Any, Any]]


def numbers(ops: Any, *shape: int) -> Any:
    return ops.constant(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) / 4)


def tokens_of(ops: Any, patches: Any) -> Any:
    """As PyTorch makes them: (n, d, h, w) -> (n, h * w, d)."""
    flat = ops.reshape(patches, ops.constant([0, WIDTH, -1]), special_zero=True)
    return ops.transpose(flat, ops.constant([0, 2, 1]))


def linear(ops: Any, patches: Any, channels_last: Any) -> tuple[Any, Any]:
    return channels_last, ops.matmul(tokens_of(ops, patches), numbers(ops, WIDTH, WIDTH), False, False)


def positions(ops: Any, patches: Any, channels_last: Any) -> tuple[Any, Any]:
    """A block of a transformer after position embeddings."""
    tokens = ops.add(tokens_of(ops, patches), numbers(ops, 1, 16, WIDTH))
    normal = ops.mvn(tokens, ops.constant([2]), True, 1e-6, "inside_sqrt")
    return channels_last, ops.add(tokens, ops.matmul(normal, numbers(ops, WIDTH, WIDTH), False, False))


def rows(ops: Any, patches: Any, channels_last: Any) -> tuple[Any, Any]:
    """The output itself is a row of tokens; the linear layer reads other ones."""
    output = ops.reshape(channels_last, ops.constant([0, -1, WIDTH]), special_zero=True)
    return output, linear(ops, patches, channels_last)[1]


def average(ops: Any, patches: Any, channels_last: Any) -> tuple[Any, Any]:
    """A network of maps: nothing else views the map."""
    return channels_last, ops.reduce_mean(channels_last, ops.constant([1, 2]), False)


def block(ops: Any, patches: Any, channels_last: Any) -> tuple[Any, Any]:
    one = ops.convolution(ops.relu(patches), numbers(ops, WIDTH, WIDTH, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    return channels_last, ops.transpose(ops.add(patches, one), ops.constant([0, 2, 3, 1]))


def graph(make: Graph, step: str = "", only: int | None = None) -> Any:
    """Returns a model with a map and what follows it, or with one of them `only`."""
    package = import_openvino()
    ops = package.opset13
    images = ops.parameter([-1, SIDE, SIDE, 3], np.uint8)
    pixels = ops.transpose(ops.convert(images, "f32"), ops.constant([0, 3, 1, 2]))
    kernel = numbers(ops, WIDTH, 3, PATCH, PATCH)
    patches = ops.convolution(
        ops.divide(pixels, ops.constant(np.float32(255))), kernel, [PATCH] * 2, [0, 0], [0, 0], [1, 1]
    )
    patches = {"": lambda one: one, "swish": ops.swish, "relu": ops.relu}[step](patches)
    outputs = make(ops, patches, ops.transpose(patches, ops.constant([0, 2, 3, 1])))
    for place, output in enumerate(outputs):
        output.output(0).get_tensor().set_names({f"tap_{place}"})
    return package.Model([one for place, one in enumerate(outputs) if only in {None, place}], [images], "graph")


def computed(model: Any, count: int, threads: int) -> dict[str, np.ndarray]:
    model = model.clone()
    model.reshape([count, SIDE, SIDE, 3])
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "THROUGHPUT"}
    request = compile_model(import_openvino().Core(), model, options).create_infer_request()
    request.infer([IMAGES[:count]])
    return {name: request.get_tensor(name).data.copy() for output in model.outputs for name in output.names}


@pytest.mark.parametrize("step", ["", "swish", "relu"])
@pytest.mark.parametrize("make", [linear, positions, rows, average, block])
def test_outputs_together_equal_each_of_them_alone(make: Graph, step: str) -> None:
    alone = {**computed(graph(make, step, 0), 3, 1), **computed(graph(make, step, 1), 3, 1)}
    assert sorted(alone) == ["tap_0", "tap_1"]
    for count in (1, 2, 3):
        for threads in (1, 2):
            for name, values in computed(graph(make, step), count, threads).items():
                assert np.allclose(values, alone[name][:count], atol=1e-5), (name, count, threads)


@pytest.mark.parametrize(("make", "count"), [(linear, 1), (positions, 1), (rows, 1), (average, 0), (block, 0)])
def test_only_what_shares_memory_is_copied_and_only_once(make: Graph, count: int) -> None:
    """Networks of maps stay as fast as they were."""
    package, model = import_openvino(), graph(make)
    assert separate_outputs(package, model) == count
    assert separate_outputs(package, model) == 0
    assert [output.names for output in model.outputs] == [{"tap_0"}, {"tap_1"}]


def test_one_map_may_be_several_outputs() -> None:
    package, model = import_openvino(), graph(linear)
    shown = model.output("tap_0").get_node().input_value(0)
    model.add_results([package.opset13.result(shown)])
    assert separate_outputs(package, model) == 1
    assert [result.input_value(0).get_names() for result in model.get_results()] == [{"tap_0"}, {"tap_1"}, {"tap_0"}]
