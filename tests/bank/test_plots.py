"""The map of a bank's images: one point for each image of a split, with its thumbnail and the mistakes of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import train_heads
from featurebank.bank import Bank, plots
from featurebank.charts.embedding import specification
from featurebank.errors import ConfigError, UnknownNameError, WrongTypeError


def points(chart: Any) -> list[dict[str, Any]]:
    """The rows of a map."""
    return next(iter(specification(chart)["datasets"].values()))


def test_each_image_of_the_split_is_a_point_in_its_class(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    chart = bank.plot_map(method="pca")
    assert chart.title.text == "principal components of pooled, validation images"
    drawn = points(chart)
    assert [row["id"] for row in drawn] == bank.ids("val")
    assert [row["order"] for row in drawn] == bank.labels("val").tolist()
    assert "image" not in drawn[0]  # they are not files
    centres = {
        label: np.mean([(r["x"], r["y"]) for r in drawn if r["label"] == label], axis=0) for label in bank.classes
    }
    nearest = [min(centres, key=lambda label: np.hypot(*(centres[label] - (r["x"], r["y"])))) for r in drawn]
    assert nearest == [row["label"] for row in drawn]


def test_the_mistakes_of_a_run_are_marked(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    run = train_heads(bank, "nearest_mean")[0]
    drawn = points(bank.plot_map(run=run))
    assert [row["predicted"] for row in drawn] == run.predictions().predicted.tolist()
    assert sorted(row["id"] for row in drawn if row["wrong"]) == sorted(run.mistakes().ids)


def test_thumbnails_are_in_the_tooltip_where_images_are_files(leaky_bank: Bank, leaky: Path) -> None:
    name = leaky_bank.ids("train")[0]
    (leaky / name).unlink()
    drawn = {row["id"]: row["image"] for row in points(leaky_bank.plot_map(split="train", method="pca"))}
    assert drawn[name] == ""
    assert sum(image.startswith("data:image/") for image in drawn.values()) == len(drawn) - 1


def test_a_map_of_features_is_averaged_first(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(taps=("map",))
    averaged = bank.features("map", "val").mean(axis=(1, 2))
    expected = averaged - averaged.mean(axis=0)
    drawn = np.array([(row["x"], row["y"]) for row in points(bank.plot_map(method="pca"))])
    variances = np.sort(np.linalg.eigvalsh(np.cov(expected.T)))[::-1][:2]
    np.testing.assert_allclose(drawn.var(axis=0, ddof=1), variances, rtol=1e-3)


def test_of_very_many_images_a_sample_is_drawn_and_the_title_says_so(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "MOST_POINTS", 20)
    bank = make_bank()
    chart = bank.plot_map(method="pca", seed=1)
    assert chart.title.text == "principal components of pooled, 20 of 30 validation images"
    assert len({row["id"] for row in points(chart)} & set(bank.ids("val"))) == 20
    assert points(chart) == points(bank.plot_map(method="pca", seed=1))


def test_a_notebook_shows_more_rows_than_altairs_limit(make_bank: Callable[..., Bank]) -> None:
    chart = make_bank(splits=(10, 5100, 10), width=2).plot_map()
    assert chart.title.text.startswith("principal components")
    assert "text/html" in chart._repr_mimebundle_()


def test_what_cannot_be_drawn_is_one_clear_line(make_bank: Callable[..., Bank]) -> None:
    bank, other = make_bank(splits=(60, 30, 0)), make_bank("other", splits=(60, 20, 20), seed=1)
    with pytest.raises(UnknownNameError, match="unknown method 'tnse': did you mean 'tsne'"):
        bank.plot_map(method="tnse")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="tap"):
        bank.plot_map("pooll")
    with pytest.raises(UnknownNameError, match="unknown split 'valid'"):
        bank.plot_map(split="valid")
    with pytest.raises(ConfigError, match="there is no map to draw: split 'test' of bank 'bank' has no images"):
        bank.plot_map(split="test")
    with pytest.raises(WrongTypeError, match=r"run must be a run of the bank, as from select\(bank\): got 'best'"):
        bank.plot_map(run="best")
    with pytest.raises(ConfigError, match="predicts 20 images of 'val', which are not those of bank 'bank'"):
        bank.plot_map(run=train_heads(other, "nearest_mean")[0])
