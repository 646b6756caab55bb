"""`cache verify|gc|merge|export`, views and several backbones, as people and scripts use them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.bank.reader import Bank
from featurebank.dataset.remote.image_store import find_image, keep_image

pytestmark = pytest.mark.heavy

Ask = Callable[..., Any]
ANY_SIZE = ("extract", "--backbone", "efficientnet_lite0", "--weights", "random:0")
EXTRACT = (*ANY_SIZE, "--image-size", "32")


@pytest.fixture
def ask(tmp_path: Path, in_process: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs a command in this process; returns its JSON where it was asked for, else its two outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)

    def run(*words: object, code: int = 0) -> Any:
        out, errors = in_process(*words, code=code)
        return json.loads(out) if "--json" in words else (out, errors)

    return run


def one_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, errors
    return lines[0]


@pytest.mark.usefixtures("pixels")
def test_views_and_their_pictures_in_the_bank(ask: Ask, photos: Path) -> None:
    found = ask(*EXTRACT, "--dataset", photos, "--views", 2, "--augment", "flip,rotate=5", "--json")
    assert (found["rows"], found["added"], found["views"]) == (24, 24, 2)
    assert ask("cache", "show", "--json")["recipe"]["views"] == {"augment": "flip,rotate=5", "rule": "v1"}
    shown, _ = ask("cache", "show")
    assert "2 views" in shown
    assert "2 views: flip,rotate=5" in ask(*EXTRACT, "--dataset", photos, "--views", 2, "--augment", "rotate=5,flip")[0]
    assert "flop" in one_line(ask(*EXTRACT, "--dataset", photos, "--views", 2, "--augment", "flop", code=2)[1])


@pytest.mark.usefixtures("pixels")
def test_several_backbones(ask: Ask, photos: Path) -> None:
    both = ("--backbone", "mobilenet_v2", *EXTRACT[1:], "--dataset", photos)
    found = ask("extract", *both, "--json")["extractions"]
    assert [Path(entry["bank"]).name.split("-")[2] for entry in found] == ["mobilenet_v2", "lite0"]
    assert [entry["added"] for entry in found] == [24, 24]
    out, _ = ask("extract", *both)
    assert out.count("nothing to extract: the bank has all 24 images") == 2


@pytest.mark.usefixtures("pixels")
def test_gc_says_what_goes_before_and_after(ask: Ask, photos: Path, tmp_path: Path) -> None:
    ask(*EXTRACT, "--dataset", photos)
    assert ask("cache", "gc") == ("0 B freed\n", "")
    for path in sorted(photos.glob("*/*"))[:10]:
        path.unlink()
    bank = Path(ask(*EXTRACT, "--dataset", photos, "--json")["bank"])
    (tmp_path / bank / "shard-left.h5").write_bytes(b"x" * 2000)
    before = sorted((tmp_path / bank).iterdir())
    planned, _ = ask("cache", "gc", "--dry-run")
    assert "1 unlisted file, 10 unneeded rows, 1 shard to rewrite" in planned
    assert "could be freed" in planned
    assert sorted((tmp_path / bank).iterdir()) == before
    plan = ask("cache", "gc", bank.name, "--dry-run", "--json")
    assert [(entry["rows"], len(entry["files"]), entry["rewritten_shards"]) for entry in plan["banks"]] == [(10, 1, 1)]
    assert "1 unlisted file, 10 unneeded rows, 1 shard rewritten" in ask("cache", "gc", bank.name)[0]
    assert len(Bank(tmp_path / bank).features()) == 14
    assert "10 rows deleted by a clean-up, 1 shard rewritten" in ask("cache", "show")[0]


@pytest.mark.usefixtures("pixels")
def test_downloaded_images_are_shown_and_removed(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUREBANK_DOWNLOADS", str(tmp_path / "downloads"))
    assert "downloaded" not in ask("cache", "ls")[0]
    content = keep_image(b"x" * 2000)
    assert ask("cache", "ls")[0].startswith(f"1 downloaded image in '{tmp_path / 'downloads'}', 2.0 kB: ")
    assert ask("cache", "gc", "--json")["downloads"] == {"images": 0, "bytes": 0}
    assert ask("cache", "gc", "--downloads", "--dry-run")[0] == "1 downloaded image, 2.0 kB\n2.0 kB could be freed\n"
    assert find_image(content) is not None
    assert ask("cache", "gc", "--downloads", "--json")["downloads"] == {"images": 1, "bytes": 2000}
    assert find_image(content) is None


def test_gc_of_all_leaves_alone_what_it_cannot_judge(ask: Ask, photos: Path, tmp_path: Path) -> None:
    ask(*EXTRACT, "--dataset", photos)
    broken = shutil.copytree(next(tmp_path.glob("cache/photos*")), tmp_path / "cache" / "broken--net--000000000000")
    (broken / "manifest.json").write_text("{}")
    out, errors = ask("cache", "gc")
    assert out == "0 B freed\n"
    assert errors.startswith("skipped: '")
    assert "is damaged" in ask("cache", "gc", "broken", code=1)[1]


@pytest.mark.usefixtures("pixels")
def test_merge_parts_of_two_caches(ask: Ask, photos: Path, tmp_path: Path) -> None:
    for cache, gone in (("one", "1*"), ("two", "2*")):
        part = shutil.copytree(photos, tmp_path / "moving" / "photos")
        for path in part.glob(f"*/{gone}"):
            path.unlink()
        ask("--cache", cache, *EXTRACT, "--dataset", part)
        shutil.rmtree(part)
    banks = [next(tmp_path.glob(f"{cache}/*px-*")) for cache in ("one", "two")]
    found = ask("cache", "merge", *banks, "--json")
    assert (found["images"], found["taps"], found["views"]) == (24, ["pooled"], 0)
    assert len(Bank(found["bank"]).features()) == 24
    part = shutil.copytree(photos, tmp_path / "moving" / "photos")
    again = ask(*EXTRACT, "--dataset", part, "--json")
    assert (again["bank"], again["added"]) == (found["bank"], 0), "the place where extract looks for it"
    assert "rows merged from" in ask("cache", "show")[0]
    assert "expected two or more" in one_line(ask("cache", "merge", banks[0], code=1)[1])


@pytest.mark.usefixtures("pixels")
def test_a_bank_under_its_old_name_is_used_and_extended(ask: Ask, photos: Path, photo: Any, tmp_path: Path) -> None:
    new = tmp_path / ask(*EXTRACT, "--dataset", photos, "--json")["bank"]
    dataset, digits = new.name.partition("-lite0-32px-")[::2]
    old = new.rename(new.with_name(f"{dataset}--efficientnet_lite0--{digits}"))
    photo(photos / "ant" / "100.png", 100)
    found = ask(*EXTRACT, "--dataset", photos, "--tap", "pooled", "--json")
    assert (tmp_path / found["bank"], found["added"], found["reused"]) == (old, 1, 24)
    assert not new.exists()
    mine = old.rename(old.with_name("mine"))
    assert tmp_path / ask(*EXTRACT, "--dataset", photos, "--json")["bank"] == mine
    assert ask("heads", "--head", "ridge", "--json")["runs"]
    assert [bank["name"] for bank in ask("cache", "ls", "--json")] == ["mine"]


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("wide", [80, 120])
def test_ls_fits_the_terminal(ask: Ask, photos: Path, monkeypatch: pytest.MonkeyPatch, wide: int) -> None:
    for more in (("--image-size", 32), ("--image-size", 32, "--views", 2, "--augment", "flip"), ("--image-size", 48)):
        ask(*ANY_SIZE, "--dataset", photos, *more)
    ask("heads", "--bank", "photos", "--head", "ridge", code=1)
    best = ask("heads", "--head", "ridge", "--json")["runs"][0]["metrics"]["val"]["accuracy"]
    monkeypatch.setattr("featurebank.cli.tables._WIDTH", wide)
    out, _ = ask("cache", "ls")
    lines = [line for line in out.splitlines() if line.strip()]
    assert len(lines) == 5, "a line a bank"
    assert max(map(len, lines)) <= wide
    assert {"bank", "images", "px", "views", "runs", "best"} <= set(lines[0].split())
    rows = [dict(zip(lines[0].split(), line.split(), strict=False)) for line in lines[2:]]
    assert [(r["px"], r["views"], r["runs"], r["best"]) for r in rows] == [
        ("48", "0", "1", f"{best:.4f}"), ("32", "2", "0", "-"), ("32", "0", "0", "-"),
    ]  # fmt: skip
    for row in rows:
        assert ask("cache", "show", row["bank"], "--json")["recipe"]["image_size"] == int(row["px"])


@pytest.mark.usefixtures("pixels")
def test_merge_of_copies_with_other_seeds(ask: Ask, photos: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(photos, tmp_path / "copy")
    banks = [ask(*EXTRACT, "--dataset", d, "--seed", n, "--json")["bank"] for n, d in enumerate((photos, copy))]
    assert "use --seed 0 to decide all splits again" in one_line(ask("cache", "merge", *banks, code=1)[1])
    out, said = ask("cache", "merge", *banks, "--seed", 3, "--split", ".5,.5")
    assert "the images of these banks have 24 repetitions: an image is one row" in said
    assert "new splits (0.5, 0.5, 0) by seed 3: " in out
    found = ask("cache", "merge", *banks, "--seed", 3, "--json")
    merged = Bank(found["bank"])
    assert (len(merged), found["resplit"]["seed"]) == (24, 3)
    assert len(set(merged.digests().tolist())) == 24


@pytest.mark.usefixtures("pixels")
def test_no_to_the_question_of_rm_is_an_answer(ask: Ask, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Path(ask(*EXTRACT, "--dataset", photos, "--json")["bank"])
    for answer, told in (("n\n", "nothing was deleted"), ("y\n", "deleted ")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        out, errors = ask("cache", "rm", bank.name)
        assert told in out
        assert "interrupted" not in errors
    assert not bank.exists()


@pytest.mark.usefixtures("pixels")
def test_export_to_one_plain_file(ask: Ask, photos: Path, tmp_path: Path) -> None:
    bank = Bank(ask(*EXTRACT, "--dataset", photos, "--tap", "map:max", "--json")["bank"])
    assert "tap map:max of 24 images" in ask("cache", "export", "-o", "plain.npz")[0]
    with np.load(tmp_path / "plain.npz") as plain:
        assert np.array_equal(plain["features"], bank.features("map:max"))
    assert "plain.h5" in ask("cache", "export", bank.name, "-o", "plain.h5")[0]
    assert "expected a file name that ends with .h5" in ask("cache", "export", "-o", "plain.csv", code=2)[1]
    assert "no view 1" in one_line(ask("cache", "export", "-o", "a.npz", "--view", 1, code=1)[1])


def test_verify_computes_canaries_anew(ask: Ask, photos: Path) -> None:
    ask(*EXTRACT, "--dataset", photos)
    out, _ = ask("cache", "verify")
    assert "0 files damaged" in out
    assert "4 rows recomputed, all match (largest difference" in out
    found = ask("cache", "verify", "--canaries", 2, "--json")
    assert (found["damaged"], found["canaries"]["rows"], found["canaries"]["wrong"]) == ([], 2, [])
    assert ask("cache", "verify", "--canaries", 0, "--json")["canaries"] is None
    photos.rename(photos.with_name("elsewhere"))
    assert "no rows recomputed: " in ask("cache", "verify")[0]


@pytest.mark.usefixtures("pixels")
def test_verify_looks_at_the_whole_cache(ask: Ask, photos: Path, tmp_path: Path) -> None:
    """Also at a bank that was not used last, and goes on where one has no readable manifest."""
    first = Path(ask(*EXTRACT, "--dataset", photos, "--json")["bank"])
    second = Path(ask(*ANY_SIZE, "--dataset", photos, "--image-size", 48, "--json")["bank"])
    shard = next(first.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    (second / "manifest.json").write_text("{")
    (tmp_path / "cache" / ".engines").mkdir()
    (tmp_path / "cache" / ".engines" / "net.npz").write_bytes(b"no archive")
    found = ask("cache", "verify", "--json", code=1)
    assert {Path(place).name: count for place, count in found["damaged_in"].items()} == {
        first.name: 1, second.name: 1, "cache": 1
    }  # fmt: skip
    assert [name in line for name, line in zip(("manifest.json", shard.name, "net.npz"), found["damaged"], strict=True)]
    told = ask("cache", "verify", first.name, "--forget", "--json", code=1)
    assert told["forgotten"] == [shard.name]
    assert "1 file damaged" in ask("cache", "verify", code=1)[0]
    assert (tmp_path / "cache" / ".engines" / "net.npz").is_file()


@pytest.mark.usefixtures("pixels")
def test_ram_is_a_limit_with_one_line(ask: Ask, photos: Path) -> None:
    ask(*EXTRACT, "--dataset", photos)
    assert "--ram is 'much'" in one_line(ask("--ram", "much", "cache", "ls", code=1)[1])
    assert ask("--ram", "2GB", "heads", "--head", "ridge", "--json")["runs"]
