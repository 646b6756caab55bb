"""Determines from the model's graph which layers each phase trains, and describes the phases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.backbone.keras_networks.graph import graph_of
from featurebank.backbone.outline import CutPoint
from featurebank.errors import ConfigError, unknown_name
from featurebank.finetuning.options import FinetuneOptions
from featurebank.training.options import TrainingOptions
from featurebank.words import counted, every

ALL = "all"
_FEATURE_AXES = {2, 3}
"""Axes of tokens (T, d) and of maps (h, w, c)."""
_TOKENS_AXES = 2
_GROUPS = 4
"""Phases of a progressive fine-tune of a transformer whose blocks have the same tokens; CNNs have four or five."""
_FIXED = ("all_classes",)
"""Layers of a graft whose weights are constants: the positions of the classes that the head knows."""
_NEAREST = 3
_NORM = "BatchNormalization"
_TEXTS = (1, 2)
"""Left-aligned columns of the table."""


@dataclass(frozen=True)
class Phase:
    """One phase of a fine-tune."""

    name: str
    """The name of its first layers, as in the options."""
    layers: frozenset[str]
    """All layers from the first one to the end of the network, with or without weights."""
    trained: tuple[str, ...]
    """The layers whose weights are trained, in order."""
    parameters: int
    """The number of trained parameters."""
    training: TrainingOptions
    """Optimizer, schedule, batch size and patience."""

    def record(self) -> dict[str, Any]:
        """Returns the phase as in a run's record."""
        return {"unfreeze": self.name, "from": self.trained[0], "layers": len(self.trained), "trained": self.parameters}


class LayerOrder:
    """The layers of a model in order.

    Args:
        model: a flat functional Keras model with one input and one output.
    """

    def __init__(self, model: Any) -> None:
        self.layers = {layer.name: layer for layer in model.layers}
        self.order = [name for name in graph_of(model).order if name in self.layers]
        self.place = {name: number for number, name in enumerate(self.order)}
        self.cuts = [cut for cut in cut_points(model) if len(cut.shape) in _FEATURE_AXES]
        self.ends = self._ends()

    def first(self, name: str) -> int:
        """Returns the position of the first layer that a phase trains.

        Raises:
            UnknownNameError: no layer name starts with `name`.
        """
        if name == ALL:
            return 0
        if name in self.place:
            return self.place[name]
        for number, layer in enumerate(self.order):
            if _begins(layer, name):
                return number
        known = [ALL, "head", *(cut.name for cut in self.cuts), *self.order]
        raise unknown_name("layer to unfreeze", name, known, "'featurebank backbones NAME' lists the cut points")

    def stages(self) -> Iterator[str]:
        """Yields, from the top down, the first layer of each group of blocks; finally `ALL`.

        A group has maps of one size, or tokens of one number. If this number is the same in the whole network, a group
        is a quarter of the blocks.
        """
        starts = [before for before, after in pairwise(self.ends) if before.shape[:-1] != after.shape[:-1]]
        if not starts and self.ends and len(self.ends[-1].shape) == _TOKENS_AXES:
            blocks = self.ends[:-1]  # the cut before each block
            starts = [blocks[round(len(blocks) * part / _GROUPS)] for part in range(1, _GROUPS)]
        for cut in reversed(list(dict.fromkeys(starts))):
            yield next(name for name in self.order[self.place[cut.name] + 1 :] if self.layers[name].weights)
        yield ALL

    def depth(self, name: str) -> int:
        """Returns the depth of a layer in blocks: 0 for the head, 1 for the last block."""
        return sum(self.place[cut.name] >= self.place[name] for cut in self.ends)

    def _ends(self) -> list[CutPoint]:
        """Returns the cuts between blocks; in a transformer, a block begins with attention, and one cut precedes all.

        A transformer also has cuts between the attention and the dense layers of a block.
        """
        tokens = [cut for cut in self.cuts if len(cut.shape) == _TOKENS_AXES]
        before = [cut for cut, after in pairwise(tokens) if self._attends(cut, after)]
        if before:
            return [*before, tokens[-1]]
        return tokens if tokens and tokens[-1] is self.cuts[-1] else self.cuts

    def _attends(self, cut: CutPoint, after: CutPoint) -> bool:
        """Returns whether there is attention between two cuts."""
        between = self.order[self.place[cut.name] + 1 : self.place[after.name] + 1]
        return any(type(self.layers[name]).__name__.endswith("Attention") for name in between)

    def nearest_before(self, number: int) -> list[str]:
        """Returns the nearest cut points before a position where a phase could start, nearest first."""
        weighted = [n for n in self.order[:number] if self.layers[n].weights]
        first = self.place[weighted[0]] if weighted else number
        return [cut.name for cut in reversed(self.cuts) if first <= self.place[cut.name] < number][:_NEAREST]


