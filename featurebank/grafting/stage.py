"""Stage: a bank's backbone and a head trained on it -> one model, images in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.grafting.metadata import About, Proof
from featurebank.grafting.proof import prove_joined, prove_layers, sample_of
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.runs.run import FINETUNE, Run, load_runs, read_run
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import import_tensorflow, installed_versions
from featurebank.words import counted

_PARTS = ("backbone", "architecture", "weights", "preprocessing", "image_size", "resize", "levels")
"""Of a bank's recipe, what the network's is."""
CAN = (
    "softmax, mlp, heads on maps, tails, and every linear head (logistic, ridge, lda, nearest_mean, svm with kernel "
    "linear, the linear classifiers of scikit-learn) can"
)


@dataclass(frozen=True)
class Grafted:
    """A graft, and what is known of it."""

    model: Any
    """A Keras model, or a `JoinedModel`."""
    about: About
    images: np.ndarray
    """(n, s, s, 3) uint8, to compare a file of it with: the proof's, else noise."""
    probabilities: np.ndarray
    """(n, classes) that the model gives for them."""


def graft(
    bank: Bank, run: Run | Any, *, tap: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    reporter: Reporter = SILENT,
) -> Any:  # fmt: skip
    """Joins the network that made a bank and a head that was trained on the bank into one model.

    On 16 of the bank's images, read again, the model's probabilities are compared with the head's on stored features;
    the largest difference is told, and kept in the run's record.

    Args:
        bank: the bank.
        run: one of its runs, or a fitted head.
        tap: what a head was trained on; a run knows that. Default: "pooled".
        backbone: the network; default: that which made the bank, loaded again.
        proof: whether the proof is made.
        reporter: is told what the proof showed.

    Returns:
        A Keras model, images (n, s, s, 3) RGB 0..255 -> probabilities (n, classes) float32, in the order of
        `bank.classes`; those that training lacked have 0. For a head that is no stack of layers (trees, neighbours,
        kernels) a `JoinedModel`, which has `predict`, too.

    Raises:
        WeightsError: the network is not the one that made the bank.
        DatasetError: the bank's images are not there any more, so that there is no proof.
        HeadError: the run failed, or belongs to another bank; the proof failed.
    """
    return grafted(bank, run, tap=tap, backbone=backbone, proof=proof, reporter=reporter).model


def grafted(
    bank: Bank, run: Run | Any, *, tap: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    form: str = "any", reporter: Reporter = SILENT,
) -> Grafted:  # fmt: skip
    """Does what `graft` does, and returns what is known of the model beside it.

    Args:
        bank: see `graft`, as for the others.
        form: "layers" refuses a head that is no stack of layers, "joined" leaves any head as it is; "any" takes layers
            where the head has them.
    """
    from featurebank.runs.selection import trained_head  # imports scikit-learn, which predictions do not need

    if isinstance(run, Run) and run.is_finetune:
        return _finetuned(bank, run, form)
    head, tap = (trained_head(bank, run), run.tap) if isinstance(run, Run) else (run, tap or "pooled")
    _check_width(head, bank.tap_shape(tap), tap)
    backbone = load_recorded(bank.recipe, bank.manifest.source, given=backbone)
    about = _about(bank, backbone.recipe, run, type(head).__name__, tap)
    with reporter.step(f"joining {backbone.name} and its head"):
        model, layers = _joined(backbone, tap, head, about, form)
    if not proof:
        images = _noise(backbone.image_size)
        return Grafted(model, about, images, answer(model, images))
    with reporter.step("comparing the model with the head on images of the bank"):
        found, images, probabilities = _proved(bank, backbone, tap, head, (model, layers))
    told = f"graft: on {counted(found.images, 'image')} of the bank, the model's probabilities are the head's to"
    reporter.say(f"{told} {found.difference:.1e} (allowed: {found.tolerance:g})")
    if found.difference > found.tolerance:
        reporter.warn(
            f"the head decides otherwise where a feature is within a rounding (here {found.features:.1e}) of what it "
            "splits at: so few bits make a difference to trees and to votes of neighbours alone"
        )
    about = replace(about, proof=found)
    if isinstance(model, JoinedModel):
        model.about = about
    if isinstance(run, Run):
        _record(run, found, reporter)
    return Grafted(model, about, images, probabilities)


def _finetuned(bank: Bank, run: Run, form: str) -> Grafted:
    """Returns the model of a fine-tune, which was proved before its first step."""
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


def check_layers(bank: Bank, run: Run) -> None:
    """Looks whether a run's head can become Keras layers.

    Raises:
        HeadError: it cannot; the message says why, and what can.
    """
    from featurebank.runs.selection import trained_head

    import_tensorflow()
    import keras

    try:
        trained_head(bank, run).keras_layers_(keras.Input(bank.tap_shape(run.tap)))
    except HeadError as error:
        raise _no_layers(str(run.spec), error, "") from error


