"""The public functions that look at images with the help of a bank."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from annotated_types import Ge

from featurebank.api.arguments.banks import BankLike, as_bank
from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import BackboneLike, as_backbone, is_path
from featurebank.api.arguments.heads import RunLike, as_run
from featurebank.api.display import Shown, showing, warn_of_skipped
from featurebank.api.inputs import as_images, is_pillow
from featurebank.bank import Bank
from featurebank.dataset.splits import UNLABELLED
from featurebank.dataset.values.catalog import is_frame
from featurebank.explanation.explanations import Explanation, Explanations
from featurebank.explanation.pictures import named_images
from featurebank.explanation.stage import ExplainOptions, run_explain
from featurebank.runs.run import RunRecord
from featurebank.similarity.neighbours import SimilarImages
from featurebank.similarity.queries import Queries
from featurebank.similarity.stage import SimilarOptions, run_similar
from featurebank.system.progress import Reporter

__all__ = ["Explanation", "Explanations", "SimilarImages", "explain", "similar"]

ImagesLike: TypeAlias = Annotated[
    Any,
    Accepts(
        lambda value: is_path(value) or is_pillow(value) or (hasattr(value, "__len__") and not isinstance(value, bytes))
    ),
    "a path, a list of paths, or images as arrays or of Pillow",
]


@checked
def explain(
    run: RunLike,
    images: ImagesLike,
    *,
    method: Literal["auto", "cam", "gradcam", "occlusion"] = "auto",
    layer: str | None = None,
    class_name: str | None = None,
    bank: BankLike | None = None,
    backbone: BackboneLike | None = None,
    batch_size: Annotated[int, Ge(1)] = 32,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Explanations:
    """Shows which parts of images a run relies on.

    Class activation maps show what each place of the map under a linear head adds to the score of a class; where the
    bank has the map of an image, no network runs. Grad-CAM does the same for every head that can become layers, for
    tails and for fine-tunes. Occlusion hides parts of the image and works for every head, in a hundred passes.

    Args:
        run: a run, "best", or the beginning of a run's id.
        images: the path of an image or of a folder, or the id of an image of the bank; several of these; or images as
            arrays, as for `Run.predict`.
        method: "cam", "gradcam" or "occlusion"; "auto" is "cam" if the head is linear, otherwise "gradcam".
        layer: the layer whose maps Grad-CAM uses; default: the map that the head sees, or the last map of a tail or of
            a fine-tuned network.
        class_name: the class to explain; default: for each image the predicted one.
        bank: the bank of the run, or its name or path; not needed for a `Run`; default: the bank that was used last.
        backbone: the network of the bank; default: it is loaded again.
        batch_size: the number of images per batch.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        An explanation of each image that can be read, with its class, its probability, `heat_map` (h, w) float32 and
        `overlay` (h, w, 3) uint8; `save` writes PNG files or one HTML page. Images that cannot be read are in
        `skipped`.

    Raises:
        HeadError: the head has no gradient, so that only occlusion works; or the run failed, was trained on a fold, or
            belongs to another bank or to another state of it.
        UnknownNameError: there is no such class or layer.
        ConfigError: the layer has no map, or does not fit the method.
        DatasetError: no image can be read.
        WeightsError: the network of the bank cannot be loaded again.

    Example:
        >>> run = fb.train_heads(fb.extract("photos", "my_networks:small", ["pooled", "map"]), "logistic")[0]
        >>> explanations = explain(run, "photos/rose", class_name="tulip")
        >>> explanations
        <Explanations of 12 images by cam: logistic on pooled>
        >>> explanations[0].predicted, explanations[0].heat_map.shape
        ('rose', (160, 160))
    """
    options = ExplainOptions(method=method, layer=layer, class_name=class_name, batch_size=batch_size)
    with showing(progress, reporter) as shown:
        if isinstance(run, RunRecord) and bank is None:
            source = Bank(run.directory)
        else:
            source = as_bank(bank, "explain", reporter=shown)
        record = as_run(run, lambda: source)
        network = None if backbone is None else as_backbone(backbone)
        names = _names(images)
        dataset = as_images(images if names is None else named_images(names, source), UNLABELLED)
        explanations = run_explain(source, record, dataset, options, backbone=network, reporter=shown)
        warn_of_skipped(explanations.skipped, "explanations.skipped lists them", shown)
    return explanations


@checked
def similar(
    images: ImagesLike,
    bank: BankLike | None = None,
    *,
    tap: str | None = None,
    top: int = 12,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> SimilarImages:
    """Finds the images of a bank that are most similar to some images, by the cosine of their features.

    Images that the bank has need no network. All others are read, resized and computed exactly as those of the bank,
    and their features are kept beside it. All images are compared in one pass over the bank, which reads its features
    from the disk and does not hold them in memory.

    Args:
        images: one image or several: the path of a file or of a folder, a URL, the id of an image of the bank, a table
            with a column `path`, images as arrays (n, h, w, 3) uint8 or of Pillow, or a `Dataset`.
        bank: the bank; by default the one that was used last.
        tap: the tap whose features are compared, by default "pooled"; maps are compared by their averages.
        top: the number of similar images for each image.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        For each image its neighbours, the most similar first. An image of the bank is not among its own neighbours;
        its copies are, and are marked. Notebooks show the pictures; `write_page` writes them into one HTML file.

    Raises:
        UnknownNameError: an image is neither a file nor in the bank, or the bank has no such tap.
        ConfigError: an option is wrong, or the bank has no images.
        DatasetError: an image cannot be read.
        BankError: the bank cannot be read.

    Example:
        >>> found = fb.similar("7.png", "cache/photos", top=2)
        >>> found[0]
        <Neighbours of 7.png: Both most similar images are labelled class1, as the image itself is.>
        0.7723  class1  train  22.png
        0.7678  class1  val  61.png
        >>> found[0][0].label, found[0].vote
        ('class1', 'class1')
    """
    options = SimilarOptions(tap=tap, top=top)
    with showing(progress, reporter) as shown:
        known = as_bank(bank, "similar", reporter=shown)
        return run_similar(queries_of(images, known), known, options, reporter=shown)


def queries_of(images: Any, bank: Bank) -> Queries:
    """Returns the images of an argument, to compare them with those of a bank."""
    names = _names(images)
    return Queries.of(as_images(images, UNLABELLED)) if names is None else Queries.named(names, bank)


def _names(images: Any) -> list[str] | None:
    """Returns paths or ids that an argument holds, alone, in a list or in a table; None if it holds no names."""
    names = list(images["path"]) if is_frame(images) and "path" in list(images.columns) else images
    if isinstance(names, str | os.PathLike):
        names = [names]
    is_list = isinstance(names, list | tuple) or (isinstance(names, np.ndarray) and names.dtype.kind in "OUS")
    if is_list and len(names) > 0 and all(isinstance(name, str | os.PathLike) for name in names):
        return [os.fspath(name) for name in names]
    return None
