"""Public functions that make models of runs, and use these."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge

from featurebank.api.arguments.banks import BanksLike, as_bank, as_banks
from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import (
    BackboneLike,
    DatasetLike,
    PathLike,
    as_backbone,
    as_dataset,
    as_path,
    is_path,
)
from featurebank.api.arguments.heads import BankOrRun, RunLike, RunOrHead, as_bank_and_run, is_fitted_head
from featurebank.api.display import Shown, showing, warn_of_skipped
from featurebank.bank import Bank
from featurebank.grafting import (
    Evaluation,
    ExportOptions,
    LoadedModel,
    Prediction,
    classify,
    evaluate_model,
    grafted,
    read_model,
    run_export,
)
from featurebank.grafting.evaluation import ALL
from featurebank.grafting.export_stage import find_exportable
from featurebank.runs.run import RunRecord
from featurebank.system.progress import Reporter

ModelLike: TypeAlias = Annotated[
    LoadedModel | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, LoadedModel | str | os.PathLike)),
    "the path of a model file that export wrote, or the result of load_model",
]

ImagesLike: TypeAlias = Annotated[
    str | os.PathLike[str] | Sequence[Any] | Any,
    Accepts(lambda value: is_path(value) or (hasattr(value, "__len__") and not isinstance(value, bytes | Mapping))),
    "a path, a list of paths, or images as arrays",
]

__all__ = ["evaluate", "export", "graft", "load_model", "predict"]


@checked
def graft(
    bank: BankOrRun, run: RunOrHead | None = None, *, tap: str | None = None,
    backbone: BackboneLike | None = None, proof: bool = True, progress: Shown = None, reporter: Reporter | None = None,
) -> Any:  # fmt: skip
    """Joins the network of a bank and a head that was trained on the bank into one model.

    The proof decodes 16 images of the bank again, and compares the probabilities of the model with those of the head on
    the stored features. The largest difference is reported, and stored in the record of the run.

    Args:
        bank: the bank, or its name or path; or a run alone.
        run: a run of the bank, "best" (the default), the beginning of an id, or a fitted head.
        tap: the tap that a fitted head was trained on, by default "pooled"; ignored for a run.
        backbone: the network; by default, the network of the bank is loaded again.
        proof: whether to compare the model with the head.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        A Keras model, images (n, s, s, 3) RGB 0..255 -> probabilities (n, classes) float32, in the order of
        `bank.classes`; classes without training images have 0. For a head that cannot become layers (trees, neighbours,
        kernels) a `JoinedModel`, which also has `predict`.

    Raises:
        WeightsError: `backbone` is not the network of the bank.
        DatasetError: the proof is impossible, because the images of the bank no longer exist.
        HeadError: the run failed or belongs to another bank, or the proof failed.

    Example:
        >>> import numpy as np
        >>> run = fb.train_heads(fb.extract("photos", "my_networks:small"), "logistic")[0]
        >>> model = graft(run)
        >>> model.predict(np.zeros((2, 32, 32, 3)), verbose=0).shape
        (2, 3)
    """
    with showing(progress, reporter) as shown:
        network = None if backbone is None else as_backbone(backbone)
        if is_fitted_head(run):
            place = Bank(bank.directory) if isinstance(bank, RunRecord) else bank
            found, chosen = as_bank(place, "graft", reporter=shown), run
        else:
            found, chosen = as_bank_and_run(bank, run, "graft", shown)
        return grafted(found, chosen, tap=tap, backbone=network, proof=proof, reporter=shown).model


@checked
def export(
    run: RunLike, path: PathLike, *, bank: BanksLike | None = None, format: str | None = None,
    backbone: BackboneLike | None = None, proof: bool = True, with_resize: bool = False, certainty: bool = True,
    seen: bool = True, metric: str = "accuracy", progress: Shown = None, reporter: Reporter | None = None,
) -> Path:  # fmt: skip
    """Exports a run as one model file, from images to probabilities.

    Before the file gets its final name, it is read again and run on 16 images of the bank.

    Args:
        run: the result of `select`, or any other run; "best" for the best one that the format can hold; or the
            beginning of an id.
        path: the file; its suffix determines the format. An existing file is replaced when the new one is complete.
        bank: the bank in which a run is searched, or its name or path, or several banks of the same images, or
            "all-of:DATASET"; default: the bank that was used last.
        format: "keras" (.keras), "onnx" (.onnx, needs `featurebank[onnx]`), "openvino" (.xml, and .bin beside it),
            "tflite" (.tflite), or "joined" (.fbmodel), which supports any head; default: from the suffix.
        backbone: the network of the bank; default: it is loaded again.
        proof: whether to compare the model with the head, see `featurebank.graft`.
        with_resize: whether the model resizes images itself and takes uint8 RGB of any size; for "keras" and "onnx".
        certainty: whether the file stores what `coverage` and `abstain_at_error` of `predict` need, from the validation
            images. For a fine-tune, up to 3000 images are read and run through its network.
        seen: whether the file stores digests of the images that the model was trained on and chosen by, so that
            `evaluate` tells them from others; no more than 4096 of each kind.
        metric: what decides which run is "best", as in `select`.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is unknown or does not fit `format`; or the format cannot resize images.
        HeadError: the head cannot be expressed as layers, but the format needs that; or the file returns other
            probabilities.
        MissingDependencyError: the format needs a package that is not installed.
        WeightsError, DatasetError: see `featurebank.graft`.
        DiskFullError: no space is left; an existing file is not changed.

    Example:
        >>> runs = fb.train_heads(fb.extract("photos", "my_networks:small"), ["logistic", "ridge"])
        >>> export("best", "flowers.keras")
        PosixPath('flowers.keras')
    """
    options = ExportOptions(
        format=format, proof=proof, with_resize=with_resize, certainty=certainty, seen=seen, metric=metric
    )
    with showing(progress, reporter) as shown:
        if isinstance(run, str):
            run = find_exportable(as_banks(bank, "export", reporter=shown), run, as_path(path), options, shown)
        network = None if backbone is None else as_backbone(backbone)
        return run_export(run, as_path(path), options, backbone=network, reporter=shown)


@checked
def load_model(path: PathLike) -> LoadedModel:
    """Loads a model file of any format that `featurebank.export` wrote; runs no code from it.

    Raises:
        ConfigError: the file does not exist, has an unknown format, is damaged, or was not written by featurebank.
        FormatVersionError: a newer featurebank wrote it.
        MissingDependencyError: its format needs a package that is not installed.

    Example:
        >>> import numpy as np
        >>> model = load_model("flowers.keras")
        >>> model.classes, model.predict(np.zeros((2, 32, 32, 3), np.uint8)).shape
        (('daisy', 'rose', 'tulip'), (2, 3))
    """
    with showing():
        return read_model(as_path(path))


@checked
def predict(
    model: ModelLike,
    images: ImagesLike,
    *,
    top: Annotated[int, Ge(1)] = 5,
    coverage: float | None = None,
    abstain_at_error: float | None = None,
    batch_size: Annotated[int, Ge(1)] = 32,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> list[Prediction]:
    """Classifies images.

    Args:
        model: a file that `featurebank.export` wrote, or the result of `load_model`.
        images: the path of a file or of a directory (all images in it, at any depth), several paths, or arrays as
            for `featurebank.FeatureBank`.
        top: the number of most probable classes to return for each image.
        coverage: how often the `set` of an image is to have its true class, as .95; default: there are no sets.
        abstain_at_error: the error among the answered images, as .02, which decides about `answered`; default: all
            images are answered.
        batch_size: the number of images per batch.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        One prediction for each image; if an image cannot be read, its prediction has an `error`. One line warns of
        images that are `unlike` those of the training.

    Raises:
        ConfigError: see `load_model`; or `top` is below 1, a coverage or an error is not between 0 and 1, no threshold
            reaches the error, or the file was exported without what these need.
        DatasetError: there are no images.

    Example:
        >>> for prediction in predict("flowers.keras", ["photos/rose/1.jpg", "photos/tulip/1.jpg"]):
        ...     print(prediction.file, prediction.label, round(prediction.probability, 1))
        photos/rose/1.jpg rose 1.0
        photos/tulip/1.jpg tulip 1.0
    """
    loaded = model if isinstance(model, LoadedModel) else as_path(model)
    with showing(progress, reporter) as shown:
        predictions = classify(
            loaded, images, top=top, coverage=coverage, abstain_at_error=abstain_at_error, batch_size=batch_size,
            reporter=shown,
        )  # fmt: skip
        skipped = [(one.file, one.error) for one in predictions if one.error]
        warn_of_skipped(skipped, "their predictions have an error", shown)
    return predictions


@checked
def evaluate(
    model: ModelLike, dataset: DatasetLike, *, split: str = ALL,
    batch_size: Annotated[int, Ge(1)] = 32,
    progress: Shown = None, reporter: Reporter | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluates a model file on labelled images.

    Args:
        model: a file of any format that `featurebank.export` wrote, or the result of `load_model`.
        dataset: the images, as for `extract`; each class name must be a class of the model.
        split: "train", "val" or "test" for the images of one split, "all" for all.
        batch_size: the number of images per batch.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        Accuracy, loss, results of each class, and confusions; images that cannot be read are skipped and listed. `seen`
        says which of the images the model was trained on or chosen by, and its accuracy on the others; where they make
        the accuracy too good, a warning says so.

    Raises:
        ConfigError: see `load_model`; or the split does not exist.
        DatasetError: see `load_dataset`; or a class is unknown to the model, or no image can be read.

    Example:
        >>> evaluation = evaluate("flowers.keras", "photos", split="test")
        >>> evaluation.images, evaluation.accuracy, evaluation.seen.training.images
        (6, 1.0, 0)
    """
    with showing(progress, reporter) as shown:
        loaded = model if isinstance(model, LoadedModel) else read_model(as_path(model))
        evaluation = evaluate_model(loaded, as_dataset(dataset), split=split, batch_size=batch_size, reporter=shown)
        warn_of_skipped(evaluation.skipped, "evaluation.skipped lists them", shown)
    return evaluation
