"""One forward pass of a network of PyTorch, recorded: its layers, their work, and how tensors depend on each other.

PyTorch has no graph of a network, only a program. So the network runs once on the device "meta", where tensors have
shapes but no values, and every operation is recorded below PyTorch's own functions, as its counter of work does it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.torch_networks.spec import TorchSpec
from featurebank.errors import ConfigError
from featurebank.system.imports.torch import import_torch
from featurebank.words import one_line

_TOKEN_AXES = 2


@dataclass(eq=False)
class Operation:
    """One operation of a forward pass.

    Args:
        name: its name in PyTorch's operator library, as "convolution".
        sources: the operations whose results it takes; only those that depend on the image.
        parameters: names of the parameters that it takes, through any operations that do not depend on the image.
        work: its multiply-adds.
        depends: whether it depends on the image.
        arguments: its other arguments, as an axis.
        kernel: the side of the kernel of a convolution that cuts an image into patches, neither overlapping nor padded;
            0 for all other operations.
        followers: the operations that take its result.
    """

    name: str
    sources: tuple[Operation, ...]
    parameters: frozenset[str]
    work: int
    depends: bool
    arguments: tuple[Any, ...] = ()
    kernel: int = 0
    followers: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class LayerCall:
    """A module of a network, as one forward pass called it.

    Args:
        name: its name in the network, as "blocks.9".
        kind: the name of its class.
        shape: shape of its output for one image, as it gives it; empty if the output is not one row for each image.
        calls: how often it was called.
        remaining_work: the fraction of the multiply-adds that follow its last call.
        operation: what made its output.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    remaining_work: float
    operation: Operation | None


@dataclass(frozen=True)
class Recording:
    """One forward pass.

    Args:
        image: the beginning of it.
        operations: all operations that depend on the image, in the order in which they ran.
        layers: the modules in the order in which they ended, without the network itself.
        final_shape: shape of the last features for one image, as the network gives them; None if there are none.
        pooled_shape: shape of `pooled` for one image.
        layout: the layout of the last tokens; None if the last features are a map.
        is_channels_last: see `TorchSpec.is_channels_last`.
        final: what made the last features.
        pooled: what made `pooled`.
        work: the multiply-adds for one image.
        parameters: number of weights.
    """

    image: Operation
    operations: tuple[Operation, ...]
    layers: tuple[LayerCall, ...]
    final_shape: tuple[int, ...] | None
    pooled_shape: tuple[int, ...]
    layout: TokenLayout | None
    is_channels_last: bool
    final: Operation | None
    pooled: Operation
    work: int
    parameters: int


def record(module: Any, images: Any, spec: TorchSpec) -> Recording:
    """Runs a network once and records it.

    Args:
        module: the network, on the device "meta".
        images: (n, 3, s, s) on the same device.
        spec: the specification of the network.

    Raises:
        ConfigError: the network cannot take these images.
    """
    torch = import_torch()
    recorder = _Recorder(module, images)
    side = images.shape[-1]
    try:
        with torch.no_grad(), recorder.hooks(), recorder.mode(), _plain_attention():
            final, pooled = spec.forward(module, images)
    except (RuntimeError, AssertionError, ValueError, TypeError, LookupError, AttributeError) as error:
        message = (
            f"{spec.name} cannot run on images of {side} x {side} pixels ({type(error).__name__}: "
            f"{one_line(str(error), 200)}): use another image size"
        )
        raise ConfigError(message) from error
    if not hasattr(pooled, "permute") or not (final is None or hasattr(final, "permute")):
        message = f"{spec.name} has several outputs of several sizes, expected one map or one sequence of tokens"
        raise ConfigError(message)
    final_shape = None if final is None else tuple(final.shape[1:])
    layout = spec.layout(module, side) if final_shape is not None and len(final_shape) == _TOKEN_AXES else None
    if layout is not None and final_shape is not None and final_shape[0] != layout.count:
        message = f"{spec.name}: its last features have the shape {final_shape}, expected {layout.describe()}"
        raise ConfigError(message)
    return Recording(
        recorder.image, tuple(recorder.operations), tuple(recorder.finished_layers()),
        final_shape, tuple(pooled.shape[1:]), layout,
        spec.is_channels_last(module), None if final is None else recorder.maker(final), recorder.maker(pooled),
        recorder.work // images.shape[0], sum(one.numel() for one in module.parameters()),
    )  # fmt: skip


