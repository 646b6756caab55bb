"""Explanations of image files and arrays: where the heat lies, what is computed, and what cannot be explained."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener
from PIL import Image

from featurebank import evaluate_test, explain, extract, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import DatasetError, HeadError, UnknownNameError
from featurebank.runs.run import RunRecord, load_runs

pytestmark = pytest.mark.heavy

RunOf = Callable[..., RunRecord]


@pytest.mark.parametrize(("kind", "method"), [("random_forest", "occlusion"), ("ridge", "cam"), ("mlp", "gradcam")])
@pytest.mark.parametrize(("upper", "left"), [(1, 1), (1, 19), (18, 2)])
def test_the_heat_is_on_the_only_patch_that_matters(
    bank: Bank, run_of: RunOf, patch: Callable[..., np.ndarray], kind: str, method: str, upper: int, left: int
) -> None:
    params = {"random_forest": {"n_estimators": 20}, "mlp": {"epochs": 60, "learning_rate": 0.01, "standardize": True}}
    run = run_of(kind, **params.get(kind, {}))
    how: Any = "auto" if method != "occlusion" else method
    (one,) = explain(run, [patch("bee", (upper, left))], class_name="bee", method=how)
    assert one.method == method
    assert one.probability > 0.5
    heat = one.heat_map
    assert heat.shape == one.overlay.shape[:2] == (168, 168), "tiny images are enlarged"
    y, x = (float((heat.sum(axis=axis) * np.arange(168)).sum() / heat.sum()) / 6 for axis in (1, 0))
    assert abs(y - upper - 4) < 7
    assert abs(x - left - 4) < 7


def test_images_of_the_bank_need_no_network(
    bank: Bank, run_of: RunOf, shown: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are found by their content, wherever the file lies now."""
    run = run_of("ridge")
    image = shutil.copy(next(shown.glob("val/bee/*")), tmp_path / "moved.png")
    monkeypatch.setattr("featurebank.explanation.features.load_engine", lambda *_, **__: pytest.fail("an engine"))
    (one,) = explain(run, image)
    assert (one.method, one.label) == ("cam", "bee")
    pixels = np.asarray(Image.open(image))
    monkeypatch.undo()
    (other,) = explain(run, [pixels])
    assert other.label is None
    np.testing.assert_allclose(one.cells, other.cells, atol=1e-4)


def test_images_of_the_bank_have_names(bank: Bank, run_of: RunOf, shown: Path) -> None:
    """Their ids, as in the tables of predictions; a file of this name comes first."""
    name = bank.ids("val")[0]
    (one,) = explain(run_of("ridge"), name)
    assert (one.file, one.label) == (str(shown / name), Path(name).parts[1])
    assert [one.file for one in explain(run_of("ridge"), [Path(one.file), name])] == [one.file] * 2


def test_a_bank_without_maps_needs_one_pass(poor_bank: Bank, bank: Bank, run_of: RunOf, shown: Path) -> None:
    images = sorted(shown.glob("val/ant/*"))
    poor, rich = explain(run_of("ridge", on=poor_bank), images), explain(run_of("ridge"), images)
    assert poor.method == "cam"
    for one, other in zip(poor, rich, strict=True):
        np.testing.assert_allclose(one.cells, other.cells, atol=1e-3)
        assert one.probability == pytest.approx(other.probability, abs=1e-4)


def test_neither_keras_nor_tensorflow_is_imported(
    bank: Bank, run_of: RunOf, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keras", "tensorflow", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)  # an import then finds no such module
    assert explain(run_of("ridge"), next(shown.glob("val/ant/*")))[0].method == "cam"


def test_images_that_cannot_be_read(bank: Bank, run_of: RunOf, shown: Path, tmp_path: Path) -> None:
    """They are left out, with the reason; if there are no others, that is an error."""
    bad, gone, listener = tmp_path / "bad.jpg", tmp_path / "gone.png", Listener()
    bad.write_bytes(b"no image at all")
    good = next(shown.glob("val/ant/*"))
    explanations = explain(run_of("ridge"), [bad, good, gone], reporter=listener)
    assert [one.file for one in explanations] == [str(good)]
    assert [name for name, _ in explanations.skipped] == [str(bad), str(gone)]
    assert "explanations.skipped lists them" in " ".join(listener.warned)
    assert explanations.skipped[1][1] == "there is no such file"
    with pytest.raises(DatasetError, match=r"bad.jpg' cannot be read: .*; all 2 images cannot be read"):
        explain(run_of("ridge"), [bad, gone])


def test_runs_that_cannot_be_explained(bank: Bank, run_of: RunOf, shown: Path) -> None:
    image = next(shown.glob("val/ant/*"))
    run = run_of("ridge")
    with pytest.raises(UnknownNameError, match=r"class 'antt'.*ant"):
        explain(run, image, class_name="antt")
    with pytest.raises(HeadError, match="class 'cow' has no training images, so run"):
        explain(run, image, class_name="cow")
    with pytest.raises(HeadError, match="was not trained on"):
        explain(replace(run, bank="another"), image)
    with pytest.raises(HeadError, match=r"failed \(out of luck\)"):
        explain(replace(run, failure="out of luck"), image)
    folded = next(one for one in train_heads(bank, "ridge", folds=2) if one.fold)
    with pytest.raises(HeadError, match="was trained on fold 1 of 2: train ridge without folds"):
        explain(folded, image)
    with pytest.raises(HeadError, match=r"random_forest.* is no linear function.*: use --method gradcam or occlusion"):
        explain(run_of("random_forest", n_estimators=5), image, method="cam")


def test_labels_of_test_images_stay_closed(place: Path, shown: Path, tiny: Backbone) -> None:
    """Whoever explains an image sees what the run says of it; that it is wrong is an answer of the test split."""
    bank = extract(
        load_dataset(str(shown / "train"), split=(0.6, 0.2, 0.2)), tiny, ["pooled", "map"], cache=place / "split"
    )
    run = train_heads(bank, "ridge")[0]
    name = bank.ids("test")[0]
    assert explain(run, shown / "train" / name)[0].label is None
    assert explain(run, shown / "train" / bank.ids("val")[0])[0].label is not None
    assert explain(evaluate_test(bank, run), shown / "train" / name)[0].label == Path(name).parts[0]


def test_coarse_maps_are_announced(bank: Bank, run_of: RunOf, shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, listener = next(shown.glob("val/ant/*")), Listener()
    explain(run_of("ridge"), image, reporter=listener)
    assert listener.warned == []
    monkeypatch.setattr("featurebank.explanation.stage._COARSE", 8)
    explain(run_of("ridge"), image, reporter=listener)
    assert ["the map has only 7 x 7 places" in line for line in listener.warned] == [True]


def test_the_cost_of_occlusion_is_announced(bank: Bank, run_of: RunOf, shown: Path) -> None:
    listener = Listener()
    explain(run_of("ridge"), sorted(shown.glob("val/ant/*"))[:2], method="occlusion", reporter=listener)
    assert any("occlusion: 100 passes of the network for each of 2 images" in line for line in listener.said)


def test_slices_are_explanations(bank: Bank, run_of: RunOf, shown: Path) -> None:
    explanations = explain(run_of("ridge"), shown / "val" / "ant")
    assert repr(explanations[:2]).startswith("<Explanations of 2 images by cam: ridge on pooled")
    assert [one.file for one in explanations] == sorted(map(str, (shown / "val" / "ant").iterdir()))
    assert load_runs(bank)
