"""Stage: inspects a dataset before any features are extracted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from featurebank.backbone.resize import resize_image, rule_of
from featurebank.bank import Bank
from featurebank.dataset import Dataset, Skipped
from featurebank.dataset.decoding.levels import Levels, parse_levels
from featurebank.errors import BadImageError
from featurebank.inspection import survey as look
from featurebank.inspection.group_columns import GroupColumn, group_columns
from featurebank.inspection.near_duplicates import NEAR, NearDuplicates, NearPair, near_duplicates
from featurebank.inspection.survey import GROUPS_PICTURED, PLACES_PICTURED, Distribution, DuplicateList
from featurebank.system.files import PAGES, check_output
from featurebank.system.html import never_fails
from featurebank.system.options import StageOptions
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.augment import Augmentation

MOST_GROUPS = 1000
_SAMPLES = 400
"""Largest total number of sample images."""
_AUGMENTED = 5


@dataclass(frozen=True, kw_only=True)
class InspectOptions(StageOptions):
    """Options of an inspection; see `featurebank.inspect_dataset`."""

    views: Annotated[int, Ge(1)] = 4
    image_size: Annotated[int, Ge(1)] = 224
    resize: str | None = None
    levels: str | None = None
    sample: Annotated[int, Ge(0)] = 8
    near: Annotated[float, Gt(0), Lt(1), f"a number between 0 and 1, as {NEAR}"] = NEAR
    seed: int = 0


@dataclass(frozen=True)
class Views:
    """An image as a bank will hold it: clean and in its first augmented views."""

    id: str
    images: tuple[np.ndarray, ...]
    """View 0 (clean), 1, 2, ...: (h, w, 3) uint8 thumbnails."""


@dataclass(frozen=True, repr=False)
class Inspection:
    """The result of `featurebank.inspect_dataset`; a notebook shows its counts, its advice and some images.

    Example:
        >>> report = fb.inspect_dataset(fb.load_dataset("digits", limit=60))
        >>> report, report.splits["train"], report.one_size
        (<Inspection of digits: 60 images, 10 classes, 4 warnings>, 43, '8 x 8')
    """

    dataset: str
    """The canonical specification that loads the dataset."""
    images: int
    classes: tuple[str, ...]
    splits: Mapping[str, int]
    """Number of usable images of each split."""
    counts: Mapping[str, Mapping[str, int]]
    """Number of usable images by split and class: {split: {class: number}}."""
    sizes: Mapping[str, Distribution]
    """Distributions of "width" and "height" in pixels, and of "megapixels"."""
    aspect_ratios: Distribution
    """Width divided by height."""
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    rotated: int
    unreadable: tuple[Skipped, ...]
    duplicates: DuplicateList
    near_duplicates: NearDuplicates | None
    """None if there was no bank."""
    warnings: tuple[str, ...]
    samples: Mapping[str, tuple[str, ...]]
    """Ids of some images of each class."""
    views: tuple[Views, ...]
    """Views of one sample image of some classes; empty without an augmentation."""
    thumbnails: Mapping[str, np.ndarray]
    """(h, w, 3) uint8 by id, for the samples and for the first duplicates and near duplicates."""
    group_columns: tuple[GroupColumn, ...] = ()
    """The columns of the dataset that look like groups whose images stand in several splits."""

    def __repr__(self) -> str:
        facts = [
            counted(self.images, "image"), counted(len(self.classes), "class"),
            *([f"{len(self.unreadable)} unreadable"] if self.unreadable else []),
            *([counted(self.duplicates.total, "group") + " of duplicates"] if self.duplicates.total else []),
            *([counted(len(self.warnings), "warning")] if self.warnings else []),
        ]  # fmt: skip
        return f"<Inspection of {self.dataset}: {', '.join(facts)}>"

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks; `write_page` writes a page with everything."""
        from featurebank.inspection.display import inspection_html

        return inspection_html(self)

    def write_page(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the page of `featurebank inspect -o`, with all pictures; it needs no other file.

        Args:
            path: the HTML file.
            force: whether an existing file is replaced.

        Returns:
            The path.

        Raises:
            ConfigError: the folder does not exist, or the file exists.
            DiskFullError: no space is left on the disk.
        """
        from featurebank.inspection.page import write_page

        target = check_output(path, force=force, suffixes=PAGES)
        write_page(self, target)
        return target

    @property
    def class_totals(self) -> dict[str, int]:
        """Number of usable images of each class."""
        return {name: sum(row[name] for row in self.counts.values()) for name in self.classes}

    @property
    def one_size(self) -> str | None:
        """The common size of all images, as "32 x 32"; None if they differ."""
        width, height = self.sizes["width"].quantiles, self.sizes["height"].quantiles
        same = width["min"] == width["max"] > 0 and height["min"] == height["max"]
        return f"{width['min']:.0f} x {height['min']:.0f}" if same else None

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `featurebank inspect --json` prints: everything but the pictures.

        Example:
            >>> fb.inspect_dataset(fb.load_dataset("digits", limit=60)).to_json()["formats"]
            {'array': 60}
        """
        plain = (
            "dataset", "images", "classes", "splits", "counts", "formats", "modes", "rotated", "warnings", "samples",
        )  # fmt: skip
        groups, near = self.duplicates, self.near_duplicates
        return {
            **{name: getattr(self, name) for name in plain},
            "sizes": {name: values.to_json() for name, values in self.sizes.items()},
            "aspect_ratios": self.aspect_ratios.to_json(),
            "unreadable": [vars(entry) for entry in self.unreadable],
            "duplicates": [{**vars(group), "images": [vars(i) for i in group.images]} for group in groups.groups],
            "duplicate_counts": {
                "groups": groups.total, "images": groups.images,
                "across_splits": groups.across_splits, "across_labels": groups.across_labels,
            },
            "group_columns": [column.to_json() for column in self.group_columns],
            "near_duplicates": near and {**vars(near), "pairs": [_pair_json(pair) for pair in near.pairs]},
        }  # fmt: skip


def run_inspection(
    dataset: Dataset, options: InspectOptions, *, bank: Bank | None = None, augmentation: Augmentation | None = None,
    reporter: Reporter = SILENT,
) -> Inspection:  # fmt: skip
    """Inspects a dataset; see `featurebank.inspect_dataset`."""
    square, scale = (options.image_size, rule_of(options.resize)), parse_levels(options.levels)
    with reporter.track("read", len(dataset), "images") as advance:
        dataset.fingerprint(advance)
    with reporter.track("look", len(dataset), "images") as advance:
        result = look.survey(dataset, advance, scale)
    usable = result.usable
    sizes, aspect_ratios = _shapes(result.widths[usable].astype(np.float64), result.heights[usable].astype(np.float64))
    counts = look.count(dataset, usable)
    labelled = usable & (dataset.labels >= 0)  # a copy without a label is neither on another side nor mislabelled
    same = look.duplicates(dataset, labelled, MOST_GROUPS)
    alike = None
    if bank is not None:
        alike = near_duplicates(dataset, labelled, bank, threshold=options.near, reporter=reporter)
    samples = _samples(dataset, usable, options.sample, options.seed)
    return Inspection(
        dataset=dataset.spec,
        images=len(dataset),
        classes=dataset.classes,
        splits={split: sum(row.values()) for split, row in counts.items()},
        counts=counts,
        sizes=sizes,
        aspect_ratios=aspect_ratios,
        formats=result.formats,
        modes=result.modes,
        rotated=result.rotated,
        unreadable=result.unreadable,
        duplicates=same,
        near_duplicates=alike,
        warnings=(*dataset.warnings(files=False), *dataset.depth_warnings(scale)),
        samples={name: tuple(dataset.ids[row] for row in rows) for name, rows in samples.items()},
        views=() if augmentation is None else _views(dataset, samples, augmentation, options.views, (*square, scale)),
        group_columns=group_columns(dataset, usable),
        thumbnails=_thumbnails(dataset, scale, [*_sampled(samples), *_pictured(dataset, same, alike)]),
    )


def _shapes(width: np.ndarray, height: np.ndarray) -> tuple[dict[str, Distribution], Distribution]:
    """Returns the distributions of the sizes of images, and that of width divided by height; (n,) pixels each."""
    sizes = {"width": width, "height": height, "megapixels": width * height / 1e6}
    return {name: look.distribution(values) for name, values in sizes.items()}, look.distribution(width / height)


def _samples(dataset: Dataset, usable: np.ndarray, sample: int, seed: int) -> dict[str, list[int]]:
    """Samples some images of each class, in the order of the classes; only of the first classes if there are many."""
    each = min(sample, max(1, _SAMPLES // len(dataset.classes)))
    shuffled = np.random.default_rng(seed).permutation(len(dataset))
    shuffled = shuffled[usable[shuffled]]
    shuffled = shuffled[np.argsort(dataset.labels[shuffled], kind="stable")]
    labels = dataset.labels[shuffled]
    starts = np.searchsorted(labels, np.arange(len(dataset.classes)))
    stops = np.searchsorted(labels, np.arange(len(dataset.classes)), side="right")
    return {
        name: shuffled[start : min(start + each, stop)].tolist()
        for name, start, stop in list(zip(dataset.classes, starts, stops, strict=True))[:_SAMPLES]
    }


def _sampled(samples: Mapping[str, Sequence[int]]) -> list[int]:
    return [row for rows in samples.values() for row in rows]


def _pictured(dataset: Dataset, same: DuplicateList, alike: NearDuplicates | None) -> list[int]:
    names = [i.id for group in same.groups[:GROUPS_PICTURED] for i in group.images[:PLACES_PICTURED]]
    names += [i.id for pair in (alike.pairs[:GROUPS_PICTURED] if alike else ()) for i in (pair.a, pair.b)]
    ids = set(names)
    return [row for row, name in enumerate(dataset.ids) if name in ids] if ids else []


def _thumbnails(dataset: Dataset, levels: Levels | None, rows: Sequence[int]) -> dict[str, np.ndarray]:
    thumbnails = {}
    for row in dict.fromkeys(rows):
        try:
            thumbnails[dataset.ids[row]] = look.thumbnail(dataset.image(row, levels))
        except BadImageError:  # the file has changed or gone since the survey: the page shows no picture there
            continue
    return thumbnails


def _views(
    dataset: Dataset, samples: Mapping[str, Sequence[int]], augmentation: Augmentation, views: int,
    square: tuple[int, str, Levels | None],
) -> tuple[Views, ...]:  # fmt: skip
    from featurebank.augment import augment

    size, rule, levels = square
    rows = np.array([positions[0] for positions in samples.values() if positions][:_AUGMENTED], np.int64)
    if not len(rows):
        return ()
    clean = np.stack([resize_image(dataset.image(row, levels), size, rule) for row in rows])
    digests = dataset.digests[rows]
    rendered = [clean, *(augment(clean, augmentation, digests, view) for view in range(1, views + 1))]
    return tuple(
        Views(dataset.ids[row], tuple(look.thumbnail(view[number]) for view in rendered))
        for number, row in enumerate(rows)
    )


def _pair_json(pair: NearPair) -> dict[str, Any]:
    a, b = pair.a, pair.b
    return {
        "a": a.id, "b": b.id, "split_a": a.split, "split_b": b.split, "label_a": a.label, "label_b": b.label,
        "cosine": round(pair.cosine, 6),
    }  # fmt: skip
