"""Pieces in any order, by any number of processes: the same rows and the same files as one plain extraction."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard_files import shards

from featurebank import load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.pieces.notes import PIECES
from featurebank.bank.reader import Bank
from featurebank.dataset.cutting import DatasetCutter
from featurebank.errors import BankIncompleteError, BankReadOnlyError, DatasetError
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.extraction.pieces.opening import PieceExtraction
from featurebank.extraction.pieces.plan import Piece
from featurebank.extraction.pieces.runner import PieceRunner

pytestmark = pytest.mark.usefixtures("pixels")
Open = Callable[..., PieceExtraction]


def run(work: PieceExtraction, pieces: Sequence[Piece]) -> int:
    with PieceRunner(work.backbones, work.options) as runner:
        return runner.run(pieces, work.dataset).rows


@pytest.fixture
def plain(photos: Path, lite: Backbone, tmp_path: Path) -> Bank:
    """The bank of one plain extraction."""
    options = ExtractOptions(batch_size=5)
    return run_extraction(load_dataset(str(photos)), lite, options, cache=tmp_path / "plain").bank


def test_pieces_make_the_bank_of_a_plain_extraction(opened: Open, plain: Bank) -> None:
    work = opened()
    pieces = work.plan().pieces
    assert [len(piece.images) for piece in pieces] == [4] * 6
    assert run(work, pieces) == 24
    (listed,) = work.list()
    assert (listed.is_complete, listed.listed, listed.images, listed.slices) == (True, 24, 24, 6)
    bank = Bank(listed.bank)
    assert bank.manifest.items == plain.manifest.items
    assert np.array_equal(bank.features(), plain.features())
    assert not (bank.path / PIECES).exists()
    assert bank.manifest.last_extraction
    assert bank.manifest.last_extraction["added"] == 24


@given(
    order=st.permutations(range(6)),
    cuts=st.lists(st.integers(1, 5), max_size=5, unique=True).map(sorted),
    listings=st.sets(st.integers(0, 5)),
)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_files_do_not_depend_on_who_computes_what(
    opened: Open, order: list[int], cuts: list[int], listings: set[int]
) -> None:
    """The pieces in any order, in any groups, listed at any time between: the same shards, with the same bytes."""
    number = next(_runs)
    work = opened(f"cache{number}")
    pieces = work.plan().pieces
    for turn, (start, stop) in enumerate(itertools.pairwise([0, *cuts, 6])):
        run(work, [pieces[place] for place in order[start:stop]])
        if turn in listings:
            work.list()
    (listed,) = work.list()
    assert listed.is_complete
    first = _files.setdefault("first", shards(listed.bank))
    assert shards(listed.bank) == first
    assert len(first) == 6
    assert {shard.file for shard in Bank(listed.bank).manifest.shards} == set(first)


_runs = itertools.count()
_files: dict[str, dict[str, bytes]] = {}


def test_a_piece_that_is_done_is_not_computed_again(opened: Open) -> None:
    work = opened()
    pieces = work.plan().pieces
    assert run(work, pieces[:2]) == 8
    assert run(work, pieces[:3]) == 4
    again = opened().plan()
    assert ([piece.number for piece in again.pieces], again.finished, again.slices) == ([3, 4, 5], 3, 6)


def test_a_piece_whose_shard_is_gone_is_computed_again(opened: Open) -> None:
    work = opened()
    pieces = work.plan().pieces
    run(work, pieces[:2])
    next(iter(work.banks[0].path.glob("shard-*.h5"))).unlink()
    assert len(opened().plan().pieces) == 5


def test_an_unlisted_row_does_not_exist(opened: Open) -> None:
    work = opened()
    run(work, work.plan().pieces[:5])
    (listed,) = work.list()
    assert (listed.missing_slices, listed.missing_images, listed.images) == ((5,), 4, 20)
    with pytest.raises(BankIncompleteError, match="extract"):
        Bank(listed.bank)


def test_a_plain_extraction_uses_the_finished_pieces(
    opened: Open, photos: Path, lite: Backbone, tmp_path: Path, plain: Bank
) -> None:
    work = opened()
    run(work, work.plan().pieces[1:4])
    result = run_extraction(load_dataset(str(photos)), lite, ExtractOptions(), cache=tmp_path / "cache")
    assert (result.added, result.reused) == (12, 12)
    assert np.array_equal(result.bank.features(), plain.features())
    assert not (result.bank.path / PIECES).exists()


def test_a_piece_travels(opened: Open, plain: Bank) -> None:
    """Another process needs the piece, the images of the piece and the backbone."""
    work = opened()
    cutter = DatasetCutter(work.dataset)
    for piece in work.plan().pieces:
        sent = pickle.dumps((piece, cutter.cut(piece.images), work.options))
        assert len(sent) < 6000
        there, images, options = pickle.loads(sent)
        with PieceRunner(work.backbones, options) as runner:
            result = pickle.loads(pickle.dumps(runner.run([there], images)))
        assert (result.images, result.rows, result.engines, result.skipped) == (4, 4, ("pixels",), ())
    (listed,) = work.list()
    assert np.array_equal(Bank(listed.bank).features(), plain.features())


def test_halves_are_pieces(opened: Open) -> None:
    work = opened()
    pieces = list(work.plan().pieces)
    first, second = pieces.pop(0).halves()
    assert [len(first.images), len(second.images)] == [2, 2]
    poisonous, other = second.halves()
    run(work, [*pieces, first, other])
    assert poisonous.halves() == (poisonous,)
    poisonous.skip_all("it ends the process that decodes it")
    (listed,) = work.list()
    assert (listed.is_complete, listed.images) == (True, 23)
    assert [one["reason"] for one in listed.skipped] == ["it ends the process that decodes it"]


def test_a_read_only_disk_is_named(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    work = opened()

    def refuse(*about: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("featurebank.bank.pieces.writer.write_shard", lambda *about, **options: refuse())
    with pytest.raises(BankReadOnlyError, match=r"is read-only .* choose another --cache"):
        run(work, work.plan().pieces)
    monkeypatch.setattr("featurebank.bank.pieces.request.write_bytes", refuse)
    for path in (work.banks[0].path / PIECES).glob("request-*"):
        path.unlink()
    with pytest.raises(BankReadOnlyError, match="is read-only"):
        opened()


def test_an_image_that_cannot_be_used_is_skipped(opened: Open, photos: Path) -> None:
    (photos / "ant" / "broken.png").write_bytes(b"not an image")
    work = opened()
    pieces = work.plan().pieces
    run(work, pieces[:-1])
    partial = work.list()[0]
    assert not partial.is_complete
    assert {one["id"] for one in partial.skipped} <= {"ant/broken.png"}
    assert [piece.number for piece in work.plan().missing] == [pieces[-1].number]
    run(work, pieces[-1:])
    (listed,) = work.list()
    assert listed.is_complete
    assert [one["id"] for one in listed.skipped] == ["ant/broken.png"]
    assert [one["id"] for one in Bank(listed.bank).skipped] == ["ant/broken.png"]
    again = opened().plan()
    assert (again.missing, [piece.is_retry for piece in again.pieces]) == ([], [True])
    run(work, again.pieces)
    assert work.list()[0].is_complete
    assert not (listed.bank / PIECES).exists()


def test_a_bad_image_fails_if_it_should(opened: Open, photos: Path) -> None:
    (photos / "ant" / "broken.png").write_bytes(b"not an image")
    work = opened(on_bad_image="fail")
    with pytest.raises(DatasetError, match=r"ant/broken\.png"):
        run(work, work.plan().pieces)
    lenient = opened()
    run(lenient, lenient.plan().pieces)
    with pytest.raises(DatasetError, match="--on-bad-image skip"):
        opened(on_bad_image="fail").list()


def test_too_many_lost_images_are_tried_again(opened: Open, photos: Path) -> None:
    work = opened()
    pieces = work.plan().pieces
    away = photos.with_name("away")
    photos.rename(away)
    with pytest.raises(DatasetError, match="could not be read any more"):
        run(work, pieces)
    away.rename(photos)
    run(work, pieces)
    assert work.list()[0].is_complete
    assert not work.list()[0].skipped


def test_views(opened: Open, photos: Path, lite: Backbone, tmp_path: Path) -> None:
    work = opened(views=2, augment="flip")
    run(work, work.plan().pieces)
    (listed,) = work.list()
    bank = Bank(listed.bank)
    options = ExtractOptions(views=2, augment="flip")
    other = run_extraction(load_dataset(str(photos)), lite, options, cache=tmp_path / "plain").bank
    assert (bank.taps, bank.views) == (other.taps, other.views)
    for view in range(3):
        assert np.array_equal(bank.features(view=view), other.features(view=view))


def test_rows_of_another_bank_are_shared(opened: Open, photos: Path, lite: Backbone, tmp_path: Path) -> None:
    run_extraction(load_dataset(str(photos), limit=10), lite, ExtractOptions(), cache=tmp_path / "cache")
    work = opened()
    assert run(work, work.plan().pieces) == 14
    (listed,) = work.list()
    assert listed.is_complete
    assert any("linked" in one for one in Bank(listed.bank).manifest.history)
