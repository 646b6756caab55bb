"""Small datasets of every kind, made on the spot."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLASSES = ("ant", "bee", "cat")


def picture(number: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)


def save(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number)).save(path)
    return path


def make_folder(root: Path, prefixes: tuple[str, ...] = ("",), each: int = 20) -> Path:
    number = 0
    for prefix in prefixes:
        for name in CLASSES:
            for index in range(each):
                save(root / prefix / name / f"{index}.png", number)
                number += 1
    return root


def make_batch(path: Path, key: str, count: int, classes: int, seed: int, protocol: int = 2) -> None:
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
    content = {b"data": data, key.encode(): [index % classes for index in range(count)], b"batch_label": b"x"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def make_cifar10(root: Path, protocol: int = 2) -> Path:
    for number in range(1, 6):
        make_batch(root / "cifar-10-batches-py" / f"data_batch_{number}", "labels", 20, 10, number, protocol)
    make_batch(root / "cifar-10-batches-py" / "test_batch", "labels", 20, 10, 9, protocol)
    return root


def make_cifar100(root: Path) -> Path:
    make_batch(root / "cifar-100-python" / "train", "fine_labels", 200, 100, 1)
    make_batch(root / "cifar-100-python" / "test", "fine_labels", 100, 100, 2)
    return root


def make_npz(path: Path, count: int = 60) -> Path:
    images = np.stack([picture(number) for number in range(count)])
    np.savez(path, x=images, y=np.arange(count) % 3)
    return path


def make_manifest(root: Path, prefixes: tuple[str, ...] = ("",), suffix: str = ".csv") -> Path:
    make_folder(root, prefixes)
    lines = ["path,label,split,size"]
    for path in sorted(root.rglob("*.png")):
        name = path.relative_to(root).as_posix()
        lines.append(f"{name},{path.parent.name},{name.split('/')[0] if prefixes != ('',) else ''},8")
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = zip(*(line.split(",") for line in lines), strict=True)
        pq.write_table(pa.table({name: values for name, *values in columns}), root / "images.parquet")
    else:
        (root / f"images{suffix}").write_text("\n".join(lines))
    return root / f"images{suffix}"


def make_lists(root: Path) -> Path:
    """Folders train and test in `images`, and a list of each."""
    make_folder(root / "images", ("train", "test"))
    for split in ("train", "test"):
        names = sorted(
            path.relative_to(root / "images").as_posix() for path in (root / "images" / split).rglob("*.png")
        )
        (root / f"{split}.txt").write_text("\n".join(names))
    return root


def make_cub(root: Path) -> Path:
    """The tables of CUB-200-2011 beside `images`."""
    make_folder(root / "images", ("train", "test"))
    paths = sorted(path.relative_to(root / "images").as_posix() for path in (root / "images").rglob("*.png"))
    (root / "images.txt").write_text("\n".join(f"{i} {path}" for i, path in enumerate(paths, 1)))
    split = "\n".join(f"{i} {int(path.startswith('train'))}" for i, path in enumerate(paths, 1))
    (root / "train_test_split.txt").write_text(split)
    return root


def make_birds(root: Path, prefixes: tuple[str, ...] = ("",)) -> Path:
    """The layout of CUB-200: test is every other image, or what lies in `test`."""
    make_folder(root / "images", prefixes)
    names = sorted(path.relative_to(root / "images").as_posix() for path in (root / "images").rglob("*.png"))
    test = [name for i, name in enumerate(names) if (name.startswith("test/") if len(prefixes) > 1 else i % 2)]
    (root / "lists").mkdir()
    (root / "lists" / "train.txt").write_text("\n".join(name for name in names if name not in test))
    (root / "lists" / "test.txt").write_text("\n".join(test))
    return root


def make_hub(root: Path) -> str:
    """A dataset of Hugging Face in `hub`, as its package saves it, of the files train/0, ... and test/0, ..."""
    datasets = pytest.importorskip("datasets")

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    parts = {}
    for start, name in ((0, "train"), (60, "test")):
        files = [save(root / name / f"{row}.png", start + row).rename(root / name / str(row)) for row in range(60)]
        images = [{"bytes": file.read_bytes(), "path": None} for file in files]
        columns = {"image": images, "label": [row % 3 for row in range(60)]}
        parts[name] = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(root / "hub"))
    return f"hf:{root / 'hub'}"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in which TensorFlow Datasets has prepared `made_photos`, by format."""
    tfds = pytest.importorskip("tensorflow_datasets")

    with tfds.core.registered.skip_registration():

        class MadePhotos(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                label = tfds.features.ClassLabel(names=["cat", "ant", "bee"])
                features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": label}
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager: Any) -> Any:
                return {"train": self._generate_examples(0, 60), "test": self._generate_examples(60, 90)}

            def _generate_examples(self, start: int, stop: int) -> Any:
                for number in range(start, stop):
                    yield number, {"image": picture(number), "label": number % 3}

    places = {kind: tmp_path_factory.mktemp(kind) for kind in ("tfrecord", "array_record")}
    for kind, place in places.items():
        MadePhotos(data_dir=place, file_format=kind).download_and_prepare()
    return places


