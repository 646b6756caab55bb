"""Stage: a bank's backbone and a head that was trained on the bank -> one model from images to probabilities.

The result is a graft. If the head can become Keras layers, the graft is one Keras model; otherwise it is a
`JoinedModel`, which runs the network and then calls the head. In the code below, the trunk is the network up to the
tap. A proof compares the graft's probabilities on a few images with those of the head on their stored features: it
finds any difference in preprocessing, resizing, weights or layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.errors import BankWarning, HeadError, HeadWarning
from featurebank.fitting.joined.rows import feature_rows
from featurebank.grafting.certainty.embedding import last_input, operation_of
from featurebank.grafting.foreign.graft import ForeignGraft, join_foreign
from featurebank.grafting.foreign.trunks import OpenVINOTrunk
from featurebank.grafting.head_layers import no_layers, probabilities_of
from featurebank.grafting.metadata import About, Proof
from featurebank.grafting.proof import Sample, prove_joined, prove_layers, sample_of
from featurebank.grafting.several.networks import several_networks
from featurebank.grafting.several.trunks import SeveralTrunks
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.grafting.trunk import taps_of, trunk_model, trunk_of
from featurebank.runs.run import FINETUNE, RunRecord, read_run
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import import_tensorflow, installed_versions
from featurebank.words import counted

_PARTS = ("backbone", "architecture", "weights", "preprocessing", "image_size", "resize", "pooling", "levels")
"""The keys of a bank's recipe that describe the network."""


@dataclass(frozen=True)
class Grafted:
    """A graft with its metadata."""

    model: Any
    """A Keras model, a `ForeignGraft` of a network of another library, or a `JoinedModel`."""
    about: About
    images: np.ndarray
    """(n, s, s, 3) uint8, the images of the proof, or noise without a proof. Exported files are tested on them."""
    probabilities: np.ndarray
    """(n, classes), the probabilities of the model for `images`."""
    fitted: Any = None
    """The fitted head, or the Keras model of a fine-tune."""
    operation: str = ""
    """Of a graft that is a Keras model: the operation whose output the features of the head are."""


def grafted(
    bank: Bank, run: RunRecord | Any, *, tap: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    form: str = "any", reporter: Reporter = SILENT,
) -> Grafted:  # fmt: skip
    """Joins the network of a bank and a head into one model, and returns it with its metadata.

    Args:
        bank: see `featurebank.graft`, also for the other arguments.
        form: "layers" requires a head that is layers, "joined" a `JoinedModel`; "any" prefers a Keras model, if the
            network is one of Keras.

    Raises:
        HeadError: `form` is "layers" and the head cannot become layers, or `form` is "joined" and the run is a
            fine-tune.
        WeightsError, DatasetError: see `featurebank.graft`, also for other causes of HeadError.
    """
    from featurebank.runs.refitting import trained_head  # imports scikit-learn, which predictions do not need

    if isinstance(run, RunRecord) and run.is_finetune:
        return _finetuned(bank, run, form)
    head, tap = (trained_head(bank, run), run.tap) if isinstance(run, RunRecord) else (run, tap or "pooled")
    recorded = run.joined if isinstance(run, RunRecord) else None
    networks = None if form == "layers" else several_networks(bank, tap, recorded, backbone)
    taps = [] if networks else taps_of(bank, tap, recorded)
    _check_width(head, feature_rows(bank, tap, None, recorded).tap_shape(tap), tap)
    backbone = load_recorded(bank.recipe, bank.manifest.source, backbone=backbone)
    about = _about(bank, backbone.recipe, run, type(head).__name__, tap)
    looking = networks or backbone
    with reporter.step(f"joining {looking.name} and {'the' if networks else 'its'} head"):
        if networks:
            about = replace(about, further=networks.further)
            model, layers, operation = JoinedModel(trunk_of(networks), head, about), None, ""
        else:
            model, layers, operation = _joined(backbone, taps, head, about, form)
    if not proof:
        images = np.stack([looking.resize(image) for image in _noise(backbone.image_size)])
        return Grafted(model, about, images, run_model(model, images), head, operation)
    with reporter.step("comparing the model with the head on images of the bank"):
        splits = ("train", "val") if layers is not None else ("val",) if "val" in bank.splits() else ("train",)
        sample = sample_of(bank, tap, looking, splits, recorded)
        evidence, images, probabilities = _prove(bank, sample, head, model, layers)
    line = f"graft: on {counted(evidence.images, 'image')} of the bank, model and head agree to"
    reporter.say(f"{line} {evidence.difference:.1e} (allowed: {evidence.tolerance:g})")
    if evidence.difference > evidence.tolerance:
        reporter.warn(
            f"a feature that is within rounding ({evidence.features:.1e}) of a threshold of the head can change its "
            "probabilities by more than that: this happens only with trees and nearest neighbours",
            HeadWarning,
        )
    about = replace(about, proof=evidence)
    if isinstance(model, JoinedModel):
        model.about = about
    if isinstance(run, RunRecord):
        _record(run, evidence, reporter)
    return Grafted(model, about, images, probabilities, head, operation)


def _finetuned(bank: Bank, run: RunRecord, form: str) -> Grafted:
    """Returns the model of a fine-tune, which was compared with its head before the training, and needs no proof."""
    from featurebank.runs.finetuned import finetuned_model

    if form == "joined":
        message = (
            f"run {run.run} is a fine-tune, one stack of layers: export it as a .keras file (or .onnx, .xml, .tflite)"
        )
        raise HeadError(message)
    about = about_finetuned(bank, run)
    model, images = finetuned_model(run), _noise(about.image_size)
    return Grafted(model, about, images, run_model(model, images), model, last_input(model))


