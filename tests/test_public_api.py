"""The facade: what `import featurebank as fb` offers. Read from the top, it is a tour of every public name."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.version import Version
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

import featurebank as fb
from featurebank.bank.manifest import FORMAT_VERSION, NEEDS

pytestmark = pytest.mark.heavy


@pytest.fixture(autouse=True)
def a_directory_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos lie in `photos/ant` and `photos/bee`; banks go to `./cache`, as they do for users."""
    monkeypatch.chdir(tmp_path)


def test_from_photos_to_a_model_file(photos: Path) -> None:
    # A dataset is a folder with a subfolder for each class, or anything else that names images and labels. Each image
    # belongs to the training, the validation or the test split; its content decides to which.
    dataset = fb.load_dataset("photos", split=(0.5, 0.25, 0.25))
    assert isinstance(dataset, fb.Dataset)
    assert dataset.classes == ("ant", "bee")

    # Look at it first: broken files, duplicates, classes with few images.
    inspection = fb.inspect_dataset(dataset)
    assert isinstance(inspection, fb.Inspection)
    assert inspection.images == 24

    # A backbone is a network with its weights and its preprocessing. This one comes from a function of our own.
    backbone = fb.load_backbone("tiny:network")
    assert isinstance(backbone, fb.Backbone)

    # Extract once. The second call finds all features in the bank and computes nothing.
    bank = fb.extract(dataset, backbone, taps=["pooled", "map"])
    assert isinstance(bank, fb.Bank)
    assert bank.features("pooled", split="train").shape == (len(bank.ids("train")), 6)
    assert fb.extract(dataset, backbone, "pooled").digest == bank.digest

    # Train many heads: names, dictionaries whose lists are axes of the grid, classifiers of scikit-learn.
    grid = ["nearest_mean", {"kind": "softmax", "epochs": 3, "dropout": [0.0, 0.5]}, LinearSVC()]
    runs = fb.train_heads(bank, [*grid, fb.make_head("ridge", alpha=3.0)])
    assert len(runs) == 5
    assert fb.train_heads(bank, grid)[0].run in {run.run for run in runs}, "trained runs are read, not trained again"

    # Choose by validation alone, and see where the choice is wrong.
    best = fb.select(runs)
    assert isinstance(best, fb.Run)
    assert best.run == fb.leaderboard(bank)[0].run
    matrix = best.confusion_matrix()
    wrong = best.mistakes()
    assert len(wrong) == np.sum(matrix.counts) - np.trace(matrix.counts)
    assert best.predict_proba(bank.features(best.tap, split="val")).shape == (len(bank.ids("val")), 2)

    # Which images look most like one of them, and what are those labelled?
    (found,) = fb.similar("ant/0.jpg", bank, top=3)
    assert [found.label, len(found), sum(found.votes.values())] == ["ant", 3, 3]

    # See which parts of an image it looks at.
    (explanation,) = fb.explain(best, photos / "ant" / "0.jpg")
    assert explanation.heat_map.shape == explanation.overlay.shape[:2]

    # The test split has one door, and whoever opens it is noted.
    with pytest.raises(fb.FeatureBankError, match="evaluate_test"):
        best.predictions("test")
    tested = fb.evaluate_test(bank, best)
    assert list(tested.predictions("test").labels) == [bank.classes[label] for label in bank.labels("test")]


def test_from_a_run_to_predictions(photos: Path) -> None:
    bank = fb.extract("photos", "tiny:network")
    (run,) = fb.train_heads(bank, "ridge")

    # One file holds the network and the head. The export proves on images of the bank that both predict the same.
    file = fb.export(run, "model.keras")
    (prediction,) = fb.predict(file, photos / "ant" / "0.jpg")
    assert prediction.label in {"ant", "bee"}
    assert fb.evaluate(file, "photos").images == 24

    # The same in parts: the model in memory, and the file opened.
    model = fb.graft(bank, run)
    pixels = np.zeros((1, 14, 14, 3), np.float32)
    assert np.allclose(fb.load_model(file).predict(pixels), model.predict(pixels, verbose=0), atol=1e-6)

    # Fine-tuning trains the network under the head. It begins at exactly the head's accuracy, and never ends below it.
    tuned = fb.finetune(run, unfreeze="all", epochs=1)
    assert tuned.metrics["val"]["accuracy"] >= run.metrics["val"]["accuracy"]


