"""Stage: a bank's backbone and a head trained on the bank -> one model from images to probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.errors import BankWarning, HeadError, HeadWarning
from featurebank.grafting.metadata import About, Proof
from featurebank.grafting.proof import prove_joined, prove_layers, sample_of
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.runs.run import FINETUNE, RunRecord, load_runs, read_run
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import import_tensorflow, installed_versions
from featurebank.words import counted

_PARTS = ("backbone", "architecture", "weights", "preprocessing", "image_size", "resize", "levels")
"""The keys of a bank's recipe that describe the network."""
CAN = (
    "softmax, mlp, heads on maps, tails, and every linear head (logistic, ridge, lda, nearest_mean, svm with kernel "
    "linear, the linear classifiers of scikit-learn) can"
)


@dataclass(frozen=True)
class Grafted:
    """A graft with its metadata."""

    model: Any
    """A Keras model, or a `JoinedModel`."""
    about: About
    images: np.ndarray
    """(n, s, s, 3) uint8, to compare an exported file with: the images of the proof, or noise."""
    probabilities: np.ndarray
    """(n, classes): the model's probabilities for `images`."""


def grafted(
    bank: Bank, run: RunRecord | Any, *, tap: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    form: str = "any", reporter: Reporter = SILENT,
) -> Grafted:  # fmt: skip
    """Does the work of `graft`, and returns the model with its metadata.

    Args:
        bank: see `graft`, also for the other arguments.
        form: "layers" raises an error for a head that cannot become layers, "joined" always makes a `JoinedModel`;
            "any" makes layers if the head supports that.
    """
    from featurebank.runs.selection import trained_head  # imports scikit-learn, which predictions do not need

    if isinstance(run, RunRecord) and run.is_finetune:
        return _finetuned(bank, run, form)
    head, tap = (trained_head(bank, run), run.tap) if isinstance(run, RunRecord) else (run, tap or "pooled")
    _check_width(head, bank.tap_shape(tap), tap)
    backbone = load_recorded(bank.recipe, bank.manifest.source, backbone=backbone)
    about = _about(bank, backbone.recipe, run, type(head).__name__, tap)
    with reporter.step(f"joining {backbone.name} and its head"):
        model, layers = _joined(backbone, tap, head, about, form)
    if not proof:
        images = _noise(backbone.image_size)
        return Grafted(model, about, images, answer(model, images))
    with reporter.step("comparing the model with the head on images of the bank"):
        evidence, images, probabilities = _proved(bank, backbone, tap, head, (model, layers))
    line = f"graft: on {counted(evidence.images, 'image')} of the bank, model and head agree to"
    reporter.say(f"{line} {evidence.difference:.1e} (allowed: {evidence.tolerance:g})")
    if evidence.difference > evidence.tolerance:
        reporter.warn(
            f"the head decides differently where a feature is within rounding ({evidence.features:.1e}) of a split "
            "value: only trees and votes of neighbours are so sensitive",
            HeadWarning,
        )
    about = replace(about, proof=evidence)
    if isinstance(model, JoinedModel):
        model.about = about
    if isinstance(run, RunRecord):
        _record(run, evidence, reporter)
    return Grafted(model, about, images, probabilities)


def _finetuned(bank: Bank, run: RunRecord, form: str) -> Grafted:
    """Returns the model of a fine-tune, which was compared with its head before its first step."""
    from featurebank.runs.finetuned import finetuned_model

    if form == "joined":
        message = (
            f"run {run.run} is a fine-tune, one stack of layers: export it as a .keras file (or .onnx, .xml, .tflite)"
        )
        raise HeadError(message)
    about = _about(bank, {part: bank.recipe[part] for part in _PARTS if part in bank.recipe}, run, FINETUNE, run.tap)
    model, images = finetuned_model(run), _noise(about.image_size)
    return Grafted(model, about, images, answer(model, images))


