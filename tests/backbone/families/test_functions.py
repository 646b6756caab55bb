"""A registered function inside a network is known by its code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from featurebank import backbone_from_model
from featurebank.errors import ConfigError

MODULE = '''
import keras

@keras.saving.register_keras_serializable("mine")
def act(x):
    """{words}"""
    return keras.ops.relu(x) * {factor}  # {words}
'''


def built(path: Path, factor: float, words: str = "") -> Any:
    """A backbone whose activation is in a file that has just been written."""
    path.write_text(MODULE.format(factor=factor, words=words))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return network(module.act)


def network(act: Any) -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, activation=act)(image))
    return backbone_from_model(model, preprocessing="none", name="m")


def test_edited_code_is_another_network(tmp_path: Path) -> None:
    first = built(tmp_path / "one.py", 1.0)
    again = built(tmp_path / "two.py", 1.0, "other words")
    edited = built(tmp_path / "three.py", 2.0)
    assert first.digest == again.digest != edited.digest
    assert first.digest != network("relu").digest


def test_code_that_cannot_be_read_is_refused() -> None:
    names: dict[str, Any] = {"keras": keras}
    exec("def hidden(x): return keras.ops.abs(x)", names)
    keras.saving.register_keras_serializable("mine")(names["hidden"])
    with pytest.raises(ConfigError, match="m calls the function 'mine>hidden', whose code cannot be read"):
        network(names["hidden"])
