"""The input of a network of OpenVINO: which images it takes, and the preprocessing in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone.preprocess import INSIDE, arithmetic
from featurebank.errors import ConfigError
from featurebank.system.imports.openvino import import_openvino, preserve_signal_stack
from featurebank.system.model_files.trial import BATCH, openvino_line
from featurebank.words import counted

_AXES, _CHANNELS = 4, 3
_FLOATS, _WHOLE = ("f32", "f16", "bf16", "f64"), ("u8", "i32", "i64")


@dataclass(frozen=True)
class InputForm:
    """What a network takes.

    Args:
        axes: "nchw" or "nhwc".
        side: the side of its images in pixels; None if it takes any.
        batch: the number of images that the file fixes; None if it takes any.
        dtype: the type of the pixels, as OpenVINO names it.
    """

    axes: str
    side: int | None
    batch: int | None
    dtype: str

    def image_size(self, origin: str, size: int | None) -> int:
        """Returns the side of the input: the network's, or `size` if the network leaves it open.

        Raises:
            ConfigError: the network leaves it open and there is no `size`, or the two differ.
        """
        if self.side is None and size is None:
            message = f"{origin} takes images of any size: choose one, as --image-size 224"
            raise ConfigError(message)
        if self.side is not None and size not in {None, self.side}:
            message = f"{origin} takes images of {self.side} x {self.side} pixels, got image size {size}: leave it out"
            raise ConfigError(message)
        if size is not None and (not isinstance(size, int) or size < 1):
            message = f"image size {size}: expected a number of pixels, as 224"
            raise ConfigError(message)
        return int(self.side or size or 0)


def input_form(model: Any, origin: str) -> InputForm:
    """Returns what a network takes.

    Args:
        model: an `openvino.Model`.
        origin: the network's name in messages.

    Raises:
        ConfigError: it takes something other than one square RGB image.
    """
    if len(model.inputs) != 1:
        names = ", ".join(f"'{_name(value)}'" for value in model.inputs[:5]) or "none"
        message = (
            f"{origin} has {len(model.inputs)} inputs ({names}): expected one, the image; export the image part alone"
        )
        raise ConfigError(message)
    shape, dtype = model.inputs[0].get_partial_shape(), model.inputs[0].get_element_type().get_type_name()
    if shape.rank.is_dynamic or len(shape) != _AXES or dtype not in (*_FLOATS, *_WHOLE):
        message = (
            f"{origin} takes an input of shape {_shown(shape)} and type {dtype}: expected RGB images, (n, 3, height, "
            "width) or (n, height, width, 3), in numbers"
        )
        raise ConfigError(message)
    batch, *others = [None if length.is_dynamic else int(length.get_length()) for length in shape]
    axes = "nhwc" if others[-1] == _CHANNELS and others[0] != _CHANNELS else "nchw"
    channels, sides = (others[-1], others[:2]) if axes == "nhwc" else (others[0], others[1:])
    if channels is None and _first_order(model) == [0, 3, 1, 2]:
        axes, channels, sides = "nhwc", others[-1], others[:2]
    if channels not in {None, _CHANNELS}:
        message = f"{origin} takes an input of shape {_shown(shape)}: expected RGB images, with three channels"
        raise ConfigError(message)
    known = {side for side in sides if side is not None}
    if len(known) > 1:
        message = f"{origin} takes images of {sides[0]} x {sides[1]} pixels: expected a square"
        raise ConfigError(message)
    return InputForm(axes, known.pop() if known else None, batch, dtype)


def put_in_front(model: Any, form: InputForm, side: int, rule: str, origin: str) -> tuple[Any, Any]:
    """Puts the preprocessing and the layout in front of a network.

    Args:
        model: an `openvino.Model`; changed in place.
        form: what it takes.
        side: the side of the images in pixels.
        rule: the identifier of the preprocessing.
        origin: the network's name in messages.

    Returns:
        A model with one input "image", (n, s, s, 3) uint8 RGB, and the outputs of the network, whose shapes are
        inferred for `BATCH` images; and the operation whose output the network takes.

    Raises:
        ConfigError: the network takes whole numbers and not the pixels themselves, or works only for the number of
            images that the file fixes.
    """
    openvino = import_openvino()
    ops, old = openvino.opset13, model.get_parameters()[0]
    image = ops.parameter([BATCH, side, side, _CHANNELS], np.uint8, name="image")
    image.output(0).get_tensor().set_names({"image"})
    if form.dtype in _WHOLE and rule != INSIDE:
        message = f"{origin} takes whole numbers ({form.dtype}), so it rescales pixels itself: use --preprocessing none"
        raise ConfigError(message)
    value = ops.convert(image, "f32")
    if rule != INSIDE:
        does = arithmetic(rule)
        if does.is_bgr:
            value = ops.gather(value, ops.constant(np.array([2, 1, 0], np.int64)), ops.constant(np.int64(3)))
        value = ops.multiply(value, ops.constant(np.array(does.scale, np.float32)))
        value = ops.add(value, ops.constant(np.array(does.offset, np.float32)))
    if form.axes == "nchw":
        value = ops.transpose(value, ops.constant(np.array([0, 3, 1, 2], np.int64)))
    if form.dtype != "f32":
        value = ops.convert(value, form.dtype)
    try:
        with preserve_signal_stack():
            old.output(0).replace(value.output(0))
            whole = openvino.Model(model.get_results(), [image], "features")
            whole.validate_nodes_and_infer_types()
    except RuntimeError as error:
        raise _fixed(form, side, origin, openvino_line(error)) from error
    return whole, value


def _fixed(form: InputForm, side: int, origin: str, reason: str) -> ConfigError:
    if form.batch is None:
        return ConfigError(f"{origin} cannot take images of {side} x {side} pixels ({reason}): use another image size")
    return ConfigError(
        f"{origin} works only for the {counted(form.batch, 'image')} at a time that its file fixes ({reason}): export "
        "it with a dynamic first axis (in PyTorch dynamic_shapes, or dynamic_axes)"
    )


def _first_order(model: Any) -> list[int] | None:
    """Returns the order of axes in which the first operation transposes the input; None if it does not."""
    for target in model.inputs[0].get_target_inputs():
        node = target.get_node()
        if node.get_type_name() == "Transpose" and node.input_value(1).get_node().get_type_name() == "Constant":
            return [int(axis) for axis in node.input_value(1).get_node().data.ravel()]
    return None


def _name(value: Any) -> str:
    return str(min(value.get_names(), default=value.get_node().get_friendly_name()))


def _shown(shape: Any) -> str:
    return str(shape).replace("[", "(").replace("]", ")").replace(",", ", ")
