"""The charts of a bank: a map of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from featurebank.charts.image_map import image_map
from featurebank.charts.projection import METHODS, TSNE_IMAGES, Method, project
from featurebank.dataset.splits import UNLABELLED
from featurebank.errors import ConfigError, WrongTypeError, unknown_name
from featurebank.system.html import SPLIT_WORDS, data_uri
from featurebank.system.progress import no_advance
from featurebank.words import counted, shown

if TYPE_CHECKING:
    import altair as alt

    from featurebank.bank.reader import Bank

MOST_POINTS = 10_000
"""The largest number of images on a map: a random sample of more."""
MOST_PICTURES, _LIMIT_S, _SIDE, _QUALITY = 1000, 5.0, 64, 70
"""The largest number of thumbnails, the time for reading them, their largest side in pixels, and their quality."""
_ROWS = 512
_WORDS = {**SPLIT_WORDS, UNLABELLED: UNLABELLED}
_NAMES: dict[str, str] = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}


class BankPlots:
    """What a bank draws in a notebook."""

    def plot_map(
        self,
        tap: str | None = None,
        split: str = "val",
        *,
        method: Method | None = None,
        run: Any = None,
        seed: int = 0,
    ) -> alt.LayerChart:
        """Returns a map of the images of a split: images with similar features lie near each other.

        The tooltip shows the image, if it is a local file; of more than 1000 images, some have no thumbnail. Of more
        than 10000 images, a random sample is drawn. A map of features is averaged over its places first.

        Args:
            tap: one of `taps`; default: that of the run, or "pooled", or the first tap.
            split: "train", "val" or "test".
            method: "tsne", the default for up to 5000 images; "pca", the default for more, which is fast and keeps
                large distances; or "umap", which is an extra of the package.
            run: a run of this bank; the images that it gets wrong are marked.
            seed: determines "tsne" and "umap", and the sample.

        Returns:
            An Altair chart.

        Raises:
            UnknownNameError: there is no such tap, split or method.
            ConfigError: the split has no images; there are too many for "tsne"; or the run was evaluated on others.
            MissingDependencyError: "umap" is not installed.
            WrongTypeError: `run` is not a run.

        References:
            van der Maaten, Hinton, "Visualizing Data using t-SNE", Journal of Machine Learning Research 9, 2008.
            McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction",
            2018, arXiv:1802.03426.

        Example:
            >>> chart = bank.plot_map(run=run)
            >>> chart.title.text
            't-SNE of pooled, validation images'
        """
        bank = cast("Bank", self)
        if method is not None and method not in METHODS:
            raise unknown_name("method", str(method), METHODS)
        name = tap or getattr(run, "tap", None) or ("pooled" if "pooled" in bank.taps else bank.taps[0])
        return _map(bank, name, split, method=method, predicted=_predicted(bank, split, run), seed=seed)


def _map(
    bank: Bank, tap: str, split: str, *, method: Method | None, predicted: np.ndarray | None, seed: int
) -> alt.LayerChart:
    labels, ids = bank.labels(split), bank.ids(split)
    if not ids:
        message = f"there is no map to draw: split '{split}' of bank '{bank.name}' has no images"
        raise ConfigError(message)
    rows = np.arange(len(ids))
    if len(rows) > MOST_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_POINTS, replace=False))
    method = method or ("tsne" if len(rows) <= TSNE_IMAGES else "pca")
    positions = np.flatnonzero(bank.splits() == split)[rows]
    places = project(_vectors(bank, tap, positions), method, seed=seed)
    wrong = np.zeros(len(ids), bool) if predicted is None else predicted != labels
    sample = f"{len(rows)} of {len(ids)} " if len(rows) < len(ids) else ""
    names = bank.label_names if (labels < 0).any() else bank.classes
    return image_map(
        places, [ids[row] for row in rows.tolist()], labels[rows], names,
        predicted=None if predicted is None else predicted[rows], images=_thumbnails(bank, split, rows, wrong[rows]),
        title=f"{_NAMES[method]} of {tap}, {sample}{_WORDS[split]} images",
    )  # fmt: skip


def _vectors(bank: Bank, tap: str, positions: np.ndarray) -> np.ndarray:
    """Returns the features of images as vectors: (n, d) float32; of maps, the averages over their places."""
    parts = []
    for start in range(0, len(positions), _ROWS):  # few at a time, because maps are large
        features = bank.rows(tap, positions[start : start + _ROWS])
        parts.append(features.reshape(len(features), -1, features.shape[-1]).mean(axis=1))
    return np.concatenate(parts)


def _predicted(bank: Bank, split: str, run: Any) -> np.ndarray | None:
    """Returns the classes that a run predicts for the images of a split: (n,) indices, in the order of `ids`."""
    if run is None:
        return None
    predictions = getattr(run, "predictions", None)
    if not callable(predictions):
        message = f"run must be a run of the bank, as from select(bank): got {shown(run)}"
        raise WrongTypeError(message)
    table = predictions(split)
    if list(table.ids) != bank.ids(split):
        message = (
            f"run {run.run} predicts {counted(len(table), 'image')} of '{split}', which are not those of bank "
            f"'{bank.name}': use a run of this bank that was evaluated on its own split"
        )
        raise ConfigError(message)
    return np.asarray(table.probabilities.argmax(axis=1))


def _thumbnails(bank: Bank, split: str, rows: np.ndarray, wrong: np.ndarray) -> list[str | None] | None:
    """Returns thumbnails as data URIs, mistakes first if there are too many; None if no image is a local file."""
    from featurebank.dataset.pictures import local_paths, picture_of_file, read_pictures

    ids, digests = bank.ids(split), bank.digests(split)
    paths = local_paths(str(bank.manifest.dataset.get("spec", "")), [ids[row] for row in rows.tolist()])
    if not any(paths):
        return None
    order = np.argsort(~wrong, kind="stable")[:MOST_PICTURES].tolist()
    sources = [picture_of_file(paths[place], digests[rows[place]]) for place in order]
    pictures = read_pictures(sources, [_SIDE] * len(sources), limit_s=_LIMIT_S, progress=no_advance)
    images: list[str | None] = [None] * len(rows)
    for place, picture in zip(order, pictures, strict=True):
        images[place] = None if isinstance(picture, str) else data_uri(picture, quality=_QUALITY)
    return images
