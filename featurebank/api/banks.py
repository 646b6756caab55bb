"""Public functions that compute features and open banks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from featurebank.api.arguments.banks import BankLike
from featurebank.api.arguments.checks import checked
from featurebank.api.arguments.data import (
    BackboneLike,
    DatasetLike,
    PathLike,
    Texts,
    as_backbone,
    as_cache,
    as_dataset,
    as_path,
    as_texts,
)
from featurebank.api.display import Shown, showing, warn_of_skipped
from featurebank.bank import Bank, BankSummary, banks_of, find_bank_path
from featurebank.cluster.address import check_address
from featurebank.cluster.extraction import extract_banks
from featurebank.errors import BankIncompleteError, ConfigError
from featurebank.extraction import ExtractOptions
from featurebank.extraction.pieces.part import Part, PartExtraction, run_part
from featurebank.storage.address import parse_address
from featurebank.system.progress import Reporter
from featurebank.words import counted

__all__ = ["Bank", "extract", "find_bank", "list_banks", "open_bank"]


@checked
def extract(
    dataset: DatasetLike,
    backbone: BackboneLike,
    taps: Texts = ("pooled",),
    *,
    cache: PathLike | None = None,
    engine: str = "auto",
    batch_size: int = 32,
    store: Literal["float32", "float16"] | None = None,
    on_bad_image: Literal["skip", "fail"] = "skip",
    views: int = 0,
    augment: str | None = None,
    wait: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    max_bad: float | None = None,
    cluster: str | None = None,
    part: str | None = None,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Bank:
    """Computes the features that the bank of this dataset and backbone lacks, and opens it.

    If another bank of the cache has rows of the same recipe (the folder was moved, or one dataset is a part of the
    other), they are shared with it instead of computed.

    Args:
        dataset: the images: a `Dataset`, or whatever `load_dataset` reads, which gets the usual split.
        backbone: the network: a `Backbone`, or a name for `load_backbone`, with its usual weights and input.
        taps: "pooled", "map", "LAYER", "LAYER:avg" or "LAYER:max"; any number, computed in one pass. "auto:BYTES", as
            "auto:2GB", is the earliest cut point whose rows need no more than that, together with the other taps.
        cache: directory of the banks, or "s3://BUCKET/PREFIX"; default `$FEATUREBANK_CACHE`, else `./cache`.
        engine: "auto" or the name of an engine.
        batch_size: number of images per batch.
        store: dtype on disk; default float32 for vectors, float16 for maps.
        on_bad_image: "skip" lists unreadable images with their reason and continues; "fail" stops at the first.
        views: number of augmented views of each image to store beside the clean one.
        augment: the augmentation of the views, as "flip,rotate=10,zoom=.2"; see `featurebank.augment`.
        wait: whether to wait for another process that is writing the bank, instead of raising.
        precision: precision of the network's arithmetic; "bfloat16" is faster where the processor supports it, costs
            some accuracy, and fills another bank.
        max_bad: the fraction of images that may be bad, broken and lost ones together, before the run fails; None
            accepts any number of broken images, and a tenth of images that cannot be read.
        cluster: computes on the workers of a Dask scheduler, as "tcp://host:8786", or on N processes of this machine,
            as "local:2"; cache and dataset are on a disk that all workers share. Needs `featurebank[dask]`.
        part: compute one part of several, as "3/16" for the third of 16, as one of several processes with a common
            cache; the last one to end completes the bank.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The bank, open for reading.

    Raises:
        ConfigError: an option is wrong, or no cut point fits the budget.
        DatasetError: no image can be read; or one cannot and `on_bad_image` is "fail"; or too many cannot.
        BankIncompleteError: this part is done, and other parts are still missing.
        BankLockedError: another process is writing this bank.
        BankReadOnlyError: there is something to write, and the cache is read-only.
        FeatureRangeError: a feature is NaN, infinite or out of float16's range.
        DiskFullError: no space is left on the disk; the rows written so far are kept.
        ClusterError: the cluster or one of its workers cannot be used, or the scheduler is gone.

    Example:
        >>> bank = extract("photos", "my_networks:small", ["pooled", "map"])
        >>> bank.features("pooled").shape, bank.features("map").shape
        ((36, 16), (36, 4, 4, 16))
        >>> import numpy as np
        >>> images, labels = np.zeros((6, 32, 32, 3), np.uint8), ["ant", "bee"] * 3
        >>> extract((images, labels), "my_networks:small", views=2, augment="flip").views
        2
    """
    options = ExtractOptions(
        taps=as_texts(taps), engine=engine, batch_size=batch_size, store=store,
        on_bad_image=on_bad_image, views=views, augment=augment, wait=wait, precision=precision, max_bad=max_bad,
        cluster=cluster,
    )  # fmt: skip
    if cluster is not None and part is not None:
        message = f"part is '{part}', and cluster is '{cluster}': leave out one of them"
        raise ConfigError(message)
    if cluster is not None:
        check_address(cluster)
    with showing(progress, reporter) as shown:
        images, network = as_dataset(dataset), as_backbone(backbone)
        if part is not None:
            return _part(run_part(images, [network], options, Part.parse(part), cache=as_cache(cache), reporter=shown))
        (result,) = extract_banks(images, [network], options, cache=as_cache(cache), reporter=shown)
        warn_of_skipped([(one["id"], one["reason"]) for one in result.skipped], "bank.skipped lists them", shown)
    return result.bank


def _part(results: Sequence[PartExtraction]) -> Bank:
    """Opens the bank of one part of an extraction; raises BankIncompleteError if other parts are missing."""
    (result,) = results
    if not result.is_complete:
        message = (
            f"part {result.part} is done, and '{result.bank}' still lacks {result.missing_slices} of "
            f"{counted(result.slices, 'slice')} ({counted(result.missing_images, 'image')}): the last part to end "
            "completes the bank"
        )
        raise BankIncompleteError(message)
    return Bank(result.bank)


@checked
def open_bank(path: BankLike, *, cache: PathLike | None = None) -> Bank:
    """Opens a bank for reading; see `Bank`.

    Args:
        path: the path of the bank, its name in the cache, the beginning of its name, or s3://BUCKET/PREFIX/NAME.
        cache: directory of the banks, or "s3://BUCKET/PREFIX"; default `$FEATUREBANK_CACHE`, else `./cache`.

    Raises:
        BankNotFoundError, UnknownNameError, ConfigError: there is no such bank, or there are several.
        BankError: the bank cannot be read.

    Example:
        >>> open_bank("cache/photos").classes
        ('class0', 'class1', 'class2')
    """
    if isinstance(path, Bank):
        return path
    if parse_address(path):
        return Bank(find_bank_path(as_cache(cache), os.fspath(path)))
    place = as_path(path)
    is_name = place.name == os.fspath(path)  # a folder of images may have the name of its bank
    return Bank(find_bank_path(as_cache(cache), place.name) if is_name else place)


@checked
def find_bank(cache: PathLike | None = None, name: str | None = None) -> Bank:
    """Opens a bank by its path, its name in the cache or a prefix of its name; by default the last used one.

    Args:
        cache: directory of the banks, or "s3://BUCKET/PREFIX"; default `$FEATUREBANK_CACHE`, else `./cache`.
        name: the path, the name or a prefix of the name; `open_bank` takes it alone.

    Raises:
        BankNotFoundError: the cache has no bank.
        UnknownNameError: no bank has this name.
        ConfigError: the prefix fits several banks.
        BankError: the bank cannot be read.

    Example:
        >>> find_bank("cache", "photos").taps
        ('pooled',)
    """
    return Bank(find_bank_path(as_cache(cache), name))


@checked
def list_banks(cache: PathLike | None = None) -> list[BankSummary]:
    """Returns the banks of a cache, the most recently used first; an unreadable one is listed with its problem.

    Args:
        cache: directory of the banks, or "s3://BUCKET/PREFIX"; default `$FEATUREBANK_CACHE`, else `./cache`.

    Example:
        >>> "photos" in [bank.name for bank in list_banks("cache")]
        True
    """
    return banks_of(as_cache(cache))
