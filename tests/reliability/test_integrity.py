"""A byte that a disk has changed is found; a reader gives right rows or an error; the damaged is made again."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import extract, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.outline_files import outline_of
from featurebank.bank.locks.claims import NAME as CLAIMS
from featurebank.bank.locks.note import Heartbeat
from featurebank.bank.locks.writer_lock import LOCK, NOTE
from featurebank.bank.maintenance.verify import verify_bank, verify_beside
from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.bank.reader import Bank
from featurebank.dataset.fingerprint_cache import digest_changed
from featurebank.engine.converted import path_of, save
from featurebank.errors import BankError
from featurebank.finetuning.checkpoint import Checkpoint, TrainingState
from featurebank.runs.openings import record_opening
from featurebank.runs.run import load_runs
from featurebank.system.digest import of_file

pytestmark = pytest.mark.heavy

PLACES = 200
Start = Callable[..., "subprocess.Popen[str]"]
Ended = Callable[..., tuple[str, str]]
AllOf = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """A byte of a file, and the bits of it that change."""

    file: Path
    byte: int
    bits: int

    def flip(self) -> None:
        data = bytearray(self.file.read_bytes())
        data[self.byte] ^= self.bits
        self.file.write_bytes(data)


@pytest.fixture
def path(
    photos: Path, lite: Backbone, pixels: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:  # fmt: skip
    """A bank with six shards of two taps, three views, skipped images, and heads that were trained on it."""
    monkeypatch.setattr("featurebank.bank.writer.SHARD_ROWS", 12)
    monkeypatch.setattr("featurebank.bank.pages.shard_pages.SHARDS_A_PAGE", 4)
    (photos / "ant" / "none.jpg").write_bytes(b"no image")
    dataset = load_dataset(str(photos), split=(0.5, 0.3, 0.2))
    options: dict[str, Any] = {"views": 2, "augment": "flip,rotate=20", "batch_size": 12, "cache": tmp_path / "cache"}
    bank = extract(dataset, lite, ["pooled", "map:max"], **options)
    heads = [{"kind": "ridge", "alpha": [1, 10][n]} for n in (0, 1)] + [{"kind": "knn", "n_neighbors": 1}]
    train_heads(bank, heads, taps=["pooled", "map:max"])
    assert sorted(file.suffix for file in files_of(bank.path)) == [
        *[".h5"] * 6,
        ".head",
        *[".json"] * 7,
        *[".npz"] * 6,
        *[".page"] * 2,
    ]
    return bank.path


def places(files: list[Path], fits: Callable[[Path, int], bool] = lambda *_: True) -> Iterator[Place]:
    """Yields random places: each file as often as another, however large it is."""
    moments = random.Random(len(files))
    for file in itertools.cycle(files):
        byte = moments.randrange(file.stat().st_size)
        if fits(file, byte):
            yield Place(file, byte, moments.randrange(1, 256))


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name not in {LOCK, CLAIMS})


@pytest.fixture
def cache(path: Path, lite: Backbone, photos: Path) -> Path:
    """A cache with every kind of file that a command leaves there, and what a dead writer and fine-tune leave."""
    cache, runs = path.parent, path / "runs"
    outline_of(lite, cache)
    record_opening(Bank(path), load_runs(Bank(path))[0])
    save(path_of(cache, "net", {"taps": []}), {"taps": []}, b"<net/>", np.arange(50, dtype=np.uint8))
    extracted = sorted(photos.glob("*/*"))
    for file in extracted:
        os.utime(file, (1, 1))
    digest_changed(
        Settled(photos, extracted), [str(file) for file in extracted], cache / ".fingerprints" / "a.npz", None
    )
    Checkpoint(TrainingState(), {"weights": [np.ones((3, 4), np.float32)]}).save(runs / "00000000aa.checkpoint")
    (runs / "00000000bb.keras").write_bytes(bytes(range(256)))
    replace(load_runs(Bank(path))[0], run="00000000bb", weights=of_file(runs / "00000000bb.keras")).save()
    for note in (path / NOTE, runs / "00000000aa.holder"):
        with Heartbeat(note):
            left = note.read_bytes()
        note.write_bytes(left)
    return cache


class Settled:
    """Photos that were left alone for long."""

    in_threads = False

    def __init__(self, root: Path, files: list[Path]) -> None:
        self._files = files

    def stamp(self, index: int) -> tuple[int, int, int, int]:
        return self._files[index].stat().st_size, 1, 1, index

    def digest(self, index: int) -> str:
        return of_file(self._files[index])

    def image(self, index: int, expected: bytes | None, levels: object = None) -> Any:
        raise AssertionError


def look(path: Path) -> str:
    """What `cache verify` reports of the whole cache, in lines."""
    try:
        inside = verify_bank(path).damaged
    except BankError as error:  # of the manifest, without which nothing else can be looked at
        inside = (str(error),)
    return "\n".join([*inside, *verify_beside(path.parent).damaged])


def test_every_flipped_byte_of_a_cache_is_found(path: Path, cache: Path) -> None:
    """In every file of every kind: networks, outlines, fingerprints, models, checkpoints, notes and the rest."""
    files = files_of(cache)
    assert {file.suffix for file in files} == {
        ".h5", ".page", ".npz", ".json", ".head", ".keras", ".checkpoint", ".holder", ".outline", ".images"
    }  # fmt: skip
    assert look(path) == ""
    assert verify_bank(path).unknown == verify_beside(cache).unknown == ()
    missed = []
    for place in itertools.islice(places(files), 4 * len(files)):
        place.flip()
        if place.file.name not in look(path):
            missed.append(place)
        place.flip()
    assert missed == []
    assert look(path) == ""


def test_files_without_a_checksum_are_named(path: Path, cache: Path) -> None:
    """Those of featurebank 0.1, and those that are not ours."""
    np.savez(cache / ".engines" / "old.npz", weights=np.ones(3))
    (cache / "mine.txt").write_text("x")
    (path / NOTE).write_text('{"host": "a", "process": 1, "heartbeat": 1.0}')
    (path / "runs" / "00000000cc.keras").write_bytes(b"of a fine-tune that has not ended")
    assert look(path) == ""
    assert {Path(name).name for name in verify_beside(cache).unknown} == {"old.npz", "mine.txt"}
    assert {Path(name).name for name in verify_bank(path).unknown} == {NOTE, "00000000cc.keras"}


def test_what_is_made_again_is_taken_away_where_it_is_damaged(path: Path, cache: Path) -> None:
    file = next((cache / ".engines").iterdir())
    Place(file, 99, 4).flip()
    assert verify_beside(cache, forget=True).forgotten == (file.name,)
    assert not file.exists()
    assert look(path) == ""
    ledger = next((cache / ".tested").glob("*.images"))
    Place(ledger, 3, 4).flip()
    assert verify_beside(cache, forget=True).forgotten == ()
    assert ledger.exists(), "nobody can make it again"


def test_every_flipped_byte_is_found(path: Path) -> None:
    missed = []
    blanks = [Place(f, f.read_bytes().index(b" "), 0x2A) for f in files_of(path) if f.suffix == ".json"]  # a new line
    for place in [*blanks, *itertools.islice(places(files_of(path)), PLACES)]:
        place.flip()
        try:
            told = "\n".join(verify_bank(path).damaged)
        except BankError as error:  # of the manifest, without which nothing else can be looked at
            told = str(error)
        if place.file.name not in told:
            missed.append((place, told))
        place.flip()
    assert missed == []
    assert verify_bank(path).damaged == ()


@pytest.fixture
def outside(path: Path) -> Callable[[Path, int], bool]:
    """Tells whether a byte is none of a feature's."""
    features: dict[str, list[range]] = {}
    for shard in load_manifest(path).shards:
        for tap in shard.taps.values():
            size = shard.rows * 4
            for side in tap.shape:
                size *= side
            features.setdefault(shard.file, []).append(range(tap.offset, tap.offset + size))
    return lambda file, byte: not any(byte in stretch for stretch in features.get(file.name, []))


