"""`featurebank cache finish`: lists what the parts of an extraction have finished; needs neither images nor network."""

from __future__ import annotations

from pathlib import Path

from featurebank.bank.catalog import bank_directories
from featurebank.bank.manifest import load_manifest
from featurebank.bank.pieces.notes import PIECES, check_place, note_files
from featurebank.bank.pieces.request import newest_request, remove_requests, request_files
from featurebank.extraction.pieces.listing import ListedPieces, lacks_rows, list_pieces
from featurebank.system.progress import SILENT, Reporter


def finish_bank(path: Path, *, reporter: Reporter = SILENT) -> ListedPieces | None:
    """Lists the finished pieces of a bank, and completes the bank if no piece is missing.

    Args:
        path: the bank's directory.
        reporter: receives warnings, and which process is waited for.

    Returns:
        What the bank has now; None if no extraction in pieces is unfinished.

    Raises:
        BankError: the bank cannot be read or written, or the description of the extraction is damaged.
        DatasetError: too many images cannot be used.
        DiskFullError: no space is left on the disk.

    Example:
        >>> finish_bank(Path("cache/photos")) is None
        True
    """
    check_place(path)
    request = newest_request(path)
    if request is None:
        return None
    if load_manifest(path).items is not None and not any(note_files(path)) and not lacks_rows(path, request):
        remove_requests(path)  # left by a process that was killed just after another one had completed the bank
        return None
    return list_pieces(path, request, reporter=reporter)


def banks_in_pieces(cache: Path) -> list[Path]:
    """Returns the banks of a cache with an unfinished extraction in pieces, sorted."""
    return [path for path in bank_directories(cache) if _has_pieces(path)]


def _has_pieces(path: Path) -> bool:
    is_link = (path / PIECES).is_symlink()  # whatever it leads to: `finish_bank` refuses it
    return is_link or any((*note_files(path), *request_files(path)))
