"""A shard gives back what was written, notices damage, and never takes the process with it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from featurebank.bank.shard import ShardEntry, map_tap, read_keys, write_shard
from featurebank.bank.writer import row_keys
from featurebank.errors import BankDamagedError
from featurebank.system.digest import of_file

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def entry(tmp_path: Path, rows: SimpleNamespace) -> ShardEntry:
    maps = np.arange(5 * 4, dtype=np.float16).reshape(5, 2, 2, 1)
    taps = {"pooled": [rows.features(range(3)), rows.features(range(3, 5))], "block/a:max": [maps]}
    return write_shard(tmp_path, row_keys(rows.digests(range(5))), taps)


def test_round_trip(tmp_path: Path, entry: ShardEntry, rows: SimpleNamespace) -> None:
    assert read_keys(tmp_path, entry)["digest"].tolist() == rows.digests(range(5)).tolist()
    assert np.array_equal(map_tap(tmp_path, entry, "pooled"), rows.features(range(5)))
    maps = map_tap(tmp_path, entry, "block/a:max")
    assert (maps.dtype, maps.shape) == (np.float16, (5, 2, 2, 1))
    assert maps.ravel().tolist() == list(range(20))
    assert ShardEntry.from_dict(entry.to_dict()) == entry


def test_entry_tells_the_truth_of_the_file(tmp_path: Path, entry: ShardEntry) -> None:
    assert list(tmp_path.iterdir()) == [tmp_path / entry.file]
    assert (tmp_path / entry.file).stat().st_size == entry.bytes
    assert of_file(tmp_path / entry.file) == entry.checksum


def test_any_hdf5_tool_reads_it(tmp_path: Path, entry: ShardEntry, rows: SimpleNamespace) -> None:
    with h5py.File(tmp_path / entry.file, "r") as file:
        assert np.array_equal(file["taps/pooled"][...], rows.features(range(5)))
        assert file["taps/pooled"].chunks is None


def test_same_rows_same_bytes(tmp_path: Path, entry: ShardEntry, rows: SimpleNamespace) -> None:
    maps = np.arange(5 * 4, dtype=np.float16).reshape(5, 2, 2, 1)
    taps = {"pooled": [rows.features(range(5))], "block/a:max": [maps]}
    written = int(time.time())
    while int(time.time()) == written:  # HDF5 keeps the times of objects in seconds, unless it is told not to
        time.sleep(0.02)
    assert write_shard(tmp_path / "other", row_keys(rows.digests(range(5))), taps) == entry
    assert (tmp_path / "other" / entry.file).read_bytes() == (tmp_path / entry.file).read_bytes()


def test_rows_without_features_are_never_written(tmp_path: Path, rows: SimpleNamespace) -> None:
    with pytest.raises(AssertionError, match="3 rows, there are 4 keys"):
        write_shard(tmp_path, row_keys(rows.digests(range(4))), {"pooled": [rows.features(range(3))]})
    assert list(tmp_path.iterdir()) == []


def test_damage_never_gives_wrong_rows(tmp_path: Path, entry: ShardEntry, rows: SimpleNamespace) -> None:
    """Every seventh byte outside of the features, flipped: an error, or the very same rows."""
    path = tmp_path / entry.file
    whole = path.read_bytes()
    inside = set()
    for tap in entry.taps.values():
        size = 5 * int(np.prod(tap.shape)) * np.dtype(tap.dtype).itemsize
        inside |= set(range(tap.offset, tap.offset + size))
    noticed = 0
    for place in sorted(set(range(0, len(whole), 7)) - inside):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            keys = read_keys(tmp_path, entry)
        except BankDamagedError:
            noticed += 1
            continue
        assert keys["digest"].tolist() == rows.digests(range(5)).tolist()
        assert np.array_equal(map_tap(tmp_path, entry, "pooled"), rows.features(range(5)))
    assert noticed > 50


def test_flipped_key_is_noticed(tmp_path: Path, entry: ShardEntry, rows: SimpleNamespace) -> None:
    path = tmp_path / entry.file
    data = bytearray(path.read_bytes())
    data[data.index(bytes(rows.digests([3])[0])) + 31] ^= 1
    path.write_bytes(data)
    with pytest.raises(BankDamagedError, match="row keys"):
        read_keys(tmp_path, entry)


@pytest.mark.parametrize("size", [None, 0, 100, -1])
def test_missing_or_cut(tmp_path: Path, entry: ShardEntry, size: int | None) -> None:
    path = tmp_path / entry.file
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size if size >= 0 else entry.bytes + size)
    with pytest.raises(BankDamagedError, match="featurebank extract"):
        read_keys(tmp_path, entry)
    if size != -1:
        with pytest.raises(BankDamagedError):
            map_tap(tmp_path, entry, "pooled")


FULL = """
import resource, sys
from collections.abc import Callable
from pathlib import Path
import numpy as np
from featurebank.bank.shard import write_shard
from featurebank.bank.writer import row_keys
from featurebank.errors import DiskFullError
keys = row_keys(np.array([f"{n:032x}".encode() for n in range(50)], "S32"))
for limit in range(0, 60_000, 4096):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_shard(Path(sys.argv[1]), keys, {"pooled": [np.ones((50, 320), np.float32)]})
    except DiskFullError:
        print("full", *Path(sys.argv[1]).iterdir())
"""


def test_disk_that_fills_at_any_moment_is_an_error_and_no_crash(tmp_path: Path) -> None:
    """HDF5 itself ends the process with a segmentation fault where it meets a full disk."""
    assert resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["full"] * 15 + [""]


def elsewhere(file: h5py.File) -> None:
    file["digest"] = h5py.ExternalLink("other.h5", "/digest")


def beside(file: h5py.File) -> None:
    file.create_dataset("digest", (5,), "S32", external=[("secret", 0, 160)])


def endless(file: h5py.File) -> None:
    file.create_dataset("digest", (10**8,), "S32", chunks=(1024,))


def packed(file: h5py.File) -> None:
    file.create_dataset("digest", data=np.zeros(5, "S32"), chunks=(5,), compression="gzip")


@pytest.mark.parametrize("make", [elsewhere, beside, endless, packed])
def test_the_keys_of_a_stranger_lie_in_the_file_and_are_as_many_as_its_rows(
    tmp_path: Path, make: Callable[[h5py.File], None]
) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 160)
    with h5py.File(tmp_path / "shard-0.h5", "w") as file:
        make(file)
        file["view"] = np.zeros(5, "u1")
        file.create_group("taps")
    size = (tmp_path / "shard-0.h5").stat().st_size
    with pytest.raises(BankDamagedError, match="'digest' "):
        read_keys(tmp_path, ShardEntry("shard-0.h5", 5, size, "", "", {}))
