"""Model files are used without featurebank by the lines that the documents, and the files themselves, have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from featurebank import export, load_model, predict
from featurebank.backbone.resize import AUTO, RULES, central, resize_image
from featurebank.errors import ConfigError
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.resizing import with_resize
from featurebank.grafting.serving import how_to_load
from featurebank.runs.run import RunRecord
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "serving.md"
SIZES = (
    (14, 14), (9, 13), (1, 1), (15, 21), (14, 40), (61, 97), (90, 90), (3, 50),
    (97, 61), (40, 14), (15, 14), (14, 13), (41, 27), (42, 27),  # of these Pillow 13 begins with the vertical pass
)  # fmt: skip


def ran(code: str, more: str = "") -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code + more, names)
    return names


def smooth(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(height).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


EACH_RULE = [*RULES.values(), *(central("shorter", side, form) for side, form in ((14, "bicubic"), (17, "bilinear")))]
EACH_RULE += [central("stretch", 14, "bilinear"), central("stretch", 16, "lanczos"), central("shorter", 3, "bicubic")]
EACH_RULE += [central("shorter", 17, "bilinear", rounds_down=True)]


@pytest.mark.parametrize("rule", EACH_RULE)
def test_images_are_brought_to_size_as_in_extraction(rule: str, tmp_path: Path) -> None:
    load = ran(how_to_load(rule, 14))["load"]
    for height, width in SIZES:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        np.testing.assert_array_equal(load(tmp_path / "photo.png")[0], resize_image(pixels, 14, rule))


@pytest.mark.parametrize("rule", EACH_RULE)
def test_a_model_resizes_as_pillow_does(rule: str) -> None:
    image = keras.Input((14, 14, 3))
    model = with_resize(keras.Model(image, keras.layers.Rescaling(1.0)(image)), rule)
    tf = import_tensorflow()
    run = tf.function(model, input_signature=[tf.TensorSpec((2, None, None, 3), tf.uint8)], autograph=False)
    for height, width in SIZES:
        pixels = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        expected = [resize_image(one, 14, rule) for one in pixels]
        np.testing.assert_array_equal(run(pixels).numpy(), expected)


@pytest.fixture(scope="module")
def run(bank: Any) -> RunRecord:
    from featurebank import train_heads

    return train_heads(bank, [{"kind": "softmax", "epochs": 5}])[0]


@pytest.fixture
def photo(shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo in the current directory under the name that the page gives it."""
    monkeypatch.chdir(tmp_path)
    found = tmp_path / "photo.jpg"
    found.write_bytes(next(iter(sorted(shown.glob("val/bee/*.jpg")))).read_bytes())
    return found


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter:UserWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_the_page_and_the_file_say_how_it_is_used(name: str, run: RunRecord, photo: Path) -> None:
    file = export(run, photo.parent / f"model{FORMATS[name].suffix}", proof=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    on_page = next(block for block in blocks if f'"model{FORMATS[name].suffix}"' in block)
    assert how_to_load(AUTO, 224) in blocks
    about = load_model(file).about
    assert about.usage == how_to_load(about.resize, 14) + "\n\n" + on_page
    found, expected = ran(about.usage), predict(file, photo)[0]
    assert tuple(found["classes"]) == about.classes
    probabilities = dict(zip(found["classes"], found["probabilities"], strict=True))
    for label, probability in expected.top:
        assert abs(probabilities[label] - probability) <= 3e-6


@pytest.fixture(scope="module")
def plain(run: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes images of one size."""
    return export(run, tmp_path_factory.mktemp("plain") / "plain.keras", proof=False)


@pytest.mark.parametrize("name", ["keras", "onnx"])
def test_a_file_that_takes_any_size(name: str, run: RunRecord, photo: Path, plain: Path) -> None:
    file = export(run, photo.parent / f"model{FORMATS[name].suffix}", proof=False, with_resize=True)
    model = load_model(file)
    assert model.about.any_size
    assert how_to_load(AUTO, 14, any_size=True) in PAGE.read_text(encoding="utf-8")
    found, expected = ran(model.about.usage), predict(file, photo)[0]
    probabilities = dict(zip(found["classes"], found["probabilities"], strict=True))
    assert expected.top == predict(plain, photo)[0].top
    for label, probability in expected.top:
        assert abs(probabilities[label] - probability) <= 3e-6
    wide = smooth(20, 33)[None]
    square = resize_image(wide[0], 14)[None]
    np.testing.assert_allclose(model.predict(wide), model.predict(square), atol=1e-6)


def test_other_formats_take_one_size(run: RunRecord, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a \.tflite file takes images of one size: only \.keras and \.onnx can"):
        export(run, tmp_path / "model.tflite", with_resize=True)
