"""Parts of an extraction: processes that share only a disk, each killed at any moment, make one bank together."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command
from immediate import PixelEngine
from listener import Listener
from shard_files import shards

from featurebank import extract, load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.catalog import banks_of, remove_bank
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.pieces.notes import PIECES, note_files
from featurebank.bank.pieces.request import newest_request
from featurebank.bank.reader import Bank
from featurebank.engine.table import ENGINES
from featurebank.errors import BankIncompleteError, ConfigError, DatasetError
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.extraction.pieces.finishing import banks_in_pieces, finish_bank
from featurebank.extraction.pieces.opening import PieceExtraction
from featurebank.extraction.pieces.part import Part, PartExtraction, estimate_part, run_part
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX

NETWORK = ("--backbone", "efficientnet_lite0", "--weights", "random:0", "--image-size", "32")
Run = Callable[..., PartExtraction]
OLD = time.time() - 40 * 24 * 3600


@pytest.fixture
def run(photos: Path, lite: Backbone, tmp_path: Path, pixels: object) -> Run:
    """Runs a part, "1/2", in this process."""

    def start(text: str, cache: str = "cache", **options: Any) -> PartExtraction:
        asked = ExtractOptions(batch_size=3, **options)
        dataset = load_dataset(str(photos))
        return run_part(dataset, [lite], asked, Part.parse(text), cache=tmp_path / cache)[0]

    return start


@pytest.fixture
def plain(photos: Path, lite: Backbone, tmp_path: Path, pixels: object) -> Bank:
    """The bank of one plain extraction."""
    return run_extraction(load_dataset(str(photos)), lite, ExtractOptions(), cache=tmp_path / "plain").bank


def test_any_number_of_parts_makes_the_same_files(run: Run, plain: Bank) -> None:
    files = []
    for count in (1, 2, 5, 9):
        numbers = random.Random(count).sample(range(1, count + 1), count)
        results = [run(f"{number}/{count}", f"cache{count}") for number in numbers]
        assert [result.is_complete for result in results[-2:]] == [False, True][-count:]
        assert sum(result.added for result in results) == 24
        assert [result.rows for result in results] == [result.added for result in results]
        files.append(shards(results[-1].bank))
        bank = Bank(results[-1].bank)
        assert np.array_equal(bank.features(), plain.features())
        assert bank.ids() == plain.ids()
    assert all(one == files[0] for one in files)


def test_parts_of_several_divisions_may_be_mixed(run: Run, plain: Bank) -> None:
    assert [run(part).added for part in ("1/2", "1/3", "2/2")] == [12, 4, 8]
    done = run("2/3")
    assert (done.added, done.is_complete, done.images, done.reused) == (0, True, 24, 8)
    assert np.array_equal(Bank(done.bank).features(), plain.features())


def test_a_complete_bank_is_not_written_again(run: Run) -> None:
    bank = run("1/1").bank
    before = (bank / "manifest.json").stat().st_mtime_ns
    assert run("1/4").is_complete
    assert (bank / "manifest.json").stat().st_mtime_ns == before
    assert not (bank / PIECES).exists()


@pytest.mark.parametrize("text", ["0/4", "5/4", "a/b", "3", "3/", "/4", "-1/4", "1/0", "1.5/4", "1/2/3", " 1/2", "٣/٤"])
def test_a_wrong_part_is_one_line(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, error = run_command(("extract", "digits", *NETWORK, f"--part={text}"), monkeypatch, capsys, code=1)
    assert out == ""
    assert error == f"Error: --part is '{text}': expected K/N with K from 1 to N, as 3/16 for the third of 16 parts\n"


def test_a_dry_run_estimates_this_part_alone(
    photos: Path, lite: Backbone, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurebank.extraction.estimate.CALIBRATION_S", 0.0)
    monkeypatch.setattr(
        "featurebank.extraction.estimate.load_engine", lambda name, network, taps, **_: PixelEngine(taps)
    )

    def estimated(text: str) -> tuple[int, int]:
        dataset = load_dataset(str(photos))
        (one,) = estimate_part(dataset, [lite], ExtractOptions(), Part.parse(text), cache=tmp_path / "cache")
        return one.rows, one.images

    assert [estimated("1/6"), estimated("6/6"), estimated("7/7")] == [(4, 4), (4, 4), (0, 0)]
    run("1/6")
    assert [estimated("1/6"), estimated("1/2"), estimated("2/2")] == [(0, 4), (8, 12), (12, 12)]


def test_several_backbones(photos: Path, lite: Backbone, tmp_path: Path, pixels: list[Any]) -> None:
    networks = [lite, load_backbone("efficientnet_lite0", weights="random:1", image_size=48)]
    dataset, options = load_dataset(str(photos)), ExtractOptions()
    run_part(dataset, networks[:1], options, Part(1, 3), cache=tmp_path)
    first, second = run_part(dataset, networks, options, Part(1, 2), cache=tmp_path)
    assert ((first.added, first.missing_images), (second.added, second.missing_images)) == ((8, 12 - 4), (12, 12))
    assert all(one.is_complete for one in run_part(dataset, networks, options, Part(2, 2), cache=tmp_path))


def test_a_lower_precision_is_compared(photos: Path, lite: Backbone, tmp_path: Path, pixels: list[Any]) -> None:
    listener = Listener()
    options = ExtractOptions(precision="bfloat16")
    done = run_part(load_dataset(str(photos)), [lite], options, Part(1, 1), cache=tmp_path, reporter=listener)[0]
    assert any("cosine to float32 1.0000" in line for line in listener.said)
    event = Bank(done.bank).manifest.last_extraction
    assert event
    assert event["cosine_to_float32"]["pooled"]["mean"] == 1.0
    assert (event["precision"], event["engine"], event["pieces"]) == ("bfloat16", "pixels", 6)


def test_in_python(photos: Path, lite: Backbone, tmp_path: Path, pixels: object) -> None:
    with pytest.raises(
        BankIncompleteError, match=r"part 1/2 is done, and '.*' still lacks 3 of 6 slices \(12 images\)"
    ):
        extract(str(photos), lite, cache=tmp_path, part="1/2")
    assert len(extract(str(photos), lite, cache=tmp_path, part="2/2")) == 24
    with pytest.raises(ConfigError, match="part is '3/2'"):
        extract(str(photos), lite, cache=tmp_path, part="3/2")


def test_files_that_cannot_be_read_end_a_part_before_its_work(run: Run, photos: Path, no_engine: None) -> None:
    (photos / "ant" / "gone.png").symlink_to(photos / "nowhere")
    with pytest.raises(DatasetError, match=r"ant/gone\.png"):
        run("1/2", on_bad_image="fail")
    with pytest.raises(DatasetError, match="1 of 25 images"):
        run("1/2", max_bad=0.01)


# ---- upkeep


def test_finish_lists_what_is_there(
    run: Run, photos: Path, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    cache = tmp_path / "cache"
    bank = run("1/3").bank
    out, _ = run_command(("--cache", cache, "cache", "finish", bank.name), monkeypatch, capsys, code=1)
    assert "8 images done, 8 rows listed now; 4 of 6 slices (16 images) missing" in out
    assert "without --part, which computes the rest" in out
    run("2/3")
    out, _ = run_command(("--cache", cache, "cache", "finish", "--json"), monkeypatch, capsys, code=1)
    missing = {"slices": 2, "of": 6, "images": 8}
    (value,) = json.loads(out)["banks"]
    assert (value["complete"], value["images"], value["listed"], value["missing"]) == (False, 16, 8, missing)
    result = run_extraction(load_dataset(str(photos)), lite, ExtractOptions(), cache=cache)
    assert (result.added, result.reused) == (8, 16)
    assert banks_in_pieces(cache) == []
    out, _ = run_command(("--cache", cache, "cache", "finish", bank.name), monkeypatch, capsys)
    assert "nothing to finish" in out
    out, _ = run_command(("--cache", cache, "cache", "finish"), monkeypatch, capsys)
    assert "nothing to finish" in out


def test_finish_completes_a_bank_whose_last_part_died_before_listing(
    run: Run, plain: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("featurebank.extraction.pieces.part._completed", lambda work: [None])
        bank = run("1/1").bank
    with pytest.raises(BankIncompleteError, match="6 finished pieces, which 'featurebank cache finish' lists"):
        Bank(bank)
    listed = finish_bank(bank)
    assert listed
    assert (listed.is_complete, listed.images, listed.listed) == (True, 24, 24)
    assert np.array_equal(Bank(bank).features(), plain.features())
    assert finish_bank(bank) is None


def test_commands_of_the_cache_know_pieces(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    bank = run("1/3").bank
    (summary,) = banks_of(cache)
    assert (summary.images, summary.pieces) == (None, 2)
    out, _ = run_command(("--cache", cache, "cache", "ls"), monkeypatch, capsys)
    assert "2 finished pieces not listed yet" in out
    out, _ = run_command(("--cache", cache, "cache", "show"), monkeypatch, capsys)
    assert "2 finished pieces not listed yet" in out
    assert verify_bank(bank).damaged == verify_bank(bank).unknown == ()
    shard = next(bank.glob("shard-*.h5"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    note = next(note_files(bank))
    note.write_text(note.read_text().replace('"images"', '"image"'))
    assert len(verify_bank(bank).damaged) == 2
    remove_bank(bank)
    assert not bank.exists()


def test_a_request_that_a_killed_process_left_is_removed(run: Run, tmp_path: Path) -> None:
    bank = run("1/2").bank
    left = {
        path: path.read_bytes() for path in (bank / PIECES).glob("*") if "request" in path.name or "items" in path.name
    }
    run("2/2")
    before = Bank(bank).manifest.items
    (bank / PIECES).mkdir()
    for path, content in left.items():
        path.write_bytes(content)
    assert banks_in_pieces(tmp_path / "cache") == [bank]
    assert finish_bank(bank) is None
    assert Bank(bank).manifest.items == before
    assert not (bank / PIECES).exists()


def test_the_request_of_parts_that_have_just_begun_stays(
    run: Run, opened: Callable[..., PieceExtraction], photos: Path, photo: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    """The bank is complete for fewer images; no piece of the others is done yet."""
    bank = run("1/1").bank
    photo(photos / "ant" / "99.png", 99)
    opened()
    assert banks_in_pieces(tmp_path / "cache") == [bank]
    listed = finish_bank(bank)
    assert listed
    assert (listed.missing_images, listed.images) == (1, 24)
    assert newest_request(bank) is not None
    assert run("1/1").images == 25
    assert finish_bank(bank) is None


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (OLD, OLD))


def test_gc_keeps_what_a_young_note_names(run: Run, plain: Bank) -> None:
    bank = run("1/2").bank
    before = shards(bank)
    age(*bank.glob("shard-*.h5"))
    with pytest.raises(BankIncompleteError):
        plan_gc(bank)
    assert run("2/2").is_complete
    run("1/1", views=1, augment="flip")  # more pieces of the same bank, which are not listed:
    assert before.items() <= shards(bank).items()


def test_gc_of_a_complete_bank_with_pieces(run: Run, photo: Callable[[Path, int], Path], photos: Path) -> None:
    bank = run("1/1").bank
    for number in range(30, 40):
        photo(photos / "ant" / f"{number}.png", number)
    run("1/2")
    pieces = {path.name for path in bank.glob("shard-*.h5")} - {shard.file for shard in Bank(bank).manifest.shards}
    unlisted = bank / f"shard-{'0' * 20}.h5"
    unlisted.write_bytes(b"of a piece that is being written")
    temporary = bank / PIECES / ".writing-1"
    temporary.write_bytes(b"half a shard")
    foreign = bank / PIECES / f"{'0' * 32}.json"
    foreign.write_bytes(b"{}")
    assert pieces
    age(*(bank / name for name in pieces))
    assert not plan_gc(bank).files, "all of it is new, or named by a young note"
    age(unlisted, temporary, foreign)
    assert set(collect(bank).files) == {unlisted, temporary, foreign}
    assert pieces <= set(shards(bank))
    age(*note_files(bank), *(bank / PIECES).iterdir())
    collect(bank)
    assert not pieces & set(shards(bank))
    assert not (bank / PIECES).exists()
    assert Bank(bank).features().shape[0] == 24


# ---- processes


def results(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What each of the processes has written as JSON; all of them end well."""
    values = []
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        values.append(json.loads(out))
    return values


