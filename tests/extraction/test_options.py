"""Options are checked before any work, the memory that they take too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from featurebank import load_backbone, set_ram, set_threads
from featurebank.errors import RamLimitError
from featurebank.extraction import ExtractOptions


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    set_ram("8GB")
    set_threads(2)
    yield
    set_ram(None)
    set_threads(None)


def test_images_that_do_not_fit_into_memory_are_refused_before_any_work() -> None:
    network = load_backbone("vgg16", weights="random:0", image_size=10_000)
    with pytest.raises(RamLimitError, match=r"1 image of 10000 x 10000 pixels .* GB in vgg16, .*smaller --image-size"):
        ExtractOptions().check(network)


def test_a_batch_that_fits_is_named() -> None:
    network = load_backbone("vgg16", weights="random:0", image_size=4000)
    with pytest.raises(RamLimitError, match=r"64 images of 4000 x 4000 pixels .*--batch-size (\d+) or less") as caught:
        ExtractOptions(batch_size=64).check(network)
    fits = int(str(caught.value).split("--batch-size ")[1].split()[0])
    ExtractOptions(batch_size=fits).check(network)
    with pytest.raises(RamLimitError):
        ExtractOptions(batch_size=fits + 1).check(network)


def test_usual_sizes_fit_whatever_ram_is_given_for_features() -> None:
    set_ram("1MB")
    ExtractOptions(batch_size=128).check(load_backbone("vgg16", weights="random:0"))
