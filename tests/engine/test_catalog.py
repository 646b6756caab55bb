"""Which engine is taken, and what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from featurebank import extract, load_backbone
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


@pytest.mark.parametrize(
    ("form", "gpus", "installed", "expected"),
    [
        ("pytorch", 0, ("openvino", "pytorch"), "openvino: no GPU is visible"),
        ("pytorch", 1, ("openvino", "tensorflow", "pytorch"), "pytorch: 1 GPU is visible"),
        ("pytorch", 0, ("pytorch",), "pytorch: no GPU is visible, and OpenVINO, which is faster, is not installed"),
        ("openvino", 0, BOTH, "openvino: no GPU is visible"),
    ],
)
def test_the_choice_is_among_those_that_run_the_network(
    form: str, gpus: int, installed: tuple[str, ...], expected: str
) -> None:
    choice = choose_engine("auto", gpus=gpus, installed=installed, form=form)
    assert f"{choice.name}: {choice.reason}" == expected


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("pytorch", "keras", "engine pytorch cannot run networks of Keras: expected auto or openvino or tensorflow"),
        (
            "tensorflow",
            "pytorch",
            "engine tensorflow cannot run networks of PyTorch: expected auto or openvino or pytorch",
        ),
        ("tensorflow", "openvino", "engine tensorflow cannot run networks of OpenVINO: expected auto or openvino"),
    ],
)
def test_an_engine_that_cannot_run_the_network(name: str, form: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        choose_engine(name, gpus=0, installed=(), form=form)


def test_the_engine_is_checked_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="engine pytorch cannot run networks of Keras"):
        extract("digits", "tiny:network", engine="pytorch", cache=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    """A network that is converted in no time."""
    return load_backbone("tiny:network")


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


def test_a_line_of_the_table_is_an_engine(monkeypatch: pytest.MonkeyPatch, tiny: Backbone, tmp_path: Path) -> None:
    """No other file knows the engines by name: not the choice, not the way back to a slower one, not the record."""
    table = {"fast": EngineKind("Fast", f"{__name__}:Fast", "numpy", ("keras",)), **ENGINES}
    monkeypatch.setattr(catalog, "ENGINES", table)
    monkeypatch.setattr(catalog, "gpus_for", lambda form: 0)
    assert str(automatic_choice()) == str(catalog.Choice("fast", "no GPU is visible"))
    engine = load_engine("auto", tiny, ["pooled"], batch_size=2, cache=tmp_path)
    assert isinstance(engine, Fast)
    assert engine.options["cache"] == tmp_path
    said: list[str] = []
    assert load_engine("auto", tiny, ["map"], batch_size=2, say=said.append).name == "openvino"
    assert said == ["engine openvino is used, which is slower: fast has no maps"]
    with pytest.raises(EngineError, match="fast has no maps"):
        load_engine("fast", tiny, ["map"], batch_size=2)
    table["fast"] = EngineKind("Fast", f"{__name__}:Fast", "nosuchpackage", ("keras",))
    assert automatic_choice().reason == "no GPU is visible, and Fast, which is faster, is not installed"


def test_the_command_offers_every_engine() -> None:
    from featurebank.cli.commands.extract import extract

    (option,) = (one for one in extract.params if one.name == "engine")
    assert list(option.type.to_info_dict()["choices"]) == ["auto", *ENGINES]


def test_a_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "gpus_for", lambda form: 1)
    assert automatic_choice().name == "tensorflow"


def test_without_openvino(monkeypatch: pytest.MonkeyPatch, tiny: Backbone) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert load_engine("auto", tiny, ["pooled"], batch_size=2).name == "tensorflow"
    with pytest.raises(MissingDependencyError, match=r"pip install 'openvino>=2025\.1'"):
        load_engine("openvino", tiny, ["pooled"], batch_size=2)
    with pytest.raises(ConfigError, match="bfloat16 only on a GPU, and none is visible: use float32"):
        load_engine("auto", tiny, ["pooled"], batch_size=2, precision="bfloat16")


def test_a_network_that_openvino_cannot_run(monkeypatch: pytest.MonkeyPatch, tiny: Backbone) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("no rule\n  for operation 'Odd'")

    monkeypatch.setattr("openvino.convert_model", refuse)
    said: list[str] = []
    engine = load_engine("auto", tiny, ["pooled"], batch_size=2, say=said.append)
    assert engine.name == "tensorflow"
    assert engine(images(2, size=14))["pooled"].shape == (2, 6)
    reason = "OpenVINO cannot run tiny.network: no rule for operation 'Odd'"
    assert said == [f"engine tensorflow is used, which is slower: {reason}"]
    with pytest.raises(EngineError, match=f"^{reason}$"):
        load_engine("openvino", tiny, ["pooled"], batch_size=2)


def test_a_mistake_is_not_taken_for_a_limit_of_the_engine(lite: Backbone) -> None:
    said: list[str] = []
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        load_engine("auto", lite, ["nosuchlayer"], batch_size=2, say=said.append)
    assert said == []
