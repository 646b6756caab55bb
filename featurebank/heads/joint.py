"""The base class of heads that are trained side by side in one TensorFlow program: a stem, then dense layers.

The stem turns the features of an image into a vector, and the last dense layer is the softmax. For features that are
vectors already, the stem is empty (`VectorStem`); the stems of heads on maps are in `featurebank.heads.maps`.

The classes here describe the layers: names and shapes of the weights, and their initial values. K heads of equal
architecture train as one: each weight becomes a tensor with a leading axis K, and every operation is batched over it.
`joint_network` holds these weights during the training, and `featurebank.training.programs` has the compiled steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from featurebank.heads.memory import COPIES
from featurebank.heads.trained import TrainedHead
from featurebank.system.validation import ParameterCheck, choice, listed, number, widths
from featurebank.training.activations import ACTIVATIONS
from featurebank.training.options import batch_norm_position
from featurebank.training.weights import SHARED_KERNEL, is_gamma, is_kernel

BATCH_NORMS = (True, False, "before", "after")
"""The values of the parameter `batch_norm`: before the activation (`True` or "before"), after it, or none."""
NO_BIAS = np.float32(0)


@dataclass(frozen=True)
class Stem:
    """The base class of stems: the layers between the features of an image and the first dense layer.

    Heads with equal stems share a program. Methods "in TensorFlow" are called while the program is traced.
    """

    is_empty: ClassVar[bool] = False
    """Whether the first dense layer takes the features themselves, flattened."""
    multiplies_patches: ClassVar[bool] = False
    """Whether the program multiplies `patches` by `SHARED_KERNEL` first, for all heads at once, and passes the products
    to `vectors`."""
    evaluation_rows: ClassVar[int]
    """Validation images that a program evaluates at a time: the outputs of all its heads are in memory then."""
    output_copies: ClassVar[int] = 1
    """How often the outputs of the dense layers are in memory."""
    program_bytes: ClassVar[int]
    """Most bytes of the heads in one program, beside half of `--ram`; more heads are trained in turns."""

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the stem's weights by name, for features of a shape.

        `featurebank.training.weights` says what the names mean.

        Raises:
            HeadError: the features are too small.
        """
        return {}

    def start(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Returns the initial values of a weight: Glorot uniform for kernels, 1 for gammas, otherwise 0.

        References:
            Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
        """
        if not is_kernel(name):
            return np.full(shape, is_gamma(name), np.float32)
        limit = np.sqrt(6 / self.fans(name, shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    def fans(self, name: str, shape: tuple[int, ...]) -> int:
        """Returns the sum of a kernel's fan-in and fan-out."""
        return shape[0] + shape[1]

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the length of the vector that the stem makes of the features of one image."""
        raise NotImplementedError

    def floats(self, shape: tuple[int, ...]) -> int:
        """Returns about how many numbers the stem holds for one image while it is trained."""
        raise NotImplementedError

    def cost(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns about how many multiply-adds the stem takes for one image, and how many numbers it makes of it."""
        raise NotImplementedError

    def patches(self, x: Any) -> Any:
        """Returns, in TensorFlow, the patches (b, ..., inputs) of a batch that are multiplied by `SHARED_KERNEL`."""
        raise NotImplementedError

    def vectors(self, x: Any, run: Any) -> Any:
        """Returns, in TensorFlow, the vectors (K, b, units) of K heads for a batch.

        Args:
            x: the features of the batch, or the products of its patches.
            run: a `featurebank.training.programs.layers.Pass`, which has the weights and the layers.
        """
        raise NotImplementedError

    def limited(self, params: dict[str, Any]) -> dict[str, Any]:
        """Returns, in TensorFlow, the weights of K heads after a step, clipped to their valid ranges."""
        return params


@dataclass(frozen=True)
class VectorStem(Stem):
    """The empty stem: the features are vectors."""

    is_empty = True
    evaluation_rows = 2048
    output_copies = 3
    program_bytes = 1 << 30

    def units(self, shape: tuple[int, ...]) -> int:
        """Returns the number of features; maps are flattened."""
        return math.prod(shape)

    def floats(self, shape: tuple[int, ...]) -> int:
        """Returns 0: the features are there already."""
        return 0

    def cost(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns no multiply-adds, and the number of features."""
        return 0, math.prod(shape)


@dataclass(kw_only=True, eq=False, repr=False)
class JointHead(TrainedHead):
    """The base class of heads that consist of a stem and dense layers.

    Args:
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    def stem(self) -> Stem:
        """Returns the stem; empty by default."""
        return VectorStem()

    def trained_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of what the stem takes, for features of a shape."""
        return shape

    def hidden_activation(self) -> str:
        """Returns the activation of the hidden layers."""
        return "relu"

    def normalization(self) -> tuple[str, float]:
        """Returns the position of batch normalisation ("before" or "after" the activation, or ""), and its momentum."""
        return "", 0.0

    def dropout_rates(self) -> tuple[float, ...]:
        """Returns the dropout rate at each place where the head has dropout."""
        rate: Any = getattr(self, "dropout", 0.0)
        if isinstance(rate, Sequence):
            return tuple(map(float, rate))
        return (float(rate),) * self.dropout_places()

    def dropout_places(self) -> int:
        """Returns the number of places where the head has dropout."""
        raise NotImplementedError

    def kernel_names(self) -> tuple[str, ...]:
        """Returns the names of the dense kernels; after an empty stem, the first is `SHARED_KERNEL`."""
        names = [f"kernel_dense{layer}" for layer in range(len(self.layer_sizes()) + 1)]
        return (SHARED_KERNEL, *names[1:]) if self.stem().is_empty else tuple(names)

    def shapes(self, shape: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all trained weights by name, for features of a shape."""
        stem, position = self.stem(), self.normalization()[0]
        shapes = stem.shapes(shape)
        sizes = (stem.units(shape), *self.layer_sizes(), classes)
        for layer, (kernel, size) in enumerate(zip(self.kernel_names(), pairwise(sizes), strict=True)):
            shapes[kernel] = size
            beside = unit_tensors(position if layer < len(sizes) - 2 else "")
            shapes |= {f"{name}_dense{layer}": size[1:] for name in beside}
        return shapes

    def weight_bytes(self, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the weights take while they are trained."""
        weights = sum(map(math.prod, self.shapes(self.trained_shape(shape), classes).values()))
        return 4 * COPIES * weights

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained; see `featurebank.heads.memory`."""
        stem, shape = self.stem(), self.trained_shape(shape)
        rows = max(min(int(self.batch_size), images), min(stem.evaluation_rows, images))
        outputs = stem.floats(shape) + stem.output_copies * (sum(self.layer_sizes()) + classes)
        copied = images * math.prod(shape) if stem.is_empty else 0  # TensorFlow copies vectors
        return self.weight_bytes(shape, classes) + 4 * (rows * outputs + copied)

    def stem_cost(self, shape: tuple[int, ...]) -> tuple[float, int]:
        """Returns about how many multiply-adds the stem takes for one image, and how many numbers it makes of it."""
        return self.stem().cost(self.trained_shape(shape))


@dataclass(kw_only=True, eq=False, repr=False)
class HiddenLayers(JointHead):
    """Base of the joint heads whose hidden layers are parameters.

    Args:
        hidden_units: the width of each hidden dense layer; one number for one layer, () for none.
        activation: "relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "sigmoid" or "linear".
        batch_norm: normalise each hidden unit over the batch, "before" its activation (as true does) or "after" it.
        batch_norm_momentum: of the moving means and variances that the trained head uses.
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    hidden_units: int | Sequence[int] = ()
    activation: str = "relu"
    batch_norm: bool | str = False
    batch_norm_momentum: float = 0.99

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden layers."""
        return tuple(listed(self.hidden_units))

    def hidden_activation(self) -> str:
        """Returns the activation between the layers."""
        return self.activation

    def normalization(self) -> tuple[str, float]:
        """Returns the position of batch normalisation of the dense layers, and its momentum."""
        return batch_norm_position(self.batch_norm), float(self.batch_norm_momentum)

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        return [
            *super().checks(),
            widths("hidden_units", self.hidden_units),
            choice("activation", self.activation, ACTIVATIONS),
            choice("batch_norm", plain(self.batch_norm), BATCH_NORMS),
            number("batch_norm_momentum", self.batch_norm_momentum, below=1),
        ]


def plain(value: Any) -> Any:
    """Returns a truth value of numpy as Python's."""
    return bool(value) if isinstance(value, np.bool_) else value


def unit_tensors(position: str) -> tuple[str, ...]:
    """Returns the names of the weights that a dense layer has beside its kernel, one value per unit each.

    A layer directly before batch normalisation has no bias, because batch normalisation subtracts it again. The
    gradient of such a bias would be rounding noise, which Adam would scale to steps of full size.

    Args:
        position: the position of batch normalisation: "before" or "after" the activation, or "" without it.
    """
    return {"": ("bias",), "before": ("gamma", "beta"), "after": ("bias", "gamma", "beta")}[position]
