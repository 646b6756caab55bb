"""The examples in the docstrings of the package give what they show."""

from __future__ import annotations

import doctest
import functools
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import featurebank

pytestmark = pytest.mark.heavy

PACKAGE = Path(featurebank.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FLOWERS = {"daisy": (230, 220, 120), "rose": (200, 40, 60), "tulip": (90, 60, 200)}
"""The colour of each class of the photos."""


def modules() -> list[str]:
    """Returns the modules that have examples."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]


def save_photos(root: Path) -> None:
    """Saves twelve photos of each flower."""
    random = np.random.default_rng(0)
    for flower, colour in FLOWERS.items():
        (root / flower).mkdir(parents=True)
        for number in range(12):
            pixels = random.normal(colour, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / flower / f"{number}.jpg")


def examples_of(module: ModuleType) -> list[doctest.Example]:
    """Returns the examples in a module."""
    return [example for test in doctest.DocTestFinder().find(module) for example in test.examples]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Returns the file of a model of the photos; it is made when an example first needs it."""

    @functools.cache
    def made() -> Path:
        place = tmp_path_factory.mktemp("flowers")
        save_photos(place / "photos")
        bank = featurebank.extract(place / "photos", "my_networks:small", cache=place / "cache")
        return featurebank.export(featurebank.train_heads(bank, "logistic")[0], place / "flowers.keras")

    return made


@pytest.mark.parametrize("name", modules())
def test_examples(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make_bank: Callable[..., featurebank.Bank],
    model_file: Callable[[], Path],
) -> None:
    """Where an example runs, `fb` is the package, `bank` a small bank in the cache, "photos", and `run` its best run.

    The folder "photos" has photos of three flowers, `my_networks:small` is a network of the user's own, and
    "flowers.keras" is a model of both.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)
    module = importlib.import_module(name.removesuffix(".__init__"))
    names, examples = {"fb": featurebank}, examples_of(module)
    assert not [example.source for example in examples if doctest.SKIP in example.options]
    code = "".join(example.source for example in examples)
    if '"photos' in code:
        save_photos(tmp_path / "photos")
    if '("flowers.keras"' in code:
        shutil.copyfile(model_file(), tmp_path / "flowers.keras")
    if any(word in code for word in ("bank.", "(bank", "cache", "run.", "(run")):
        names["bank"] = make_bank("cache/photos", noise=4.0)
        names["run"] = featurebank.train_heads(names["bank"], [{"kind": "ridge"}, {"kind": "nearest_mean"}])[0]
    assert doctest.testmod(module, extraglobs=names, optionflags=FLAGS).failed == 0


@pytest.mark.parametrize("name", featurebank.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    """It is run, as all examples of the module are."""
    public = getattr(featurebank, name)
    assert public.__module__ in modules()
    assert doctest.DocTestParser().get_examples(public.__doc__ or "")
