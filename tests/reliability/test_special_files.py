"""Pipes, devices, sockets and endless files are never read: there is one line about each instead."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import extract, list_banks, load_backbone, load_dataset, load_model, read_pipeline
from featurebank.backbone import Backbone
from featurebank.dataset.unlabelled import unlabelled_images
from featurebank.errors import BadImageError, FeatureBankError
from featurebank.grid import read_grid
from featurebank.system import digest
from featurebank.system.files import open_regular, read_regular

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")


def ends(work: Callable[[], Any]) -> Any:
    """Returns what some work gives or raises; fails where it hangs, as reading a pipe does."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except (FeatureBankError, OSError) as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it hangs"
    return found[0]


@pytest.fixture
def special(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Files that are none, by what they are called in messages."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket has to be short
        listening.bind("socket")
        os.chdir(here)
        yield {"a named pipe": tmp_path / "pipe", "a socket": tmp_path / "socket", "a device": Path("/dev/zero")}


def test_only_regular_files_are_opened(special: dict[str, Path], tmp_path: Path) -> None:
    for name, path in special.items():
        for read in (open_regular, read_regular, digest.of_file):
            error = ends(lambda read=read, path=path: read(path))
            assert (error.strerror, error.filename) == (f"{name}, not a regular file", str(path))
    assert isinstance(ends(lambda: read_regular(tmp_path)), IsADirectoryError)
    assert isinstance(ends(lambda: read_regular(tmp_path / "nothing")), FileNotFoundError)


def test_what_comes_to_the_path_after_the_first_look(
    special: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    pipe, look = special["a named pipe"], os.stat
    late = lambda path, **options: look(tmp_path / "file" if path == pipe else path, **options)  # noqa: E731
    monkeypatch.setattr(os, "stat", late)
    handles = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    assert "a named pipe, not a regular file" in str(ends(lambda: read_regular(pipe)))
    assert not handles or len(list(Path("/proc/self/fd").iterdir())) == handles


def test_sizes_are_bounded_and_files_that_say_nothing_of_their_size_are_empty(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert "a file of 1099511627776 bytes, more than" in str(ends(lambda: read_regular(tmp_path / "sparse")))
    assert "more than 1 MiB" in str(ends(lambda: digest.of_file(tmp_path / "sparse", 1 << 20)))
    if Path("/proc/version").is_file():
        assert read_regular("/proc/version") == b"", "/proc has files that block or never end"


def test_as_images(special: dict[str, Path], lite: Backbone, pixels: list[Any], tmp_path: Path) -> None:
    rows = ["path,label"]
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
        rows.append(f"{path},{'ab'[number % 2]}")
    rows += [f"{path},a" for path in special.values()]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    bank = ends(lambda: extract(load_dataset(str(tmp_path / "table.csv")), lite, cache=tmp_path / "cache"))
    assert len(bank) == 6
    assert {entry["reason"] for entry in bank.skipped} == {f"{name}, not a regular file" for name in special}
    loose = unlabelled_images([*map(str, special.values())])  # as predict takes them
    for index, name in enumerate(special):
        found = ends(lambda index=index: loose.image(index))
        assert isinstance(found, BadImageError)
        assert name in str(found)


def test_a_pipe_in_the_place_of_an_image_that_was_there(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    dataset = load_dataset(str(tmp_path))
    dataset.fingerprint()
    (tmp_path / "a" / "0.png").unlink()
    os.mkfifo(tmp_path / "a" / "0.png")
    assert "a named pipe" in str(ends(lambda: dataset.image(0)))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x.csv", lambda path: load_dataset(str(path))),
        ("x.npz", lambda path: load_dataset(str(path))),
        ("x.txt", lambda path: load_dataset(f"lists:{path},{path}")),
        ("x.toml", read_pipeline),
        ("x.toml", lambda path: read_grid(str(path))),
        ("x.pth", lambda path: load_backbone("efficientnet_lite0", weights=str(path)).recipe),
        ("x.h5", lambda path: load_backbone("vgg16", weights=str(path)).recipe),
        ("x.keras", lambda path: load_backbone(str(path), preprocessing="tf")),
        ("x.keras", load_model),
        ("x.fbmodel", load_model),
        ("x.onnx", load_model),
        ("cache/bank/manifest.json", lambda path: list_banks(path.parents[1])),
        ("cache/.fingerprints/photos.npz", lambda path: list_banks(path.parents[1])),
    ],
)
def test_as_any_other_file(name: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    found = ends(lambda: read(path))
    assert isinstance(found, FeatureBankError | OSError | list)
    assert "\n" not in str(found)
    assert isinstance(found, list) or str(path) in str(found), "it is named"
