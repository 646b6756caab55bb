"""An image behind a URL is downloaded once, as long as its server says that it is the same."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset import Dataset
from featurebank.dataset.remote import image_store
from featurebank.dataset.remote.image_store import (
    downloads_directory,
    find_image,
    forget_images,
    keep_image,
    total_size,
)
from featurebank.system import digest

NAMES = ("/a.png", "/b.png")
OLD = "Mon, 05 Jan 2026 10:00:00 GMT"


@pytest.fixture
def table(server: Any, tmp_path: Path, make: SimpleNamespace) -> Path:
    """A table of two images on a server that names their ETags."""
    for number, name in enumerate(NAMES):
        server.answers[name] = make.save(tmp_path / "made.png", number).read_bytes()
        server.heads[name] = {"ETag": f'"{number}"'}
    path = tmp_path / "m.csv"
    path.write_text(f"path,label\n{server.url}/a.png,ant\n{server.url}/b.png,bee")
    return path


def read(table: Path) -> Dataset:
    """Does what each extraction does, with the same cache: finds all digests, then decodes all images."""
    dataset = load_dataset(table)
    dataset.fingerprint(memory=table.parent / "memory")
    for index in range(len(dataset)):
        dataset.image(index)
    return dataset


@pytest.mark.parametrize(
    "head", [{"ETag": '"1"'}, {"Last-Modified": OLD}, {"ETag": 'W/"1"', "Last-Modified": OLD}], ids=str
)
def test_an_image_is_downloaded_once(server: Any, table: Path, head: dict[str, str]) -> None:
    server.heads.update(dict.fromkeys(NAMES, head))
    first = read(table)
    assert dict(server.calls) == dict.fromkeys(NAMES, 1)
    second = read(table)
    assert dict(server.calls) == {**dict.fromkeys(NAMES, 1), **{f"HEAD {name}": 1 for name in NAMES}}
    assert second.digests.tolist() == first.digests.tolist()


def test_a_changed_image_is_downloaded_again(server: Any, table: Path, tmp_path: Path, make: SimpleNamespace) -> None:
    first = read(table)
    server.answers["/b.png"], server.heads["/b.png"] = make.save(tmp_path / "made.png", 7).read_bytes(), {"ETag": "new"}
    second = read(table)
    assert [server.calls[name] for name in NAMES] == [1, 2]
    assert (first.digests == second.digests).tolist() == [True, False]
    np.testing.assert_array_equal(second.image(1), make.picture(7))


@pytest.mark.parametrize("head", [{}, {"Last-Modified": "yesterday"}], ids=str)
def test_without_a_version_each_extraction_downloads_once(server: Any, table: Path, head: dict[str, str]) -> None:
    server.heads.update(dict.fromkeys(NAMES, head))
    for _ in range(2):
        read(table)
    assert [server.calls[name] for name in NAMES] == [2, 2]


def test_a_damaged_or_deleted_copy_is_downloaded_again(server: Any, table: Path, make: SimpleNamespace) -> None:
    dataset = read(table)
    first, second = (downloads_directory() / content.decode()[:2] / content.decode() for content in dataset.digests)
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    read(table)
    assert [server.calls[name] for name in NAMES] == [2, 2]
    assert [find_image(content.decode()) for content in dataset.digests] == [server.answers[name] for name in NAMES]


def test_an_interrupted_download_leaves_nothing(server: Any, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keep_image(b"content")
    assert total_size() == (0, 0)


def test_kept_images_are_counted_and_deleted(server: Any) -> None:
    contents = [keep_image(data) for data in (b"one", b"two!", b"one")]
    assert (total_size(), find_image(contents[0])) == ((2, 7), b"one")
    forget_images()
    assert (total_size(), find_image(contents[0])) == ((0, 0), None)
    forget_images()


def test_half_of_the_free_space_is_used_at_most(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store.shutil, "disk_usage", lambda place: SimpleNamespace(free=10))
    assert [find_image(keep_image(data)) for data in (b"1234", b"567", b"8")] == [b"1234", None, b"8"]


def test_a_disk_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(image_store.VARIABLE, os.devnull)
    assert keep_image(b"content") == digest.of_bytes(b"content")
    assert total_size() == (0, 0)


def test_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(image_store.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloads_directory().name == "downloads"
    assert "featurebank" in downloads_directory().parts
