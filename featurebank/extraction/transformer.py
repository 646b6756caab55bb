"""A scikit-learn transformer, and its function: turns images into features, and computes each image only once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from featurebank.backbone import Backbone, BackboneOptions, load_network
from featurebank.backbone.options import as_side
from featurebank.dataset import Dataset
from featurebank.dataset.unlabelled import UNLABELLED, unlabelled_images
from featurebank.errors import BankDamagedError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.stage import extract_rows
from featurebank.system.progress import SILENT, Reporter


class FeatureBank(TransformerMixin, BaseEstimator):
    """Turns images into the features of a frozen network; features computed before come from the bank.

    It is an ordinary step of a `Pipeline`, and may be cloned, searched over and cross-validated: after the first fold,
    the features of every image are in the cache. There is nothing to fit.

    Args:
        backbone: one of `featurebank.list_backbones()`, "MODULE:FUNCTION" or the path of a .keras file.
        tap: "pooled", "map", "LAYER", "LAYER:avg" or "LAYER:max".
        weights: "imagenet", "random:SEED" or the path of a weights file; None for the network's default.
        image_size: side of the network's input in pixels; None for the network's default.
        cache: directory of the bank; None for `$FEATUREBANK_CACHE`, else `./cache`.
        engine: "auto" or the name of an engine.
        batch_size: number of images per batch.
        preprocessing: for a custom network that does not declare it; see `featurebank.backbone_from_model`.
        resize: how images become square: "auto", "crop", "whole", "stretch" or "pad"; see `featurebank.load_backbone`.
        levels: the range of grey images of more than eight bits, as "0,4095"; see `featurebank.load_backbone`.

    Examples:
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.svm import SVC
        >>> model = make_pipeline(FeatureBank("efficientnet_lite0"), SVC())  # model.fit(paths, labels)
    """

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        *,
        tap: str = "pooled",
        weights: str | None = None,
        image_size: int | None = None,
        cache: str | Path | None = None,
        engine: str = "auto",
        batch_size: int = 32,
        preprocessing: str | None = None,
        resize: str | None = None,
        levels: str | None = None,
    ) -> None:
        self.backbone = backbone
        self.tap = tap
        self.weights = weights
        self.image_size = image_size
        self.cache = cache
        self.engine = engine
        self.batch_size = batch_size
        self.preprocessing = preprocessing
        self.resize = resize
        self.levels = levels

    def fit(self, X: Any, y: Any = None) -> Self:
        """Checks the parameters; there is nothing to learn.

        Raises:
            UnknownNameError: there is no such backbone.
            ConfigError: another parameter is wrong.
        """
        self._options().check(self._load())
        return self

    def transform(self, X: Sequence[str | os.PathLike[str]] | np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Returns the features of images, computing those that the bank lacks.

        Args:
            X: n paths of image files; or images: (n, h, w) or (n, h, w, 3) uint8, or n arrays of different sizes.

        Returns:
            (n, ...) float32, in the order of `X`.

        Raises:
            DatasetError: `X` is neither of these, or an image cannot be read.
        """
        images = unlabelled_images(X, name=unlabelled_name(self.tap))
        return image_features(images, self._load(), self._options(), cache=self.cache)

    def _load(self) -> Any:
        options = BackboneOptions(
            weights=self.weights, image_size=as_side(self.image_size), preprocessing=self.preprocessing,
            resize=self.resize, levels=self.levels,
        )  # fmt: skip
        return load_network(self.backbone, options)

    def _options(self) -> ExtractOptions:
        return ExtractOptions(
            taps=[self.tap], engine=self.engine, batch_size=self.batch_size, on_bad_image="fail", wait=True
        )

    def __sklearn_tags__(self) -> Any:
        """Declares to scikit-learn that there is nothing to fit, and that the input may be strings."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


def unlabelled_name(tap: str) -> str:
    """Returns the dataset name of a tap's bank of unlabelled images; other taps may have other images.

    Example:
        >>> unlabelled_name("block2b_add:max")
        'unlabelled-block2b-add-max'
    """
    return f"{UNLABELLED}-{re.sub(r'[^a-z0-9]+', '-', tap.lower()).strip('-')}"


def image_features(
    images: Dataset, backbone: Backbone, options: ExtractOptions, *, cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> np.ndarray:  # fmt: skip
    """Returns the features of images, (n, ...) float32, computing those that their bank lacks.

    Args:
        images: a dataset without labels, with the name of `unlabelled_name`.
        backbone: the network.
        options: the options of the extraction, with one tap.
        cache: directory of the banks.
        reporter: receives the progress.

    Raises:
        DatasetError: an image cannot be read.
        BankError: the bank cannot be read or written.
    """
    bank = extract_rows(images, backbone, options, cache=cache, reporter=reporter)
    places = {digest: place for place, digest in enumerate(bank.digests().tolist())}
    try:
        positions = [places[digest] for digest in images.digests.tolist()]
    except KeyError as error:  # another process removed the bank meanwhile
        message = f"'{bank.path}' changed while it was read: run it again"
        raise BankDamagedError(message) from error
    return bank.rows(options.taps[0], positions)
