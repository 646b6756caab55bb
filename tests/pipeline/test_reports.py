"""The reports of pipeline files: one for all variants that name its path."""

from __future__ import annotations

from pathlib import Path

import pytest
from immediate import PixelEngine

from featurebank import read_variants, run_pipeline, run_variants
from featurebank.errors import ConfigError
from featurebank.pipeline import plan_variants

pytestmark = pytest.mark.heavy


@pytest.fixture
def study(tmp_path: Path, photos: Path, pixels: list[PixelEngine], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline file on a few photos, whose heads need no network, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heads.toml").write_text('[[head]]\nkind = "ridge"\nalpha = [1.0, 100.0]\n')
    lines = [
        f"dataset.name = {str(photos)!r}", "dataset.split = [0.6, 0.4]", 'extract.backbone = "efficientnet_lite0"',
        'extract.weights = "random:0"', "extract.image_size = 32", f"heads.grid = {str(tmp_path / 'heads.toml')!r}",
        'report.output = "page.html"',
    ]  # fmt: skip
    path = tmp_path / "study.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_pipeline_writes_its_report_only_if_something_changed(study: Path, tmp_path: Path) -> None:
    first = run_pipeline(study, cache=tmp_path / "cache").report
    assert first is not None
    assert first.written
    assert (first.path, first.path.is_file()) == (Path("page.html"), True)
    again = run_pipeline(study, cache=tmp_path / "cache").report
    assert again is not None
    assert not again.written
    (tmp_path / "heads.toml").write_text('[[head]]\nkind = "ridge"\nalpha = [1.0, 100.0, 1e4]\n')
    more = run_pipeline(study, cache=tmp_path / "cache").report
    assert more is not None
    assert more.written


def test_variants_share_a_report(study: Path, tmp_path: Path) -> None:
    """Those with another path have their own, and those with `report = false` have none."""
    blocks = [
        'name = "small"', 'name = "large"\nextract.image_size = 64', 'name = "alone"\nreport.output = "alone.html"',
        'name = "none"\nreport = false',
    ]  # fmt: skip
    study.write_text(study.read_text() + "".join(f"[[variant]]\n{block}\n" for block in blocks))
    results = list(run_variants(study, cache=tmp_path / "cache"))
    assert [done.result.report for done in results] == [None] * 4, "the last variant has no report"
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["alone.html", "page.html"]
    assert "banks" in (tmp_path / "page.html").read_text(encoding="utf-8")[:4096]


def test_a_path_that_cannot_be_used_is_reported_before_anything_starts(
    study: Path, tmp_path: Path, pixels: list[PixelEngine]
) -> None:
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"'page\.html' exists and is no report of featurebank"):
        run_pipeline(study, cache=tmp_path / "cache")
    assert pixels == []
    study.write_text(study.read_text() + "report.force = true\n")
    written = run_pipeline(study, cache=tmp_path / "cache").report
    assert written is not None
    assert written.written


def test_a_plan_names_the_report(study: Path, tmp_path: Path) -> None:
    (plan,) = plan_variants(read_variants(study), cache=tmp_path / "cache")
    assert plan["report"] == {"output": "page.html"}
    assert not (tmp_path / "page.html").exists()
