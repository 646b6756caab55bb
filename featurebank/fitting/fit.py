"""Fits heads on a bank's training images and evaluates them on its validation images.

Heads with epochs are trained family by family (`programs`), all other heads by joblib (`parallel`). Each result goes to
a callback at once, in the thread that called `fit_heads`. So the caller needs no locks, and Ctrl-C loses no finished
head. A head that fails is a result, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from featurebank.errors import HeadError, RamLimitError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fitted import Fitted, OnFitted, failed, one_line
from featurebank.fitting.parallel import fit_in_parallel
from featurebank.fitting.programs import fit_in_programs
from featurebank.fitting.scoring import score
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.kinds import Family
from featurebank.heads.memory import is_shortage
from featurebank.system.runtime import limited_blas
from featurebank.training.common_parameters import IGNORE, SAMPLE_WEIGHT


def fit_heads(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits all heads, those with epochs in joint programs and all others in parallel, with one thread each.

    With `joblib.parallel_config`, processes or a cluster fit the heads without epochs instead of threads. Heads that
    need features in memory fail if these do not fit; the others read them from the bank.

    Args:
        specs: the specification and the seed of each head, all on the tap of `data`.
        data: the training and validation features.
        on_fitted: called with the result of each head as soon as it is available, in the calling thread.

    Raises:
        BankError: features that stay in the bank cannot be read.
        HeadError: a family of heads rejects its images or parameters as a whole.
    """
    on_fitted = _with_calibration(specs, data, _with_scaling(data, on_fitted))
    specs = [(spec.uncalibrated(), seed) for spec, seed in specs]
    for part, source in _by_weights(specs, data, on_fitted):
        _fit_alike([specs[i] for i in part], source, _renumbered(part, on_fitted))


def _fit_alike(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> None:
    """Fits heads that all use the weights of the images as they are in `data`."""
    families: dict[Family | None, list[int]] = {}
    for position, (spec, _) in enumerate(specs):
        families.setdefault(spec.head_kind.family, []).append(position)
    ordered = sorted(families.items(), key=lambda item: item[0].name if item[0] else "")  # heads without a family first
    for family, members in ordered:
        for part, source in _by_features([(i, *specs[i]) for i in members], data, on_fitted):
            selection, report = [specs[i] for i in part], _renumbered(part, on_fitted)
            if family:
                with limited_blas():
                    fit_in_programs(selection, source, report)
            else:
                fit_in_parallel(selection, source, report)


def _by_weights(
    specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted
) -> Iterator[tuple[list[int], TrainingData]]:
    """Divides heads by what becomes of the weights of the training images.

    Args:
        specs: the specification and the seed of each head.
        data: the features, perhaps with weights.
        on_fitted: receives the failure of those that cannot weight images.

    Yields:
        The positions of some heads, and the images with or without weights.
    """
    if data.weights is None:
        yield list(range(len(specs))), data
        return
    ignoring = [place for place, (spec, _) in enumerate(specs) if spec.ignores_weights]
    using = []
    for place, (spec, seed) in enumerate(specs):
        if place in ignoring:
            continue
        if spec.head_kind.weights_images:
            using.append(place)
        else:
            on_fitted(place, failed(spec.make(seed), 0.0, 1, HeadError(_no_weights(spec))))
    yield from ((part, source) for part, source in ((using, data), (ignoring, data.unweighted)) if part)


def _no_weights(spec: HeadSpec) -> str:
    return (
        f"head '{spec.kind}' cannot weight images, and these have weights: leave it out, or set its parameter "
        f"{SAMPLE_WEIGHT}={IGNORE} to count all images alike"
    )


def _by_features(
    heads: Sequence[tuple[int, HeadSpec, int]], data: TrainingData, on_fitted: OnFitted
) -> Iterator[tuple[list[int], TrainingData]]:
    """Divides heads of a family by the features that they are trained on: as the bank has them, or in memory.

    Args:
        heads: the position, the specification and the seed of each head.
        data: the features, which may be in the bank.
        on_fitted: receives the failure of those that need features in memory, if these do not fit.

    Yields:
        The positions of some heads, and their features.
    """
    reading = []
    for position, spec, seed in heads:
        family = spec.head_kind.family
        maps = family is not None and not family.in_memory
        if data.is_read_by(spec.make(seed) if data.passes else None, maps=maps):
            reading.append(position)
    if reading:
        yield reading, data
    loading = [head for head in heads if head[0] not in reading]
    if not loading:
        return
    try:
        loaded = data.in_memory
    except RamLimitError as error:
        for position, spec, seed in loading:
            on_fitted(position, failed(spec.make(seed), 0.0, 1, error))
    else:
        yield [position for position, _, _ in loading], loaded


def _renumbered(members: Sequence[int], on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that translates positions among `members` into positions among all heads."""
    return lambda position, fitted: on_fitted(members[position], fitted)


def _with_scaling(data: TrainingData, on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that puts the scale of a joined tap into a fitted head, which then takes stored features."""
    scaling = data.scaling
    if scaling is None:
        return on_fitted

    def scale(position: int, fitted: Fitted) -> None:
        from featurebank.heads.joined.head import JoinedHead  # imports scikit-learn

        on_fitted(position, fitted if fitted.failure else replace(fitted, head=JoinedHead.of(fitted.head, scaling)))

    return scale


def _with_calibration(specs: Sequence[tuple[HeadSpec, int]], data: TrainingData, on_fitted: OnFitted) -> OnFitted:
    """Returns a callback that calibrates a fitted head if its specification demands it, and then calls `on_fitted`.

    Calibration comes after the training, so that calibrated heads can share a program with others.
    """

    def calibrate(position: int, fitted: Fitted) -> None:
        spec, seed = specs[position]
        if spec.is_calibrated and not fitted.failure:
            began = time.perf_counter()
            try:
                head = spec.make(seed).calibrate(fitted.head, (data.X_val, data.y_val))
                changes = {"head": head, "metrics": score(head, data)}
            except Exception as error:  # noqa: BLE001 - a library's error is the result of this head; others continue
                changes = {"metrics": {}, "failure": one_line(error), "short": is_shortage(error)}
            fitted = replace(fitted, **changes, seconds=fitted.seconds + time.perf_counter() - began)
        on_fitted(position, fitted)

    return calibrate