def _noise(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def check_layers(bank: Bank, run: RunRecord) -> None:
    """Checks that a run's head can become Keras layers.

    Raises:
        HeadError: it cannot; the message says why, and which heads can.
    """
    from featurebank.runs.selection import trained_head

    import_tensorflow()
    import keras

    try:
        trained_head(bank, run).keras_layers_(keras.Input(bank.tap_shape(run.tap)))
    except HeadError as error:
        raise _no_layers(str(run.spec), error, "") from error


def best_in_layers(bank: Bank, runs: Iterable[RunRecord] | None = None, reporter: Reporter = SILENT) -> RunRecord:
    """Returns the best run whose head can become Keras layers.

    Args:
        bank: the bank that the runs were trained on.
        runs: the candidates; default: all runs of the bank.
        reporter: receives one line for each better head that is skipped, with the reason.

    Raises:
        HeadError: no head can become Keras layers.
    """
    from featurebank.runs.selection import choose_run

    candidates = load_runs(bank) if runs is None else list(runs)
    first_error: HeadError | None = None
    while True:
        try:
            run = choose_run(candidates)
        except HeadError as error:
            raise first_error or error from None
        try:
            if not run.is_finetune:
                check_layers(bank, run)
        except HeadError as error:
            reason = str(error).removesuffix(f": {CAN}")
            reporter.say(f"skipping {run.run} ({run.metrics['val']['accuracy']:.4f}): {reason}")
            first_error = first_error or error
            candidates = [other for other in candidates if other.spec != run.spec]
            continue
        return run


def _no_layers(head: str, error: HeadError, more: str) -> HeadError:
    return HeadError(f"{head} cannot become Keras layers ({error}): {CAN}{more}")


def _proved(
    bank: Bank, backbone: Backbone, tap: str, head: Any, model_and_layers: tuple[Any, Any]
) -> tuple[Proof, np.ndarray, np.ndarray]:
    """Returns the proof, its images (none of them a test image), and the model's probabilities for them."""
    model, layers = model_and_layers
    whole = partial(answer, model)
    if layers is not None:
        sample = sample_of(bank, tap, backbone, ("train", "val"))
        proof, probabilities = prove_layers(bank, tap, head, sample, whole=whole, layers=partial(answer, layers))
        return proof, sample.images, probabilities
    # The thresholds of a tree are values of training images, on which any rounding would show.
    sample = sample_of(bank, tap, backbone, ("val",) if "val" in bank.splits() else ("train",))
    proof, probabilities = prove_joined(bank, tap, head, sample, whole=whole, trunk=partial(answer, model.trunk))
    return proof, sample.images, probabilities


def _check_width(head: Any, shape: tuple[int, ...], tap: str) -> None:
    """Raises HeadError if a head was trained on features of another width than that of a tap."""
    width = getattr(head, "n_features_in_", None)
    if width not in {None, int(np.prod(shape)), shape[-1]}:  # some heads count the channels of a map
        message = (
            f"the head was trained on {counted(width, 'feature')}, tap '{tap}' has {int(np.prod(shape))}: pass "
            "the head's own tap=..."
        )
        raise HeadError(message)


def answer(model: Any, images: np.ndarray) -> np.ndarray:
    """Returns the output of a Keras or joined model for a few images, or of a part of a model for a few features."""
    if isinstance(model, JoinedModel):
        return model.predict(images)
    return np.asarray(model(images.astype(np.float32), training=False))


def _about(bank: Bank, recipe: Mapping[str, Any], run: RunRecord | Any, name: str, tap: str) -> About:
    is_run = isinstance(run, RunRecord)
    return About(
        classes=bank.classes, image_size=int(recipe["image_size"]), resize=str(recipe["resize"]),
        backbone=dict(recipe), tap=tap, head=str(run.spec) if is_run else name, bank=bank.digest,
        run=run.run if is_run else None, metrics=run.metrics if is_run else {},
        featurebank=installed_versions("featurebank").get("featurebank", ""),
    )  # fmt: skip


def _joined(backbone: Backbone, tap: str, head: Any, about: About, form: str) -> tuple[Any, Any]:
    """Returns the model, and the part of it that is the head; None if the head cannot become layers."""
    import_tensorflow()
    import keras

    taps = backbone.tap_model([tap])
    trunk = keras.Model(taps.input, taps.output[tap], name=taps.name)
    if form == "joined":
        return JoinedModel(trunk, head, about), None
    try:
        probabilities = _probabilities(trunk, head, len(about.classes))
    except HeadError as error:
        if form == "any":
            return JoinedModel(trunk, head, about), None
        raise _no_layers(about.head, error, "; or export it as a .fbmodel file") from error
    layers = keras.Model(trunk.output, probabilities)
    names = {operation.name for operation in trunk.operations}
    for operation in layers.operations:
        if operation.name in names:  # such as "abs", which both head and trunk may use
            operation.name = f"head_{operation.name}"
    return keras.Model(trunk.input, probabilities, name=f"{backbone.name}_classifier"), layers


def _probabilities(trunk: Any, head: Any, classes: int) -> Any:
    """Adds a head to the graph of a trunk; returns a Keras tensor (n, classes), 0 for classes unknown to the head."""
    import keras

    from featurebank.heads.base import Head  # imports scikit-learn, which predictions do not need

    if not isinstance(head, Head):
        message = f"{type(head).__name__} is not a head of featurebank"
        raise HeadError(message)
    output = keras.layers.Activation("softmax", name="probabilities")(head.keras_layers_(trunk.output))
    if len(head.classes_) == classes:
        return output
    places = np.zeros((len(head.classes_), classes), np.float32)
    places[np.arange(len(places)), head.classes_] = 1
    layer = keras.layers.Dense(classes, use_bias=False, trainable=False, name="all_classes")
    output = layer(output)
    layer.set_weights([places])
    return output


def _record(run: RunRecord, proof: Proof, reporter: Reporter) -> None:
    recorded = read_run(run.directory / "runs" / f"{run.run}.json") or run
    try:
        replace(recorded, graft=asdict(proof)).save()
    except OSError as error:
        reporter.warn(f"the graft's proof was not saved in the record of run {run.run}: {error}", BankWarning)
