"""Images behind URLs, from a server that has its moods."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.remote import fetching
from featurebank.dataset.remote.fetching import fetch, is_url
from featurebank.dataset.sources.paths import Paths
from featurebank.errors import BadImageError, DatasetError, MissingDependencyError
from featurebank.system import digest


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.01))
    monkeypatch.setattr(fetching, "_failed", {})
    monkeypatch.setattr(fetching, "_resting", {})


@pytest.fixture
def png(tmp_path: Path, make: SimpleNamespace) -> bytes:
    return bytes(make.save(tmp_path / "a.png", 1).read_bytes())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("https://a.b/c.png", True),
        ("s3://bucket/c.png", True),
        ("simplecache::https://a.b/c.png", True),
        ("memory://a.png", True),
        ("a/b.png", False),
        ("/a://b.png", False),
        ("a b://c.png", False),
        ("C:/a.png", False),
        ("a::b.png", False),
    ],
)
def test_what_a_url_is(path: str, expected: bool) -> None:
    assert is_url(path) is expected


def reason(url: str) -> str:
    with pytest.raises(OSError, match=r".") as caught:
        fetch(url)
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "expected", "calls"),
    [
        (404, "not found (HTTP 404)", 1),
        (410, "not found (HTTP 410)", 1),
        (403, "refused by the server (HTTP 403)", 1),
        (500, "refused by the server in 3 tries (HTTP 500)", 3),
        (429, "refused by the server in 3 tries (HTTP 429)", 3),
    ],
)
def test_what_a_server_refuses(server: Any, answer: int, expected: str, calls: int) -> None:
    server.answers["/a.png"] = answer
    assert reason(f"{server.url}/a.png") == expected
    assert server.calls["/a.png"] == calls


@pytest.mark.parametrize("moods", [[500], [503, 500], ["drop"], ["drop", 429]])
def test_what_fails_for_a_moment_is_tried_again(server: Any, moods: list[Any]) -> None:
    server.answers["/a.png"] = [*moods, b"content"]
    assert fetch(f"{server.url}/a.png") == b"content"
    assert server.calls["/a.png"] == len(moods) + 1


def test_a_server_that_always_fails_is_not_waited_for_again_and_again(server: Any) -> None:
    names = [f"/{number}.png" for number in range(8)]
    server.answers.update(dict.fromkeys(names, 500))
    for name in names:
        reason(f"{server.url}{name}")
    assert [server.calls[name] for name in names] == [3] * 5 + [1] * 3
    server.answers[names[0]] = b"content"
    assert fetch(f"{server.url}{names[0]}") == b"content"
    reason(f"{server.url}{names[1]}")
    assert server.calls[names[1]] == 6  # it is trusted again


def test_a_connection_that_always_breaks(server: Any) -> None:
    server.answers["/a.png"] = "drop"
    assert reason(f"{server.url}/a.png").startswith("could not be downloaded in 3 tries (")


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert reason(f"http://127.0.0.1:{port}/a.png").startswith("could not be downloaded in 3 tries (")


def test_a_server_that_falls_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_LIMITS", {"sock_read": 0.05})
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert reason(f"http://127.0.0.1:{silent.getsockname()[1]}/a.png").startswith(
            "could not be downloaded in 3 tries"
        )


def test_local_and_remote_paths_in_one_table(
    server: Any, tmp_path: Path, make: SimpleNamespace, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    make.save(tmp_path / "b.png", 2)
    server.answers.update({"/x/a b.png": 404, "/x/a%20b.png": png, "/bad.png": 500, "/html.png": b"<html>"})
    fsspec.filesystem("memory").pipe_file("/featurebank-test.png", png)
    names = [
        "b.png", f"{server.url}/x/a b.png", f"{server.url}/none.png", f"{server.url}/bad.png",
        f"{server.url}/html.png", "memory://featurebank-test.png", "memory://none.png",
    ]  # fmt: skip
    table = tmp_path / "m.csv"
    table.write_text("path,label\n" + "\n".join(f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(names)))
    dataset = load_dataset(table)
    assert dataset.ids == tuple(names)
    assert {entry.id: entry.reason for entry in dataset.unreadable} == {
        names[2]: "not found (HTTP 404)",
        names[3]: "refused by the server in 3 tries (HTTP 500)",
        names[6]: "file not found",
    }
    assert dataset.digests[1] == dataset.digests[5] == digest.of_bytes(png).encode()
    np.testing.assert_array_equal(dataset.image(1), make.picture(1))
    np.testing.assert_array_equal(dataset.image(0), make.picture(2))
    with pytest.raises(BadImageError, match=r"^not an image"):
        dataset.image(4)


def test_content_that_changes_or_goes_is_noticed(server: Any, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREBANK_DOWNLOADS", os.devnull)  # where nothing can be kept
    server.answers["/a.png"] = png
    pixels = Paths(server.url, ["a.png"])
    known = pixels.digest(0).encode()
    assert pixels.image(0, known).shape == (8, 8, 3)
    server.answers["/a.png"] = png + b"."
    with pytest.raises(BadImageError, match=r"^changed while it was being read$"):
        pixels.image(0, known)
    del server.answers["/a.png"]
    with pytest.raises(BadImageError, match=r"^not found \(HTTP 404\)$"):
        pixels.image(0, known)


def test_a_table_behind_a_url(server: Any, png: bytes) -> None:
    server.answers.update({"/t/m.csv?key=1": b"path,label\na.png,cat\nb.png,dog", "/t/a.png": png, "/t/b.png": png})
    dataset = load_dataset(f"{server.url}/t/m.csv?key=1")
    assert dataset.spec == f"manifest:{server.url}/t/m.csv?key=1"
    assert dataset.name.startswith("m-")
    assert dataset.unreadable == []
    with pytest.raises(DatasetError, match=r"cannot read the manifest 'http.*': not found \(HTTP 404\)"):
        load_dataset(f"manifest:{server.url}/none.csv")


def test_kinds_of_urls_that_nothing_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "m.csv"
    table.write_text("path,label\nfoo://a.png,cat\nb.png,dog")
    with pytest.raises(DatasetError, match="URLs with foo:// cannot be read"):
        load_dataset(table)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"foo:// needs .* pip install 'featurebank\[remote\]'"):
        load_dataset(table)