def test_find_things_again(photos: Path) -> None:
    bank = fb.extract("photos", "tiny:network")
    assert fb.open_bank(bank.path).digest == fb.find_bank().digest == bank.digest
    assert [summary.path for summary in fb.list_banks()] == [bank.path]
    assert "efficientnet_lite0" in {spec.name for spec in fb.list_backbones()}
    assert "digits" in {dataset.name for dataset in fb.list_datasets()}


def test_features_as_a_step_of_scikit_learn(photos: Path) -> None:
    paths = sorted(photos.glob("*/*"))
    labels = [path.parent.name for path in paths]
    model = make_pipeline(fb.FeatureBank("tiny:network"), LogisticRegression()).fit(paths, labels)
    assert set(model.predict(paths)) <= {"ant", "bee"}


def test_a_model_of_keras_is_a_backbone() -> None:
    import keras

    image = keras.Input((8, 8, 3))
    backbone = fb.backbone_from_model(keras.Model(image, keras.layers.Conv2D(4, 3)(image)), preprocessing="tf")
    bank = fb.extract((np.zeros((6, 8, 8, 3), np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None, None],
                       ["dark", "light"] * 3), backbone)  # fmt: skip
    assert bank.classes == ("dark", "light")


def test_a_whole_study_is_a_file(photos: Path) -> None:
    Path("study.toml").write_text(
        'dataset.name = "photos"\nextract.backbone = "tiny:network"\nheads.grid = "ridge.toml"\nselect.test = true\n'
        '[[variant]]\nname = "vectors"\n[[variant]]\nname = "middle"\nextract.taps = ["cut:avg"]\n'
    )
    Path("ridge.toml").write_text('[[head]]\nkind = "ridge"\nalpha = [1, 10]\n')
    variants = fb.read_variants("study.toml")
    assert [variant.name for variant in variants] == ["vectors", "middle"]
    assert [done.name for done in fb.run_variants("study.toml")] == ["vectors", "middle"]

    Path("one.toml").write_text(Path("study.toml").read_text().partition("[[variant]]")[0])
    assert fb.read_pipeline("one.toml").heads.grid == "ridge.toml"
    assert "test" in fb.run_pipeline("one.toml").chosen.metrics


def test_what_is_shown_and_what_is_used(photos: Path) -> None:
    fb.set_progress(False)  # no bars, also on a terminal
    fb.set_threads(2)
    fb.set_ram("1GB")
    try:
        (photos / "ant" / "broken.jpg").write_bytes(b"no image")
        with pytest.warns(fb.FeatureBankWarning, match="1 image"):
            bank = fb.extract("photos", "tiny:network")
        assert [image["id"] for image in bank.skipped] == ["ant/broken.jpg"]
    finally:
        fb.set_progress()
        fb.set_threads(None)
        fb.set_ram(None)


def test_names_are_sorted_and_all_there() -> None:
    assert fb.__all__ == sorted(fb.__all__)
    for name in fb.__all__:
        assert getattr(fb, name).__name__ == name


def test_no_module_is_named_as_a_public_name_is() -> None:
    """The import system would put the module in the place of the function."""
    modules = {path.stem for path in Path(fb.__file__).parent.iterdir()}
    assert modules & set(fb.__all__) == set()


def test_the_names_for_type_checkers_are_the_names_at_run_time() -> None:
    assert set(fb.__all__) == set(fb._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'extrakt'"):
        fb.extrakt  # noqa: B018


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert fb.__version__ == project["version"]
    assert Version(fb.__version__) >= Version(NEEDS[FORMAT_VERSION]), "what this version writes, it can read"


def test_no_public_name_imports_tensorflow() -> None:
    names = ["load_dataset", "open_bank", "load_backbone", "extract", "select", "train_heads"]
    code = (
        "import sys, featurebank as fb\n"
        f"for name in {names}:\n"
        "    getattr(fb, name)\n"
        "    print(name, [library for library in ('tensorflow', 'keras') if library in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} []" for name in names]
