"""Where weights come from: ImageNet, a seed, or a file; how they are found, checked, digested and loaded."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank import digest
from featurebank.backbone import efficientnet_lite, random_weights
from featurebank.backbone.table import BackboneSpec
from featurebank.errors import ConfigError, WeightsError

KERAS_SUFFIXES = (".h5", ".keras")
TORCH_SUFFIXES = (".pth", ".pt")

_SECONDS_WITHOUT_ANSWER = 20.0
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNREADABLE = (
    ValueError,
    LookupError,
    OSError,
    AttributeError,
    TypeError,
    RuntimeError,
    UserWarning,
    zipfile.BadZipFile,
)
_digests: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class Source:
    """Where the weights of a backbone come from: exactly one of a seed, a file, or neither (ImageNet)."""

    seed: int | None = None
    file: Path | None = None


def parse_source(text: str, spec: BackboneSpec) -> Source:
    """Reads what the user gave as weights.

    Args:
        text: "imagenet", "random:SEED", or the path of a weights file.
        spec: the network that they are for.

    Returns:
        The source; a file is known to exist.

    Raises:
        ConfigError: the text is none of these, or the seed is out of range.
        WeightsError: the file does not exist.
    """
    if text == "imagenet":
        return Source()
    if isinstance(text, str) and re.match(r"random\b", text):
        seed = text.removeprefix("random:")
        if re.fullmatch(r"[0-9]{1,20}", seed) and int(seed) <= random_weights.MAX_SEED:
            return Source(seed=int(seed))
        message = f"weights '{text}': expected a seed from 0 to 2^64-1 after 'random:', as 'random:0'"
        raise ConfigError(message)
    suffixes = KERAS_SUFFIXES + (() if spec.constructor else TORCH_SUFFIXES)
    if not isinstance(text, str | os.PathLike) or Path(text).suffix.lower() not in suffixes:
        message = (
            f"weights '{text}': expected 'imagenet', 'random:SEED', or for {spec.name} a file that ends in "
            f"{', '.join(suffixes)}"
        )
        raise ConfigError(message)
    path = Path(text).expanduser()
    if not path.is_file():
        message = f"there is no weights file '{path}': check the path, or use --weights random:0"
        raise WeightsError(message)
    return Source(file=path)


def digest_of(source: Source, spec: BackboneSpec) -> str:
    """Returns the digest of the weights that a source stands for; reads a file at most once for each of its versions.

    Raises:
        WeightsError: the file is missing and cannot be downloaded, or it is incomplete.
    """
    if source.seed is not None:
        recipe = {"scheme": random_weights.SCHEME, "network": spec.name, "seed": str(source.seed)}
        return digest.of_recipe(recipe)
    path = source.file or imagenet_file(spec, top=False)
    try:
        state = path.stat()
        key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
        if key not in _digests:
            _digests[key] = digest.of_file(path)
    except OSError as error:
        message = f"the weights file '{path}' cannot be read ({error.strerror}): check its permissions"
        raise WeightsError(message) from error
    return _digests[key]


def imagenet_file(spec: BackboneSpec, *, top: bool) -> Path:
    """Finds the file of ImageNet weights; one that is not there is downloaded by Keras.

    Args:
        spec: the network.
        top: whether the classifier is wanted too.

    Raises:
        WeightsError: the file is not there, or not whole, and cannot be downloaded.
    """
    if spec.has_embedded_weights:
        return efficientnet_lite.embedded_file()
    folders = _keras_folders()
    name = spec.weights_file(top=top)
    for folder in folders:
        if is_whole_hdf5(folder / name):
            return folder / name
    reason = _download(spec, top=top)
    for folder in folders:
        if is_whole_hdf5(folder / name):
            return folder / name
    message = (
        f"the ImageNet weights of {spec.name} are missing: '{name}' could not be downloaded ({reason}); "
        f"put the file at '{folders[0] / name}', or use --weights random:0"
    )
    raise WeightsError(message)


def load(model: Any, spec: BackboneSpec, source: Source, *, top: bool) -> None:
    """Fills an unfinished network from ImageNet weights or a file.

    Args:
        model: a Keras model as `applications.build` or `efficientnet_lite.build` makes it; changed in place.
        spec: the network.
        source: not a seed.
        top: whether the model has the classifier of ImageNet.

    Raises:
        WeightsError: the file is missing, unreadable, or of another network.
    """
    path = source.file or imagenet_file(spec, top=top)
    if path.suffix.lower() in TORCH_SUFFIXES:
        efficientnet_lite.load_torch(model, path, top=top)
        return
    try:
        with quiet_stdout(), warnings.catch_warnings():
            # Keras only warns where it leaves layers as they were: for us that is a file of another network.
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", message=".*optimizer")
            model.load_weights(path)
    except _UNREADABLE as error:
        part = "with" if top else "without"
        message = (
            f"'{path}' does not fit {spec.name} {part} its classifier ({_first_line(error)}): "
            "it is damaged or belongs to another network; check the file and the backbone's name"
        )
        raise WeightsError(message) from error


def is_whole_hdf5(path: Path) -> bool:
    """Tells whether a file is HDF5 and as long as its own superblock says: a download that was cut is shorter."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
        size = path.stat().st_size
    except OSError:
        return False
    if not start.startswith(_HDF5_SIGNATURE):
        return False
    # The end-of-file address lies after the base address (and, in old superblocks, the free-space address).
    place = {0: 40, 1: 44}.get(start[8], 28)
    return size >= int.from_bytes(start[place : place + 8], "little")


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Sends what Keras prints to standard error: standard output belongs to the command's result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _keras_folders() -> list[Path]:
    """The folders where Keras keeps weights: its home, and the one it takes where that cannot be written."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    shared = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    return [home / "models", shared / ".keras" / "models"]


def _download(spec: BackboneSpec, *, top: bool) -> str:
    """Lets Keras download a weights file from its own place; returns why it did not work, or nothing."""
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_ANSWER)  # Keras sets none, and a silent network would hang for ever
    try:
        with quiet_stdout(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MobileNet says that it takes the weights of 224 pixels, as it should
            getattr(keras.applications, spec.constructor)(weights="imagenet", include_top=top)
    except Exception as error:  # noqa: BLE001 - Keras raises bare Exception where a download fails
        return _first_line(error)
    finally:
        socket.setdefaulttimeout(before)
    return "Keras put it elsewhere"


def _first_line(error: Exception) -> str:
    """The gist of a foreign error, for a message of one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
