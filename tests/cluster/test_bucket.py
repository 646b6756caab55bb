"""A cache in a bucket: workers on other machines have mirrors of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from buckets import BUCKET, Machine, environment, server_with_bucket

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.cluster.extraction import extract_banks
from featurebank.cluster.local import LocalWorkers
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.storage.caches import MIRROR_VARIABLE, cache_directory

pytestmark = pytest.mark.heavy


def test_a_worker_with_another_mirror_fills_the_bank(
    photos: Path, lite: Backbone, tmp_path: Path, site: Path, pixels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = LocalWorkers._start

    def elsewhere(self: LocalWorkers, *args: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(MIRROR_VARIABLE, str(tmp_path / "worker"))
            return launch(self, *args)

    monkeypatch.setattr(LocalWorkers, "_start", elsewhere)
    dataset = fb.load_dataset(str(photos))
    single = run_extraction(dataset, lite, ExtractOptions(), cache=tmp_path / "single").bank
    with server_with_bucket() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        with Machine(tmp_path / "client").used():
            cache = f"s3://{BUCKET}/lab"
            here = cache_directory(cache)
            (result,) = extract_banks(dataset, [lite], ExtractOptions(cluster="local:1"), cache=cache)
            assert result.bank.path.is_relative_to(here)
            assert result.bank.features("pooled").tobytes() == single.features("pooled").tobytes()
            assert list((tmp_path / "worker").rglob("shard-*.h5"))
