"""The files of a model on the Hugging Face hub, or in a directory of the same form.

Only files of data are read: configurations in JSON, and weights in safetensors. Files of the hub come through
`huggingface_hub`, which keeps them in its cache; a file in the cache needs no network.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from featurebank.errors import ConfigError, WeightsError, unknown_name
from featurebank.system.downloads import DownloadBar
from featurebank.system.files import open_regular
from featurebank.words import counted, one_line

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Where the image processor is configured; the second is of newer versions, and has it under "image_processor"."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
_LARGEST_JSON = 16 << 20
_MOST_SHARDS = 1000
_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[\w.-]*/)?[\w.-]+")
_SHARD = re.compile(r"[A-Za-z0-9_][\w.-]*\.safetensors", re.ASCII)
_REVISION = re.compile(r"[\w./-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST_NAME = 200
_DIRECTORY = "use a directory, hf:./DIRECTORY"


@dataclass(frozen=True)
class Repository:
    """A model of the hub at one commit, or a directory.

    Args:
        origin: its name in messages, as "hf:facebook/dinov2-base".
        known_as: the name that finds it again: with the commit, or with the whole path.
        name: its name as the name of a directory.
        directory: where its files are; None for a repository of the hub.
        identifier: OWNER/NAME on the hub.
        commit: the revision, 40 hexadecimal digits, or as the user specified it.
        instead: what a user can do without the hub.
    """

    origin: str
    known_as: str
    name: str
    directory: Path | None
    identifier: str = ""
    commit: str = ""
    instead: str = _DIRECTORY

    def path(self, file: str) -> Path | None:
        """Returns the path of a file, and downloads it if it is not there; None if the repository has no such file.

        Raises:
            ConfigError: the hub cannot be reached, or does not give the file.
        """
        if self.directory is not None:
            path = self.directory / file
            return path if os.path.lexists(path) else None
        with _one_line(self.origin, self.instead):
            return _downloaded(self.identifier, file, self.commit)

    def here(self, file: str) -> Path | None:
        """Returns the path of a file if it is on this machine; asks no server."""
        return self.path(file) if self.directory is not None else _cached(self.identifier, file, self.commit)

    def json(self, file: str) -> dict[str, Any] | None:
        """Returns the content of a JSON file; None if the repository has no such file.

        Raises:
            ConfigError: the file is no object in JSON, is no regular file, or is larger than 16 MB.
        """
        path = self.path(file)
        return None if path is None else _json_object(path, f"{self.origin}: {file}")

    def config(self) -> dict[str, Any]:
        """Returns config.json.

        Raises:
            ConfigError: there is none, or it is no object in JSON.
        """
        values = self.json(CONFIG)
        if values is None:
            message = f"{self.origin} has no {CONFIG}: expected a model of transformers, as hf:facebook/dinov2-base"
            raise ConfigError(message)
        return values

    def processor(self) -> dict[str, Any] | None:
        """Returns the configuration of the image processor; None if there is none."""
        values = self.json(PROCESSORS[0])
        if values is None:
            values = (self.json(PROCESSORS[1]) or {}).get("image_processor")
        return values if isinstance(values, dict) else None

    def weights(self) -> list[Path]:
        """Returns the paths of the weights files, and downloads them if they are not there.

        Raises:
            WeightsError: the repository has no weights in safetensors, or its index makes no sense.
        """
        if (whole := self.path(WEIGHTS)) is not None:
            return [whole]
        index = self.json(INDEX)
        if index is None:
            self._refuse_pickles()
        paths = []
        for shard in self._shards(index):
            path = self.path(shard)
            if path is None:
                message = f"{self.origin}: {INDEX} names '{shard}', which does not exist: download or save it again"
                raise WeightsError(message)
            paths.append(path)
        return paths

    def has_weights_here(self) -> bool:
        """Returns whether the weights are on this machine; asks no server."""
        if self.directory is not None:
            return True
        return any(_cached(self.identifier, file, self.commit) is not None for file in (WEIGHTS, INDEX))

    def _has(self, file: str) -> bool:
        """Returns whether the repository has a file, without downloading it."""
        if self.directory is not None:
            return os.path.lexists(self.directory / file)
        from huggingface_hub import file_exists

        with _one_line(self.origin):
            return bool(file_exists(self.identifier, file, revision=self.commit))

    def _shards(self, index: dict[str, Any]) -> Sequence[str]:
        places = index.get("weight_map")
        names = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        bad = [name for name in names if not _SHARD.fullmatch(name)]
        if bad or not 1 <= len(names) <= _MOST_SHARDS:
            what = f"'{one_line(bad[0], 80)}'" if bad else counted(len(names), "file")
            message = f"{self.origin}: {INDEX} names {what}: expected names of .safetensors files beside it"
            raise WeightsError(message)
        return names

    def _refuse_pickles(self) -> NoReturn:
        found = next((name for name in _PICKLES if self._has(name)), None)
        what = f"its weights only as {found}, which is never read: such a file can run code" if found else "no weights"
        message = (
            f"{self.origin} has {what}: expected {WEIGHTS}; load it once with transformers and save it with "
            "model.save_pretrained('DIRECTORY'), then use hf:./DIRECTORY, or use --weights random:0"
        )
        raise WeightsError(message)


def open_repository(text: str) -> Repository:
    """Finds a model.

    Args:
        text: OWNER/NAME or OWNER/NAME@REVISION of the hub, or a directory that begins with ".", "/" or "~".

    Raises:
        ConfigError: there is no such directory or repository, or the hub cannot be reached.
    """
    origin = f"hf:{one_line(text, _LONGEST_NAME)}"
    if text.startswith((".", "/", "~")):
        directory = Path(text).expanduser()
        if not os.path.isdir(directory):  # noqa: PTH112 - False, not an error, for a name that no file can have
            message = f"{origin}: there is no such directory: expected one with {CONFIG} and {WEIGHTS}"
            raise ConfigError(message)
        whole = directory.resolve()
        return Repository(origin, f"hf:{whole}", f"hf.{_plain(whole.name)}", whole)
    identifier, at, revision = text.partition("@")
    if not _REPOSITORY.fullmatch(identifier) or len(text) > _LONGEST_NAME or (at and not _REVISION.fullmatch(revision)):
        message = f"{origin}: expected hf:OWNER/NAME, hf:OWNER/NAME@REVISION, or hf:./DIRECTORY"
        raise ConfigError(message)
    version = revision or "main"
    with _one_line(origin):
        config = _downloaded(identifier, CONFIG, version)
    # The hub's cache keeps files in snapshots/COMMIT, whatever the revision was called.
    commit = config.parent.name if config and _COMMIT.fullmatch(config.parent.name) else version
    return Repository(origin, f"hf:{identifier}@{commit}", f"hf.{_plain(identifier)}", None, identifier, commit)


def cached_repositories() -> list[tuple[str, str]]:
    """Returns the models in the local cache of the hub, each with its size in words; asks no server."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir()
    except (CacheNotFound, OSError, ValueError):
        return []
    return sorted((repo.repo_id, repo.size_on_disk_str) for repo in found.repos if repo.repo_type == "model")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".") or "model"