@pytest.fixture
def start(child: Callable[..., subprocess.Popen[str]], photos: Path, tmp_path: Path) -> Callable[..., Any]:
    def start(part: str, **environment: object) -> subprocess.Popen[str]:
        words = (
            "--cache",
            tmp_path / "cache",
            "extract",
            photos,
            *NETWORK,
            "--batch-size",
            2,
            "--part",
            part,
            "--json",
        )
        return child(*words, SLICE=2, **{"PAUSE": 0, **environment})

    return start


def kill_after_pieces(process: subprocess.Popen[str], cache: Path, count: int) -> None:
    """Kills a process once this many pieces are done, whatever it does at that moment."""
    while process.poll() is None and sum(1 for _ in cache.glob(f"*/{PIECES}/*.json")) < count:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.heavy
def test_a_killed_part_goes_on(start: Callable[..., Any], plain: Bank, tmp_path: Path) -> None:
    """Two parts at once, one of them twice, after a third process was killed in the middle."""
    cache = tmp_path / "cache"
    kill_after_pieces(start("1/2", PAUSE=0.05), cache, 3)
    done = results([start("1/2"), start("1/2"), start("2/2")])
    assert any(one["complete"] for one in done)
    (path,) = {Path(one["bank"]) for one in done}
    bank = Bank(path)
    assert np.array_equal(bank.features(), plain.features())
    assert {shard.rows for shard in bank.manifest.shards} == {2}
    assert (len(bank.manifest.shards), len(shards(path))) == (12, 12)
    assert all(left.name.startswith(TEMPORARY_PREFIX) for left in path.glob(f"{PIECES}/*")), "half a file of the dead"


