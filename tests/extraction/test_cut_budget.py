"""`--tap auto:BYTES`: the earliest cut that fits, told in one line, and the same again at the next run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pytest
from immediate import Immediate
from listener import Listener

from featurebank import backbone_from_model, extract, load_backbone, load_dataset
from featurebank.api.transformer import FeatureBank
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.cuts import CutPoint, cut_points
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.extraction import Extraction, ExtractOptions, run_extraction, run_extractions
from featurebank.extraction.estimate import estimate_extractions
from featurebank.system.progress import Reporter

pytestmark = pytest.mark.heavy

IMAGES = 24


class Shaped(Immediate):
    """Features of the right shapes, at once."""

    name, precision = "shaped", "float32"

    def __init__(self, backbone: Backbone, taps: Any) -> None:
        network = backbone.network()
        outputs = {tap: network.output if tap == "pooled" else network.get_layer(tap).output for tap in taps}
        self.shapes = {
            tap: tensor.shape[-1:] if tap == "pooled" else tensor.shape[1:] for tap, tensor in outputs.items()
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {tap: np.zeros((len(images), *shape), np.float32) for tap, shape in self.shapes.items()}


@pytest.fixture
def shaped(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, backbone: Backbone, taps: Any, **options: Any) -> Shaped:
        return Shaped(backbone, taps)

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)


@pytest.fixture
def run(photos: Path, lite: Backbone, tmp_path: Path) -> Callable[..., Extraction]:
    def go(*taps: str, reporter: Reporter | None = None, **options: Any) -> Extraction:
        chosen = ExtractOptions(taps=taps, **{"batch_size": 8, **options})
        cache = tmp_path / "cache"
        return run_extraction(load_dataset(str(photos)), lite, chosen, cache=cache, reporter=reporter or Reporter())

    return go


def best(cuts: list[CutPoint], bytes_a_row: float, scale: float = 1) -> CutPoint:
    """The cut with most work after it among those whose rows fit; of equal ones the smallest."""
    fitting = [cut for cut in cuts if cut.bytes_per_image_float16 * scale <= bytes_a_row]
    return max(fitting, key=lambda cut: (cut.remaining_work, -cut.bytes_per_image_float16))


@pytest.mark.usefixtures("shaped")
@pytest.mark.parametrize("row", [8192, 8191, 4000, 1000, 400])
def test_the_earliest_that_fits(run: Callable[..., Extraction], lite: Backbone, row: int) -> None:
    cut = best(cut_points(lite.network()), row)
    assert run(f"auto:{IMAGES * row}").bank.taps == (cut.name,)


@pytest.mark.usefixtures("shaped")
def test_a_budget_at_its_edge(run: Callable[..., Extraction], lite: Backbone) -> None:
    cuts = cut_points(lite.network())
    cut = best(cuts, 4000)
    needed = IMAGES * cut.bytes_per_image_float16
    assert run(f"auto:{needed}").bank.taps == (cut.name,)
    assert run(f"auto:{needed - 1}").bank.taps != (cut.name,)


@pytest.mark.usefixtures("shaped")
def test_of_two_cuts_with_the_same_work_after_them_the_smaller(photos: Path, tmp_path: Path) -> None:
    vgg = load_backbone("vgg16", weights="random:0", image_size=32)
    lines = Listener()
    options = ExtractOptions(taps=("auto:1GB",))
    run_extraction(load_dataset(str(photos)), vgg, options, cache=tmp_path / "cache", reporter=lines)
    told = "block1_conv1 (32 x 32 x 64, 131.1 kB an image, 3.1 MB for 24 images, 99 % of the multiply-adds remain)"
    assert lines.said[0] == f"auto:1GB: {told}"
    lines = Listener()
    options = ExtractOptions(taps=("auto:3MB",))  # block1_conv2 has the same work after it, and four times the bytes
    run_extraction(load_dataset(str(photos)), vgg, options, cache=tmp_path / "cache", reporter=lines)
    assert lines.said[0].startswith("auto:3MB: block1_pool (16 x 16 x 64,")


@pytest.mark.usefixtures("shaped")
def test_views_types_and_other_taps_count(run: Callable[..., Extraction], lite: Backbone) -> None:
    cuts = cut_points(lite.network())
    row = 4000
    assert run(f"auto:{IMAGES * row}", store="float32").bank.taps == (best(cuts, row, 2).name,)
    lines = Listener()
    found = run(f"auto:{IMAGES * row}", views=2, augment="flip", reporter=lines)
    cut = best(cuts, row / 3)
    assert found.bank.taps == (cut.name,)
    assert f"{IMAGES * cut.bytes_per_image_float16 * 3 / 1000:.1f} kB for 24 images with 2 views," in lines.said[0]
    lines = Listener()
    beside = 1280 * 4  # pooled is float32
    found = run("pooled", f"auto:{IMAGES * 2 * (row + beside)}", views=1, augment="rotate=5", reporter=lines)
    cut = best(cuts, row)
    assert found.bank.taps == ("pooled", cut.name)
    assert f"with 1 view, {IMAGES * beside * 2 / 1000:.1f} kB for the other taps," in lines.said[0]


@pytest.mark.usefixtures("shaped")
def test_a_tap_that_is_asked_for_anyway_counts_once(run: Callable[..., Extraction], lite: Backbone) -> None:
    cut = best(cut_points(lite.network()), 4000)
    assert run(cut.name, f"auto:{IMAGES * cut.bytes_per_image_float16}").bank.taps == (cut.name,)


@pytest.mark.usefixtures("shaped")
def test_each_backbone_has_its_own_cut(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    other = load_backbone("squeezenet1_1", weights="random:0", image_size=48)
    options = ExtractOptions(taps=("auto:100kB",))
    found = run_extractions(load_dataset(str(photos)), [lite, other], options, cache=tmp_path / "cache")
    for backbone, extraction in zip((lite, other), found, strict=True):
        assert extraction.bank.taps == (best(cut_points(backbone.network()), 100_000 / IMAGES).name,)


@pytest.mark.usefixtures("shaped")
def test_the_same_again_without_a_network(
    run: Callable[..., Extraction], photos: Path, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "ant" / "broken.png").write_bytes(b"no image")
    cut = best(cut_points(lite.network()), 4000)
    budget = f"auto:{25 * 4000}"  # what turns out not to be an image counts too, then as now
    assert run(budget).bank.taps == (cut.name,)
    monkeypatch.setattr(Backbone, "network", None)
    again = run(budget)
    assert (again.added, again.bank.taps) == (0, (cut.name,))
    dataset = load_dataset(str(photos))
    (estimate,) = estimate_extractions(dataset, [lite], ExtractOptions(taps=(budget,)), cache=tmp_path / "cache")
    assert estimate.rows == 0
    assert extract(dataset, lite, budget, cache=tmp_path / "cache").taps == (cut.name,)


@pytest.mark.usefixtures("shaped")
def test_a_stored_tap_keeps_its_type_and_new_ones_get_the_views_there_are(
    run: Callable[..., Extraction], lite: Backbone
) -> None:
    cuts = cut_points(lite.network())
    cut = best(cuts, 4000)
    run(cut.name, store="float32", views=3, augment="flip")
    lines = Listener()
    row = 4 * cut.bytes_per_image_float16 * 2
    run(f"auto:{IMAGES * row}", views=1, augment="flip", reporter=lines)
    stored = {other.name: 8 if other == cut else 4 for other in cuts}
    fitting = [other for other in cuts if other.bytes_per_image_float16 * stored[other.name] <= row]
    wanted = max(fitting, key=lambda c: (c.remaining_work, -c.bytes_per_image_float16))
    assert lines.said[0].startswith(f"auto:{IMAGES * row}: {wanted.name} (")
    assert "with 3 views" in lines.said[0]


@pytest.mark.usefixtures("no_engine")
def test_where_nothing_fits_the_smallest_that_would_do_is_told(run: Callable[..., Extraction], lite: Backbone) -> None:
    smallest = min(cut.bytes_per_image_float16 for cut in cut_points(lite.network()))
    with pytest.raises(ConfigError, match=r"auto:100: no cut of efficientnet_lite0 fits; the smallest is") as error:
        run("auto:100")
    assert "\n" not in str(error.value)
    enough = re.search(r"expected (auto:\d+[kMG]?B) or more", str(error.value))
    assert enough
    assert IMAGES * smallest <= _bytes(enough[1]) < 1.02 * IMAGES * smallest


@pytest.mark.usefixtures("shaped")
def test_what_is_told_to_do_does(run: Callable[..., Extraction]) -> None:
    with pytest.raises(ConfigError) as error:
        run("pooled", "auto:1kB", views=2, augment="flip")
    enough = re.findall(r"auto:\d+[kMG]?B", str(error.value))[-1]
    assert len(run("pooled", enough, views=2, augment="flip").bank.taps) == 2


def _bytes(budget: str) -> int:
    number, unit = re.fullmatch(r"auto:(\d+)([kMG]?)B", budget).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[unit]


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("taps", "expected"),
    [
        (("auto:",), r"the budget of tap 'auto:' is '': expected a number of bytes .*as 500MB or 8GB"),
        (("auto",), r"the budget of tap 'auto' is ''"),
        (("auto:2XB",), r"'2XB': expected a number of bytes"),
        (("auto:-1GB",), r"'-1GB': expected a number of bytes"),
        (("auto:0",), r"'0': expected a number of bytes"),
        (("auto:avg",), r"'avg': expected a number of bytes"),
        (("auto:1GB", "pooled", "auto:2GB"), r"2 budgets, auto:1GB and auto:2GB: expected one"),
    ],
)
def test_malformed_budgets_are_told_before_an_image_is_read(
    lite: Backbone, photos: Path, tmp_path: Path, taps: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(str(photos))
    monkeypatch.setattr(type(dataset), "fingerprint", None)
    for act in (run_extractions, estimate_extractions):
        with pytest.raises(ConfigError, match=expected):
            act(dataset, [lite], ExtractOptions(taps=taps), cache=tmp_path / "cache")


@pytest.mark.usefixtures("no_engine")
def test_another_tap_of_no_layer(run: Callable[..., Extraction]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'block6d_add'"):
        run("block6d_ad", "auto:1GB")


def test_a_budget_where_no_dataset_is_counted(tmp_path: Path) -> None:
    transformer = FeatureBank("efficientnet_lite0", tap="auto:1GB", weights="random:0", cache=tmp_path)
    with pytest.raises(ConfigError, match="'auto:1GB' means the cut that fits a disk budget, which only 'extract'"):
        transformer.fit(None)


@pytest.mark.usefixtures("shaped")
def test_a_network_of_the_users_own(photos: Path, tmp_path: Path) -> None:
    import keras

    image = keras.Input((32, 32, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(image)
    branches = [keras.layers.Conv2D(4, 3, padding="same", name=f"branch{n}")(first) for n in range(2)]
    own = keras.Model(image, keras.layers.Add(name="joined")(branches))
    backbone = backbone_from_model(own, preprocessing="0..1", name="own")
    dataset = load_dataset(str(photos))
    bank = extract(dataset, backbone, ["auto:1MB"], cache=tmp_path / "cache")
    assert bank.taps == ("first",)

    alone = backbone_from_model(keras.Model(image, first), preprocessing="0..1", name="alone")
    lines = Listener()
    options = ExtractOptions(taps=("auto:1MB",))
    found = run_extraction(dataset, alone, options, cache=tmp_path / "cache", reporter=lines)
    assert found.bank.taps == ("first",)
    assert any("0 % of the multiply-adds remain" in line for line in lines.said), "its only cut is its end"


WATCHED = """
import atexit, sys
heavy = {"tensorflow", "keras"}
atexit.register(lambda: print("loaded:", *sorted(heavy & set(sys.modules)), file=sys.stderr))
from featurebank.cli import main
main()
"""


def test_the_second_run_imports_no_tensorflow(photos: Path, tmp_path: Path) -> None:
    network = ["--backbone", "mobilenet_v2", "--weights", "random:0", "--image-size", "32"]
    command = ["extract", *network, "--dataset", str(photos), "--tap", "auto:50 kB", "--json"]
    answers = []
    for number in range(2):
        done = forks.run([sys.executable, "-c", WATCHED, "--cache", str(tmp_path / "cache"), *command])
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
        (told,) = [line for line in done.stderr.splitlines() if line.startswith("auto:50 kB: ")]
        (tap,) = answers[-1]["taps"]
        assert told.startswith(f"auto:50 kB: {tap} (")
        assert answers[-1]["taps"][tap]["bytes"] <= 50_000
        assert (done.stderr.splitlines()[-1].split() == ["loaded:"]) == (number == 1)
    assert answers[1]["added"] == 0
    assert answers[1]["taps"] == answers[0]["taps"]
