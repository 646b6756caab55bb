"""How a fine-tune is done: its options, checked together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from featurebank.augment import Augmentation
from featurebank.backbone.spec import BatchNorm
from featurebank.errors import unknown_name
from featurebank.system.options import OptionProblem, OptionsError, StageOptions, refuse, unreadable
from featurebank.system.validation import LARGEST, shown
from featurebank.training.options import TrainingOptions

RATES = {"sgd": 1e-2, "adagrad": 1e-3, "rmsprop": 1e-4, "adam": 1e-4, "adamw": 1e-4}
"""The learning rate of each optimizer where none is given."""

_UNNORMALIZED = 0.1
"""The share of it where no batch normalisation is trained: EfficientNet-Lite0 explodes at all of it."""

_BY_PHASE = ("epochs", "learning_rate", "patience")
_NOT_RECORDED = ("validate_every", "validate_on", "checkpoint_every", "seed")
"""They change no weight, or are kept apart."""


_WHOLE = "a whole number, or a list with one for each phase"
_NUMBER = "a number, or a list with one for each phase"


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(StageOptions):
    """The options of `finetune`; those that heads have too mean what they mean there.

    Args:
        unfreeze: one phase each: the beginning of the names of layers, or a cut point. Everything from the first such
            layer to the end of the network is trained. "all" is the whole network, "head" the head alone.
        progressive: instead: one phase for each size of map, back from the top.
        epochs: of each phase at most; one number, or one a phase.
        learning_rate: before its schedule, which begins anew with each phase; one, or one a phase. By default .01 with
            "sgd", .001 with "adagrad", .0001 with the others; a tenth of it where no batch normalisation is trained.
        patience: epochs without a better value of `monitor` before a phase ends; one, or one a phase.
        keep_going: begin the next phase also where one was no better than those before.
        batch_norm: "train" normalises by the batch and moves the statistics of layers that are trained, "frozen"
            leaves all batch normalisation as it is. By default what the backbone's `finetune_batch_norm` says.
        batch_norm_momentum: of the moving mean and variance of layers that are trained. By default a layer's own, but
            so low that after an epoch all but a twentieth of them is of that epoch: with .99 and 60 steps an epoch
            they lag behind the weights for epochs, in which validation says nothing.
        layer_decay: the learning rate of each block is this share of that of the block after it.
        global_clipnorm: gradients of all weights together are scaled to this norm where theirs is larger.
        augment: what training images go through, anew in each epoch, as "flip,rotate=10,zoom=.2".
        dropout: rate before the head's last dense layer.
        normalize: bring each channel of the training images to mean 0 and variance 1 in place of what the network does
            to its input; for training from scratch: the first phase has to be "all".
        mixed_precision: compute in bfloat16, with weights in float32; on a GPU alone.
        optimizer: as `TrainingOptions`, as the next ones.
        monitor: what decides which epoch is best. "val_accuracy" is decided by the loss where it is the same. Whatever
            it is, no epoch is kept that has a lower validation accuracy than the head.
        seed: of the order of images, augmentation and dropout.
        validate_every: also validate after so many steps, to see early where it goes.
        validate_on: the validation images that these early looks take: "all", or "part", the next part of them, as
            large as the part of the epoch since the look before. The end of an epoch always takes all.
        checkpoint_every: write a checkpoint after so many steps, beside those of each epoch and each minute.

    References:
        Layer-wise decay: Clark et al., "ELECTRA", ICLR 2020, arXiv:2003.10555. Unfreezing step by step: Howard, Ruder,
        "Universal Language Model Fine-tuning for Text Classification", ACL 2018, arXiv:1801.06146.
    """

    unfreeze: Annotated[Sequence[str], "a list of names of layers, as ['conv5_block3', 'conv5', 'all']"] = ()
    progressive: bool = False
    epochs: Annotated[int | Sequence[int], _WHOLE] = 6
    learning_rate: Annotated[float | Sequence[float] | None, _NUMBER] = None
    patience: Annotated[int | Sequence[int], _WHOLE] = 3
    keep_going: bool = False
    batch_norm: BatchNorm | None = None
    batch_norm_momentum: Annotated[float, Ge(0), Lt(1)] | None = None
    layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0
    global_clipnorm: Annotated[float, Gt(0)] | None = None
    augment: str | None = None
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    normalize: bool = False
    mixed_precision: bool = False
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float | None = None
    schedule: str = "cosine"
    decay: float = 0.0
    warmup: float = 0.0
    plateau_factor: float = 0.1
    plateau_patience: int = 2
    plateau_floor: float = 0.0
    label_smoothing: float = 0.0
    class_weight: Annotated[str | Sequence[float] | None, '"balanced" or a list of numbers above 0'] = None
    batch_size: int = 32
    min_delta: float = 0.0
    monitor: str = "val_accuracy"
    seed: Annotated[int, Ge(0), Le(LARGEST)] = 0
    validate_every: Annotated[int, Ge(1)] | None = None
    validate_on: Literal["all", "part"] = "all"
    checkpoint_every: Annotated[int, Ge(1)] | None = 200

    def training(self, phase: int, phases: int, *, normalizes: bool = True) -> TrainingOptions:
        """Returns optimizer, schedule, batches and early stopping of one phase.

        Args:
            phase: counted from 0.
            phases: how many there are.
            normalizes: whether the phase trains batch normalisation.

        Raises:
            ConfigError: an option has one value a phase, but not as many.
        """
        given = {name: _of_phase(name, getattr(self, name), phase, phases) for name in _BY_PHASE}
        if given["learning_rate"] is None:
            given["learning_rate"] = RATES.get(self.optimizer, RATES["adam"]) * (1 if normalizes else _UNNORMALIZED)
        both = {field.name for field in fields(self)} & {field.name for field in fields(TrainingOptions)}
        given |= {name: getattr(self, name) for name in both.difference(_BY_PHASE)}
        return TrainingOptions(**given, random_state=self.seed)

    def params(self) -> dict[str, Any]:
        """Returns for a run's record the options that differ from the defaults, and which phases were wanted."""
        found = {}
        for field in fields(FinetuneOptions):
            value = getattr(self, field.name)
            value = list(value) if isinstance(value, tuple) else value
            if field.name not in _NOT_RECORDED and value not in (field.default, []):
                found[field.name] = value
        return found

    def identity(self) -> dict[str, Any]:
        """Returns all that decides the weights, as JSON values."""
        found = {field.name: getattr(self, field.name) for field in fields(FinetuneOptions)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
        return {name: value for name, value in plain.items() if name not in _NOT_RECORDED}

    def problems(self) -> Iterator[OptionProblem]:
        """Yields what is wrong with the options together, as far as that can be told without the network."""
        if bool(self.unfreeze) == self.progressive:
            both = "both are given" if self.progressive else "nothing would be trained"
            text = f"{both}: expected --unfreeze LAYERS, as --unfreeze conv5, once for each phase, or --progressive"
            yield OptionProblem("", text)
        if not all(self.unfreeze):
            yield OptionProblem(
                "unfreeze", f"is {shown(list(self.unfreeze))}: expected names of layers, not empty ones"
            )
        values = (getattr(self, name) for name in _BY_PHASE)
        phases = max([1, *(len(value) for value in values if isinstance(value, tuple))])
        try:
            wrong = [check for phase in range(phases) for check in self.training(phase, phases).checks()]
        except OptionsError as error:
            yield from error.problems
        else:
            yield from (
                OptionProblem(c.name, f"is {shown(c.value)}: expected {c.expected}") for c in wrong if not c.holds
            )
        yield from unreadable("augment", self.augment, Augmentation.parse)


def read_options(given: Mapping[str, Any]) -> FinetuneOptions:
    """Returns the options of these names and values.

    Raises:
        UnknownNameError: one is none of a fine-tune.
        OptionsError: something is wrong.
    """
    known = [field.name for field in fields(FinetuneOptions)]
    for name in given:
        if name not in known:
            raise unknown_name("option of finetune", name, known)
    return FinetuneOptions(**given)


def _of_phase(name: str, value: Any, phase: int, phases: int) -> Any:
    if not isinstance(value, list | tuple):
        return value
    if len(value) != phases:
        told = "1 phase" if phases == 1 else f"{phases} phases"
        refuse([OptionProblem(name, f"has {len(value)} values for {told}: expected one for all, or one for each")])
    return value[phase]