class Server:
    """A web server of this machine: what it answers is a table of paths, and it counts the calls.

    An answer is bytes, a status, or a list of these, one a call (the last one for ever). "drop" closes the connection
    in the middle of an answer. `heads` names further lines of the head of an answer; "HEAD /path" is a call, too.
    """

    def __init__(self) -> None:
        server = self
        self.answers: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.heads: dict[str, dict[str, str]] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                server.calls[f"HEAD {self.path}"] += 1
                answer = server.answers.get(self.path, 404)
                self.send_response(200 if isinstance(answer, bytes) else 404)
                for name, value in server.heads.get(self.path, {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer) if isinstance(answer, bytes) else 0))
                self.end_headers()

            def do_GET(self) -> None:
                server.calls[self.path] += 1
                answer = server.answers.get(self.path, 404)
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                body = b"x" * 50 if answer == "drop" else answer
                self.send_response(200)
                for name, value in server.heads.get(self.path, {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(2 * len(body) if answer == "drop" else len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def serve(path: Path, server: Server) -> str:
    """Serves all files of a manifest's folder; returns the manifest's URL."""
    for file in path.parent.rglob("*.*"):
        server.answers[f"/{file.relative_to(path.parent).as_posix()}"] = file.read_bytes()
    return f"{server.url}/{path.name}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose images are kept for this test alone."""
    monkeypatch.setenv("FEATUREBANK_DOWNLOADS", str(tmp_path / "downloads"))
    server = Server()
    yield server
    server.close()


@pytest.fixture
def no_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides what this machine has of CIFAR and of other photos."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    monkeypatch.delenv("FEATUREBANK_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-keras"))


KINDS = (
    "digits", "folder", "split-folder", "npz", "cifar10", "cifar100", "manifest", "split-manifest", "parquet", "remote",
    "lists", "cub", "flowers", "birds", "hf", "tfds",
)  # fmt: skip


@pytest.fixture(params=KINDS)
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_cifar: None) -> str:
    makers: dict[str, Callable[[], str]] = {
        "digits": lambda: "digits",
        "folder": lambda: f"folder:{make_folder(tmp_path / 'photos')}",
        "split-folder": lambda: str(make_folder(tmp_path / "photos", ("train", "test"))),
        "npz": lambda: f"npz:{make_npz(tmp_path / 'a.npz')}",
        "manifest": lambda: str(make_manifest(tmp_path / "photos")),
        "split-manifest": lambda: f"manifest:{make_manifest(tmp_path / 'photos', ('train', 'test'))}",
        "parquet": lambda: f"manifest:{make_manifest(tmp_path / 'photos', ('train', 'test'), '.parquet')}",
        "remote": lambda: serve(make_manifest(tmp_path / "photos"), request.getfixturevalue("server")),
        "lists": lambda: f"lists:{make_lists(tmp_path / 'photos')}",
        "cub": lambda: f"lists:{make_cub(tmp_path / 'photos')}",
        "flowers": lambda: make_folder(tmp_path / "photos" / "flowers").name,
        "birds": lambda: make_birds(tmp_path / "photos" / "birds", ("train", "test")).name,
        "hf": lambda: make_hub(tmp_path / "photos"),
        "tfds": lambda: "tfds:made_photos",
        "cifar10": lambda: str(make_cifar10(tmp_path / "data" / "cifar10").name),
        "cifar100": lambda: str(make_cifar100(tmp_path / "data" / "cifar100").name),
    }
    if request.param in {"flowers", "birds"}:
        monkeypatch.setenv("FEATUREBANK_DATA", str(tmp_path / "photos"))
    if request.param == "tfds":
        monkeypatch.setenv("TFDS_DATA_DIR", str(request.getfixturevalue("prepared")["tfrecord"]))
    if request.param.startswith("cifar"):
        monkeypatch.setenv("FEATUREBANK_DATA", str(tmp_path / "data"))
    return makers[request.param]()


@pytest.fixture
def make() -> SimpleNamespace:
    """The functions above, for tests that make datasets of their own."""
    return SimpleNamespace(
        picture=picture,
        save=save,
        folder=make_folder,
        manifest=make_manifest,
        birds=make_birds,
        npz=make_npz,
        cifar10=make_cifar10,
        cifar100=make_cifar100,
    )
