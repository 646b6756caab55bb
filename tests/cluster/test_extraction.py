"""Extractions on a cluster: the bank of one process, whatever happens to workers, scheduler and client."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from listener import Listener

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.cli import group
from featurebank.cluster import client
from featurebank.cluster import extraction as module
from featurebank.cluster.extraction import extract_banks
from featurebank.cluster.local import LocalWorkers
from featurebank.errors import ClusterError, ConfigError, DatasetError
from featurebank.extraction import Extraction, ExtractOptions, run_extraction
from featurebank.system.progress import Reporter

pytestmark = pytest.mark.heavy


@pytest.fixture
def start(photos: Path, lite: Backbone, tmp_path: Path, site: Path) -> Callable[..., Extraction]:
    def run(address: str = "local:2", reporter: Reporter | None = None, **options: Any) -> Extraction:
        (result,) = extract_banks(
            fb.load_dataset(str(photos)), [lite], ExtractOptions(batch_size=4, cluster=address, **options),
            cache=tmp_path / "cache", reporter=reporter or Listener(),
        )  # fmt: skip
        return result

    return run


def assert_same(one: Bank, other: Bank) -> None:
    assert (one.ids(), one.recipe, one.classes) == (other.ids(), other.recipe, other.classes)
    assert one.labels().tolist() == other.labels().tolist()
    assert one.features("pooled").tobytes() == other.features("pooled").tobytes()


def test_without_a_scheduler_no_bank_is_created(
    start: Callable[..., Extraction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        start(f"127.0.0.1:{port}")
    assert not list(tmp_path.rglob("manifest.json"))


def test_the_bank_is_that_of_one_process_and_needs_no_cluster_once_it_is_complete(
    start: Callable[..., Extraction], single: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = start()
    assert_same(result.bank, single)
    assert (result.rows, result.added, result.computed, result.reused, result.skipped) == (24, 24, 24, 0, ())
    assert result.engine == "pixels"
    assert sum(one["images"] for one in result.workers) == 24
    assert {one["engine"] for one in result.workers} == {"pixels"}
    assert {one["worker"] for one in result.workers} <= {"local-0", "local-1"}
    monkeypatch.setattr(module, "connect", None)
    result = start()
    assert (result.rows, result.added, result.reused, result.workers) == (24, 0, 24, ())


def test_several_networks_and_views_share_a_pass(photos: Path, tmp_path: Path, site: Path, pixels: Any) -> None:
    networks = [fb.load_backbone("efficientnet_lite0", weights=f"random:{seed}", image_size=32) for seed in (0, 1)]
    options = ExtractOptions(views=1, augment="flip", batch_size=4)
    results = extract_banks(
        fb.load_dataset(str(photos)), networks, replace(options, cluster="local:1"), cache=tmp_path / "cache"
    )
    alone = [run_extraction(fb.load_dataset(str(photos)), one, options, cache=tmp_path / "one") for one in networks]
    for result, other in zip(results, alone, strict=True):
        assert_same(result.bank, other.bank)
        assert result.bank.features("pooled", view=1).tobytes() == other.bank.features("pooled", view=1).tobytes()
        assert (result.added, result.computed) == (24, 48)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of one image, which is given up after its first death alone; tests of the dispatcher have larger ones."""
    monkeypatch.setattr("featurebank.extraction.pieces.slices._LEAST_IMAGES", 1)
    monkeypatch.setattr("featurebank.cluster.dispatch.LONE_DEATHS", 1)


@pytest.mark.usefixtures("soon")
def test_the_image_that_ends_its_workers_is_skipped_with_its_reason(
    start: Callable[..., Extraction], single: Bank, site: Path
) -> None:
    (site / "poison").write_text("8.png")
    result = start()
    assert result.skipped == ({"id": "ant/8.png", "reason": "it ended the worker that computed it, 1 time"},)
    assert (result.rows, result.added) == (23, 23)
    others = [name for name in single.ids() if name != "ant/8.png"]
    assert result.bank.ids() == others
    keep = np.isin(single.ids(), others)
    assert result.bank.features("pooled").tobytes() == single.features("pooled")[keep].tobytes()


