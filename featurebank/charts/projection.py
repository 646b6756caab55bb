"""Features of many dimensions as points in the plane.

All methods are determined by a seed. t-SNE and UMAP start from the first 50 principal components, which removes noise
and makes distances cheap.

References:
    van der Maaten, Hinton, "Visualizing Data using t-SNE", Journal of Machine Learning Research 9, 2008.
    McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction", 2018,
    arXiv:1802.03426.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from featurebank.errors import ConfigError, MissingDependencyError, unknown_name
from featurebank.system.runtime import import_tensorflow, limited_blas

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["METHODS", "TSNE_IMAGES", "Method", "project"]

Method = Literal["pca", "tsne", "umap"]
METHODS: tuple[Method, ...] = ("pca", "tsne", "umap")
TSNE_IMAGES = 5000
"""The largest number of images for t-SNE, which takes half a minute for so many."""
_COMPONENTS = 50
_LEAST = 4
"""Fewer images have no neighbourhoods: they are drawn by their principal components, whatever the method."""


def project(features: ArrayLike, method: Method = "pca", *, seed: int = 0) -> np.ndarray:
    """Returns features as points in the plane.

    Args:
        features: (n, ...) finite numbers; each image's features are taken as one vector.
        method: "pca", the two directions of the largest variance; "tsne", which keeps neighbours together, for up to
            `TSNE_IMAGES` images; or "umap", which does the same for many more, if it is installed.
        seed: determines the start of "tsne" and "umap".

    Returns:
        (n, 2) float32.

    Raises:
        UnknownNameError: there is no such method.
        ConfigError: there are too many images for "tsne", or no images, or values are not finite.
        MissingDependencyError: "umap" is not installed.

    Example:
        >>> project([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [5.0, 0.0, 1.0]]).round(3).tolist()
        [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]
    """
    if method not in METHODS:
        raise unknown_name("method", str(method), METHODS)
    vectors = np.asarray(features, np.float32)
    vectors = vectors.reshape(len(vectors), -1) if vectors.size else vectors.reshape(0, 1)
    _check(vectors, method)
    if not np.ptp(vectors, axis=0).any():
        return np.zeros((len(vectors), 2), np.float32)
    with limited_blas():
        start = _principal(vectors, 2 if method == "pca" or len(vectors) < _LEAST else _COMPONENTS)
    if start.shape[1] == 2:  # noqa: PLR2004 - the plane
        return start
    return _tsne(start, seed) if method == "tsne" else _umap(start, seed)


def _check(vectors: np.ndarray, method: Method) -> None:
    if not len(vectors):
        message = "there are no images to draw: expected the features of at least one"
        raise ConfigError(message)
    if not np.isfinite(vectors).all():
        message = "the features cannot be drawn: some values are not finite"
        raise ConfigError(message)
    if method == "tsne" and len(vectors) > TSNE_IMAGES:
        message = (
            f"t-SNE draws up to {TSNE_IMAGES} images, and there are {len(vectors)}: use method 'pca', 'umap', or fewer "
            "images"
        )
        raise ConfigError(message)


def _principal(vectors: np.ndarray, count: int) -> np.ndarray:
    """Returns the first principal components: (n, count) float32, with zeros where there are fewer."""
    from sklearn.decomposition import PCA

    most = min(count, *vectors.shape)
    components = np.zeros((len(vectors), count), np.float32)
    components[:, :most] = PCA(most, svd_solver="auto", random_state=0).fit_transform(vectors)
    return components


def _tsne(components: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(components) - 1) / 3)
    start = 1e-4 * components[:, :2] / components[:, 0].std()
    tsne = TSNE(2, perplexity=perplexity, init=start, learning_rate="auto", random_state=seed, n_jobs=1)
    with limited_blas(
        1
    ):  # its threads wait for each other in each of 1000 steps: on a busy machine, two take 8 times as long
        return np.asarray(tsne.fit_transform(components), np.float32)


def _umap(components: np.ndarray, seed: int) -> np.ndarray:
    if importlib.util.find_spec("umap") is not None:
        import_tensorflow()  # umap imports it, with all its lines on the screen
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its progress bar, in a notebook without ipywidgets
            import umap
    except ImportError as error:
        message = "method 'umap' needs umap-learn, which is not installed: pip install 'featurebank[umap]'"
        raise MissingDependencyError(message) from error
    neighbours = min(15, len(components) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba's compiling, and of the one thread that a seed needs
        reducer = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(components), np.float32)
