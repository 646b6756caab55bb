"""Plans the pieces of an extraction: which slices lack rows that neither the bank nor a finished piece has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.outline_files import outline_of
from featurebank.bank.index import contained
from featurebank.bank.pieces.notes import PieceNote, SkippedImage, is_done, read_notes
from featurebank.bank.pieces.writer import PieceContents
from featurebank.extraction.cut_budget import row_bytes
from featurebank.extraction.pieces.slices import cut_slices, slice_size
from featurebank.extraction.plan import BankPlan, ExtractionJob
from featurebank.storage.caches import local_path, portable_path
from featurebank.system import digest


@dataclass(frozen=True)
class PieceBank:
    """A bank to which pieces add rows."""

    path: Path
    key: str
    """The digest of its recipe."""
    dtypes: Mapping[str, str | None]
    """The dtype on disk of each tap; None means `default_dtype` of its shape."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path so that another machine finds it, also in a bucket."""
        return _piece_bank, (portable_path(self.path), self.key, dict(self.dtypes))


def _piece_bank(path: str, key: str, dtypes: Mapping[str, str | None]) -> PieceBank:
    return PieceBank(local_path(path), key, dtypes)


@dataclass(frozen=True)
class Piece:
    """The rows of one slice that the banks of a request lack. It can be pickled, and is small.

    Example:
        >>> bank = PieceBank(Path("bank"), "a key", {"pooled": "float32"})
        >>> job = ExtractionJob(0, ("pooled",), 0, np.array([b"1" * 32, b"2" * 32], "S32"))
        >>> [half.rows for half in Piece(0, (bank,), (job,)).halves()]
        [1, 1]
    """

    number: int
    """The number of its slice, from 0."""
    banks: tuple[PieceBank, ...]
    """All banks of the request; a job names one by its number."""
    jobs: tuple[ExtractionJob, ...]
    is_retry: bool = False
    """Whether only images are left that could not be used before."""

    @property
    def images(self) -> np.ndarray:
        """The content digests of its images: (n,) "S32", sorted."""
        return np.unique(np.concatenate([np.empty(0, "S32"), *(job.digests for job in self.jobs)]))

    @property
    def rows(self) -> int:
        """The number of inputs that networks are run on: one for each bank, image and view."""
        return sum(len(job.digests) for job in self.jobs)

    def contents(self) -> dict[int, PieceContents]:
        """Returns what the piece adds to each bank, by the number of the bank."""
        return {
            number: PieceContents(self._key(number), [job.digests for job in self._jobs_of(number)])
            for number in sorted({job.bank for job in self.jobs})
        }

    def is_done(self) -> bool:
        """Returns whether the piece has been computed, by this process or another."""
        return not self.undone().jobs

    def undone(self) -> Piece:
        """Returns the piece without the banks for which it has been computed."""
        done = {
            number for number, one in self.contents().items()
            if is_done(self.banks[number].path, one.key, self.banks[number].key)
        }  # fmt: skip
        return replace(self, jobs=tuple(job for job in self.jobs if job.bank not in done))

    def halves(self) -> tuple[Piece, ...]:
        """Returns the first and the second half of the images as pieces; of a single image, the piece itself."""
        images = self.images
        if len(images) < 2:  # noqa: PLR2004 - a half needs an image
            return (self,)
        middle = len(images) // 2
        return self.only(images[:middle]), self.only(images[middle:])

    def only(self, images: np.ndarray) -> Piece:
        """Returns the part of the piece with some of its images.

        Args:
            images: their content digests, (n,) "S32".
        """
        jobs = (replace(job, digests=job.digests[contained(job.digests, images)]) for job in self.jobs)
        return replace(self, jobs=tuple(job for job in jobs if len(job.digests)))

    def skip_all(self, reason: str) -> None:
        """Writes the notes of the piece without any row: none of its images can be used.

        Args:
            reason: why, for people.
        """
        for number, one in self.contents().items():
            skipped = tuple(SkippedImage(image.decode(), reason) for image in self.images.tolist())
            PieceNote(one.key, self.banks[number].key, (), skipped).save(self.banks[number].path)

    def _jobs_of(self, number: int) -> list[ExtractionJob]:
        return [job for job in self.jobs if job.bank == number]

    def _key(self, number: int) -> str:
        bank = self.banks[number]
        jobs = [[sorted(job.taps), job.view, digest.of_array(job.digests)] for job in self._jobs_of(number)]
        taps = {tap for job in self._jobs_of(number) for tap in job.taps}
        about: dict[str, Any] = {"recipe": bank.key, "jobs": sorted(jobs, key=str)}
        return digest.of_recipe({**about, "dtypes": {tap: bank.dtypes[tap] for tap in sorted(taps)}})


