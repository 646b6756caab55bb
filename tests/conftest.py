"""What several rooms need: small photos, a small backbone, a child process that extracts and can be ended."""

from __future__ import annotations

import surroundings  # what it sets is read by the imports below

# isort: split
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser, open_page  # noqa: F401 - fixtures
from built_site import site  # noqa: F401 - a fixture
from contestants import contestants  # noqa: F401 - a fixture
from conversions import share_conversions
from forks import Fork
from hypothesis import settings
from immediate import PixelEngine
from joined_banks import joined_banks  # noqa: F401 - a fixture
from PIL import Image
from processes import ended
from small_networks import small
from vector_banks import set_ram, vector_bank  # noqa: F401 - fixtures

from featurebank import extract, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.system import digest
from featurebank.training import programs

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # `docs` and `benchmarks` are not installed

settings.register_profile("featurebank", settings.default, deadline=None)  # a busy machine is no failure
settings.load_profile("featurebank")

DRIVER = '''
"""The command line, with small shards, and on demand with an engine that needs no TensorFlow, or a death."""
import hashlib, os, resource, signal, sys, time
from pathlib import Path
import numpy as np
import featurebank.bank.locks.note as note
import featurebank.bank.writer as writer
import featurebank.extraction.pieces.slices as slices
import featurebank.extraction.target as stage
from featurebank.bank.manifest import Manifest
from immediate import Immediate

writer.SHARD_ROWS = int(os.environ["ROWS"])
slices._LEAST_IMAGES = int(os.environ.get("SLICE", slices._LEAST_IMAGES))
note.DEAD_AFTER_S = float(os.environ.get("DEAD_AFTER", note.DEAD_AFTER_S))
note.HEARTBEAT_S = float(os.environ.get("HEARTBEAT", note.HEARTBEAT_S))
if "DIE" in os.environ:  # just before a manifest would list a new shard, or just after it
    left = int(os.environ["DIE"])
    save = Manifest.save
    def dying(self, directory):
        global left
        left -= 1
        if left == 0 and "AFTER" in os.environ:
            save(self, directory)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        save(self, directory)
    Manifest.save = dying

class Pixels(Immediate):
    name, precision = "pixels", "float32"
    def __init__(self, taps):
        self.taps, self.calls = taps, 0
    def __call__(self, images):
        time.sleep(float(os.environ.get("PAUSE", "0")))
        while "HOLD" in os.environ and not Path(os.environ["HOLD"]).exists():  # until the test lets it go on
            time.sleep(0.01)
        if "COUNT" in os.environ:  # a line an image, of all processes together
            with open(os.environ["COUNT"], "a") as file:
                file.write("".join(hashlib.blake2b(image).hexdigest() + "\\n" for image in images))
        self.calls += 1
        if self.calls == int(os.environ.get("FULL", "-1")):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
        flat = images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255
        return {tap: flat + len(tap) for tap in self.taps}

def load(name, backbone, taps, **options):
    print("began", file=sys.stderr, flush=True)
    return Pixels(taps)

if "PAUSE" in os.environ:
    stage.load_engine = load
from featurebank.cli import main
main()
'''


@pytest.hookimpl(wrapper=True, tryfirst=True)  # marks come before tests are chosen by them, the order after that
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Marks as fast whatever is not marked as something else, and lets each process begin with heavy tests."""
    for item in items:
        if not (item.get_closest_marker("heavy") or item.get_closest_marker("slow")):
            item.add_marker("fast")
    yield
    _, workers = _worker()
    if workers > 1:  # the same order in each process, whichever room it began with
        items.sort(key=lambda item: item.path.parts[: len(TESTS.parts) + 1])
    items[:] = dealt(items, workers)


def dealt(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Returns the tests in the order in which `--dist worksteal` deals them: an equal share for each process.

    In each share the heavy tests come first. So the fast ones are left at the end, and no process waits for another
    that has just begun with a long test.
    """
    heavy = [item for item in items if not item.get_closest_marker("fast")]
    fast = [item for item in items if item.get_closest_marker("fast")]

    def share(tests: list[pytest.Item], worker: int) -> list[pytest.Item]:
        return tests[len(tests) * worker // workers : len(tests) * (worker + 1) // workers]

    return [test for worker in range(workers) for kind in (heavy, fast) for test in share(kind, worker)]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files in which no test has the mark asked for: importing all of them takes as long as the tests."""
    asked = config.option.markexpr
    if asked not in {"fast", "networks and not slow"} or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text("utf-8")
    if asked == "fast":
        return True if re.search(r"^pytestmark = \[?pytest\.mark\.heavy\b", text, re.MULTILINE) else None
    return None if "pytest.mark.networks" in text else True


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Python need not look again and again through the tests themselves and the libraries that they import."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Lets each process begin with another room: what one of them has prepared, the others read.

    pytest rewrites the `assert`s of a file that is new to it, and Hypothesis searches it for constants. Both keep what
    they have made, but each process would make it, if all went through the rooms in step.
    """
    report = yield
    worker, workers = _worker()
    if collector.path == TESTS and report.result:
        begin = len(report.result) * worker // workers
        report.result = [*report.result[begin:], *report.result[:begin]]
    return report


def _worker() -> tuple[int, int]:
    """Returns the place of this process among those of xdist, and their number."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keeps the programs of TensorFlow small, and leaves XLA to the tests of the programs themselves."""
    surroundings.forget_stacks()
    programs.XLA = item.get_closest_marker("xla") is not None


def pytest_runtest_logfinish() -> None:
    """Frees the networks that nobody uses: several processes share the memory of the machine."""
    surroundings.collect_if_grown()


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    """Restores how the process takes Ctrl-C: a library, as dask_jobqueue, may change it when it is imported."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> list[PixelEngine]:
    """Lets `extract` run without TensorFlow; collects the engines that were loaded."""
    loaded: list[PixelEngine] = []

    def load(name: str, backbone: Backbone, taps: Any, **options: Any) -> PixelEngine:
        loaded.append(PixelEngine(taps))
        return loaded[-1]

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)
    return loaded


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test where an engine is loaded."""

    def load(*args: Any, **options: Any) -> None:
        raise AssertionError("an engine was loaded")

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)


