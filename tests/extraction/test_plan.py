"""Nothing twice, nothing left out; and what a plan says is what the extraction then does."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from immediate import Immediate
from PIL import Image

from featurebank import load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.manifest import Manifest, load_manifest
from featurebank.dataset import Dataset
from featurebank.errors import BankNotFoundError, ConfigError
from featurebank.extraction import Extraction, ExtractOptions, run_extraction, run_extractions
from featurebank.extraction.cut_budget import row_bytes
from featurebank.extraction.plan import BankPlan, Planner, group_by_taps

pytestmark = pytest.mark.heavy

DIGESTS = st.sets(st.integers(0, 12)).map(
    lambda numbers: np.array([f"{n:032x}".encode() for n in sorted(numbers)], "S32")
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), DIGESTS, min_size=1))
def test_group_by_taps(lacking: dict[str, np.ndarray]) -> None:
    groups = group_by_taps(lacking)
    found = [(tap, key) for taps, keys in groups.items() for tap in taps for key in keys.tolist()]
    assert len(found) == len(set(found)), "nothing twice"
    assert set(found) == {(tap, key) for tap, keys in lacking.items() for key in keys.tolist()}
    rows = [key for keys in groups.values() for key in keys.tolist()]
    assert len(rows) == len(set(rows)), "each image is in one group"
    assert all(sorted(keys.tolist()) == keys.tolist() for keys in groups.values())


# ---- the law


SHAPES = {"pooled": (8,), "stem_conv:max": (4,), "map": (2, 2, 2)}
AUGMENTATIONS = {0: (None,), 1: ("flip", "flip,noise=.1"), 2: ("flip",)}


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets extraction run without a network."""

    class Shapes(Immediate):
        name, precision = "shapes", "float32"

        def __init__(self, taps: tuple[str, ...]) -> None:
            self.taps = taps

        def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
            return {tap: np.ones((len(images), *SHAPES[tap]), np.float32) for tap in self.taps}

    monkeypatch.setattr("featurebank.extraction.target.load_engine", lambda name, backbone, taps, **_: Shapes(taps))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Three folders that have some images in common, and a broken one."""
    for place, numbers in (("whole", range(8)), ("part", range(3, 7)), ("other", range(5, 11))):
        for number in numbers:
            path = tmp_path / place / ("ant", "bee")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
            if number == 5:
                path.write_bytes(b"no image")
    return [tmp_path / "whole", tmp_path / "part", tmp_path / "other"]


def request(draw: random.Random, **fixed: Any) -> ExtractOptions:
    views = draw.choice([0, 0, 1, 2])
    chosen = {
        "taps": draw.sample(list(SHAPES), draw.randint(1, 3)), "views": views,
        "augment": draw.choice(AUGMENTATIONS[views]), "store": draw.choice([None, None, None, "float32", "float16"]),
    }  # fmt: skip
    return ExtractOptions(**{**chosen, **fixed})


def damage(draw: random.Random, cache: Path) -> None:
    """Deletes a shard, or changes its keys or its features."""
    shard = draw.choice(sorted(cache.glob("*/shard-*")))
    data = bytearray(shard.read_bytes())
    shard.unlink()  # a hard link to it in another bank stays whole
    if place := draw.choice([0, len(data) // 2, -1]):
        data[place] ^= 1
        shard.write_bytes(data)


def manifest_of(path: Path) -> Manifest | None:
    try:
        return load_manifest(path)
    except BankNotFoundError:
        return None


def agrees(plan: BankPlan, before: Manifest | None, done: Extraction) -> None:
    """Compares a plan with what was done to its bank."""
    after = done.bank.manifest
    assert (done.bank.path, after.taps, after.views) == (plan.path, plan.taps, plan.views)
    broken = np.array([entry["digest"] for entry in after.skipped], "S32")  # nobody knows before they are decoded
    unforeseen = [int(np.isin(job.digests, broken).sum()) for job in plan.jobs]
    assert done.computed == plan.rows - sum(unforeseen)
    events = after.history[len(before.history) if before else 0 :]
    assert Counter({e["source"]: e["linked"] for e in events if "linked" in e}) == plan.shared_rows
    known = {shard.file for shard in (before.shards if before else ())} | {one.shard.file for one in plan.shared}
    written = [
        shard.rows * tap.row_bytes for shard in after.shards if shard.file not in known for tap in shard.taps.values()
    ]
    lost = sum(
        count * row_bytes(SHAPES[tap], plan.dtypes[tap])
        for job, count in zip(plan.jobs, unforeseen, strict=True)
        for tap in job.taps
    )
    assert sum(written) == plan.bytes(SHAPES.__getitem__) - lost


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("seed", range(8))
def test_an_extraction_does_what_its_plan_says(folders: list[Path], lite: Backbone, tmp_path: Path, seed: int) -> None:
    draw, cache = random.Random(seed), tmp_path / "cache"
    both = [lite, load_backbone("efficientnet_lite0", weights="random:1", image_size=32)]
    for step in range(6):
        if step and draw.random() < 0.4:
            damage(draw, cache)
        dataset, options = load_dataset(str(draw.choice(folders))), request(draw)
        backbones = draw.choice([[lite], both])
        dataset.fingerprint()
        try:
            plans = Planner(cache).plan(dataset.name, dataset.distinct(), backbones, options)
        except ConfigError as error:
            refusal = re.escape(str(error))
        else:
            refusal = ""
        if refusal:
            with pytest.raises(ConfigError, match=refusal):
                run_extractions(dataset, backbones, options, cache=cache)
            continue
        before = [manifest_of(plan.path) for plan in plans]
        for found in zip(plans, before, run_extractions(dataset, backbones, options, cache=cache), strict=True):
            agrees(*found)


@pytest.mark.usefixtures("shapes")
@pytest.mark.parametrize("seed", range(4))
def test_several_extractions_are_planned_as_if_done_in_turn(
    folders: list[Path], lite: Backbone, tmp_path: Path, seed: int
) -> None:
    draw, cache = random.Random(seed), tmp_path / "cache"
    for folder in folders:
        (folder / "bee" / "5.png").unlink()
    work: list[tuple[Dataset, ExtractOptions]] = []
    for folder in (draw.choice(folders[:1] * 2 + folders[1:]) for _ in range(5)):
        work.append((load_dataset(str(folder)), request(draw, store=None)))
        work[-1][0].fingerprint()
    run_extraction(work[0][0], lite, work[1][1], cache=cache)
    planner = Planner(cache)
    plans = [planner.plan(dataset.name, dataset.distinct(), [lite], options)[0] for dataset, options in work]
    for plan, (dataset, options) in zip(plans, work, strict=True):
        done = run_extraction(dataset, lite, options, cache=cache)
        assert (plan.path, plan.taps, plan.views, plan.rows) == (
            done.bank.path, done.bank.taps, done.bank.views, done.computed,
        )  # fmt: skip