def read(bank: Bank) -> dict[str, dict[str, bytes]]:
    """Each image's features in every tap and view, by its id, with its label and split."""
    found: dict[str, dict[str, bytes]] = {name: {} for name in bank.ids()}
    labels, splits = bank.labels().tolist(), bank.splits().tolist()
    for tap in bank.taps:
        for view in range(bank.views + 1):
            for name, label, split, row in zip(bank.ids(), labels, splits, bank.features(tap, view=view), strict=True):
                found[name][f"{tap} {view} {label} {split}"] = row.tobytes()
    return found


@pytest.mark.parametrize(("opened", "count"), [("after", PLACES), ("before", 60), ("and read before", 60)])
def test_a_reader_gives_the_right_rows_or_an_error(
    path: Path, outside: Callable[[Path, int], bool], opened: str, count: int
) -> None:
    """Whatever is damaged outside of the features themselves: no row comes under another image's id."""
    right = read(Bank(path))
    files = [file for file in files_of(path) if file.parent == path]
    refused, wrong = 0, []
    for place in itertools.islice(places(files, outside), count):
        bank = Bank(path)
        if opened == "and read before":
            read(bank)
        place.flip()
        try:
            if read(Bank(path) if opened == "after" else bank) != right:
                wrong.append(place)
        except BankError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - rows or an error, both are right
        place.flip()
    assert wrong == []
    if opened == "after":
        assert count / 4 < refused < count


