"""Flowers and birds: found where they lie, downloaded from a server of this machine, never half unpacked."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import socket
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.core import Dataset
from featurebank.dataset.sources import photos
from featurebank.dataset.sources.archives import PhotoArchive
from featurebank.dataset.sources.photos import load_birds, load_flowers, where_birds, where_flowers
from featurebank.dataset.splits import DEFAULT_FRACTIONS, TEST
from featurebank.errors import DatasetError, DiskFullError


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUREBANK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data"


def packed(root: Path, folder: str, *further: tuple[str, bytes]) -> bytes:
    """A .tgz of a folder, with what macOS puts beside files, and any further members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(root / folder, f"./{folder}")
        for name, content in ((f"./{folder}/._x.jpg", b"mac"), (f"./._{folder}", b"mac"), *further):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def described(data: bytes, file: str, folder: str, *urls: str) -> PhotoArchive:
    return PhotoArchive(file, folder, urls, len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture
def flowers(tmp_path: Path, make: SimpleNamespace) -> bytes:
    make.folder(tmp_path / "made" / "flower_photos", each=20)
    (tmp_path / "made" / "flower_photos" / "LICENSE.txt").write_text("CC-BY")
    return packed(tmp_path / "made", "flower_photos")


@pytest.fixture
def birds(tmp_path: Path, make: SimpleNamespace) -> dict[str, bytes]:
    root = make.birds(tmp_path / "made")
    return {name: packed(root, name) for name in ("images", "lists")}


def leftovers(place: Path) -> list[str]:
    return [path.name for path in place.rglob("*") if path.name.startswith((".writing-", "tmp"))]


def message_of(archive: PhotoArchive) -> str:
    with pytest.raises(DatasetError) as caught:
        load_flowers("", [archive])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_flowers_are_downloaded_once(
    data: Path, server: Any, flowers: bytes, make: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    server.answers["/f.tgz"] = flowers
    archive = described(flowers, "flower_photos.tgz", "flower_photos", f"{server.url}/f.tgz")
    found = load_flowers("", [archive])
    assert (found.name, found.spec, found.classes) == ("flowers", "flowers", ("ant", "bee", "cat"))
    assert len(found.ids) == 60
    np.testing.assert_array_equal(found.pixels.image(0, None), make.picture(0))
    assert capfd.readouterr().out == ""
    assert leftovers(data) == []
    (data / "flowers" / "flower_photos.tgz").unlink()
    assert load_dataset("flowers").ids == found.ids  # unpacked, so that nothing is fetched
    assert server.calls["/f.tgz"] == 1


def test_birds_have_their_splits(data: Path, server: Any, birds: dict[str, bytes]) -> None:
    archives = []
    for name, content in birds.items():
        server.answers[f"/{name}"] = [500, content]
        urls = (f"{server.url}/none", f"{server.url}/{name}", f"{server.url}/{name}")
        archives.append(described(content, f"{name}.tgz", name, *urls))
    contents = load_birds("", archives)
    assert (contents.name, contents.spec) == ("birds", "birds")
    dataset = Dataset(contents, DEFAULT_FRACTIONS, 0)
    assert (len(dataset), dataset.unreadable) == (60, [])
    assert int((dataset.splits == TEST).sum()) == 30
    assert load_dataset("birds").ids == dataset.ids
    assert where_birds() == data / "birds"


@pytest.mark.parametrize("place", ["flower_photos", "flowers", "flowers/flower_photos"])
def test_flowers_that_lie_here(data: Path, make: SimpleNamespace, place: str) -> None:
    assert where_flowers() is None
    make.folder(data / place, each=2)
    assert load_dataset("flowers").classes == ("ant", "bee", "cat")
    assert where_flowers() is not None


@pytest.mark.parametrize("place", [".", "flowers"])
def test_an_archive_that_lies_here_is_unpacked_beside(
    data: Path, flowers: bytes, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / place).mkdir(parents=True)
    (data / place / "flower_photos.tgz").write_bytes(flowers)
    archive = described(flowers, "flower_photos.tgz", "flower_photos")
    assert len(load_flowers("", [archive]).ids) == 60
    assert (data / place / "flower_photos" / "ant").is_dir()
    assert (data / place / "flower_photos.tgz").is_file()
    assert not list(data.rglob("._*"))


def test_without_a_folder_of_data_the_users_cache_is_used(
    data: Path, tmp_path: Path, server: Any, flowers: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEATUREBANK_DATA")
    server.answers["/f.tgz"] = flowers
    load_flowers("", [described(flowers, "flower_photos.tgz", "flower_photos", f"{server.url}/f.tgz")])
    assert (tmp_path / "cache" / "featurebank" / "flowers" / "flower_photos").is_dir()


def test_a_folder_of_that_name_is_another_dataset(
    data: Path, tmp_path: Path, server: Any, flowers: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = described(flowers, "flower_photos.tgz", "flower_photos", f"{server.url}/none.tgz")
    hint = "; for the folder 'flowers' in the current directory, write './flowers'"
    assert hint not in message_of(missing)
    (tmp_path / "flowers").mkdir()
    assert message_of(missing).endswith(hint)


def test_what_a_download_can_meet(data: Path, server: Any, flowers: bytes) -> None:
    server.answers.update({"/other.tgz": flowers + b".", "/drop.tgz": "drop", "/500.tgz": 500})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/f.tgz"
    urls = [f"{server.url}/{name}.tgz" for name in ("other", "drop", "500", "none")]
    host = server.url.removeprefix("http://")
    message = message_of(described(flowers, "flower_photos.tgz", "flower_photos", *urls, dead))
    assert message.startswith("'flowers' is not on this machine and flower_photos.tgz could not be downloaded (")
    for part in (
        f"{host}: not the expected file, by its SHA-256",
        f"{host}: the connection broke",
        f"{host}: HTTP 500",
        f"{host}: HTTP 404",
        ": no connection)",
    ):
        assert part in message
    assert message.endswith(f"put flower_photos.tgz into '{data}/flowers'")
    assert [path.name for path in (data / "flowers").iterdir()] == []


def test_the_next_mirror_is_tried(data: Path, server: Any, flowers: bytes) -> None:
    server.answers.update({"/bad.tgz": flowers[:-9], "/good.tgz": flowers})
    urls = [f"{server.url}/bad.tgz", f"{server.url}/good.tgz"]
    assert len(load_flowers("", [described(flowers, "flower_photos.tgz", "flower_photos", *urls)]).ids) == 60


def test_an_archive_that_is_another(data: Path, flowers: bytes) -> None:
    (data / "flowers").mkdir(parents=True)
    archive = described(flowers, "flower_photos.tgz", "flower_photos")
    for content in (flowers[:-9], flowers[:-1] + b"!"):
        (data / "flowers" / "flower_photos.tgz").write_bytes(content)
        assert "is not the expected file" in message_of(archive)


def test_an_interrupted_unpack_is_never_taken_for_whole(
    data: Path, flowers: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "flowers").mkdir(parents=True)
    (data / "flowers" / "flower_photos.tgz").write_bytes(flowers)
    archive = described(flowers, "flower_photos.tgz", "flower_photos")
    extract_one = tarfile.TarFile._extract_one  # type: ignore[attr-defined]
    calls = []

    def failing(error: BaseException) -> Any:
        def extract(self: Any, *args: Any, **options: Any) -> None:
            calls.append(1)
            if len(calls) % 10 == 0:
                raise error
            extract_one(self, *args, **options)

        return extract

    for error, expected in (
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (PermissionError(errno.EACCES, "Permission denied"), DatasetError),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(tarfile.TarFile, "_extract_one", failing(error))
            with pytest.raises(expected):
                load_flowers("", [archive])
        assert [path.name for path in (data / "flowers").iterdir()] == ["flower_photos.tgz"]
    assert len(load_flowers("", [archive]).ids) == 60


def test_what_a_killed_process_left_is_removed_after_a_day(data: Path, flowers: bytes) -> None:
    old, new = "0" * 12, "1" * 12
    for name, age in ((old, 2 * 86400), (new, 60)):
        (data / f".writing-{name}" / "flower_photos" / "ant").mkdir(parents=True)
        os.utime(data / f".writing-{name}", (time.time() - age,) * 2)
    (data / "flower_photos.tgz").write_bytes(flowers)
    load_flowers("", [described(flowers, "flower_photos.tgz", "flower_photos")])
    assert leftovers(data) == [f".writing-{new}"]


@pytest.mark.parametrize("name", ["flower_photos/../../evil.txt", "/flower_photos/evil.txt", "evil.txt"])
def test_nothing_is_written_outside(data: Path, tmp_path: Path, flowers: bytes, name: str) -> None:
    content = packed(tmp_path / "made", "flower_photos", (name, b"evil"))
    data.mkdir()
    (data / "flower_photos.tgz").write_bytes(content)
    archive = described(content, "flower_photos.tgz", "flower_photos")
    if ".." in name:
        assert "cannot unpack" in message_of(archive)
    else:
        load_flowers("", [archive])
    assert not list(tmp_path.rglob("evil.txt"))


def test_the_table_is_of_the_real_files() -> None:
    for archive in (*photos.FLOWERS, *photos.BIRDS):
        assert len(bytes.fromhex(archive.sha256)) == 32
        assert archive.urls
        assert all(url.startswith("http") for url in archive.urls)
