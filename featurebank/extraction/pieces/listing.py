"""Lists finished pieces in their bank, and completes the bank if nothing is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from featurebank.bank.index import contained
from featurebank.bank.pieces.adoption import Adoption, adopt_pieces
from featurebank.bank.pieces.notes import remove_notes
from featurebank.bank.pieces.request import PieceRequest, remove_requests
from featurebank.bank.writer import BankWriter
from featurebank.errors import BankWarning, DatasetError
from featurebank.extraction.bad_images import BadImages
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.pieces.slices import cut_slices
from featurebank.extraction.state import NO_DIGESTS, BankState, read_state, state_of
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted


@dataclass(frozen=True)
class ListedPieces:
    """What a bank has after its finished pieces were listed."""

    bank: Path
    images: int
    """Number of distinct images of the request that have all rows."""
    listed: int
    """Number of rows that were listed now."""
    slices: int
    """Number of slices of the request."""
    missing_slices: tuple[int, ...] = ()
    """The numbers of the slices that lack rows, from 0."""
    missing_images: int = 0
    """Number of images that lack rows."""
    skipped: tuple[Mapping[str, str], ...] = ()
    """`id` and `reason` of each image that cannot be used."""

    @property
    def is_complete(self) -> bool:
        """Whether the bank can be opened: no image of the request lacks rows."""
        return not self.missing_images


def list_pieces(
    path: Path, request: PieceRequest, options: ExtractOptions | None = None, *, reporter: Reporter = SILENT
) -> ListedPieces:
    """Lists the finished pieces of a bank, and completes the bank if no row is missing; waits for the bank's lock.

    Args:
        path: the bank's directory.
        request: what the bank holds in the end.
        options: the options of the extraction, whose `on_bad_image` and `max_bad` count.
        reporter: receives warnings, and which process is waited for.

    Returns:
        What the bank has now. If rows are missing, the bank stays incomplete.

    Raises:
        DatasetError: an image cannot be used and `on_bad_image` is "fail", too many cannot be used, or none can.
        BankError: the bank cannot be read or written.
        DiskFullError: no space is left on the disk.
    """
    warn = partial(reporter.warn, kind=BankWarning)
    with BankWriter(
        path, request.recipe, request.dataset, source=request.source, wait=True, say=reporter.say
    ) as writer:
        for line in writer.lost:
            warn(line)
        adoption = adopt_pieces(writer, warn)
        state = state_of(writer.contents)
        taps, views = tuple(dict.fromkeys((*state.taps, *request.taps))), max(state.views, request.views)
        images, lacking = request.images, _lacking(request.images, state, taps, views)
        reasons = _reasons(writer, adoption)
        missing = lacking[~contained(lacking, np.array(sorted(reasons), "S32"))]
        skipped = _skipped(request, {digest: reasons[digest] for digest in lacking.tolist() if digest in reasons})
        listed = ListedPieces(
            path, len(images) - len(lacking), adoption.rows, len(cut_slices(images, request.size)),
            _slices_with(missing, images, request.size), len(missing),
            tuple({"id": one["id"], "reason": one["reason"]} for one in skipped),
        )  # fmt: skip
        if len(missing):
            remove_notes(path, tuple(note for note in adoption.notes if not note.skipped))
            return listed
        try:
            _check_bad(request, adoption, lacking, skipped, options or ExtractOptions())
        except DatasetError:
            remove_notes(path, adoption.notes)  # so that the same command tries these images again
            raise
        good = np.flatnonzero(~contained(request.items.digests, lacking))
        writer.finish(request.items.select(good), taps, skipped, None, views=views)
        remove_notes(path, adoption.notes)
        remove_requests(path)
    return listed


def lacks_rows(path: Path, request: PieceRequest) -> bool:
    """Returns whether a bank lacks rows of a request that the images have, as far as is known."""
    state = read_state(path, request.recipe)
    lacking = _lacking(request.images, state, request.taps, request.views)
    return bool((~contained(lacking, state.bad)).any())


def _lacking(images: np.ndarray, state: BankState, taps: Sequence[str], views: int) -> np.ndarray:
    """Returns the images that lack a row: their digests, (n,) "S32", sorted."""
    whole = np.ones(len(images), bool)
    for tap in taps:
        for view in range(views + 1):
            whole &= contained(images, state.rows.get((tap, view), NO_DIGESTS))
    return images[~whole]


def _reasons(writer: BankWriter, adoption: Adoption) -> dict[bytes, str]:
    """Returns why images cannot be used, by digest: as the manifest and the pieces say."""
    known = {
        one["digest"].encode(): one["reason"] for one in writer.manifest.skipped if "digest" in one and "reason" in one
    }
    return known | {one.digest.encode(): one.reason for one in adoption.skipped}


def _skipped(request: PieceRequest, reasons: Mapping[bytes, str]) -> tuple[dict[str, str], ...]:
    """Returns `id`, `reason` and (if the file is readable) `digest` of each image that cannot be used, by id."""
    entries = [{"id": one["id"], "reason": one["reason"]} for one in request.unreadable]
    digests = request.items.digests
    for index in np.flatnonzero(contained(digests, np.array(sorted(reasons), "S32"))).tolist():
        digest = bytes(digests[index])
        entries.append({"id": request.items.ids[index], "reason": reasons[digest], "digest": digest.decode()})
    return tuple(sorted(entries, key=lambda entry: entry["id"]))


def _check_bad(
    request: PieceRequest, adoption: Adoption, lacking: np.ndarray, skipped: Sequence[Mapping[str, str]],
    options: ExtractOptions,
) -> None:  # fmt: skip
    """Raises DatasetError if the images that cannot be used are too many; see `BadImages`."""
    if not skipped:
        return
    first = skipped[0]
    if options.on_bad_image == "fail":
        message = (
            f"image '{first['id']}' cannot be used: {first['reason']}; repair or remove it, or use --on-bad-image skip"
        )
        raise DatasetError(message)
    spec, count = str(request.dataset.get("spec", "")), len(request.items.ids) + len(request.unreadable)
    if len(lacking) == len(request.images):
        message = f"none of the {counted(count, 'image')} of '{spec}' can be used; the first: {first['reason']}"
        raise DatasetError(message)
    lost = {one.digest.encode() for one in adoption.skipped if one.lost}
    bad = BadImages(count, spec, options.max_bad)
    bad.add_unreadable(len(request.unreadable), first["id"], first["reason"])
    for place, digest in enumerate(lacking.tolist()):
        bad.add(first["id"], first["reason"], place=place, lost=digest in lost)


def _slices_with(missing: np.ndarray, images: np.ndarray, size: int) -> tuple[int, ...]:
    """Returns the numbers of the slices with these images."""
    return tuple(np.unique(np.searchsorted(images, missing) // size).tolist())


def missing_words(listed: ListedPieces) -> str:
    """Says which part of a bank is missing, as "3 of 16 slices (96 images)"."""
    return (
        f"{len(listed.missing_slices)} of {counted(listed.slices, 'slice')} ({counted(listed.missing_images, 'image')})"
    )