@pytest.mark.slow
@pytest.mark.heavy
def test_parts_killed_at_any_moment(start: Callable[..., Any], plain: Bank, tmp_path: Path) -> None:
    """Many parts, each killed some times at a random moment and started again: the same files as of one process."""
    choose = random.Random(7)
    for _ in range(8):
        parts = [start(f"{number}/3", PAUSE=0.02) for number in (1, 2, 3)]
        time.sleep(choose.uniform(0.5, 3))  # any moment will do
        for process in choose.sample(parts, 2):
            process.send_signal(signal.SIGKILL)
        for process in parts:
            process.communicate()
    done = results([start(f"{number}/3") for number in (1, 2, 3)])
    path = Path(done[0]["bank"])
    assert any(one["complete"] for one in done)
    assert np.array_equal(Bank(path).features(), plain.features())
    (other,) = results([start("1/1")])
    assert other["added"] == 0
    assert verify_bank(path).damaged == ()


# ---- engines


@pytest.mark.heavy
@pytest.mark.parametrize("engine", [name for name, kind in ENGINES.items() if "keras" in kind.forms])
def test_the_bytes_do_not_depend_on_the_batch(engine: str, photos: Path, tmp_path: Path) -> None:
    """The last batch of each pass has other images and another size: an engine pads what it computes at once."""
    network, dataset = load_backbone("tiny:network"), load_dataset(str(photos))
    options = ExtractOptions(engine=engine, batch_size=7, taps=["pooled", "map"])
    whole = run_extraction(dataset, network, options, cache=tmp_path / "whole").bank
    for part in ("1/5", "3/5", "1/2", "2/2"):
        (done,) = run_part(dataset, [network], options, Part.parse(part), cache=tmp_path / "parts")
    bank = Bank(done.bank)
    for tap in ("pooled", "map"):
        assert bank.features(tap).tobytes() == whole.features(tap).tobytes()
