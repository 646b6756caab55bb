"""A grid -> heads: what is planned, and what is told of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grids import ROOT, save_features
from listener import Listener

from featurebank import load_backbone, make_head, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.spec import HeadSpec
from featurebank.grid import default_tap, expand, read_grid
from featurebank.grid.jobs import job
from featurebank.grid.time_budget import make_pieces
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.needs import VECTORS
from featurebank.heads.neural import softmax

pytestmark = pytest.mark.heavy

STUDIES: dict[str, tuple[str, int, dict[str, tuple[int, ...]]]] = {
    "study-a": (
        "resnet50", 64,
        {"conv5_block2_out": (2, 2, 2048), "conv5_block1_out": (2, 2, 2048), "conv4_block6_out": (4, 4, 1024)},
    ),
    "study-b": ("squeezenet1_1", 64, {"fire7": (3, 3, 384), "fire9": (3, 3, 512)}),
    "study-d": ("resnet50", 224, {"map": (7, 7, 2048)}),
}  # fmt: skip
"""Backbone, image size and taps beside `pooled` of the studies that look at maps."""


@pytest.fixture
def bank_for(make_bank: Callable[..., Bank], tmp_path: Path) -> Callable[[str], Bank]:
    """A bank for a built-in grid; those of the studies have features of the right shapes, all 0."""

    def get(grid: str) -> Bank:
        if grid not in STUDIES:
            return make_bank(f"for {grid}")
        name, size, shapes = STUDIES[grid]
        backbone = load_backbone(name, weights="random:0", image_size=size)
        features = {tap: np.zeros((6, *shape), np.float32) for tap, shape in {"pooled": (8,), **shapes}.items()}
        return save_features(tmp_path / grid, backbone, features)

    return get


_expanded: dict[str, list[HeadSpec]] = {}


def expanded(grid: str, bank_for: Callable[[str], Bank]) -> list[HeadSpec]:
    """A built-in grid on its bank, expanded once for all tests: the networks of the studies are large."""
    if grid not in _expanded:
        _expanded[grid] = expand(grid, bank_for(grid))
    return _expanded[grid]


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "featurebank" / "grid" / "builtin").glob("*.toml")])
def test_built_in_grids_are_valid(name: str, bank_for: Callable[[str], Bank]) -> None:
    specs = expanded(name, bank_for)
    assert len(specs) == len(read_grid(name)), "a grid does not hold the same thing twice"
    for spec in specs:
        make_head(spec.kind, spec.params)


def test_the_default_grid_is_wide_and_the_quick_one_is_short(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    default, quick = expand("default", bank), expand("quick", bank)
    assert len(default) >= 40
    assert len({spec.kind for spec in default}) >= 6
    assert 10 <= len(quick) <= 16


def test_the_wide_grid_has_every_kind_of_head_that_looks_at_vectors(make_bank: Callable[..., Bank]) -> None:
    specs = expand("wide", make_bank())
    assert len(specs) >= 300
    wanted = {kind for kind in HEADS if kind_of(kind).needs == VECTORS}
    assert wanted - {"xgboost", "xgboost_coarse"} <= {spec.kind for spec in specs}


STUDY_A = [
    ("tail", "conv5_block2_out", 5e-6, 0.25),
    ("tail", "conv5_block2_out", 1e-6, 0.0),
    ("tail", "conv5_block2_out", 1e-5, 0.0),
    ("tail", "conv5_block1_out", 5e-6, 0.25, 512, 512, 512),
    *(("tail", "conv5_block1_out", 1e-6, rate, 512, 1024, 1024) for rate in (0.0, 0.25)),
    ("tail", "conv5_block1_out", 1e-6, 0.25, 1024, 2048, 2048),
    *(("tail", "conv5_block1_out", 1e-6, rate, 1024, 1024, 1024) for rate in (0.0, 0.25)),
    *(("residual_stage", "conv4_block6_out", 1e-6, rate, 512, 1024, 1024) for rate in (0.0, 0.25)),
    *(("residual_stage", "conv4_block6_out", 1e-6, rate, 1024, 1024, 1024) for rate in (0.0, 0.25)),
    ("residual_stage", "conv4_block6_out", 1e-6, 0.25, 1024, 2048, 2048),
]
"""Its table of 14 models: learning rate, dropout, dense layers."""


def test_the_heads_of_the_studies(bank_for: Callable[[str], Bank]) -> None:
    a, b, c, d, e = (expanded(f"study-{letter}", bank_for) for letter in "abcde")
    deep = [spec.params for spec in a if spec.kind == "mlp"]
    assert {tuple(params["hidden_units"]) for params in deep} >= {(512, 1024, 1024), (1024, 2048, 2048)}
    assert all(params["schedule"] == "inverse_time" and params["monitor"] == "val_accuracy" for params in deep)
    assert {params["dropout"][-1] for params in deep} == {0.0, 0.25}
    best = {"dropout": 0.2, "batch_norm": True, "batch_size": 32, "schedule": "plateau", "hidden_units": [512, 128]}
    assert sum(spec.params.items() >= best.items() for spec in c) == 1
    assert {(spec.kind, spec.tap) for spec in d} == {("softmax", "pooled"), ("mlp", "pooled"), ("conv", "map")}
    assert all(spec.tap == spec.params["cut"] for spec in (*a, *b) if spec.kind == "tail")
    assert {spec.params["cut"] for spec in b if spec.kind == "tail"} == {"fire7", "fire9"}
    models = [
        (s.kind, s.tap, s.params["learning_rate"], s.params["dropout"], *s.params["hidden_units"])
        for s in a
        if s.kind in {"tail", "residual_stage"}
    ]
    assert len(models) == 14 + 6
    assert set(models) >= set(STUDY_A)
    assert all(spec.params["plateau_floor"] == 1e-7 and spec.params["optimizer"] == "adamw" for spec in e)


def test_calibration_is_a_parameter_of_every_head(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    grid = [{"kind": kind, "calibrate": "temperature"} for kind in ("softmax", "ridge", "knn")]
    assert [str(spec) for spec in expand(grid, bank)] == [
        f"{kind}(calibrate=temperature)" for kind in ("softmax", "ridge", "knn")
    ]
    assert len(train_heads(bank, grid)) == 3
    with pytest.raises(ConfigError, match=r"head 'knn': calibrate is 'platt': expected 'temperature'"):
        expand([{"kind": "knn", "calibrate": "platt"}], bank)


def test_the_same_thing_is_planned_once(make_bank: Callable[..., Bank]) -> None:
    grid = [
        {"kind": "mlp", "hidden_units": (16, 8), "dropout": 0.5},
        {"dropout": np.float64(0.5), "hidden_units": [np.int64(16), 8], "kind": "mlp", "tap": "pooled"},
        {"kind": "ridge"},
        {"kind": "ridge", "alpha": 1000.0},  # its default
    ]
    assert [str(spec) for spec in expand(grid, make_bank())] == [
        "mlp(dropout=0.5, hidden_units=[16,8])", "ridge",
    ]  # fmt: skip


def test_ids_do_not_depend_on_place_time_or_spelling(make_bank: Callable[..., Bank]) -> None:
    one = train_heads(make_bank(), [{"kind": "knn", "n_neighbors": np.int64(3)}], seeds=[4])
    other = train_heads(
        make_bank("elsewhere"), [{"n_neighbors": 3, "tap": "pooled", "kind": "knn"}], seeds=(np.int64(4),)
    )
    assert [run.run for run in one] == [run.run for run in other]
    assert [run.run for run in one] != [run.run for run in train_heads(make_bank("c", seed=1), [{"kind": "knn"}])]


def test_taps_of_the_grid_and_of_the_call(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(taps=("map", "pooled"))
    assert default_tap(bank) == "pooled"
    assert default_tap(make_bank("other", taps=("map",))) == "map"
    grid = [{"kind": "knn"}, {"kind": "ridge", "tap": "map"}]
    assert [(s.kind, s.tap) for s in expand(grid, bank)] == [("knn", "pooled"), ("ridge", "map")]
    found = [(s.kind, s.tap) for s in expand(grid, bank, ["pooled", "map"])]
    assert found == [("knn", "pooled"), ("knn", "map"), ("ridge", "map")]


def test_all_problems_are_told_and_nothing_starts(
    make_bank: Callable[..., Bank], no_training: Callable[[], None]
) -> None:
    bank = make_bank()
    no_training()
    grid = [
        {"kind": "knn"},
        {"kind": "sofmax"},
        {"kind": "mlp", "droput": 0.5, "epoch": 3},
        {"kind": "svm", "tap": "pooles", "gama": 1},
        {"kind": "softmax", "learning_rate": -1, "dropout": 7},
        {"kind": "mlp", "hidden_units": "wide"},
        {"kind": "knn", "tap": 3},
        {"C": 1.0},
        {"kind": "sklearn.svm:SVR"},
        {"kind": "sklearn.multiclass:OneVsRestClassifier"},
        {"kind": "ridge", "alpha": float("nan")},
        {"kind": "knn", "metric": print},
    ]
    with pytest.raises(ConfigError) as caught:
        train_heads(bank, grid)
    told = [
        "'sofmax': did you mean 'softmax'", "'droput': did you mean 'dropout'", "'epoch': did you mean 'epochs'",
        "unknown tap 'pooles': did you mean 'pooled'", "'gama': did you mean 'gamma'", "learning_rate is -1",
        "dropout is 7", "hidden_units is 'wide'", "tap is 3", "'kind' is missing", "'sklearn.svm:SVR' is no classifier",
        "OneVsRestClassifier' cannot be made", "head 'ridge': alpha is nan",
        "head 'knn' has a parameter that a run's record cannot hold",
    ]  # fmt: skip
    assert [line for line in told if line not in str(caught.value)] == []
    assert len(str(caught.value).split("\n")) >= len(told)
    assert not (bank.path / "runs").exists()


def test_an_empty_grid(make_bank: Callable[..., Bank]) -> None:
    with pytest.raises(ConfigError, match="the grid is empty"):
        train_heads(make_bank(), [])


def test_a_head_and_its_defaults_spelt_out_are_one(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    for kind in ("softmax", "knn", "random_forest", "xgboost", "sklearn.naive_bayes:GaussianNB"):
        (plain,) = expand([{"kind": kind}], bank)
        assert expand([{"kind": kind, **plain.params}], bank) == [plain]
        assert str(plain) == kind
    assert expand([{"kind": "softmax", "l2": 0}], bank) == expand([{"kind": "softmax"}], bank)


def write(folder: Path, text: str) -> str:
    path = folder / "grid.toml"
    path.write_text(text)
    return str(path)


WRONG = """# what people get wrong
seeds = 3