def plan_phases(model: Any, options: FinetuneOptions) -> list[Phase]:
    """Returns the phases of a fine-tune.

    Args:
        model: the model to train; afterwards all its layers are trainable, until `unfreeze`.
        options: valid options.

    Raises:
        UnknownNameError: a phase names no layer.
        ConfigError: a phase trains nothing more than the previous one, or an option has a list of another length than
            the number of phases.
    """
    layout = LayerOrder(model)
    for layer in model.layers:
        layer.trainable = True
    frozen = {_NORM} if options.batch_norm == "frozen" else set()
    parts: list[tuple[str, frozenset[str], tuple[str, ...]]] = []
    for name in layout.stages() if options.progressive else options.unfreeze:
        names = layout.order[layout.first(name) :]
        trained = tuple(n for n in names if _trains(layout.layers[n], frozen))
        before = set(parts[-1][2]) if parts else set()
        if set(trained) > before and (not parts or set(names) > parts[-1][1]):
            parts.append((name, frozenset(names), trained))
        elif not options.progressive:
            raise _nothing_new(layout, name, [part[0] for part in parts], trained)
    phases = []
    for number, (name, layers, trained) in enumerate(parts):
        normalizes = any(type(layout.layers[layer]).__name__ == _NORM for layer in trained)
        training = options.training(number, len(parts), normalizes=normalizes)
        phases.append(Phase(name, layers, trained, _count(layout, trained), training))
    return phases


def unfreeze(model: Any, phase: Phase) -> None:
    """Makes exactly the layers of a phase trainable."""
    for layer in model.layers:
        layer.trainable = layer.name in phase.trained


def describe(model: Any, phases: Sequence[Phase]) -> Iterator[str]:
    """Yields the lines of a table of the phases."""
    whole = sum(math.prod(weight.shape) for weight in model.weights)
    rows = [("phase", "unfreeze", "first layer trained", "layers", "parameters", "share", "epochs", "learning rate")]
    for number, phase in enumerate(phases, 1):
        training = phase.training
        rows.append(
            (
                str(number), phase.name, phase.trained[0], str(len(phase.trained)), f"{phase.parameters:,}",
                f"{100 * phase.parameters / whole:.1f} %", f"<= {training.epochs}", f"{training.learning_rate:g}",
            )
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place in _TEXTS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    first = phases[0].training
    yield f"of {whole:,} parameters; {first.optimizer}, schedule {first.schedule}, batches of {first.batch_size}"


def describe_batch_norm(model: Any, phases: Sequence[Phase], mode: str, why: str) -> str:
    """Returns a line on the treatment of batch normalisation.

    Args:
        model: see `plan_phases`.
        phases: the phases of the fine-tune.
        mode: "train" or "frozen".
        why: the origin of this choice, such as "the default of resnet50".
    """
    layers = {layer.name for layer in model.layers if type(layer).__name__ == _NORM}
    if not layers:
        return "batch normalisation: none in this network"
    if mode == "frozen":
        return f"batch normalisation: frozen in {every(len(layers), 'layer')} ({why})"
    trained = len(layers & set(phases[-1].trained))
    return f"batch normalisation: train, in {trained} of {counted(len(layers), 'layer')} by the last phase ({why})"


def _begins(layer: str, name: str) -> bool:
    """Returns whether a layer name starts with another name: "conv1" is not a prefix of "conv10_relu"."""
    rest = layer[len(name) :]
    return layer.startswith(name) and not (name[-1].isdigit() and rest[:1].isdigit())


def _trains(layer: Any, frozen: set[str]) -> bool:
    return bool(layer.trainable_variables) and type(layer).__name__ not in frozen and layer.name not in _FIXED


def _count(layout: LayerOrder, trained: Sequence[str]) -> int:
    return sum(math.prod(weight.shape) for name in trained for weight in layout.layers[name].trainable_variables)


def _nothing_new(layout: LayerOrder, name: str, earlier: Sequence[str], trained: Sequence[str]) -> ConfigError:
    nearest = layout.nearest_before(layout.first(earlier[-1]) if earlier else layout.first(name))
    advice = f"the nearest before it are {', '.join(nearest)}" if nearest else "leave it out"
    if not trained:
        message = f"phase '{name}' trains nothing: no layer from there on has weights; {advice}"
    else:
        message = f"phase '{name}' unfreezes nothing that phase '{earlier[-1]}' before it has not; {advice}"
    return ConfigError(message)
