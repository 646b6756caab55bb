"""Banks that a stranger made, with checksums that hold: no command touches what is not inside of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank import list_banks, train_heads
from featurebank.bank.catalog import find_bank_path, remove_bank
from featurebank.bank.items import Items
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.sharing import find_rows, share_rows
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import MANIFEST, load_manifest, load_tables
from featurebank.bank.pages import item_runs, shard_pages
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import BankDamagedError, BankError, ConfigError, FeatureBankError
from featurebank.system import digest

NAME = "data--net--0123456789ab"
ESCAPES = (
    "../../victim.txt", "../victim.txt", "../../../escaped/x", "/tmp/escaped", "..", ".", "", "a/b", "a\\b",
    "C:victim", "runs", "shard-../x.h5", "shard-/../../../victim.h5", "items-/../../victim.npz", "shard-\x1b[2J.h5",
    "manifest.json", "shard-x.h5\n", "~/victim", "\ud800", "x" * 300,
)  # fmt: skip
ODD = (None, 0, -1, 2**70, 1.5, True, [], {}, ["x"], {"file": "../../victim.txt"}, [[[]]])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file that is to stay, a cache of two banks, and a third beside it."""
    root = tmp_path_factory.mktemp("hostile")
    for place, numbers in ((root / "cache" / NAME, range(6)), (root / "cache" / "other--net--1", range(4, 9)),
                           (root / "away" / NAME, range(8, 12))):  # fmt: skip
        fill(place, numbers)
    with patch.multiple(shard_pages, SHARDS_A_PAGE=2), patch.multiple(item_runs, ONE_RUN=2, SHARE=1):
        for last in (4, 5, 6):
            fill(root / "paged" / NAME, range(last), first=last - 1)
    manifest = load_manifest(root / "paged" / NAME)
    assert (len(manifest.pages), len((manifest.items or {})["pages"])) == (1, 3)
    (root / "victim.txt").write_bytes(b"precious")
    (root / "cache" / "victim.txt").write_bytes(b"precious too")
    return root


