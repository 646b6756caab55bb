"""The files of a model on the Hugging Face hub, or in a directory of the same form.

Only data is read: JSON and safetensors. `huggingface_hub` keeps files in its cache, which needs no network.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from featurebank.backbone.families.hugging_face.hub import (
    COMMIT,
    DIRECTORY_INSTEAD,
    cached_file,
    downloaded_file,
    one_line_errors,
)
from featurebank.backbone.naming import as_part_of_path
from featurebank.errors import ConfigError, WeightsError
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
_LONGEST_NAME = 200


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
    instead: str = DIRECTORY_INSTEAD

    def path(self, file: str) -> Path | None:
        """Returns the path of a file, and downloads it if it is not there; None if the repository has no such file.

        Raises:
            ConfigError: the hub cannot be reached, or does not give the file.
        """
        if self.directory is not None:
            path = self.directory / file
            return path if os.path.lexists(path) else None
        with one_line_errors(self.origin, self.instead):
            return downloaded_file(self.identifier, file, self.commit, is_optional=file in PROCESSORS)

    def here(self, file: str) -> Path | None:
        """Returns the path of a file if it is on this machine; asks no server."""
        return self.path(file) if self.directory is not None else cached_file(self.identifier, file, self.commit)

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
        own = self.json(PROCESSORS[0]) or (self.json(PROCESSORS[1]) or {}).get("image_processor")
        return own if isinstance(own, dict) else None

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
        return self.directory is not None or any(self.here(file) for file in (WEIGHTS, INDEX))

    def _has(self, file: str) -> bool:
        """Returns whether the repository has a file, without downloading it."""
        if self.directory is not None:
            return os.path.lexists(self.directory / file)
        from huggingface_hub import file_exists

        with one_line_errors(self.origin):
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
    with one_line_errors(origin):
        config = downloaded_file(identifier, CONFIG, version)
    # The hub's cache keeps files in snapshots/COMMIT, whatever the revision was called.
    commit = config.parent.name if config and COMMIT.fullmatch(config.parent.name) else version
    return Repository(origin, f"hf:{identifier}@{commit}", f"hf.{_plain(identifier)}", None, identifier, commit)


def _plain(name: str) -> str:
    return as_part_of_path(name).strip(".") or "model"


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
