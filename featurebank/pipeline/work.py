"""Estimates the time of tails and fine-tunes from their multiply-adds and the measured speed of the network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.work import multiply_adds
from featurebank.fitting.spec import HeadSpec
from featurebank.grid import read_grid
from featurebank.heads.kinds import LAYERED
from featurebank.heads.needs import MAPS_AT_A_CUT
from featurebank.pipeline.config import FinetuneSection, HeadsSection

_BACK = 2
"""Cost of the gradients of a layer, relative to its forward pass: with respect to its input and to its weights."""
_GIVEN_FOLDS = 10
"""Assumed number of the dataset's own folds, which is unknown before its images are listed."""


class TrainingTime:
    """Upper bounds of training times in seconds: they assume all epochs, although early stopping usually ends earlier.

    Args:
        backbone: the network; it is built as soon as there is something to train in it, or behind it.
        images: the number of training images.
        rate: the speed of a forward pass of the whole network, in images per second.
    """

    def __init__(self, backbone: Backbone, images: int, rate: float) -> None:
        self._backbone = backbone
        self._pass_seconds = images / rate

    @cached_property
    def _layers(self) -> list[tuple[str, int, Any]]:
        return [(layer.name, multiply_adds(layer), layer) for layer in self._backbone.network().layers]

    @cached_property
    def _total(self) -> int:
        return sum(work for _, work, _ in self._layers)

    def of_grid(self, section: HeadsSection) -> float | None:
        """Returns the time of a grid's tails and residual stages in seconds; other heads take seconds or minutes.

        None if there is such a head and the network is not one of Keras, whose work is not counted layer by layer.
        """
        heads = read_grid(section.grid)
        if self._backbone.form != "keras" and any(map(_is_layered, heads)):
            return None
        folds = _GIVEN_FOLDS if isinstance(section.folds, str) else section.folds or 1
        once = sum(self._of_head(head) for head in heads)
        return once * len(section.seed_list()) * folds * section.repeats

    def of_finetune(self, section: FinetuneSection) -> float:
        """Returns the time of all phases of a fine-tune in seconds; each trains all its layers for all epochs."""
        names = ["all"] if section.progressive else section.unfreeze
        epochs = section.epochs if isinstance(section.epochs, Sequence) else [section.epochs] * len(names)
        return sum(
            count * self._pass_seconds * (1 + _BACK * self._share_from(name))
            for name, count in zip(names, epochs, strict=False)
        )

    def _of_head(self, head: dict[str, Any]) -> float:
        if not _is_layered(head):
            return 0.0
        kind = HeadSpec(head["kind"], {}).head_kind
        if kind.needs == MAPS_AT_A_CUT:
            work = self._share_after(head["cut"])
        else:
            stage = kind.head_class(**{name: value for name, value in head.items() if name in kind.default_params})
            work = stage.stem_cost(self._shape_at(head["tap"]))[0] / self._total
        return float(head.get("epochs", 1)) * self._pass_seconds * (1 + _BACK) * work

    def _share_after(self, cut: str) -> float:
        """Returns the fraction of the work after a layer."""
        names = [name for name, _, _ in self._layers]
        rest = self._layers[names.index(cut) + 1 :] if cut in names else self._layers
        return sum(work for _, work, _ in rest) / self._total

    def _share_from(self, name: str) -> float:
        """Returns the fraction of the work from the first layer on whose name starts with `name`."""
        starts = [place for place, (layer, _, _) in enumerate(self._layers) if layer.startswith(name)]
        rest = self._layers[starts[0] :] if starts else self._layers
        return sum(work for _, work, _ in rest) / self._total

    def _shape_at(self, tap: str) -> tuple[int, ...]:
        """Returns the shape (h, w, c) of a layer's output."""
        return tuple(next(layer.output.shape[1:] for name, _, layer in self._layers if name == tap))


def _is_layered(head: dict[str, Any]) -> bool:
    return HeadSpec(head["kind"], {}).head_kind.family == LAYERED