@pytest.fixture(scope="session", autouse=True)
def shared_conversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converts each network once a session, for all workers; tests of the engines do without."""
    own = tmp_path_factory.getbasetemp()
    store = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "conversions"
    with pytest.MonkeyPatch.context() as patch:
        share_conversions(store, patch)
        yield


@pytest.fixture(scope="session")
def lite() -> Backbone:
    return small("efficientnet_lite0")


def save_photo(path: Path, seed: int) -> Path:
    """A random photo; its seed decides its size and its pixels."""
    random = np.random.default_rng(seed)
    height, width = random.integers(5, 90, 2)
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def photo() -> Callable[[Path, int], Path]:
    return save_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 24 photos of two classes."""
    root = tmp_path / "photos"
    for number in range(24):
        save_photo(root / ("ant", "bee")[number % 2] / f"{number}.{('png', 'jpg')[number % 3 == 0]}", number)
    return root


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line in a process of its own; see `DRIVER` for what the environment can ask for."""
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, rows: int = 4, **environment: object) -> subprocess.Popen[str]:
        asked = {name: str(value) for name, value in {"ROWS": rows, **environment}.items()}
        process = Fork(
            [sys.executable, str(script), *map(str, arguments)],
            env={**os.environ, **asked},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:  # a failed test has left some of them
        with ended(process):
            pass


def save_bank(
    path: Path,
    *,
    splits: tuple[int, int, int] = (60, 30, 30),
    classes: int = 3,
    width: int = 8,
    noise: float = 1.0,
    seed: int = 0,
    taps: tuple[str, ...] = ("pooled",),
    untrained: tuple[int, ...] = (),
    backbone: str = "none",
    dataset: str = "made",
) -> Bank:
    """A bank without images or network: classes that lie apart.

    Args:
        path: its directory.
        splits: how many rows of train, val and test there are.
        classes: how many classes; rows of each split are dealt to them in turn.
        width: of the features.
        noise: how far rows lie from the centre of their class, which is 6 from the others'.
        seed: of the noise.
        taps: each with the same features, the name "map" as (1, 2, width / 2).
        untrained: classes that training rows do not have.
        backbone: the name of its network; banks of several networks with one seed hold the same images.
        dataset: the name of its dataset.
    """
    which = np.repeat(np.arange(3, dtype=np.uint8), splits)
    labels = np.concatenate([np.arange(count) for count in splits]).astype(np.int32) % classes
    for label in untrained:
        labels[(which == 0) & (labels == label)] = (label + 1) % classes
    X = np.random.default_rng(seed).normal(0, noise, (len(labels), width)).astype(np.float32)
    X[np.arange(len(X)), labels % width] += 6
    digests = np.array([digest.of_recipe([seed, i]) for i in range(len(X))], "S32")
    ids = tuple(f"{i}.png" for i in range(len(X)))
    names = [f"class{label}" for label in range(classes)]
    with BankWriter(path, {"backbone": backbone, "seed": seed}, {"name": dataset, "classes": names}) as writer:
        blocks = {tap: X.reshape(-1, 1, 2, width // 2) if tap == "map" else X for tap in taps}
        writer.append(ids, row_keys(digests), blocks, dict.fromkeys(taps, "float32"))
        writer.finish(Items(ids, digests, labels, which), taps, (), None)
    return Bank(path)


@pytest.fixture
def make_bank(tmp_path: Path) -> Callable[..., Bank]:
    """Makes a bank in `tmp_path / "bank"`; see `save_bank`."""
    return lambda name="bank", **options: save_bank(tmp_path / name, **options)


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """A folder with given splits and all that can be wrong with one.

    Of 20 images of 32 x 32 pixels, one is broken, one stands in both splits and both classes, one in train and, but for
    a pixel, in test; one has a name that no page may take for its own text.
    """
    root = tmp_path / "leaky"
    random = np.random.default_rng(0)

    def save(name: str, pixels: np.ndarray) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)

    pictures = iter(random.integers(0, 256, (18, 32, 32, 3), dtype=np.uint8))
    for split, each in (("train", 5), ("test", 2)):
        for label in ("ant", "bee"):
            for number in range(each):
                save(f"{split}/{label}/{number}.png", next(pictures))
    near = next(pictures)
    save("train/ant/near.png", near)
    near[-1, -1] ^= 255
    save("test/ant/nearly.png", near)
    same = next(pictures)
    save("train/ant/same.png", same)
    save("test/bee/same.png", same)
    save("train/bee/<script>alert('&')<b>.png", next(pictures))
    (root / "train" / "bee" / "broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture
def leaky_bank(leaky: Path, tmp_path: Path, lite: Backbone, pixels: list[PixelEngine]) -> Bank:
    """The bank of that folder in the cache `tmp_path / "cache"`; its features are the first pixels of each image."""
    return extract(load_dataset(str(leaky), split=(0.8, 0.2)), lite, cache=tmp_path / "cache")


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes with one thread: on data as small as these, several wait for each other."""
    rooms = {"advice", "docs", "fitting", "grid", "heads", "runs", "training"}
    if request.path.relative_to(TESTS).parts[0] in rooms:
        monkeypatch.setattr("featurebank.system.runtime._threads", 1)