@pytest.mark.slow
@pytest.mark.usefixtures("soon")
def test_an_image_that_ends_workers_counts_as_bad(start: Callable[..., Extraction], site: Path) -> None:
    (site / "poison").write_text("8.png")
    with pytest.raises(DatasetError, match=r"^1 of 24 images .* cannot be used, the first is 'ant/8.png': it ended"):
        start(max_bad=0.0)


def test_killed_workers_cost_only_time(
    start: Callable[..., Extraction], single: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is killed after each of the first slices."""
    started: list[LocalWorkers] = []
    begin = LocalWorkers.start
    monkeypatch.setattr(LocalWorkers, "start", lambda self: (started.append(self), begin(self)))
    killed: set[int] = set()

    class Killer(Listener):
        def track(self, what: str, total: int, unit: str) -> Any:
            def advance(count: int) -> None:
                alive = set(started[0].pids()) - killed if what == "extract" else set()
                if alive and len(killed) < 2:
                    killed.add(min(alive))
                    os.kill(min(alive), signal.SIGKILL)

            return contextlib.nullcontext(advance)

    result = start(reporter=Killer())
    assert len(killed) == 2
    assert_same(result.bank, single)


def test_a_worker_with_other_features_is_refused(
    start: Callable[..., Extraction], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, factors = LocalWorkers._start, iter(["1", "1.001"])

    def with_factor(self: LocalWorkers, *args: Any) -> Any:
        monkeypatch.setenv("FACTOR", next(factors))
        monkeypatch.setenv("ENGINE", "openvino" if os.environ["FACTOR"] == "1" else "tensorflow")
        return launch(self, *args)

    monkeypatch.setattr(LocalWorkers, "_start", with_factor)
    listener = Listener()
    with pytest.raises(ClusterError) as caught:
        start(reporter=listener)
    assert "they differ by 0.001 of the largest, expected 0.0001 at most" in str(caught.value)
    assert "tensorflow" in str(caught.value)
    assert "openvino" in str(caught.value)
    assert any(
        "features agree within 0.0001 of the largest, or the worker is refused" in line for line in listener.warned
    )


def test_a_network_in_memory_is_refused_before_anything_begins(photos: Path, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)])
    network = fb.backbone_from_model(model, preprocessing="tf")
    with pytest.raises(ConfigError, match=r"was a model in memory: expected one that can be loaded again"):
        extract_banks(fb.load_dataset(str(photos)), [network], ExtractOptions(cluster="local:1"), cache=tmp_path)


@pytest.mark.parametrize("address", ["local:0", "local:x", "nowhere"])
def test_an_address_is_checked_before_anything_is_read(address: str, lite: Backbone, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--cluster is '"):
        fb.extract("no such folder that is read", lite, cluster=address, cache=tmp_path)


def test_the_command_prints_a_table_and_json(photos: Path, site: Path, tmp_path: Path) -> None:
    command = [
        "--cache", str(tmp_path / "cache"), "-q", "extract", str(photos), "--backbone", "efficientnet_lite0",
        "--weights", "random:0", "--image-size", "32", "--cluster", "local:1",
    ]  # fmt: skip
    shown = CliRunner().invoke(group, command, env={"COLUMNS": "80"}, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    (table,) = [number for number, line in enumerate(lines) if line.split()[:2] == ["worker", "host"]]
    assert max(map(len, lines[table:])) <= 80
    assert lines[table].split() == ["worker", "host", "images", "images/s", "waited", "engine"]
    (photos / "ant" / "more.png").write_bytes((photos / "ant" / "8.png").read_bytes() + b"more")
    more = CliRunner().invoke(group, [*command, "--json"], catch_exceptions=False)
    (worker,) = [one for one in json.loads(more.stdout)["workers"] if one["images"]]
    assert set(worker) == {"worker", "host", "images", "images_per_second", "waited", "engine"}
    refused = CliRunner().invoke(group, [*command, "--dry-run"])
    assert refused.exit_code == 2
    assert "leave out --cluster" in refused.output
