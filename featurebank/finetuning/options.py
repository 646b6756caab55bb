"""The options of a fine-tune, with checks of their combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from featurebank.augment import Augmentation
from featurebank.backbone.spec import BatchNorm
from featurebank.errors import unknown_name
from featurebank.system.options import OptionProblem, OptionsError, StageOptions, refuse, unreadable
from featurebank.system.validation import LARGEST, shown
from featurebank.training.monitors import monitor_of, params_identity
from featurebank.training.options import TrainingOptions

RATES = {"sgd": 1e-2, "adagrad": 1e-3, "rmsprop": 1e-4, "adam": 1e-4, "adamw": 1e-4}
"""The default learning rate of each optimizer."""

_UNNORMALIZED = 0.1
"""The factor for phases that train no batch normalisation: EfficientNet-Lite0 explodes at the full rate."""

_BY_PHASE = ("epochs", "learning_rate", "patience")
_NOT_RECORDED = ("validate_every", "validate_on", "checkpoint_every", "seed")
"""Options that change no weight, or that the record has elsewhere."""


_WHOLE = "a whole number, or a list with one for each phase"
_NUMBER = "a number, or a list with one for each phase"


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(StageOptions):
    """The options of `finetune`; options that heads have too mean the same.

    Args:
        unfreeze: one entry per phase: the beginning of a layer name, or a cut point. The phase trains everything from
            the first such layer to the end of the network. "all" is the whole network, "head" only the head.
        progressive: instead of `unfreeze`: one phase for each size of map, from the top down; in a transformer, one for
            each quarter of the blocks.
        epochs: maximum number of epochs of each phase; one number, or one per phase.
        learning_rate: initial rate of the schedule, which restarts with each phase; one number, or one per phase.
            Default: .01 for "sgd", .001 for "adagrad", .0001 for the others; a tenth of it if the phase trains no
            batch normalisation.
        patience: epochs without a better value of `monitor` before a phase ends; one number, or one per phase.
        keep_going: continue after a phase without improvement.
        batch_norm: "train" normalises by the batch and updates the statistics of trained layers, "frozen" changes no
            batch normalisation. Default: the backbone's `finetune_batch_norm`.
        batch_norm_momentum: momentum of the moving mean and variance of trained layers. Default: the layer's own, but
            at most such that one epoch determines 95 % of the statistics: with .99 and 60 steps an epoch they lag
            behind the weights for several epochs, and validation results are meaningless.
        layer_decay: the learning rate of each block is this fraction of that of the next block.
        global_clipnorm: maximum norm of the gradients of all weights together.
        augment: augmentation of the training images, new in each epoch, such as "flip,rotate=10,zoom=.2".
        dropout: dropout rate before the head's last dense layer.
        normalize: scale each channel of the training images to mean 0 and variance 1 instead of the network's own
            preprocessing; for training from scratch: the first phase must be "all".
        mixed_precision: compute in bfloat16, with weights in float32; only on a GPU.
        optimizer: see `TrainingOptions`, also for the options that follow.
        monitor: the metric that decides which epoch is best; see `TrainingOptions`. With "val_accuracy", the loss
            decides between equal accuracies. With these two, an epoch with a lower validation accuracy than the head is
            never the best; with another metric, an epoch with a worse value of it.
        seed: seed of the order of images, augmentation and dropout.
        validate_every: also validate after this number of steps, for early feedback.
        validate_on: the images for `validate_every`: "all", or "part", the next part of the validation images, in
            proportion to the part of the epoch since the last validation. The end of an epoch always uses all.
        checkpoint_every: write a checkpoint after this number of steps, in addition to each epoch and each minute.

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
    class_weight: Annotated[
        str | Sequence[float] | Mapping[str, float] | None,
        '"balanced", a list of numbers above 0, or numbers by the name of a class',
    ] = None
    batch_size: int = 32
    min_delta: float = 0.0
    monitor: str = "val_accuracy"
    seed: Annotated[int, Ge(0), Le(LARGEST)] = 0
    validate_every: Annotated[int, Ge(1)] | None = None
    validate_on: Literal["all", "part"] = "all"
    checkpoint_every: Annotated[int, Ge(1)] | None = 200

    @cached_property
    def augmentation(self) -> Augmentation | None:
        """The augmentation of the training images; None for none."""
        return None if self.augment is None else Augmentation.parse(self.augment)

    def training(self, phase: int, phases: int, *, normalizes: bool = True) -> TrainingOptions:
        """Returns the optimizer, schedule, batch size and early stopping of one phase.

        Args:
            phase: the number of the phase, from 0.
            phases: the number of phases.
            normalizes: whether the phase trains batch normalisation.

        Raises:
            ConfigError: an option has a list of values with another length than the number of phases.
        """
        values = {name: _of_phase(name, getattr(self, name), phase, phases) for name in _BY_PHASE}
        if values["learning_rate"] is None:
            values["learning_rate"] = RATES.get(self.optimizer, RATES["adam"]) * (1 if normalizes else _UNNORMALIZED)
        both = {field.name for field in fields(self)} & {field.name for field in fields(TrainingOptions)}
        values |= {name: getattr(self, name) for name in both.difference(_BY_PHASE)}
        return TrainingOptions(**values, random_state=self.seed)

    def params(self) -> dict[str, Any]:
        """Returns the options for a run's record: the phases, and options that differ from the defaults."""
        changed = {}
        for field in fields(FinetuneOptions):
            value = getattr(self, field.name)
            value = list(value) if isinstance(value, tuple) else value
            if field.name not in _NOT_RECORDED and value not in (field.default, []):
                changed[field.name] = value
        return changed

    def identity(self) -> dict[str, Any]:
        """Returns all options that affect the weights, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(FinetuneOptions)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return params_identity({name: value for name, value in plain.items() if name not in _NOT_RECORDED})

    def problems(self) -> Iterator[OptionProblem]:
        """Yields invalid combinations of options, as far as they can be checked without the network."""
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


def read_options(values: Mapping[str, Any], *, metric: str = "accuracy") -> FinetuneOptions:
    """Creates options from names and values.

    Args:
        values: the options that differ from the defaults.
        metric: the metric of the default of `monitor`.

    Raises:
        UnknownNameError: a name is not an option of a fine-tune.
        OptionsError: a value is invalid.
    """
    known = [field.name for field in fields(FinetuneOptions)]
    for name in values:
        if name not in known:
            raise unknown_name("option of finetune", name, known)
    return FinetuneOptions(**{"monitor": monitor_of(metric), **values})


def _of_phase(name: str, value: Any, phase: int, phases: int) -> Any:
    if not isinstance(value, list | tuple):
        return value
    if len(value) != phases:
        count = "1 phase" if phases == 1 else f"{phases} phases"
        refuse([OptionProblem(name, f"has {len(value)} values for {count}: expected one for all, or one for each")])
    return value[phase]