def about_finetuned(bank: Bank, run: RunRecord) -> About:
    """Returns the metadata of the model of a fine-tune."""
    recipe = {part: bank.recipe[part] for part in _PARTS if part in bank.recipe}
    return _about(bank, recipe, run, FINETUNE, run.tap)


def _noise(size: int) -> np.ndarray:
    """Returns two random images, (2, size, size, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def check_layers(bank: Bank, run: RunRecord) -> None:
    """Checks that a run's head can become Keras layers.

    Raises:
        HeadError: the head cannot become layers; the message says why, and which heads can.
    """
    from featurebank.runs.refitting import trained_head

    import_tensorflow()
    import keras

    try:
        taps_of(bank, run.tap, run.joined)
        trained_head(bank, run).keras_layers_(keras.Input(feature_rows(bank, run.tap).tap_shape(run.tap)))
    except HeadError as error:
        raise no_layers(str(run.spec), error, "") from error


def _prove(bank: Bank, sample: Sample, head: Any, model: Any, layers: Any) -> tuple[Proof, np.ndarray, np.ndarray]:
    """Compares the model with the head; returns the proof, its images, and the model's probabilities for them.

    The images are never test images, so that the test split stays unused. Those of a joined model are no training
    images, if possible: thresholds of trees are features of training images, where any rounding counts.

    Raises:
        HeadError: the model differs from the head.
    """
    whole = partial(run_model, model)
    if layers is not None:
        proof, probabilities = prove_layers(bank, head, sample, whole=whole, layers=partial(run_model, layers))
    else:
        proof, probabilities = prove_joined(bank, head, sample, whole=whole, trunk=partial(run_model, model.trunk))
    return proof, sample.images, probabilities


def _check_width(head: Any, shape: tuple[int, ...], tap: str) -> None:
    """Raises HeadError if the number of features of a head is not that of a tap."""
    width = getattr(head, "n_features_in_", None)
    if width not in {None, int(np.prod(shape)), shape[-1]}:  # for heads on maps, it is the number of channels
        message = (
            f"the head was trained on {counted(width, 'feature')}, but tap '{tap}' has {int(np.prod(shape))}: pass "
            "the tap that the head was trained on, as tap=..."
        )
        raise HeadError(message)


def run_model(model: Any, inputs: np.ndarray) -> np.ndarray:
    """Returns the output of a graft, or of a part of one, for one batch: images, or features of its layers."""
    if isinstance(model, JoinedModel | ForeignGraft | OpenVINOTrunk | SeveralTrunks):
        return model.predict(inputs)
    return np.asarray(model(inputs.astype(np.float32), training=False))


def _about(bank: Bank, recipe: Mapping[str, Any], run: RunRecord | Any, name: str, tap: str) -> About:
    is_run = isinstance(run, RunRecord)
    return About(
        classes=bank.classes, image_size=int(recipe["image_size"]), resize=str(recipe["resize"]),
        backbone=dict(recipe), tap=tap, head=str(run.spec) if is_run else name, bank=bank.digest,
        run=run.run if is_run else None, metrics=run.metrics if is_run else {},
        featurebank=installed_versions("featurebank").get("featurebank", ""),
    )  # fmt: skip


def _joined(backbone: Backbone, taps: Sequence[str], head: Any, about: About, form: str) -> tuple[Any, Any, str]:
    """Returns the model, a Keras model of its head alone (from features), and the operation of `Grafted`.

    The head is None for a `JoinedModel`.
    """
    if backbone.form != "keras":
        return *join_foreign(backbone, taps, head, about, form), ""
    import_tensorflow()
    trunk = trunk_model(backbone, taps)
    if form == "joined":
        return JoinedModel(trunk, head, about), None, ""
    try:
        probabilities = probabilities_of(trunk.output, head, len(about.classes))
    except HeadError as error:
        if form == "any":
            return JoinedModel(trunk, head, about), None, ""
        raise no_layers(about.head, error, "; or export it as a .fbmodel file") from error
    model, layers = extended(trunk, probabilities)
    model.name = f"{backbone.name}_classifier"
    return model, layers, operation_of(trunk)


def extended(trunk: Any, output: Any) -> tuple[Any, Any]:
    """Returns a Keras model from the input of a trunk to a tensor that follows from its output.

    Args:
        trunk: a Keras model with one output.
        output: a Keras tensor that was computed from this output.

    Returns:
        The whole model, and the part of it after the trunk as a model of its own. Operations of this part whose names
        occur in the trunk get the prefix "head_".
    """
    import keras

    layers = keras.Model(trunk.output, output)
    names = {operation.name for operation in trunk.operations}
    for operation in layers.operations:
        if operation.name in names:  # Keras refuses equal names; head and trunk may both have, for example, an "abs"
            operation.name = f"head_{operation.name}"
    return keras.Model(trunk.input, output), layers


def _record(run: RunRecord, proof: Proof, reporter: Reporter) -> None:
    """Stores the proof in the record of the run; warns if that fails, because the model itself is usable."""
    recorded = read_run(run.directory / "runs" / f"{run.run}.json", run.class_names) or run
    try:
        replace(recorded, graft=asdict(proof)).save()
    except OSError as error:
        reporter.warn(f"the graft's proof was not saved in the record of run {run.run}: {error}", BankWarning)