def _json_object(path: Path, what: str) -> dict[str, Any]:
    try:
        with open_regular(path, _LARGEST_JSON) as file:
            values = json.loads(file.read(_LARGEST_JSON + 1))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        message = f"{what} cannot be read ({one_line(reason, 160)}): expected a JSON object of at most 16 MB"
        raise ConfigError(message) from error
    if not isinstance(values, dict):
        message = f"{what} holds a {type(values).__name__}: expected a JSON object"
        raise ConfigError(message)
    return values


def _cached(identifier: str, file: str, revision: str) -> Path | None:
    """Returns a file of the hub that is on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(identifier, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _downloaded(identifier: str, file: str, revision: str) -> Path | None:
    """Returns a file of the hub; None if the repository has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if _COMMIT.fullmatch(revision) and (cached := _cached(identifier, file, revision)):
        return cached  # a commit never changes
    try:
        with DownloadBar(f"downloading {identifier} {file}") as bar, _quiet_log():
            return Path(hf_hub_download(identifier, file, revision=revision, tqdm_class=_reporting_to(bar)))
    except LocalEntryNotFoundError:
        if file in PROCESSORS and _cached(identifier, CONFIG, revision):
            return None  # without a network, what the cache has is all there is
        raise
    except EntryNotFoundError:
        return None


@contextlib.contextmanager
def _quiet_log() -> Iterator[None]:
    """Keeps the log of the hub's package, as of repeated requests, out of our output."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reporting_to(bar: DownloadBar) -> Any:
    """Returns a class that takes the place of tqdm's and shows its progress on our bar."""
    from huggingface_hub.utils import tqdm

    class Reporting(tqdm):  # type: ignore[misc]  # a class of the package, which is imported when it is needed
        """A silent bar of tqdm."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)
            bar.total = kwargs.get("total") or 0

        def update(self, n: float | None = 1) -> None:
            bar.update(int(n or 0))

    return Reporting


@contextlib.contextmanager
def _one_line(origin: str, instead: str = _DIRECTORY) -> Iterator[None]:
    """Turns the errors of the hub into one line each."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        message = (
            f"{origin} is gated: accept its terms on its page of huggingface.co, and log in with 'hf auth login', or "
            "set HF_TOKEN"
        )
        raise ConfigError(message) from error
    except errors.RepositoryNotFoundError as error:
        known = [name for name, _ in cached_repositories()]
        hint = "the hub has no such model; a private one needs 'hf auth login'"
        raise unknown_name("model of the hub", origin.removeprefix("hf:"), known, hint) from error
    except errors.RevisionNotFoundError as error:
        message = f"{origin}: the hub has no such revision: expected a branch, a tag or a commit after '@'"
        raise ConfigError(message) from error
    except errors.LocalEntryNotFoundError as error:
        message = (
            f"{origin} is not in the local cache of the hub, and the hub cannot be reached: check the network (and "
            f"HF_HUB_OFFLINE), or {instead}"
        )
        raise ConfigError(message) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        message = f"{origin} cannot be downloaded ({one_line(str(error), 200)}): try again later, or {instead}"
        raise ConfigError(message) from error
