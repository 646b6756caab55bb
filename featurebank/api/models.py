"""Public functions that make models of runs, and use these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featurebank.api.display import Shown, showing, warn_of_skipped
from featurebank.api.run import Run
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.dataset import Dataset, DatasetOptions, load_images
from featurebank.finetuning import read_options, run_finetune
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
from featurebank.runs.run import RunRecord
from featurebank.system.progress import Reporter

__all__ = ["evaluate", "export", "finetune", "graft", "load_model", "predict"]


def finetune(
    run: RunRecord | str = "best", *, bank: Bank | None = None, backbone: Backbone | None = None,
    tensorboard: Path | None = None, progress: Shown = None, reporter: Reporter | None = None, **options: Any,
) -> Run:  # fmt: skip
    """Trains a run's head together with the network under it, phase by phase.

    Before the first step the model equals the head: this is checked on the validation images, and these weights are the
    first candidate for the best ones. A finished fine-tune is not repeated, and an interrupted one continues from its
    last checkpoint.

    Args:
        run: a run, the beginning of a run's id, or "best": the best of the bank's heads that can be expressed as
            layers.
        bank: the bank of the run; not needed for a `Run`.
        backbone: the network of the bank; default: it is loaded again.
        tensorboard: a log directory of TensorBoard; curves are written there during training.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.
        options: see `FinetuneOptions`: `unfreeze` or `progressive`, and options that differ from the defaults.

    Returns:
        A run on the same leaderboard, with the head "finetune". `saved_path` is its model, from images 0..255 to
        probabilities; `finetune` has its phases and the `gain` over the head.

    Raises:
        ConfigError: an option is invalid, a phase trains nothing new, or `run` is an id without a bank.
        HeadError: the head cannot be expressed as layers, or the grafted model predicts other classes than the head.
        DatasetError: images were deleted or changed since the extraction.
        WeightsError: the network is no longer that of the bank.
        RunLockedError: another process runs this fine-tune now.
        MissingDependencyError: `tensorboard` is set, but TensorBoard is not installed.
        DiskFullError: no space is left; an older checkpoint is not changed.
    """
    settings = read_options(options)
    with showing(progress, reporter) as shown:
        tuned = run_finetune(run, settings, bank=bank, backbone=backbone, tensorboard=tensorboard, reporter=shown)
    return Run.of(tuned)


def graft(
    bank: Bank, run: RunRecord | Any, *, tap: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    progress: Shown = None, reporter: Reporter | None = None,
) -> Any:  # fmt: skip
    """Joins the network of a bank and a head that was trained on the bank into one model.

    The proof decodes 16 images of the bank again, and compares the probabilities of the model with those of the head on
    the stored features. The largest difference is reported, and stored in the record of the run.

    Args:
        bank: the bank.
        run: a run of the bank, or a fitted head.
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
    """
    with showing(progress, reporter) as shown:
        return grafted(bank, run, tap=tap, backbone=backbone, proof=proof, reporter=shown).model


def export(
    run: RunRecord, path: str | Path, *, format: str | None = None, backbone: Backbone | None = None,
    proof: bool = True, with_resize: bool = False, progress: Shown = None, reporter: Reporter | None = None,
) -> Path:  # fmt: skip
    """Exports a run as one model file, from images to probabilities.

    Before the file gets its final name, it is read again and run on 16 images of the bank.

    Args:
        run: the result of `select`, or any other run of a bank.
        path: the file; its suffix determines the format. An existing file is replaced when the new one is complete.
        format: "keras" (.keras), "onnx" (.onnx, needs `featurebank[onnx]`), "openvino" (.xml, and .bin beside it),
            "tflite" (.tflite), or "joined" (.fbmodel), which supports any head; default: from the suffix.
        backbone: the network of the bank; default: it is loaded again.
        proof: whether to compare the model with the head, see `featurebank.graft`.
        with_resize: whether the model resizes images itself and takes uint8 RGB of any size; for "keras" and "onnx".
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
    """
    options = ExportOptions(format=format, proof=proof, with_resize=with_resize)
    with showing(progress, reporter) as shown:
        return run_export(run, Path(path), options, backbone=backbone, reporter=shown)


def load_model(path: str | Path) -> LoadedModel:
    """Loads a model file of any format that `featurebank.export` wrote; runs no code from it.

    Raises:
        ConfigError: the file does not exist, has an unknown format, is damaged, or was not written by featurebank.
        FormatVersionError: a newer featurebank wrote it.
        MissingDependencyError: its format needs a package that is not installed.
    """
    with showing():
        return read_model(Path(path))


def predict(
    model: str | Path | LoadedModel,
    images: Any,
    *,
    top: int = 5,
    batch_size: int = 32,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> list[Prediction]:
    """Classifies images.

    Args:
        model: a file that `featurebank.export` wrote, or the result of `load_model`.
        images: the path of a file or of a directory (all images in it, at any depth), several paths, or arrays as
            for `featurebank.FeatureBank`.
        top: the number of most probable classes to return for each image.
        batch_size: the number of images per batch.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        One prediction for each image; if an image cannot be read, its prediction has an `error`.

    Raises:
        ConfigError: see `load_model`; or `top` is below 1.
        DatasetError: there are no images.
    """
    loaded = model if isinstance(model, LoadedModel) else Path(model)
    with showing(progress, reporter) as shown:
        predictions = classify(loaded, images, top=top, batch_size=batch_size, reporter=shown)
        skipped = [(one.file, one.error) for one in predictions if one.error]
        warn_of_skipped(skipped, "their predictions have an error", shown)
    return predictions


def evaluate(
    model: str | Path | LoadedModel, dataset: Dataset | str, *, split: str = ALL, batch_size: int = 32,
    progress: Shown = None, reporter: Reporter | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluates a model file on labelled images.

    Args:
        model: a file of any format that `featurebank.export` wrote, or the result of `load_model`.
        dataset: the images; each class name must be a class of the model.
        split: "train", "val" or "test" for the images of one split, "all" for all.
        batch_size: the number of images per batch.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        Accuracy, loss, results of each class, and confusions; images that cannot be read are skipped and listed.

    Raises:
        ConfigError: see `load_model`; or the split does not exist.
        DatasetError: see `load_dataset`; or a class is unknown to the model, or no image can be read.

    Examples:
        >>> evaluation = evaluate("model.keras", "folder:photos")  # doctest: +SKIP
        >>> evaluation.accuracy  # doctest: +SKIP
        0.91
    """
    with showing(progress, reporter) as shown:
        loaded = model if isinstance(model, LoadedModel) else read_model(Path(model))
        labelled = load_images(dataset, DatasetOptions()) if isinstance(dataset, str) else dataset
        evaluation = evaluate_model(loaded, labelled, split=split, batch_size=batch_size, reporter=shown)
        warn_of_skipped(evaluation.skipped, "evaluation.skipped lists them", shown)
    return evaluation
