"""Files of the Hugging Face hub, by its own package, and what can go wrong there."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError, unknown_name
from featurebank.system.downloads import DownloadBar, hub_answers
from featurebank.words import one_line

COMMIT = re.compile(r"[0-9a-f]{40}")
DIRECTORY_INSTEAD = "use a directory, hf:./DIRECTORY"
"""What can be done where the hub cannot be reached."""


def cached_repositories() -> list[tuple[str, str]]:
    """Returns the models in the local cache of the hub, each with its size in words; asks no server."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir()
    except (CacheNotFound, OSError, ValueError):
        return []
    return sorted((repo.repo_id, repo.size_on_disk_str) for repo in found.repos if repo.repo_type == "model")


def cached_file(identifier: str, file: str, revision: str) -> Path | None:
    """Returns a file of the hub that is on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(identifier, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def downloaded_file(identifier: str, file: str, revision: str, *, is_optional: bool = False) -> Path | None:
    """Returns a file of the hub; None if the repository has no such file.

    Args:
        identifier: OWNER/NAME.
        file: its name.
        revision: a branch, a tag or a commit.
        is_optional: whether a file that is not in the cache counts as missing where the hub cannot be reached.

    Raises:
        OSError: it cannot be downloaded; see `one_line_errors`.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if COMMIT.fullmatch(revision) and (cached := cached_file(identifier, file, revision)):
        return cached  # a commit never changes
    try:
        with DownloadBar(f"downloading {identifier} {file}") as bar, _quiet_log():
            options = {"tqdm_class": _reporting_to(bar), "local_files_only": not hub_answers()}
            return Path(hf_hub_download(identifier, file, revision=revision, **options))
    except LocalEntryNotFoundError:
        if is_optional:
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
def one_line_errors(origin: str, instead: str = DIRECTORY_INSTEAD) -> Iterator[None]:
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
