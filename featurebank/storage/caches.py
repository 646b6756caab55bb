"""Which directory a cache has on this machine: the one that the user names, or the mirror of one in a bucket."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path

from featurebank.errors import ConfigError
from featurebank.storage.address import SCHEME, Address, parse_address
from featurebank.storage.mirror import Mirror
from featurebank.storage.objects import Objects
from featurebank.system.backing.protocol import backing_of, register_backing
from featurebank.system.runtime import parse_bytes

CACHE_VARIABLE = "FEATUREBANK_CACHE"
MIRROR_VARIABLE = "FEATUREBANK_MIRROR"
"""Environment variable with the directory that holds the mirrors."""

_limit: int | None = None
_mirrors: dict[tuple[Address, Path], Mirror] = {}
_lock = threading.Lock()


def cache_directory(cache: str | os.PathLike[str] | None = None) -> Path:
    """Returns the local directory of a cache; for one in a bucket, that of its mirror.

    The first call for a bucket asks it whether it can be listed; before that, nothing is sent anywhere.

    Args:
        cache: a directory or "s3://BUCKET/PREFIX"; None for `$FEATUREBANK_CACHE`, else `./cache`.

    Raises:
        ConfigError: the text is a URL, but not that of a bucket.
        MissingDependencyError: s3fs is not installed.
        StorageError: the bucket does not exist, does not answer, or refuses the credentials.

    Example:
        >>> cache_directory("cache")
        PosixPath('cache')
    """
    text = os.fspath(cache) if cache else os.environ.get(CACHE_VARIABLE) or "cache"
    address = parse_address(text)
    return Path(text) if address is None else _mirror(address).root


def portable_path(path: Path) -> str:
    """Returns a text that names a path in a cache to other machines; `local_path` reads it.

    A path on the local disk stays as it is; in a bucket, two slashes separate the cache from the rest.

    Example:
        >>> portable_path(Path("/data/cache/photos"))
        '/data/cache/photos'
    """
    return _address_of(path, "//")


def shown_path(path: Path) -> str:
    """Returns the text by which people name a path in a cache, and by which commands find it: in a bucket, its address.

    Example:
        >>> shown_path(Path("/data/cache/photos"))
        '/data/cache/photos'
    """
    return _address_of(path, "/")


def local_path(text: str) -> Path:
    """Returns the path on this machine that `portable_path` named on another; opens the cache, if it is in a bucket.

    Raises:
        ConfigError, MissingDependencyError, StorageError: see `cache_directory`.

    Example:
        >>> local_path("/data/cache/photos").name
        'photos'
    """
    if not text.startswith(SCHEME):
        return Path(text)
    cache, _, rest = text[len(SCHEME) :].partition("//")
    return cache_directory(SCHEME + cache) / rest


def _address_of(path: Path, between: str) -> str:
    """Returns the address of a path in a bucket, with a text between the cache and the rest; another path as it is."""
    mirror = mirror_of(path)
    if mirror is None:
        return str(path)
    rest = path.absolute().relative_to(mirror.root.absolute()).as_posix()
    return str(mirror.objects.address) + ("" if rest == "." else between + rest)


def mirror_of(path: Path) -> Mirror | None:
    """Returns the mirror that a path lies in; None for a path on the local disk alone."""
    backing = backing_of(path)
    return backing if isinstance(backing, Mirror) else None


def limit_local_cache(size: int | str | None, name: str = "--local-cache") -> None:
    """Sets how many bytes of shards and models each mirror may keep; see `featurebank.set_local_cache`.

    Args:
        size: see `featurebank.set_local_cache`.
        name: what messages call the limit.
    """
    global _limit  # noqa: PLW0603 - the setting belongs to the process, as the disk does
    _limit = None if size is None else parse_bytes(size, name)
    for mirror in _mirrors.values():
        _set_limit(mirror)


def _mirror(address: Address) -> Mirror:
    place = mirrors_directory()
    with _lock:
        if (address, place) not in _mirrors:
            objects = Objects(address)
            objects.check()
            name = "-".join(part for part in (address.bucket, address.prefix.rpartition("/")[2]) if part)[:60]
            key = hashlib.blake2b(f"{objects.endpoint} {address}".encode(), digest_size=6).hexdigest()
            mirror = Mirror(place / f"{name}-{key}", objects)
            _check_owner(mirror)
            _set_limit(mirror)
            register_backing(mirror.root, mirror)
            _mirrors[address, place] = mirror
        return _mirrors[address, place]


def mirrors_directory() -> Path:
    """Returns the directory that holds the mirrors: `$FEATUREBANK_MIRROR`, else one in the user's folder of caches."""
    if place := os.environ.get(MIRROR_VARIABLE):
        return Path(place).expanduser().absolute()
    home = Path.home() / ("AppData/Local" if os.name == "nt" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or home).absolute() / "featurebank" / "mirrors"


def _check_owner(mirror: Mirror) -> None:
    """Raises ConfigError if the directory holds files of another cache."""
    mine = f"{mirror.objects.endpoint} {mirror.objects.address}"
    owner = mirror.state.fact("owner")
    if owner is None:
        mirror.state.set_fact("owner", mine)
    elif owner != mine:
        message = f"'{mirror.root}' is the mirror of '{owner.rpartition(' ')[2]}': delete it, or set {MIRROR_VARIABLE}"
        raise ConfigError(message)


def _set_limit(mirror: Mirror) -> None:
    """Limits a mirror; by default, to what it has and half of the free space."""
    if _limit is not None:
        mirror.limit = _limit
        mirror.evict()
    else:
        mirror.limit = mirror.used_bytes() + shutil.disk_usage(mirror.root).free // 2
