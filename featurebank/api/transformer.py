"""A scikit-learn transformer: turns images into features, and computes each image only once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names

from featurebank.api.display import showing
from featurebank.backbone import Backbone, BackboneOptions, load_network
from featurebank.backbone.options import as_side
from featurebank.backbone.outline_files import check_taps, outline_of
from featurebank.dataset.unlabelled import unlabelled_images
from featurebank.engine.catalog import check_engine
from featurebank.errors import ConfigError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.unlabelled_features import image_features, unlabelled_name
from featurebank.storage.caches import cache_directory

Images = Sequence[str | os.PathLike[str]] | np.ndarray | Sequence[np.ndarray] | Any
"""What `transform` takes; tables have no common class."""


@dataclass(frozen=True, kw_only=True)
class TransformerOptions(BackboneOptions):
    """The parameters of `FeatureBank`."""

    backbone: Annotated[str | Path, "the name of a network, MODULE:FUNCTION or the path of a .keras file"]
    tap: Annotated[str, "the name of one tap, as 'pooled'"] = "pooled"
    cache: Annotated[str | Path | None, "a path"] = None
    engine: str = "auto"
    batch_size: Annotated[int, Ge(1)] = 32

    @property
    def place(self) -> Path:
        """The directory of the banks."""
        return cache_directory(self.cache)

    def extraction(self) -> ExtractOptions:
        """Returns the options of the extraction."""
        return ExtractOptions(
            taps=[self.tap], engine=self.engine, batch_size=self.batch_size, on_bad_image="fail", wait=True
        )


class FeatureBank(TransformerMixin, BaseEstimator):
    """Turns images into the features of a frozen network; features computed before come from the bank.

    It is an ordinary step of a `Pipeline`, and may be cloned, searched over and cross-validated: after the first fold,
    the features of every image are in the cache. There is nothing to fit. It shows its progress where a person looks;
    see `featurebank.set_progress`.

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

    Example:
        >>> from pathlib import Path
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.svm import SVC
        >>> paths = sorted(Path("photos").glob("*/*.jpg"))
        >>> labels = [path.parent.name for path in paths]
        >>> model = make_pipeline(FeatureBank("my_networks:small"), SVC())
        >>> model.fit(paths, labels).score(paths, labels)
        1.0
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

    def fit(self, X: Images, y: Any = None) -> Self:
        """Checks the parameters and the form of the images, which are not read; there is nothing to learn.

        Sets `n_features_in_`, which is 1 (a row is one image, of any size), and `feature_names_in_`, the name of the
        column if X is a table of one.

        Args:
            X: see `transform`.
            y: not used.

        Raises:
            UnknownNameError: there is no such backbone or engine.
            ConfigError: another parameter is wrong.
            DatasetError: `X` has no images.
        """
        options = self._checked()
        backbone = self._load(options)
        options.extraction().check(backbone)
        check_taps(backbone, [options.tap], options.place)
        check_engine(options.engine, backbone)
        unlabelled_images(X)
        self.n_features_in_ = 1
        _check_feature_names(self, X, reset=True)
        return self

    def transform(self, X: Images) -> np.ndarray:
        """Returns the features of images, computing those that the bank lacks.

        Args:
            X: n paths of image files (a list, an array or a table of one column); or images: (n, h, w) or (n, h, w, 3)
                uint8, or n arrays of different sizes.

        Returns:
            (n, ...) float32, in the order of `X`; after `set_output`, a table with the columns of
            `get_feature_names_out`.

        Raises:
            ConfigError: a parameter is wrong.
            DatasetError: `X` is neither of these, or an image cannot be read.
            ValueError: `X` is a table with another column than in `fit`.

        Example:
            >>> features = fb.FeatureBank("my_networks:small", cache="cache").transform(["photos/rose/1.jpg"])
            >>> features.shape, features.dtype
            ((1, 16), dtype('float32'))
        """
        options = self._checked()
        _check_feature_names(self, X, reset=False)
        images = unlabelled_images(X, name=unlabelled_name(options.tap))
        with showing() as shown:
            return image_features(
                images, self._load(options), options.extraction(), cache=options.cache, reporter=shown
            )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Returns the names of the features, "featurebank0", "featurebank1", ...: (d,) strings.

        The shape of the tap comes from the cache; only for the first use of a network, the network is built.

        Args:
            input_features: not used; scikit-learn passes it.

        Raises:
            ConfigError: the tap has maps, which have no columns.
            UnknownNameError: the network has no such layer.

        Example:
            >>> fb.FeatureBank("my_networks:small", cache="cache").get_feature_names_out()[:2].tolist()
            ['featurebank0', 'featurebank1']
        """
        options = self._checked()
        backbone = self._load(options)
        outline = outline_of(backbone, options.place)
        shape = outline.tap_shape(options.tap, backbone.spec.layers_hint)
        if len(shape) > 1:
            message = (
                f"tap is '{options.tap}': expected one with vectors, because maps of {' x '.join(map(str, shape))} "
                f"have no columns; use '{options.tap}:avg', or leave the output an array"
            )
            raise ConfigError(message)
        return np.array([f"featurebank{number}" for number in range(shape[0])], object)

    def _checked(self) -> TransformerOptions:
        """Returns the parameters, checked; raises ConfigError."""
        params = self.get_params(deep=False)
        return TransformerOptions(**{**params, "image_size": as_side(params["image_size"])})

    def _load(self, options: TransformerOptions) -> Backbone:
        return load_network(str(options.backbone), options)

    def __sklearn_tags__(self) -> Any:
        """Declares to scikit-learn that there is nothing to fit, and that the input may be strings."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []  # features are float32, whatever the images are
        return tags
