"""Archives of photos: located on this machine or downloaded, verified, and unpacked atomically."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from featurebank.dataset.fingerprint import reason
from featurebank.errors import DatasetError, FeatureBankError
from featurebank.system.backing.temporaries import temporary_path
from featurebank.system.downloads import download, reason_of
from featurebank.system.files import explain_full_disk

_DETAIL = 160


@dataclass(frozen=True)
class PhotoArchive:
    """A public .tgz file.

    Args:
        file: its name.
        folder: the folder inside it to unpack.
        urls: its addresses, in the order of trial.
        size: size in bytes.
        sha256: its SHA-256.
    """

    file: str
    folder: str
    urls: tuple[str, ...]
    size: int
    sha256: str


def homes() -> list[Path]:
    """Returns the folders of data sets: $FEATUREBANK_DATA if it is set, and the user's cache."""
    import pooch

    own = os.environ.get("FEATUREBANK_DATA")
    return [*([Path(own).expanduser()] if own else []), Path(pooch.os_cache("featurebank"))]


def provide(name: str, archives: Sequence[PhotoArchive], places: Sequence[Path]) -> Path:
    """Returns a folder that contains the unpacked folders of all archives.

    Args:
        name: name of the dataset.
        archives: the archives.
        places: where to search for the folders and the archives; downloads go to the first one.

    Raises:
        DatasetError: an archive is neither here nor downloadable, or is not the expected file; the message says what to
            do.
        DiskFullError: no space is left on the disk.
    """
    place = find(archives, places) or places[0]
    for archive in archives:
        if not (place / archive.folder).is_dir():
            _unpack(_obtain(name, archive, place), archive, place / archive.folder)
    return place


def find(archives: Sequence[PhotoArchive], places: Sequence[Path]) -> Path | None:
    """Returns the first place that has all archives, unpacked or not; None if there is none."""

    def holds(place: Path, archive: PhotoArchive) -> bool:
        return (place / archive.folder).is_dir() or (place / archive.file).is_file()

    return next((place for place in places if all(holds(place, archive) for archive in archives)), None)


def _obtain(name: str, archive: PhotoArchive, place: Path) -> Path:
    path = place / archive.file
    if path.is_file():
        _check(path, archive)
        return path
    problems = []
    for url in archive.urls:
        try:
            with _explained(place), explain_full_disk(path):
                place.mkdir(parents=True, exist_ok=True)
                download(url, path, f"downloading {archive.file}", f"sha256:{archive.sha256}")
                return path
        except FeatureBankError:
            raise
        except (OSError, ValueError) as error:  # no network, no such host, or another file
            problems.append(f"{urlsplit(url).netloc}: {reason_of(error)}")
    elsewhere = "" if os.environ.get("FEATUREBANK_DATA") else f", or into a folder '{place.name}' in $FEATUREBANK_DATA"
    here = f"; for the folder '{name}' in the current directory, write './{name}'" if Path(name).is_dir() else ""
    message = (
        f"'{name}' is not on this machine and {archive.file} could not be downloaded ({'; '.join(problems)}): "
        f"put {archive.file} into '{place}'{elsewhere}{here}"
    )
    raise DatasetError(message)


def _check(path: Path, archive: PhotoArchive) -> None:
    import pooch

    if path.stat().st_size == archive.size and pooch.file_hash(str(path), "sha256") == archive.sha256:
        return
    message = (
        f"'{path}' is not the expected file: it has {path.stat().st_size} bytes of {archive.size}, or another SHA-256 "
        f"than {archive.sha256}; delete it and run again to download it"
    )
    raise DatasetError(message)


def _unpack(path: Path, archive: PhotoArchive, target: Path) -> None:
    """Unpacks one folder of an archive beside the target, and renames it when it is complete."""
    temporary = temporary_path(target.parent, target.name)
    try:
        with _explained(target.parent), explain_full_disk(target), tarfile.open(path) as tar:
            tar.extractall(temporary, members=_members_of(tar, archive.folder), filter="data")
            if hasattr(os, "sync"):
                os.sync()  # one sync for ten thousand small files, because the rename must not reach the disk first
            _rename(temporary / archive.folder, target)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        message = f"cannot unpack '{path}': {_short(error)}; delete it and run again to download it"
        raise DatasetError(message) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members_of(tar: tarfile.TarFile, folder: str) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        path = PurePosixPath(member.name)
        if path.parts[:1] == (folder,) and not path.name.startswith("._"):  # macOS adds such twins to files
            yield member


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster
            raise


@contextlib.contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turns a lack of write permission into a one-line error."""
    try:
        yield
    except PermissionError as error:
        message = (
            f"cannot write into '{place}': {reason(error)}; set FEATUREBANK_DATA to your own folder, "
            "or let somebody else unpack the archive there"
        )
        raise DatasetError(message) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:_DETAIL] or type(error).__name__