@dataclass(frozen=True)
class PiecePlan:
    """The slices of a request, and what is left to compute of each."""

    slices: int
    """The number of slices."""
    pieces: tuple[Piece, ...]
    """The pieces that are not done, in the order of their slices; a slice that lacks nothing has none."""
    finished: int = 0
    """The number of slices whose pieces are done, but not listed yet."""
    banks: tuple[PieceBank, ...] = field(default=())

    @property
    def missing(self) -> list[Piece]:
        """The pieces without which the banks are not complete; images that could not be used are not needed."""
        return [piece for piece in self.pieces if not piece.is_retry]


def plan_pieces(plans: Sequence[BankPlan], images: np.ndarray, size: int) -> PiecePlan:
    """Plans the pieces of a request; reads notes, and changes nothing.

    Args:
        plans: what an extraction would do to each bank. The jobs count; rows of other banks are not shared by pieces.
        images: the content digests of all readable images of the request, (n,) "S32", sorted and distinct.
        size: the number of images in a slice; see `request_slice_size`.
    """
    banks = tuple(PieceBank(plan.path, digest.of_recipe(plan.state.recipe), plan.dtypes) for plan in plans)
    known = [np.concatenate([plan.state.bad, _skipped(bank)]) for plan, bank in zip(plans, banks, strict=True)]
    slices, pieces, finished = cut_slices(images, size), [], 0
    for number, part in enumerate(slices):
        jobs = [_within(job, part) for plan in plans for job in plan.jobs]
        piece = Piece(number, banks, tuple(job for job in jobs if len(job.digests)))
        left = piece.undone()
        if left.jobs:
            retry = all(contained(job.digests, known[job.bank]).all() for job in left.jobs)
            pieces.append(replace(left, is_retry=retry))
        elif piece.jobs:
            finished += 1
    return PiecePlan(len(slices), tuple(pieces), finished, banks)


def _skipped(bank: PieceBank) -> np.ndarray:
    """Returns the images that finished pieces of a bank could not use: their digests, (n,) "S32"."""
    return np.array([one.digest for note in read_notes(bank.path, bank.key).notes for one in note.skipped], "S32")


def request_slice_size(plans: Sequence[BankPlan], backbones: Sequence[Backbone], images: int) -> int:
    """Returns the number of images in a slice of a request: the smallest that one of its banks needs.

    Args:
        plans: what an extraction does to each bank.
        backbones: the network of each bank; it is built if the shapes of its taps are not known.
        images: the number of distinct images of the request.
    """
    return min(_slice_size(plan, backbone, images) for plan, backbone in zip(plans, backbones, strict=True))


def _slice_size(plan: BankPlan, backbone: Backbone, images: int) -> int:
    row = sum(row_bytes(_tap_shape(tap, backbone, plan.path.parent), plan.dtypes[tap]) for tap in plan.taps)
    return slice_size(images, views=plan.views, image_bytes=row * (plan.views + 1))


def _tap_shape(tap: str, backbone: Backbone, cache: Path) -> tuple[int, ...]:
    if tap == "pooled" and backbone.spec.channels:  # known without the network, which takes seconds to build
        return (backbone.spec.channels,)
    return outline_of(backbone, cache).tap_shape(tap, backbone.spec.layers_hint)


def _within(job: ExtractionJob, part: np.ndarray) -> ExtractionJob:
    """Returns the rows of a job that are in a slice; both are sorted."""
    start, stop = np.searchsorted(job.digests, part[0]), np.searchsorted(job.digests, part[-1], side="right")
    return replace(job, digests=job.digests[start:stop])
