"""The residual stage: fresh residual blocks on a stored map, in place of a network's own last stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count as count_from
from typing import Any

from featurebank.heads.layered.base import LayeredHead
from featurebank.heads.layered.network import train_layered
from featurebank.heads.memory import COPIES
from featurebank.system.runtime import import_tensorflow
from featurebank.system.validation import ParameterCheck, count, number


@dataclass(kw_only=True, eq=False, repr=False)
class ResidualStageHead(LayeredHead):
    """Bottleneck blocks, 1x1 - 3x3 - 1x1 with batch normalisation and a shortcut, then pooling, dense layers, softmax.

    With its defaults on `conv4_block6_out` of ResNet50 it is that network's fifth stage with stride 1, from fresh
    weights.

    Args:
        filters: of the three convolutions of each block.
        blocks: how many; the shortcut of the first is a 1x1 convolution.
        strides: of the first block's first convolution and shortcut.
        batch_norm_momentum: of the moving means and variances.
        learning_rate: see `TrainingOptions`, as for all the others.
        pooling: see `LayeredHead`, as for `hidden_units`, `activation`, `dropout` and `tail_learning_rate`.

    References:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385.
    """

    filters: Sequence[int] = (512, 512, 2048)
    blocks: int = 3
    strides: int = 1
    batch_norm_momentum: float = 0.8

    train_heads = train_layered

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        filters = self.filters
        three = isinstance(filters, list | tuple) and len(filters) == 3 and all(count("", n).holds for n in filters)  # noqa: PLR2004
        return [
            *super().checks(),
            ParameterCheck("filters", filters, "three whole numbers of 1 or more", three),
            count("blocks", self.blocks),
            count("strides", self.strides),
            number("batch_norm_momentum", self.batch_norm_momentum, below=1),
            ParameterCheck("l2_sp", self.l2_sp, "0: these layers have no trained weights to stay near", not self.l2_sp),
        ]

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained; see `featurebank.heads.memory`."""
        first, second, third = (int(count) for count in self.filters)
        block = first * third + 9 * first * second + second * third
        weights = shape[-1] * (first + third) + self.blocks * block
        return 4 * COPIES * weights + super().working_bytes(images, shape, classes)

    def stem_cost(self, shape: tuple[int, ...]) -> tuple[float, int]:
        """Returns the multiply-adds of the blocks for one map (h, w, c), and the number of channels of their output."""
        first, middle, last = self.filters
        inner = 9 * first * middle + middle * last
        opening = shape[-1] * (first + last) + inner
        places = shape[0] * shape[1] / self.strides**2
        return places * (opening + (self.blocks - 1) * (last * first + inner)), last

    def body(self, shape: tuple[int, ...]) -> Any:
        """Returns the blocks; see `LayeredHead`."""
        import_tensorflow()
        import keras

        inputs = x = keras.Input(shape, name="map")
        convolved = partial(self._convolved, seeds=count_from(self.random_state * 1000 + 501))
        for block in range(1, self.blocks + 1):
            strides = self.strides if block == 1 else 1
            name = f"block{block}"
            shortcut = convolved(x, self.filters[2], 1, strides, f"{name}_0") if block == 1 else x
            y = convolved(x, self.filters[0], 1, strides, f"{name}_1")
            y = convolved(keras.layers.ReLU(name=f"{name}_1_relu")(y), self.filters[1], 3, 1, f"{name}_2")
            y = convolved(keras.layers.ReLU(name=f"{name}_2_relu")(y), self.filters[2], 1, 1, f"{name}_3")
            x = keras.layers.ReLU(name=f"{name}_out")(keras.layers.Add(name=f"{name}_add")([shortcut, y]))
        return keras.Model(inputs, x)

    def _convolved(self, x: Any, filters: int, size: int, strides: int, name: str, *, seeds: Iterator[int]) -> Any:
        """Returns a convolution with batch normalisation, whose initial weights have the next of the seeds."""
        import keras

        start = keras.initializers.GlorotUniform(seed=next(seeds))
        convolution = keras.layers.Conv2D(
            int(filters), size, strides=strides, padding="same", kernel_initializer=start, name=f"{name}_conv"
        )
        return keras.layers.BatchNormalization(momentum=self.batch_norm_momentum, name=f"{name}_bn")(convolution(x))