def first_tensor(output: Any) -> Any:
    """Returns the output of a module, or the first one of several; None if it is no tensor."""
    if isinstance(output, tuple | list):
        output = output[0] if output else None
    return output if hasattr(output, "permute") else None


class _Recorder:
    """Records operations and calls of modules; see `record`."""

    def __init__(self, module: Any, images: Any) -> None:
        self.image = Operation("image", (), frozenset(), 0, depends=True)
        self.operations: list[Operation] = [self.image]
        self.work = 0
        self._module = module
        self._batch = images.shape[0]
        self._makers: dict[int, Operation] = {id(images): self.image}
        self._alive = [images]  # an id must not be given away to another tensor
        self._ends: dict[str, list[tuple[str, tuple[int, ...], int, Operation | None]]] = {}
        for name, parameter in module.named_parameters():
            self._makers[id(parameter)] = Operation("parameter", (), frozenset({name}), 0, depends=False)

    def maker(self, tensor: Any) -> Operation:
        """Returns the operation that made a tensor."""
        return self._makers[id(tensor)]

    def mode(self) -> Any:
        """Returns the context in which operations are recorded."""
        from torch.utils._python_dispatch import TorchDispatchMode

        recorder = self

        class RecordingMode(TorchDispatchMode):  # type: ignore[misc]  # PyTorch is imported when it is needed
            def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                result = function(*args, **(kwargs or {}))
                recorder.add(function, args, kwargs or {}, result)
                return result

        return RecordingMode()

    def add(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Records one operation."""
        from torch.utils._pytree import tree_leaves

        flop_registry = _work_of_operations()
        leaves = tree_leaves((args, kwargs))
        makers = [self._makers[id(leaf)] for leaf in leaves if id(leaf) in self._makers]
        sources = tuple(dict.fromkeys(maker for maker in makers if maker.depends))
        parameters = frozenset[str]().union(*(maker.parameters for maker in makers if not maker.depends))
        counter = flop_registry.get(function._overloadpacket)
        work = counter(*args, **kwargs, out_val=result) // 2 if counter else 0
        name = function._overloadpacket.__name__
        rest = tuple(leaf for leaf in leaves if not hasattr(leaf, "permute"))
        operation = Operation(name, sources, parameters, work, bool(sources), rest, _patch_side(name, args))
        for source in sources:
            source.followers.append(operation)
        self.work += work
        if operation.depends:
            self.operations.append(operation)
        for tensor in tree_leaves(result):
            if hasattr(tensor, "permute"):
                self._makers[id(tensor)] = operation
                self._alive.append(tensor)

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        """Records the ends of modules while the block runs."""
        handles = []
        for name, module in self._module.named_modules():
            if name:
                handles.append(module.register_forward_hook(self._hook(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def end(module: Any, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            shape: tuple[int, ...] = ()
            if tensor is not None and tensor.ndim > 1 and tensor.shape[0] == self._batch:
                shape = tuple(tensor.shape[1:])
            maker = None if tensor is None else self._makers.get(id(tensor))
            self._ends.setdefault(name, []).append((type(module).__name__, shape, self.work, maker))

        return end

    def finished_layers(self) -> Iterator[LayerCall]:
        """Yields the modules in the order of their last ends."""
        order = sorted(self._ends, key=lambda name: self._ends[name][-1][2])
        for name in order:
            kind, shape, done, maker = self._ends[name][-1]
            left = 1 - done / self.work if self.work else 0.0
            yield LayerCall(name, kind, shape, len(self._ends[name]), left, maker)


def _patch_side(name: str, arguments: Any) -> int:
    """Returns `Operation.kernel`."""
    if name != "convolution":
        return 0
    _, weight, _, stride, padding, *_ = arguments
    kernel = tuple(weight.shape[2:])
    is_patches = tuple(stride) == kernel and len(set(kernel)) == 1 and not any(padding)
    return int(kernel[0]) if is_patches else 0


@cache
def _work_of_operations() -> Any:
    """Returns PyTorch's table of functions that count the work of operations."""
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)  # it would miss a compiler for GPUs
    from torch.utils.flop_counter import flop_registry

    return flop_registry


def _plain_attention() -> Any:
    """Returns the context in which attention is computed by matrix products, whose work is counted."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)