[[head]]
kind = "softmax"
learning_rat = 1e-3 # a typo
dropout = [0.5, 7.0,
           -1.0]

[[head]] # without a name
C = 1.0

[[head]]
kind = "sofmax"

[[head]]
tap = ["pooled", "pooles"]
kind = "knn"
n_neighbors = [1, 0]
pca = "all"
weights = "even"

[[head]]
kind = "mlp"
hidden_units = []
random_state = 3

[heads]
kind = "svm"
"""


def test_every_problem_of_a_file_is_told_with_its_line(
    make_bank: Callable[..., Bank], tmp_path: Path, no_training: Callable[[], None]
) -> None:
    bank = make_bank()
    no_training()
    file = write(tmp_path, WRONG)
    with pytest.raises(ConfigError) as caught:
        train_heads(bank, file)
    told = str(caught.value)
    assert len(told.split("\n")) == 13
    for line, text in [
        (2, "unknown key 'seeds'"),
        (6, "unknown parameter of head 'softmax' 'learning_rat': did you mean 'learning_rate'?"),
        (7, "head 'softmax': dropout is 7.0, expected"),
        (7, "head 'softmax': dropout is -1.0, expected"),
        (10, "'kind' is missing"),
        (14, "unknown head 'sofmax': did you mean 'softmax'?"),
        (17, "unknown tap 'pooles': did you mean 'pooled'?"),
        (19, "head 'knn': The 'n_neighbors' parameter of KNeighborsClassifier must be"),
        (20, "head 'knn': pca is 'all'"),
        (21, "head 'knn': The 'weights' parameter of KNeighborsClassifier must be"),
        (25, "'hidden_units' is an empty list"),
        (26, "head 'mlp' takes its seed from --seeds"),
        (28, "unknown key 'heads': did you mean 'head'?"),
    ]:
        assert f"{file}:{line}: {text}" in told
    assert told.count(f"{file}:") == 13
    assert not (bank.path / "runs").exists()


def test_what_a_head_refuses_for_two_values_has_the_line_of_one(
    make_bank: Callable[..., Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurebank.errors import HeadError

    def check(self: Any) -> None:
        if self.momentum and self.l2:
            message = "SoftmaxHead: momentum with l2 is impossible: leave one out; epochs is odd, expected even"
            raise HeadError(message)

    monkeypatch.setattr(softmax.SoftmaxHead, "check", check)
    file = write(tmp_path, '[[head]]\nkind = "softmax"\nl2 = [0.0, 0.1]\nmomentum = 0.5\n')
    with pytest.raises(ConfigError) as caught:
        expand(file, make_bank())
    assert str(caught.value) == (
        f"{file}:4: head 'softmax': momentum with l2 is impossible: leave one out\n"
        f"{file}:2: head 'softmax': epochs is odd, expected even"
    )


def test_a_head_for_maps_on_a_tap_of_vectors(
    make_bank: Callable[..., Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax.SoftmaxHead, "needs", "maps")
    file = write(tmp_path, '[[head]]\nkind = "softmax"\ntap = "pooled"\n')
    with pytest.raises(ConfigError, match=r"grid.toml:3: head 'softmax' needs a map, but .*8 numbers: extract with"):
        expand(file, make_bank())
    bank = make_bank("both", taps=("pooled", "map"))
    with pytest.raises(ConfigError, match=r"needs a map, .* take tap = \"map\""):
        expand([{"kind": "softmax"}], bank)
    assert len(expand([{"kind": "softmax", "tap": "map"}], bank)) == 1


def test_what_stands_twice_is_dropped_with_a_note(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    file = write(tmp_path, '[[head]]\nkind = "knn"\n\n[[head]]\nkind = "knn"\nn_neighbors = [5, 3, 3]\n')
    listener = Listener()
    assert [str(spec) for spec in expand(file, make_bank(), reporter=listener)] == ["knn", "knn(n_neighbors=3)"]
    assert listener.said == [f"{file}:4: 2 of 3 heads are already in the grid: each head is trained once"]


HARDLY: list[Any] = [
    {"a": 1},
    "many",
    [],
    [[1]],
    [None],
    -1,
    -1.5,
    1.5,
    0,
    float("nan"),
    float("inf"),
    10**400,
    2**70,
    "",
    True,
    "512,256",
]
"""Values that hardly any parameter takes."""

FREE = {"backbone", "cut", "weights", "preprocessing", "train_from", "image_size"}
"""Parameters of a tail that are names, or belong to the network of the bank."""


@pytest.fixture(scope="module")
def tiny_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """Vectors, and the maps of a cut; its network, for which each grid asks anew, is built once."""
    features = {"pooled": np.ones((6, 8), np.float32), "cut": np.ones((6, 7, 7, 2), np.float32)}
    backbone = load_backbone("tiny:network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurebank.grid.tails.load_recorded", lambda *recorded: backbone)
        yield save_features(tmp_path_factory.mktemp("tiny") / "bank", backbone, features)


@pytest.mark.parametrize("kind", HEADS)
def test_every_parameter_of_every_kind_is_checked(kind: str, tiny_bank: Bank) -> None:
    """Whatever a parameter is given, the answer is one line or a plan; a table or a word is never taken."""
    tap = "cut" if (kind_of(kind).needs != VECTORS) else "pooled"
    data = TrainingData.of(tiny_bank, tap)
    for name in set(kind_of(kind).default_params) - FREE:
        for value in HARDLY:
            block = {"kind": kind, "tap": tap, **({"cut": "cut"} if kind == "tail" else {}), name: value}
            told, found = "", []
            try:
                found = expand([block], tiny_bank)
            except ConfigError as error:
                told = str(error)
            assert "\n" not in told, (name, value)
            if found:
                assert not (
                    HEADS[kind].own and (value == "many" or (isinstance(value, dict) and name != "class_weight"))
                ), (name, value)
                make_pieces([job(spec, 0, tiny_bank) for spec in found], data)


def test_class_weights_name_classes(tiny_bank: Bank) -> None:
    """By name or by number; a record has the numbers."""
    names = tiny_bank.classes
    found = [
        expand([{"kind": kind, "class_weight": weights}], tiny_bank)[0].params["class_weight"]
        for kind in ("ridge", "softmax")
        for weights in ({names[1]: 2.0}, {"1": 2.0}, {1: 2.0})
    ]
    assert found == [{"1": 2.0}] * 6
    described = expand([{"kind": "ridge", "class_weight": {"1": 2.0}}], tiny_bank)
    assert str(described[0]) == f"ridge(class_weight={{'{names[1]}':2}})"
    for weights, message in (
        ({names[0]: 2.0, "0": 1.0}, f"class_weight has two numbers for class '{names[0]}'"),
        ({"nobody": 2.0}, "class_weight names nobody, which is no class: expected some of"),
    ):
        with pytest.raises(ConfigError, match=message):
            expand([{"kind": "ridge", "class_weight": weights}], tiny_bank)


def test_widths_in_one_word_are_refused_in_one_line(tiny_bank: Bank) -> None:
    with pytest.raises(ConfigError, match="hidden_units is '512,256', expected whole numbers of 1 or more"):
        expand([{"kind": "residual_stage", "tap": "cut", "hidden_units": "512,256"}], tiny_bank)


@pytest.mark.parametrize("name", [name for name in kind_of("xgboost").default_params if name != "class_weight"])
def test_parameters_of_xgboost_are_checked_before_anything_is_trained(name: str, tiny_bank: Bank) -> None:
    with pytest.raises(ConfigError, match=f"head 'xgboost': {name} is 'many', expected a (whole )?number"):
        expand([{"kind": "xgboost", name: "many"}], tiny_bank)
