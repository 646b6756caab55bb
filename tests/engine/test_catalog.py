"""Which engine is taken, and what is said of it."""

from __future__ import annotations

import sys

import pytest

from featurebank.backbone import Backbone
from featurebank.engine import catalog
from featurebank.engine.catalog import automatic_choice, choose_engine, load_engine
from featurebank.errors import ConfigError, EngineError, MissingDependencyError, UnknownNameError
from tests.engine.conftest import images

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize(
    ("asked", "gpus", "openvino", "expected"),
    [
        ("auto", 0, True, "openvino: no GPU is visible"),
        ("auto", 0, False, "tensorflow: no GPU is visible, and OpenVINO, which is faster, is not installed"),
        ("auto", 1, True, "tensorflow: 1 GPU is visible"),
        ("auto", 2, False, "tensorflow: 2 GPUs are visible"),
        ("openvino", 1, True, "openvino: asked for"),
        ("tensorflow", 0, True, "tensorflow: asked for"),
    ],
)
def test_choice(asked: str, gpus: int, openvino: bool, expected: str) -> None:
    choice = choose_engine(asked, gpus=gpus, openvino=openvino)
    assert f"{choice.name}: {choice.reason}" == expected


def test_unknown_engine(lite: Backbone) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tensorflow'"):
        load_engine("tensorflo", lite, ["pooled"], batch_size=2)


def test_a_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "visible_gpus", lambda: 1)
    assert automatic_choice().name == "tensorflow"


def test_without_openvino(monkeypatch: pytest.MonkeyPatch, lite: Backbone) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert load_engine("auto", lite, ["pooled"], batch_size=2).name == "tensorflow"
    with pytest.raises(MissingDependencyError, match=r"pip install 'openvino>=2025\.1'"):
        load_engine("openvino", lite, ["pooled"], batch_size=2)
    with pytest.raises(ConfigError, match="bfloat16 on a GPU only, and none is visible: use float32"):
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
    assert said == [f"engine tensorflow is taken, which is slower: {reason}"]
    with pytest.raises(EngineError, match=f"^{reason}$"):
        load_engine("openvino", lite, ["pooled"], batch_size=2)


def test_a_mistake_is_not_taken_for_a_limit_of_the_engine(lite: Backbone) -> None:
    said: list[str] = []
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        load_engine("auto", lite, ["nosuchlayer"], batch_size=2, say=said.append)
    assert said == []
