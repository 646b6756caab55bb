"""Which engine is taken, and what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from featurebank.backbone import Backbone
from featurebank.engine import catalog
from featurebank.engine.catalog import automatic_choice, choose_engine, load_engine
from featurebank.engine.table import ENGINES, EngineKind
from featurebank.errors import ConfigError, EngineError, MissingDependencyError, UnknownNameError
from tests.engine.conftest import images

pytestmark = pytest.mark.heavy

BOTH = ("openvino", "tensorflow")


@pytest.mark.parametrize(
    ("asked", "gpus", "installed", "expected"),
    [
        ("auto", 0, BOTH, "openvino: no GPU is visible"),
        ("auto", 0, ("tensorflow",), "tensorflow: no GPU is visible, and OpenVINO, which is faster, is not installed"),
        ("auto", 1, BOTH, "tensorflow: 1 GPU is visible"),
        ("auto", 2, ("tensorflow",), "tensorflow: 2 GPUs are visible"),
        ("openvino", 1, BOTH, "openvino: asked for"),
        ("tensorflow", 0, BOTH, "tensorflow: asked for"),
    ],
)
def test_choice(asked: str, gpus: int, installed: tuple[str, ...], expected: str) -> None:
    choice = choose_engine(asked, gpus=gpus, installed=installed)
    assert f"{choice.name}: {choice.reason}" == expected


def test_unknown_engine(lite: Backbone) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tensorflow'"):
        load_engine("tensorflo", lite, ["pooled"], batch_size=2)


class Fast:
    """An engine of another package."""

    name = "fast"

    def __init__(self, backbone: Backbone, taps: Sequence[str], **options: Any) -> None:
        self.options = options
        if "map" in taps:
            message = "fast has no maps"
            raise EngineError(message)


def test_a_line_of_the_table_is_an_engine(monkeypatch: pytest.MonkeyPatch, lite: Backbone, tmp_path: Path) -> None:
    """No other file knows the engines by name: not the choice, not the way back to a slower one, not the record."""
    table = {"fast": EngineKind("Fast", f"{__name__}:Fast", "numpy", ("keras",)), **ENGINES}
    monkeypatch.setattr(catalog, "ENGINES", table)
    monkeypatch.setattr(catalog, "visible_gpus", lambda: 0)
    assert str(automatic_choice()) == str(catalog.Choice("fast", "no GPU is visible"))
    engine = load_engine("auto", lite, ["pooled"], batch_size=2, cache=tmp_path)
    assert isinstance(engine, Fast)
    assert engine.options["cache"] == tmp_path
    said: list[str] = []
    assert load_engine("auto", lite, ["map"], batch_size=2, say=said.append).name == "openvino"
    assert said == ["engine openvino is used, which is slower: fast has no maps"]
    with pytest.raises(EngineError, match="fast has no maps"):
        load_engine("fast", lite, ["map"], batch_size=2)
    table["fast"] = EngineKind("Fast", f"{__name__}:Fast", "nosuchpackage", ("keras",))
    assert automatic_choice().reason == "no GPU is visible, and Fast, which is faster, is not installed"


def test_the_command_offers_every_engine() -> None:
    from featurebank.cli.commands.extract import extract

    (option,) = (one for one in extract.params if one.name == "engine")
    assert list(option.type.to_info_dict()["choices"]) == ["auto", *ENGINES]


def test_a_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "visible_gpus", lambda: 1)
    assert automatic_choice().name == "tensorflow"


def test_without_openvino(monkeypatch: pytest.MonkeyPatch, lite: Backbone) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert load_engine("auto", lite, ["pooled"], batch_size=2).name == "tensorflow"
    with pytest.raises(MissingDependencyError, match=r"pip install 'openvino>=2025\.1'"):
        load_engine("openvino", lite, ["pooled"], batch_size=2)
    with pytest.raises(ConfigError, match="bfloat16 only on a GPU, and none is visible: use float32"):
        load_engine("auto", lite, ["pooled"], batch_size=2, precision="bfloat16")


def test_a_network_that_openvino_cannot_run(monkeypatch: pytest.MonkeyPatch, lite: Backbone) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("no rule\n  for operation 'Odd'")

    monkeypatch.setattr("openvino.convert_model", refuse)
    said: list[str] = []
    engine = load_engine("auto", lite, ["pooled"], batch_size=2, say=said.append)
    assert engine.name == "tensorflow"
    assert engine(images(2))["pooled"].shape == (2, 1280)
    reason = "OpenVINO cannot run efficientnet_lite0: no rule for operation 'Odd'"
    assert said == [f"engine tensorflow is used, which is slower: {reason}"]
    with pytest.raises(EngineError, match=f"^{reason}$"):
        load_engine("openvino", lite, ["pooled"], batch_size=2)


def test_a_mistake_is_not_taken_for_a_limit_of_the_engine(lite: Backbone) -> None:
    said: list[str] = []
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        load_engine("auto", lite, ["nosuchlayer"], batch_size=2, say=said.append)
    assert said == []