def test_rows_that_have_changed_places(path: Path) -> None:
    """The digests of two rows are swapped: each is the digest of an image, but not of its row.

    The digests of a shard in a page are read from the page, so its rows stay right; `cache verify` finds the change.
    """
    manifest, right = load_manifest(path), read(Bank(path))
    in_pages = {shard.file for page in manifest.pages for shard in page.shards}
    assert 0 < len(in_pages) < len(manifest.shards)
    for shard in manifest.shards:
        file = path / shard.file
        whole = file.read_bytes()
        here = [digest for digest in Bank(path).digests().tolist() if digest in whole]
        one, two = whole.index(here[0]), whole.index(here[-1])
        swapped = bytearray(whole)
        swapped[one : one + 32], swapped[two : two + 32] = whole[two : two + 32], whole[one : one + 32]
        file.write_bytes(swapped)
        assert shard.file in look(path)
        if shard.file in in_pages:
            assert read(Bank(path)) == right
        else:
            with pytest.raises(BankError, match=shard.file):
                read(Bank(path))
        file.write_bytes(whole)


def flip_a_feature(path: Path) -> str:
    """Changes a feature of the second shard; returns its file."""
    shard = load_manifest(path).shards[1]
    Place(path / shard.file, shard.taps["pooled"].offset + 9, 8).flip()
    return shard.file


def test_what_is_forgotten_is_made_again(
    child: Start, extracts: Start, ended: Ended, all_of: AllOf, tmp_path: Path
) -> None:
    views = ("--views", 1, "--augment", "flip")
    path = Path(json.loads(ended(extracts(*views))[0])["bank"])
    before, manifest = all_of(path), load_manifest(path)
    shard = flip_a_feature(path)
    assert all_of(path) != before, "features have no checksum of their own: a reader trusts them"
    verify = ("-q", "--cache", tmp_path / "cache", "cache", "verify", "--canaries", 0, "--json")
    assert json.loads(ended(child(*verify), 1)[0])["forgotten"] == []
    told = json.loads(ended(child(*verify, "--forget"), 1)[0])
    assert told["forgotten"] == [shard]
    assert [shard in line for line in told["damaged"]] == [True]
    again = json.loads(ended(extracts(*views))[0])
    assert again["added"] == next(entry.rows for entry in manifest.shards if entry.file == shard)
    assert all_of(path) == before
    assert json.loads(ended(child(*verify))[0])["damaged"] == []


def test_damage_that_two_banks_share(
    photos: Path, extracts: Start, ended: Ended, all_of: AllOf, tmp_path: Path
) -> None:
    """A folder that was moved shares the shards of its old bank; the damaged one is not taken back from there."""
    old = Path(json.loads(ended(extracts())[0])["bank"])
    before = all_of(old)
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    told = json.loads(ended(extracts(dataset=moved))[0])
    new = Path(told["bank"])
    assert (told["added"], new != old, all_of(new)) == (0, True, before)
    shard = flip_a_feature(new)
    assert (old / shard).samefile(new / shard)
    for path in (old, new):
        assert [shard in line for line in verify_bank(path).damaged] == [True]
    assert verify_bank(new, forget=True).forgotten == (shard,)
    assert json.loads(ended(extracts(dataset=moved))[0])["added"] == 4
    assert all_of(new) == before
    assert verify_bank(new).damaged == ()
    assert verify_bank(old, forget=True).forgotten == (shard,)
    assert json.loads(ended(extracts())[0])["added"] == 0, "the whole one is taken"
    assert all_of(old) == before


def test_a_run_is_trained_again_where_its_record_is_damaged(path: Path) -> None:
    heads = [{"kind": "ridge", "alpha": [1, 10][n]} for n in (0, 1)] + [{"kind": "knn", "n_neighbors": 1}]
    before = {run.run: run.metrics for run in train_heads(Bank(path), heads, taps=["pooled", "map:max"])}
    victim = min((path / "runs").glob("*.json"))
    Place(victim, victim.read_bytes().index(b'"accuracy": ') + 14, 2).flip()
    assert [victim.name in line for line in verify_bank(path).damaged] == [True]
    again = train_heads(Bank(path), heads, taps=["pooled", "map:max"])
    assert {run.run: run.metrics for run in again} == before
    assert verify_bank(path).damaged == ()
    assert (path / MANIFEST).is_file()
