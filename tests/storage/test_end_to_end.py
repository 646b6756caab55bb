"""A cache in a bucket as people use it: commands on several machines, several processes, and deaths."""

from __future__ import annotations

import filecmp
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buckets import Machine
from commands import run_command
from immediate import PixelEngine

import featurebank as fb
from featurebank.bank import Bank
from featurebank.bank.locks import note
from featurebank.doctor import diagnose
from featurebank.errors import ConfigError
from featurebank.storage import known_objects
from featurebank.storage.caches import MIRROR_VARIABLE, cache_directory, mirror_of
from featurebank.storage.mirror import Mirror
from featurebank.storage.objects import Objects
from featurebank.system.backing.directories import find

pytestmark = pytest.mark.heavy

EXTRACT = ("--backbone", "efficientnet_lite0", "--weights", "random:0", "--image-size", "32")
GRID = '[[head]]\nkind = "ridge"\nalpha = [1.0, 2.0]\n[[head]]\nkind = "nearest_mean"\n'


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are not reused, and holders of other machines are dead soon."""
    monkeypatch.setattr(known_objects, "LISTED_S", 0.0)
    monkeypatch.setattr(note, "DEAD_AFTER_S", 0.5)
    monkeypatch.setattr(note, "LOOK_AGAIN_S", 0.05)


@pytest.fixture
def address(bucket: str) -> str:
    return f"{bucket}/lab/cache"


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "other")


def opened(address: str) -> tuple[Path, Mirror]:
    root = cache_directory(address)
    mirror = mirror_of(root)
    assert mirror is not None
    return root, mirror


def assert_same_files(one: Path, two: Path, pattern: str) -> None:
    """Compares the files of two mirrors, after each was fetched."""
    names = [path.relative_to(one) for path in find(one, pattern)]
    assert names == [path.relative_to(two) for path in find(two, pattern)]
    for name in names:
        for root in (one, two):
            mirror = mirror_of(root)
            assert mirror is not None
            assert mirror.fetch(root / name)
        assert filecmp.cmp(one / name, two / name, shallow=False), name


@pytest.mark.usefixtures("pixels")
def test_the_commands_on_two_machines(
    address: str, machine: Machine, other: Machine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def run(*words: object, code: int = 0) -> str:
        return "".join(run_command(("--cache", address, *words), monkeypatch, capsys, code=code))

    def ranking() -> list[tuple[str, float]]:
        return [(run.run, run.metrics["val"]["accuracy"]) for run in fb.leaderboard(fb.find_bank(address))]

    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(GRID)
    printed = run("extract", "--dataset", photos, *EXTRACT)
    assert "24 images extracted" in printed
    (named,) = {one["bank"] for one in json.loads(run("cache", "ls", "--json"))}
    assert named.startswith(f"{address}/")
    assert f"bank: {named}\n" in printed
    assert json.loads(run("cache", "show", named, "--json"))["bank"] == named
    with other.used():
        assert "24" in run("cache", "ls")
        run("heads", "--grid", "grid.toml")
    assert "nearest_mean" in run("leaderboard")
    with other.used():
        theirs = ranking()
    assert ranking() == theirs
    with other.used():
        there, _ = opened(address)
        assert "0 files damaged" in run("cache", "verify", "--canaries", "0")
        assert "all of the" not in run("extract", "--dataset", photos, *EXTRACT, "--tap", "map")
    root, mirror = opened(address)
    bank = fb.open_bank(f"{address}/{find(root, '*/manifest.json')[0].parent.name}")
    assert set(bank.taps) == {"pooled", "map"}
    with other.used(), monkeypatch.context():
        for pattern in ("*/manifest.json", "*/shard-*.h5", "*/runs/*.json", "*/runs/*.head", "*/*.page"):
            with machine.used():
                expected = {path.relative_to(root): read(mirror, path) for path in find(root, pattern)}
            assert expected or pattern.endswith(".page")
            mine = mirror_of(there)
            assert mine is not None
            assert {path.relative_to(there): read(mine, path) for path in find(there, pattern)} == expected
    run("cache", "export", "-o", "rows.npz")
    plain = fb.extract(fb.load_dataset(str(photos)), fb.load_backbone(EXTRACT[1], weights="random:0", image_size=32),
                       cache=tmp_path / "plain")  # fmt: skip
    np.testing.assert_array_equal(bank.features("pooled"), plain.features("pooled"))
    assert "freed" in run("cache", "gc")
    found = {
        finding.name: finding for finding in itertools.takewhile(lambda one: "runs" not in one.name, diagnose(root))
    }
    assert found["bucket"].found.startswith(f"{address} at http://127.0.0.1:")
    assert all(found[name].ok for name in ("bucket", "conditional writes", "mirror", "cache", "file locks"))
    run("cache", "rm", bank.name, "--yes")
    assert [key for key in mirror.objects.list() if key.startswith(bank.name)] == []
    with other.used():
        assert "no bank" in run("leaderboard", code=1)


def read(mirror: Mirror, path: Path) -> bytes:
    assert mirror.fetch(path)
    return path.read_bytes()


def test_a_bank_opens_with_few_requests(
    address: str, machine: Machine, other: Machine, make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_objects, "LISTED_S", 30.0)
    root, mirror = opened(address)
    make_bank(root / "made")
    before = mirror.objects.requests
    fb.train_heads(fb.open_bank(root / "made"), grid=[{"kind": "ridge", "alpha": [1.0 + n for n in range(40)]}])
    heads = mirror.objects.requests - before
    assert heads < 40 * 5, "claim, predictions, record, release; weights of those that were first"
    listed = []
    take = Objects.list
    monkeypatch.setattr(Objects, "list", lambda self, prefix="": listed.append(prefix) or take(self, prefix))
    with other.used():
        fb.leaderboard(fb.open_bank(f"{address}/made"))
    listed.clear()
    with Machine(other.place).used():  # the next process of this machine
        again, theirs = opened(address)
        bank = fb.find_bank(address, "made")
        assert len(fb.leaderboard(bank)) == 40
        bank.features("pooled")
        assert theirs.objects.requests - len(listed) <= 6
        assert len(listed) <= 2
        before = theirs.objects.requests
        fb.train_heads(bank, grid=[{"kind": "ridge", "alpha": [1.0 + n for n in range(40)]}])
        assert theirs.objects.requests - before <= 4, "all are trained"
    assert again != root


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def extracting(child: Start, address: str, photos: Path, machine: Machine) -> Start:
    """Starts an extraction into the bucket in a process of its own."""
    words = ("--cache", address, "extract", "--dataset", photos, *EXTRACT, "--threads", 1)
    return lambda **about: child(*words, PAUSE=0, **{MIRROR_VARIABLE: machine.place, **about})


def features(address: str, photos: Path) -> np.ndarray:
    backbone = fb.load_backbone(EXTRACT[1], weights="random:0", image_size=32)
    return fb.extract(fb.load_dataset(str(photos)), backbone, cache=address).features("pooled")


@pytest.fixture
def expected(photos: Path, tmp_path: Path, pixels: list[PixelEngine]) -> Iterator[np.ndarray]:
    """The features of an extraction into a plain cache."""
    rows = features(str(tmp_path / "plain"), photos)
    yield rows
    assert sum(engine.images for engine in pixels) >= len(rows)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_writer_killed_beside_its_manifest_is_followed(
    extracting: Start, address: str, photos: Path, other: Machine, expected: np.ndarray, *, after: bool
) -> None:
    """SIGKILL before the second manifest is put, or just after it: what it lists is whole, and the rest is computed."""
    killed = extracting(DIE=2, **({"AFTER": 1} if after else {}))
    _, errors = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, errors
    where = other.used() if after else Machine(Path(os.environ.get(MIRROR_VARIABLE, ""))).used()
    with where:
        np.testing.assert_array_equal(features(address, photos), expected)
        _, mirror = opened(address)
        assert [key for key in mirror.objects.list() if key.endswith("writer.json")] == []


def test_of_two_writers_at_once_one_works_and_the_other_says_who(
    extracting: Start, address: str, photos: Path, other: Machine, expected: np.ndarray, tmp_path: Path
) -> None:
    first = extracting(HOLD=tmp_path / "go", HEARTBEAT=0.1)
    second: subprocess.Popen[str] | None = None
    try:
        with other.used():
            _, mirror = opened(address)
            while not any(key.endswith("writer.json") for key in mirror.objects.list()):
                assert first.poll() is None, first.communicate()
            second = extracting(HOLD=tmp_path / "go", **{MIRROR_VARIABLE: other.place})
            _, errors = second.communicate(timeout=120)
            assert second.returncode == 1, errors
            assert f"Error: process {first.pid} on " in errors
            assert "writes the bank" in errors
    finally:
        (tmp_path / "go").touch()
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    with other.used():
        np.testing.assert_array_equal(features(address, photos), expected)


@pytest.mark.parametrize("address", ["gs://bucket/x", "s3://", "s3:/x"])
def test_other_addresses_are_refused_in_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, errors = run_command(("--cache", address, "cache", "ls"), monkeypatch, capsys, code=1)
    assert errors.count("\n") == 1
    assert errors.startswith(f"Error: the cache is '{address}': expected")
    with pytest.raises(ConfigError, match="expected"):
        fb.list_banks(address)


def test_no_space_for_the_mirror_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, errors = run_command(("--local-cache", "0", "cache", "ls"), monkeypatch, capsys, code=1)
    assert errors.startswith("Error: --local-cache is '0': expected")


def test_credentials_that_may_only_read_can_read(
    tmp_path: Path,
    address: str,
    machine: Machine,
    other: Machine,
    make_bank: Callable[..., Bank],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, _ = opened(address)
    make_bank(root / "made")
    ask: Any = Objects._ask

    def refusing(self: Objects, method: str, key: str | None = None, **about: Any) -> Any:
        if about.get("writing"):
            raise explain(denied(), self.address, writing=True)
        return ask(self, method, key, **about)

    from featurebank.storage.refusals import explain

    def denied() -> Exception:
        from botocore.exceptions import ClientError

        return ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")

    monkeypatch.setattr(Objects, "_ask", refusing)
    monkeypatch.chdir(tmp_path)
    with other.used():
        assert fb.find_bank(address, "made").features("pooled").shape == (120, 8)
        output, errors = run_command(("--cache", address, "cache", "ls"), monkeypatch, capsys)
        assert "made" in output
        Path("grid.toml").write_text(GRID)
        _, errors = run_command(("--cache", address, "heads", "--grid", "grid.toml"), monkeypatch, capsys, code=1)
        assert "is read-only with these credentials" in errors.splitlines()[-1]
