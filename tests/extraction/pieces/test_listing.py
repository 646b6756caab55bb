"""Listing finished pieces: what strangers write into notes and requests never hurts a bank."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener

from featurebank import load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.manifest import load_manifest
from featurebank.bank.pieces.notes import PIECES, note_files
from featurebank.bank.pieces.request import newest_request
from featurebank.bank.reader import Bank
from featurebank.errors import BankDamagedError, BankError
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.extraction.pieces.finishing import banks_in_pieces, finish_bank
from featurebank.extraction.pieces.listing import list_pieces
from featurebank.extraction.pieces.opening import PieceExtraction, open_pieces
from featurebank.extraction.pieces.runner import PieceRunner
from featurebank.system.sealed_json import read_sealed, write_sealed

pytestmark = pytest.mark.usefixtures("pixels")
Open = Callable[..., PieceExtraction]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def work(opened: Open, tmp_path: Path) -> PieceExtraction:
    """An extraction whose pieces are all done, and not listed: a copy of one that all tests share."""
    if not _done:
        opening = opened("shared")
        with PieceRunner(opening.backbones, opening.options) as runner:
            runner.run(opening.plan().pieces, opening.dataset)
        _done.append(opening)
    (shared,) = _done
    path = tmp_path / "cache" / shared.banks[0].path.name
    shutil.copytree(shared.banks[0].path, path)
    return replace(shared, banks=[replace(shared.banks[0], path=path)])


_done: list[PieceExtraction] = []


def set_shard(**values: Any) -> Change:
    return lambda note: note["shards"][0].update(values)


def set_tap(**values: Any) -> Change:
    return lambda note: note["shards"][0]["taps"]["pooled"].update(values)


HOSTILE: dict[str, Change] = {
    "another recipe": lambda note: note.update(recipe="0" * 32),
    "a newer format": lambda note: note.update(format_version=2),
    "another key": lambda note: note.update(key="0" * 32),
    "no shards": lambda note: note.pop("shards"),
    "shards of another type": lambda note: note.update(shards=7),
    "a path": set_shard(file="../shard-1.h5"),
    "an absolute path": set_shard(file="/etc/shard-1.h5"),
    "the manifest": set_shard(file="manifest.json"),
    "a shard that is not there": set_shard(file="shard-00.h5"),
    "too many rows": set_shard(rows=10**12, bytes=10**15),
    "a huge number": set_shard(rows=10**400),
    "a negative number": set_shard(rows=-1),
    "a shape without an end": set_tap(shape=[1 << 62, 1 << 62]),
    "an offset beyond the file": set_tap(offset=1 << 62),
    "another dtype": set_tap(dtype="float16"),
    "no dtype": set_tap(dtype="object"),
    "a view": set_shard(view=300),
    "an image": lambda note: note.update(skipped=[{"digest": "../x", "reason": "", "lost": False}]),
    "a reason": lambda note: note.update(skipped=[{"digest": "0" * 32, "reason": {}, "lost": False}]),
    "endless seconds": lambda note: note["event"].update(seconds=1e300),
    "more seconds than a float holds": lambda note: note["event"].update(seconds=10**400),
    "an engine": lambda note: note["event"].update(engine=["openvino"]),
    "versions": lambda note: note["event"].update(versions={"numpy": 2}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_note_is_not_used(name: str, work: PieceExtraction) -> None:
    first = next(note_files(work.banks[0].path))
    value = read_sealed(first)
    HOSTILE[name](value)
    write_sealed(first, value)
    before = {path.name: path.read_bytes() for path in work.banks[0].path.glob("shard-*.h5")}
    listener = Listener()
    listed = list_pieces(work.banks[0].path, work.requests[0], reporter=listener)
    assert (listed.is_complete, listed.images, len(listed.missing_slices)) == (False, 20, 1)
    (line,) = listener.warned
    assert first.stem in line
    assert "\n" not in line
    assert {path.name: path.read_bytes() for path in work.banks[0].path.glob("shard-*.h5")} == before
    with PieceRunner(work.backbones, work.options) as runner:
        assert runner.run(work.plan().pieces, work.dataset).rows == 4
    assert work.list()[0].is_complete


@pytest.mark.parametrize("content", [b"", b"{}", b"[[[[", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_note_is_not_used(content: bytes, work: PieceExtraction) -> None:
    path = work.banks[0].path
    (path / PIECES / f"{'0' * 32}.json").write_bytes(content)
    listener = Listener()
    assert list_pieces(path, work.requests[0], reporter=listener).is_complete
    (line,) = listener.warned
    assert f"{'0' * 32}.json' is not used" in line


def test_a_shard_of_another_shape_is_not_used(
    work: PieceExtraction, photos: Path, lite: Backbone, tmp_path: Path
) -> None:
    """A note that is right in itself, with rows that do not fit those of the bank."""
    other = open_pieces(load_dataset(str(photos)), [lite], ExtractOptions(store="float16"), cache=tmp_path / "other")
    with PieceRunner(other.backbones, other.options) as runner:
        runner.run(other.plan().pieces[:1], other.dataset)
    for path in other.banks[0].path.glob("shard-*.h5"):
        shutil.copy(path, work.banks[0].path)
    (note,) = note_files(other.banks[0].path)
    value = read_sealed(note)
    key = "f" * 32  # after those of the bank
    write_sealed(work.banks[0].path / PIECES / f"{key}.json", {**value, "key": key})
    listener = Listener()
    listed = list_pieces(work.banks[0].path, work.requests[0], reporter=listener)
    assert listed.is_complete
    (line,) = listener.warned
    assert "float16" in line
    assert Bank(listed.bank).tap_dtype("pooled") == "float32"


def test_a_link_is_not_followed(work: PieceExtraction, tmp_path: Path) -> None:
    path = work.banks[0].path
    shutil.move(path / PIECES, tmp_path / "elsewhere")
    (path / PIECES).symlink_to(tmp_path / "elsewhere")
    assert list_pieces(path, work.requests[0]).images == 0
    assert len(list((tmp_path / "elsewhere").glob("*.json"))) == 7
    assert banks_in_pieces(path.parent) == [path]
    for use in (lambda: finish_bank(path), work.plan):
        with pytest.raises(BankError, match=r"\.pieces' is a link to another place, which is not followed"):
            use()


def test_a_file_in_the_place_of_the_notes_is_named(work: PieceExtraction) -> None:
    path = work.banks[0].path
    shutil.rmtree(path / PIECES)
    (path / PIECES).touch()
    with pytest.raises(BankError, match=r"\.pieces' is no directory"):
        work.plan()


def test_a_request_is_read_again(work: PieceExtraction) -> None:
    request = newest_request(work.banks[0].path)
    assert request is not None
    assert (request.taps, request.views, request.size) == (("pooled",), 0, 4)
    assert np.array_equal(request.images, work.dataset.distinct())
    assert list_pieces(work.banks[0].path, request).is_complete
    assert newest_request(work.banks[0].path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format_version=2),
        lambda value: value.update(size=0),
        lambda value: value.update(size=10**30 * -1),
        lambda value: value.update(taps=[7]),
        lambda value: value["dataset"].update(name="../x"),
        lambda value: value.update(items="0" * 32),
        lambda value: value.update(unreadable=[{"id": "a", "reason": 3}]),
        lambda value: value.pop("recipe"),
    ],
)
def test_a_hostile_request_is_refused(change: Change, work: PieceExtraction) -> None:
    (path,) = (work.banks[0].path / PIECES).glob("request-*.json")
    value = read_sealed(path)
    change(value)
    write_sealed(path, value)
    with pytest.raises(BankDamagedError, match="not the request"):
        newest_request(work.banks[0].path)


def test_two_that_list_at_once_both_end_well(work: PieceExtraction) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = [future.result()[0] for future in [pool.submit(work.list) for _ in range(2)]]
    assert [one.is_complete for one in results] == [True, True]
    assert sorted(one.listed for one in results) == [0, 24]


@pytest.mark.parametrize("whole_first", [False, True])
def test_a_piece_and_its_halves_are_listed_once(opened: Open, *, whole_first: bool) -> None:
    """A process that was killed had halved a piece; another one has computed the whole."""
    work = opened("halved")
    whole, *others = work.plan().pieces
    orders = [[whole], [*whole.halves(), *others]]
    for pieces in orders if whole_first else orders[::-1]:
        with PieceRunner(work.backbones, work.options) as runner:
            runner.run(pieces, work.dataset)
    assert len(list(note_files(work.banks[0].path))) == 3 + len(others)
    (listed,) = work.list()
    rows = sum(shard.rows for shard in load_manifest(listed.bank).shards)
    assert rows == listed.images == listed.listed == len(work.dataset.distinct())


def test_several_backbones_share_a_pass(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    networks = [lite, load_backbone("efficientnet_lite0", weights="random:1", image_size=48)]
    work = open_pieces(load_dataset(str(photos)), networks, ExtractOptions(), cache=tmp_path / "cache")
    with PieceRunner(networks, work.options) as runner:
        result = runner.run(work.plan().pieces, work.dataset)
    assert (result.images, result.rows, result.engines) == (24, 48, ("pixels", "pixels"))
    for listed, network in zip(work.list(), networks, strict=True):
        other = run_extraction(load_dataset(str(photos)), network, ExtractOptions(), cache=tmp_path / "plain").bank
        assert np.array_equal(Bank(listed.bank).features(), other.features())