def best_in_layers(bank: Bank, runs: Iterable[Run] | None = None, reporter: Reporter = SILENT) -> Run:
    """Returns the best of some runs that can become Keras layers.

    Args:
        bank: what they were trained on.
        runs: default: all of the bank.
        reporter: receives a line for each better head that is passed over, with the reason.

    Raises:
        HeadError: there is none.
    """
    from featurebank.runs.selection import select

    left = load_runs(bank) if runs is None else list(runs)
    passed: HeadError | None = None
    while True:
        try:
            run = select(left)
        except HeadError as error:
            raise passed or error from None
        try:
            if not run.is_finetune:
                check_layers(bank, run)
        except HeadError as error:
            why = str(error).removesuffix(f": {CAN}")
            reporter.say(f"passing over {run.run} ({run.metrics['val']['accuracy']:.4f}): {why}")
            passed = passed or error
            left = [other for other in left if other.spec != run.spec]
            continue
        return run


def _no_layers(head: str, error: HeadError, more: str) -> HeadError:
    return HeadError(f"{head} cannot become Keras layers ({error}): {CAN}{more}")


def _proved(
    bank: Bank, backbone: Backbone, tap: str, head: Any, made: tuple[Any, Any]
) -> tuple[Proof, np.ndarray, np.ndarray]:
    """Returns the proof, the images that it was made on, and what the model says of them; none is a test image."""
    model, layers = made
    whole = partial(answer, model)
    if layers is not None:
        sample = sample_of(bank, tap, backbone, ("train", "val"))
        proof, said = prove_layers(bank, tap, head, sample, whole=whole, layers=partial(answer, layers))
        return proof, sample.images, said
    # Of training images the very values lie in a tree's thresholds, and any rounding is seen.
    sample = sample_of(bank, tap, backbone, ("val",) if "val" in bank.splits() else ("train",))
    proof, said = prove_joined(bank, tap, head, sample, whole=whole, trunk=partial(answer, model.trunk))
    return proof, sample.images, said


def _check_width(head: Any, shape: tuple[int, ...], tap: str) -> None:
    """Raises HeadError where a head was trained on other features than those of a tap."""
    width = getattr(head, "n_features_in_", None)
    if width not in {None, int(np.prod(shape)), shape[-1]}:  # some heads count the channels of a map
        message = (
            f"the head was trained on {counted(width, 'feature')}, tap '{tap}' has {int(np.prod(shape))}: give "
            "tap=..., its own"
        )
        raise HeadError(message)


def answer(model: Any, images: np.ndarray) -> np.ndarray:
    """Returns what a Keras or a joined model says of a few images, or a part of one of a few features."""
    if isinstance(model, JoinedModel):
        return model.predict(images)
    return np.asarray(model(images.astype(np.float32), training=False))


def _about(bank: Bank, recipe: Mapping[str, Any], run: Run | Any, name: str, tap: str) -> About:
    is_run = isinstance(run, Run)
    return About(
        classes=bank.classes, image_size=int(recipe["image_size"]), resize=str(recipe["resize"]),
        backbone=dict(recipe), tap=tap, head=str(run.spec) if is_run else name, bank=bank.digest,
        run=run.run if is_run else None, metrics=run.metrics if is_run else {},
        featurebank=installed_versions("featurebank").get("featurebank", ""),
    )  # fmt: skip


def _joined(backbone: Backbone, tap: str, head: Any, about: About, form: str) -> tuple[Any, Any]:
    """Returns the model, and that part of it which is the head's; None where that is no stack of layers."""
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
    taken = {operation.name for operation in trunk.operations}
    for operation in layers.operations:
        if operation.name in taken:  # as "abs", which the head may need as the trunk does
            operation.name = f"head_{operation.name}"
    return keras.Model(trunk.input, probabilities, name=f"{backbone.name}_classifier"), layers


def _probabilities(trunk: Any, head: Any, classes: int) -> Any:
    """Adds a head to the graph of a trunk: returns a Keras tensor (n, classes), 0 for classes that it has not seen."""
    import keras

    from featurebank.heads.base import Head  # imports scikit-learn, which predictions do not need

    if not isinstance(head, Head):
        message = f"{type(head).__name__} is no head of featurebank"
        raise HeadError(message)
    found = keras.layers.Activation("softmax", name="probabilities")(head.keras_layers_(trunk.output))
    if len(head.classes_) == classes:
        return found
    places = np.zeros((len(head.classes_), classes), np.float32)
    places[np.arange(len(places)), head.classes_] = 1
    layer = keras.layers.Dense(classes, use_bias=False, trainable=False, name="all_classes")
    found = layer(found)
    layer.set_weights([places])
    return found


def _record(run: Run, proof: Proof, reporter: Reporter) -> None:
    latest = read_run(run.directory / "runs" / f"{run.run}.json") or run
    try:
        replace(latest, graft=asdict(proof)).save()
    except OSError as error:
        reporter.warn(f"the graft's proof is not kept in the record of run {run.run}: {error}")
