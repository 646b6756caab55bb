"""Downloads show bytes while they come, and an interrupted one leaves nothing that is believed later."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from featurebank.backbone.weights.download import fetch
from featurebank.system import downloads
from featurebank.system.downloads import hub_answers, keras_downloads
from featurebank.system.progress import Advance, Reporter, shown_by

DATA = bytes(range(256)) * 2000
NAME = f"weights-{hashlib.sha256(DATA).hexdigest()[:8]}.pth"


class Listener(Reporter):
    """Notes what is shown; after `most` bytes the user presses Ctrl-C."""

    def __init__(self, most: int | None = None) -> None:
        self.began: list[tuple[str, int, str]] = []
        self.steps: list[str] = []
        self.bytes = 0
        self._most = most

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        self.began.append((what, total, unit))
        yield self._count

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.steps.append(what)
        yield

    def _count(self, count: int) -> None:
        self.bytes += count
        if self._most is not None and self.bytes > self._most:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A server that says how much it sends, but not under /unsized."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if not self.path.startswith("/unsized/"):
                self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(DATA)

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def by_pooch(url: str, folder: Path) -> None:
    assert fetch(url, folder / NAME) == ""


def by_keras(url: str, folder: Path) -> None:
    with keras_downloads(f"downloading {NAME}") as keras:
        keras.utils.get_file(NAME, url, cache_dir=str(folder), cache_subdir=".")


both = pytest.mark.parametrize("download", [by_pooch, by_keras])


@both
@pytest.mark.parametrize(("way", "size"), [("sized", len(DATA)), ("unsized", 0)])
def test_bytes_are_shown(
    download: Callable[[str, Path], None], way: str, size: int, site: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    listener = Listener()
    with shown_by(listener):
        download(f"{site}/{way}/{NAME}", tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert listener.began == ([(f"downloading {NAME}", size, "bytes")] if size else [])
    assert listener.bytes == size
    assert set(listener.steps) - {"loading TensorFlow"} == {f"downloading {NAME}"}
    assert capsys.readouterr().out == ""


@both
def test_an_interrupted_one_leaves_nothing(download: Callable[[str, Path], None], site: str, tmp_path: Path) -> None:
    with shown_by(Listener(most=100_000)), pytest.raises(KeyboardInterrupt):
        download(f"{site}/{NAME}", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that accepts connections and never answers."""
    monkeypatch.setattr(downloads, "SECONDS_WITHOUT_ANSWER", 0.05)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_silent_server_is_given_up(silent: str, tmp_path: Path) -> None:
    assert fetch(f"{silent}/{NAME}", tmp_path / NAME).startswith("no answer in ")
    with pytest.raises(OSError, match="timed out"):
        by_keras(f"{silent}/{NAME}", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() is None


def test_the_hub_is_asked_once_whether_it_answers(silent: str, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    for server, answers in ((silent, False), (f"{site}/gone", True)):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server)
        monkeypatch.setattr(downloads, "_hub", (False, -1e9))
        assert hub_answers() is answers
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", silent)
        assert hub_answers() is answers