def fill(path: Path, numbers: range, dataset: str = "data", *, first: int = 0) -> None:
    digests = np.array([f"{n:032x}".encode() for n in numbers], "S32")
    features = np.array(numbers, np.float32)[:, None] * np.ones((1, 4), np.float32)
    record = {"name": dataset, "spec": "folder:/data", "classes": ["a"], "fractions": [0.7, 0.15, 0.15], "seed": 0}
    with BankWriter(path, {"backbone": "net", "weights": "w", "image_size": 32}, record) as to:
        new = slice(first if first and to.manifest.shards else 0, None)
        to.append([str(n) for n in numbers[new]], row_keys(digests[new]), {"pooled": features[new]}, {"pooled": None})
        zeros = np.zeros(len(numbers), np.int32)
        to.finish(Items([f"{n}.png" for n in numbers], digests, zeros, zeros.astype("u1")), ["pooled"], [], None)


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes what a manifest says, and computes its checksum anew."""
    value = json.loads((path / MANIFEST).read_text())
    del value["checksum"]
    value = change(value)
    value["checksum"] = digest.of_recipe(value)
    (path / MANIFEST).write_text(json.dumps(value))


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the way to each value of a JSON document."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in parts:
        yield (*way, key)
        yield from places(inner, (*way, key))


def put(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    inner = value
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = new
    return value


def outside(root: Path, *but: Path) -> dict[Path, bytes | str]:
    """Everything in a folder, but for some folders in it; links are not followed."""
    found: dict[Path, bytes | str] = {}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in but]
        for name in [*files, *folders]:
            path = here / name
            if path.is_symlink():
                found[path] = str(path.readlink())
            elif path.is_file():
                found[path] = path.read_bytes()
    return found


def update(path: Path) -> None:
    fill(path, range(2, 5))


def merge(path: Path) -> None:
    merge_banks([path, path.parents[1] / "away" / NAME], path.parent)


def adopt(path: Path) -> None:
    with BankWriter(path.parent / "new--net--2", {"backbone": "net", "weights": "w", "image_size": 32},
                    {"name": "new", "spec": "x", "classes": ["a"]}) as to:  # fmt: skip
        wanted = {("pooled", 0): np.array([f"{n:032x}".encode() for n in range(6)], "S32")}
        share_rows(to, find_rows(to.path, to.manifest.recipe, wanted, {})[0])


def forget(path: Path) -> None:
    for shard in path.glob("shard-*"):
        shard.write_bytes(b"damaged")
    verify_bank(path, forget=True)


COMMANDS: dict[str, Callable[[Path], object]] = {
    "extract": update, "gc": collect, "gc --dry-run": plan_gc, "merge": merge, "adopt": adopt, "verify": verify_bank,
    "verify --forget": forget, "rm": remove_bank, "ls": lambda path: list_banks(path.parent),
    "heads": lambda path: Bank(path).features(), "find": lambda path: find_bank_path(path.parent, "data"),
}  # fmt: skip


@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_no_command_touches_what_is_not_inside(made: Path, data: st.DataObject) -> None:
    """Whatever stands anywhere in a manifest whose checksum holds: one line, or the right thing."""
    cache = data.draw(st.sampled_from(["cache", "paged"]))
    whole = json.loads((made / cache / NAME / MANIFEST).read_text())
    names = [way for way in places(whole) if way[-1] in {"file", "name", "backbone"}]
    way = data.draw(st.sampled_from(names) | st.sampled_from([w for w in places(whole) if w != ("checksum",)]))
    new = data.draw(st.sampled_from(ESCAPES) | st.sampled_from(ODD) | st.text(max_size=9))
    command = data.draw(st.sampled_from(sorted(COMMANDS)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(made, Path(folder, "root")))
        path = root / cache / NAME
        rewrite(path, lambda value: put(value, way, new))
        before = outside(root, path)
        try:
            COMMANDS[command](path)
        except FeatureBankError as error:
            assert len(str(error)) < 2000  # noqa: PT017 - an error or the right thing, both are good
            assert "\n" not in str(error)  # noqa: PT017
        after = outside(root, path)
        fresh = {place.relative_to(root / cache).parts[0] for place in after.keys() - before.keys()}
        assert before.items() <= after.items(), (way, new, command)
        assert len(fresh) <= 1, "a merge and an adoption fill one bank of the cache"
        assert not list(Path(folder).glob("[!r]*"))


@pytest.mark.parametrize("name", ESCAPES)
def test_the_files_of_a_manifest_are_files_of_the_bank(made: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copytree(made / "paged" / NAME, tmp_path / NAME))
    pages: list[tuple[Any, ...]] = [("shards", 0, "page", "file"), ("items", "pages", 0, "file")]
    for way in (*pages, ("shards", 1, "file"), ("dataset", "name"), ("recipe", "backbone")):
        if way[-1] != "file" and name in {"C:victim", "runs", "manifest.json"}:
            continue  # names like others
        whole = (path / MANIFEST).read_bytes()
        rewrite(path, lambda value, way=way: put(value, way, name))
        with pytest.raises(BankDamagedError, match=r"was not written by featurebank \(.*'featurebank cache rm"):
            load_manifest(path)
        (path / MANIFEST).write_bytes(whole)


ROLES: dict[str, dict[str, Any]] = {
    "groups": {"lacking": None, "numbers": np.arange(6.0), "flags": np.ones(6, bool)},
    "weight": {
        "lacking": None, "texts": np.full(6, "x"), "nan": np.full(6, np.nan), "infinite": np.full(6, np.inf),
        "negative": np.full(6, -1.0), "flags": np.ones(6, bool),
    },
}  # fmt: skip


@pytest.mark.parametrize(("role", "column"), [(role, column) for role in ROLES for column in ROLES[role]])
def test_groups_and_weights_that_a_bank_lists_and_lacks(made: Path, tmp_path: Path, role: str, column: str) -> None:
    """Each use of such a column says that the bank is damaged; what needs no such column works."""
    path = Path(shutil.copytree(made, tmp_path / "root")) / "cache" / NAME
    values = ROLES[role][column]
    metadata = {} if values is None else {{"groups": "group", "weight": "weight"}[role]: values}
    manifest, items = load_tables(path)
    manifest.with_items(path, replace(items.select(np.arange(6)), metadata=metadata), manifest.taps, 0).save(path)
    for record in (path, path.parents[1] / "away" / NAME):
        rewrite(record, lambda value: put(value, ("dataset", role), "x"))
    bank = Bank(path)
    wanted = {"groups": bank.groups, "weight": bank.sample_weights}[role]
    uses: list[Callable[[], object]] = [
        wanted, lambda: bank.digest, lambda: merge(path), lambda: train_heads(bank, [{"kind": "nearest_mean"}]),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(BankDamagedError, match=r"is damaged: .*run the same 'featurebank extract' again"):
            use()
    for name in ("ls", "gc", "heads", "extract"):
        COMMANDS[name](path)


# ---- links


@pytest.fixture
def linked(made: Path, tmp_path: Path) -> SimpleNamespace:
    """A cache with a link to a bank, a bank whose runs are a link, and one whose shard is a link."""
    root = Path(shutil.copytree(made, tmp_path / "root"))
    away, path = root / "away" / NAME, root / "cache" / NAME
    link = root / "cache" / "linked--net--0123456789ab"
    link.symlink_to(away)
    runs = root / "precious"
    runs.mkdir()
    for name in ("0123456789.holder", "0123456789.checkpoint", "0123456789.json", "fedcba9876.keras", ".writing-x"):
        (runs / name).write_bytes(b"mine")
        os.utime(runs / name, (0, 0))
    (path / "runs").symlink_to(runs)
    shard = next(path.glob("shard-*"))
    shard.rename(root / shard.name)
    shard.symlink_to(root / shard.name)
    return SimpleNamespace(root=root, bank=path, link=link, away=away, runs=runs, shard=shard)


def test_gc_leaves_alone_what_links_lead_to(linked: SimpleNamespace) -> None:
    before = outside(linked.root)
    with pytest.raises(BankError, match=f"is a link: clean the bank at its real path, .*{linked.away}"):
        collect(linked.link)
    assert not collect(linked.bank)
    assert outside(linked.root) == before
    (linked.bank / "shard-left.h5").symlink_to(linked.root / "victim.txt")
    assert [file.name for file in collect(linked.bank).files] == ["shard-left.h5"]
    fill(linked.bank, range(2, 4))  # so that the linked shard has rows that nothing needs
    assert collect(linked.bank).dead_rows == 6
    kept = outside(linked.root, linked.bank)
    assert kept == {place: content for place, content in before.items() if linked.bank not in place.parents}


def test_rm_takes_links_and_not_what_they_lead_to(linked: SimpleNamespace) -> None:
    before = outside(linked.root, linked.bank)
    remove_bank(linked.bank)
    assert not linked.bank.exists()
    assert outside(linked.root, linked.bank) == before
    remove_bank(linked.link)
    del before[linked.link]
    assert outside(linked.root) == before


def test_merge_writes_through_no_link(linked: SimpleNamespace, tmp_path: Path) -> None:
    bank = merge_banks([linked.bank, linked.link], linked.root / "new")
    assert len(bank.features()) == 10
    assert not any(file.is_symlink() for file in bank.path.iterdir()), "a shard is shared, not the link to it"
    shutil.move(bank.path, tmp_path / "elsewhere")
    bank.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link to another place"):
        merge_banks([linked.bank, linked.link], linked.root / "new")
