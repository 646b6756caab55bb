"""The studies as pipelines: each file right against the real network, its small twin run, and both of one shape."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurebank import load_backbone, read_variants, run_variants
from featurebank.augment import Augmentation
from featurebank.backbone import Backbone, recorded_source
from featurebank.finetuning.phases import plan_phases
from featurebank.fitting.spec import HeadSpec
from featurebank.grid import read_grid
from featurebank.grid.expand import expand
from featurebank.pipeline import VariantResult
from featurebank.pipeline.config import ExtractSection, FinetuneSection, Pipeline

pytestmark = pytest.mark.heavy

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
BIG = {
    "study_a": "study_a_flowers_resnet50",
    "study_b": "study_b_cifar10_squeezenet",
    "study_c": "study_c_flowers_vgg16",
    "study_d": "study_d_cifar100_basenet_birds_resnet50",
    "study_e": "study_e_cifar10_vgg19",
    "cifar10_lite0": "cifar10_lite0",
    "flowers_lite0": "flowers_lite0",
}


def big(name: str) -> list[Any]:
    return read_variants(PIPELINES / f"{BIG[name]}.toml")


def small(name: str) -> list[Any]:
    return read_variants(PIPELINES / "small" / f"{name}.toml")


def test_every_file_is_one_of_these() -> None:
    assert {path.stem for path in PIPELINES.glob("*.toml")} == {*BIG.values(), "quickstart"}
    assert {path.stem for path in (PIPELINES / "small").glob("*.toml")} == set(BIG)


# ---------------------------------------------------------------- the big files, without weights and images


@lru_cache
def network_of(name: str, image_size: int | None, preprocessing: str | None) -> Backbone:
    return load_backbone(name, weights="random:0", image_size=image_size, preprocessing=preprocessing)


class Stand:
    """What a grid asks of a bank: the taps of a network that has not seen an image."""

    def __init__(self, section: ExtractSection) -> None:
        backbone = network_of(section.backbone, section.image_size, section.preprocessing)
        self._shapes = {tap: tuple(tensor.shape[1:]) for tap, tensor in backbone.tap_model(section.taps).output.items()}
        self.taps = list(section.taps)
        self.views = section.views
        self.classes = ("ant", "bee", "cow")
        self.recipe = backbone.recipe
        self.manifest = SimpleNamespace(source=recorded_source(backbone))

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        return self._shapes[tap]


@lru_cache
def specs(study: str, number: int) -> list[HeadSpec]:
    """The heads of a variant of a study."""
    pipeline = big(study)[number].pipeline
    stand: Any = Stand(pipeline.extract)
    return expand(pipeline.heads.grid, stand, pipeline.heads.taps)


def phases_of(pipeline: Pipeline) -> list[str]:
    import keras

    assert pipeline.finetune is not None
    section = pipeline.extract
    network = network_of(section.backbone, section.image_size, section.preprocessing).network()
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(network.output)
    x = keras.layers.Dense(3, name="head_logits")(x)
    model = keras.Model(network.input, keras.layers.Softmax(name="probabilities")(x))
    return [phase.name for phase in plan_phases(model, pipeline.finetune)]


@pytest.mark.parametrize("name", BIG)
def test_a_study_is_right_against_its_network(name: str) -> None:
    """Taps and cuts are layers, each head takes its tap, each phase trains something new."""
    for number, variant in enumerate(big(name)):
        pipeline = variant.pipeline
        section = pipeline.extract
        pipeline.extract.check(network_of(section.backbone, section.image_size, section.preprocessing))
        assert specs(name, number)
        if pipeline.finetune:
            assert phases_of(pipeline)


def test_study_a_has_its_14_models() -> None:
    """Tap, learning rate, decay, dropout and dense layers of the study's table, in its order."""
    assert len(big("study_a")) == 1
    one, two, fresh = "conv5_block2_out", "conv5_block1_out", "conv4_block6_out"
    wanted = [
        ("tail", one, 5e-6, 0.001, 0.25, []),
        ("tail", one, 1e-6, 0.001, 0.0, []),
        ("tail", one, 1e-5, 0.01, 0.0, []),
        ("tail", two, 5e-6, 0.001, 0.25, [512, 512, 512]),
        ("tail", two, 1e-6, 0.001, 0.0, [512, 1024, 1024]),
        ("tail", two, 1e-6, 0.001, 0.25, [512, 1024, 1024]),
        ("tail", two, 1e-6, 0.001, 0.25, [1024, 2048, 2048]),
        ("tail", two, 1e-6, 0.001, 0.0, [1024, 1024, 1024]),
        ("tail", two, 1e-6, 0.001, 0.25, [1024, 1024, 1024]),
        ("residual_stage", fresh, 1e-6, 0.001, 0.0, [512, 1024, 1024]),
        ("residual_stage", fresh, 1e-6, 0.001, 0.25, [512, 1024, 1024]),
        ("residual_stage", fresh, 1e-6, 0.001, 0.0, [1024, 1024, 1024]),
        ("residual_stage", fresh, 1e-6, 0.001, 0.25, [1024, 1024, 1024]),
        ("residual_stage", fresh, 1e-6, 0.001, 0.25, [1024, 2048, 2048]),
    ]
    found = {}
    for spec in specs("study_a", 0):
        p = spec.params
        if spec.kind in {"tail", "residual_stage"}:
            key = (spec.kind, spec.tap, p["learning_rate"], p["decay"], p["dropout"], tuple(p["hidden_units"]))
            found[key] = p
    models = [found[(*row[:5], tuple(row[5]))] for row in wanted]
    assert len({id(model) for model in models}) == 14
    common = {
        "optimizer": "adam", "schedule": "inverse_time", "batch_size": 32, "epochs": 100, "patience": 10,
        "min_delta": 0.001, "monitor": "val_accuracy", "pooling": "avg", "activation": "relu",
    }  # fmt: skip
    for model in models:
        assert {name: model[name] for name in common} == common
    for model in models[:9]:
        assert (model["init"], model["train_from"], model["batch_norm"]) == ("pretrained", None, "train")
    stage = {"filters": [512, 512, 2048], "blocks": 3, "strides": 1, "batch_norm_momentum": 0.8}
    for model in models[9:]:
        assert {name: model[name] for name in stage} == stage


def test_study_b_has_its_three_regimes() -> None:
    """The network's own classifier on all of it frozen, on the last two Fire modules; then all layers."""
    variant, slow, sgd, adagrad = big("study_b")
    own = [spec.params for spec in specs("study_b", 0) if spec.params.get("pooling") == "class_maps"]
    told = [(p["cut"], p["optimizer"], p["learning_rate"], p["epochs"]) for p in own]
    assert {("fire9", "adam", 1e-4, 10), ("fire9", "adam", 1e-4, 20), ("fire7", "adam", 1e-4, 10)} < set(told)
    assert ("fire7", "adam", 1e-6, 10) in told
    tuned = variant.pipeline.finetune
    assert tuned is not None
    assert (tuned.unfreeze, tuned.optimizer, tuned.learning_rate) == (("all",), "adam", 1e-4)
    others = [other.pipeline.finetune for other in (slow, sgd, adagrad)]
    assert [(o.optimizer, o.learning_rate) for o in others if o] == [("adam", 1e-6), ("sgd", 1e-2), ("adagrad", 1e-3)]


def test_study_c_has_its_seven_rows() -> None:
    """Dropout, batch, schedule and batch normalisation of each row, and what the network was fed with."""
    scaled, scaled_views, mean_views, own_views = (variant.pipeline for variant in big("study_c"))
    rows = [
        (scaled, (0.0, 32, "constant", False)), (scaled_views, (0.5, 32, "constant", False)),
        (scaled_views, (0.2, 32, "constant", False)), (scaled_views, (0.2, 64, "constant", False)),
        (scaled_views, (0.2, 32, "plateau", False)), (mean_views, (0.2, 32, "plateau", False)),
        (mean_views, (0.2, 32, "plateau", True)),
    ]  # fmt: skip
    for pipeline, row in rows:
        heads = read_grid(pipeline.heads.grid)
        assert all((h["hidden_units"], h["learning_rate"], h["patience"]) == ([512, 128], 1e-3, 5) for h in heads)
        assert row in [(h["dropout"], h["batch_size"], h["schedule"], h["batch_norm"]) for h in heads]
    fed = [(p.extract.preprocessing, bool(p.extract.views), p.extract.augment) for p in (scaled, scaled_views)]
    assert fed == [("0..1", False, None), ("0..1", True, "flip,rotate=10,zoom=.2,shear=.2")]
    assert (mean_views.extract.preprocessing, mean_views.extract.views) == ("mean", scaled_views.extract.views)
    assert (own_views.extract.preprocessing, own_views.extract.views) == (None, scaled_views.extract.views)
    assert {h["batch_size"] for h in read_grid(scaled.heads.grid)} == {32, 64, 128}


def test_study_d_has_its_networks() -> None:
    found = {variant.name: variant.pipeline for variant in big("study_d")}
    steps = ["basenet", "normalised", "augmented", "deeper", "batch-norm", "dropout", "basenet-plus", "basenet-deep"]
    assert list(found) == [*steps, "birds", "birds-full"]
    assert [found[name].extract.backbone for name in found] == [
        "basenet", "basenet", "basenet", "basenet_plus_plain", "basenet_plus_norm", "basenet_plus", "basenet_plus",
        "basenet_deep", "resnet50", "resnet50",
    ]  # fmt: skip
    assert [len(p.dataset.classes or []) for p in found.values()] == [25] * 8 + [0, 0]
    tuned = [p.finetune for p in found.values()]
    assert [t and t.unfreeze for t in tuned] == [("all",)] * 8 + [None, ("all",)]
    assert [bool(t and t.normalize) for t in tuned[:8]] == [False] + [True] * 7
    assert [bool(t and t.augment) for t in tuned[:8]] == [False] * 2 + [True] * 6
    assert [t and (t.epochs, t.patience) for t in tuned[:8]] == [(30, 30)] * 6 + [(100, 15)] * 2
    rates = {(h.get("optimizer"), h.get("learning_rate")) for h in read_grid(found["birds"].heads.grid)}
    assert rates == {("sgd", 1e-2)}
    first = found["basenet"].finetune
    assert first is not None
    assert (first.optimizer, first.learning_rate, first.momentum, first.batch_size) == ("sgd", 0.01, 0.0, 32)
    conv = next(head for head in read_grid(found["birds"].heads.grid) if head["kind"] == "conv")
    assert (conv["filters"], conv["hidden_units"], conv["dropout"]) == (1024, [512, 218], [0.25, 0.25, 0.5])
    full = found["birds-full"]
    assert read_grid(full.heads.grid)[0]["hidden_units"] == 1024
    assert full.finetune is not None
    assert (full.finetune.dropout, full.finetune.epochs) == (0.5, 12)


# ---------------------------------------------------------------- the twins


def kinds(grid: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Returns the kinds of heads in the order of a grid, with the number of the cut or map that each is trained on."""
    numbers: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for head in grid:
        place = head.get("cut", head.get("tap") if head["kind"] in {"residual_stage", "conv"} else None)
        number = 0 if place is None else numbers.setdefault(place, len(numbers) + 1)
        if (head["kind"], number) not in found[-1:]:
            found.append((head["kind"], number))
    return found


def shape(pipeline: Pipeline) -> dict[str, Any]:
    """Returns what a twin has in common with its brother."""
    extract, tuned = pipeline.extract, pipeline.finetune
    found: dict[str, Any] = {
        "split": len(pipeline.dataset.split or []) > 0,
        "taps": len(extract.taps), "views": extract.views > 0, "preprocessing": extract.preprocessing,
        "augment": extract.augment, "heads": kinds(read_grid(pipeline.heads.grid)), "test": pipeline.select.test,
    }  # fmt: skip
    if tuned is not None:
        kept = (
            "progressive", "optimizer", "momentum", "schedule", "monitor", "normalize", "dropout", "weight_decay",
            "plateau_factor", "plateau_patience", "plateau_floor", "batch_norm", "keep_going",
        )  # fmt: skip
        found |= {name: getattr(tuned, name) for name in kept}
        found["phases"] = len(tuned.unfreeze)
        found["finetune augment"] = tuned.augment and str(Augmentation.parse(tuned.augment))
        found["within epochs"] = (tuned.validate_every is not None, tuned.validate_on)
    return found


@pytest.mark.parametrize("name", BIG)
def test_a_twin_has_the_shape_of_its_brother(name: str) -> None:
    brother, twin = ({v.name: shape(v.pipeline) for v in read(name)} for read in (big, small))
    assert twin == brother


SLOW = {
    "study_b": {"slow", "sgd"},
    "study_c": {"scaled", "own-views"},
    "study_d": {"normalised", "augmented", "deeper", "batch-norm", "dropout", "basenet-plus"},
    "study_e": {"decay-0.01"},
}
"""Variants that repeat the others of their twin with another number, an optimizer that finetuning/test_program.py
trains beside Keras, or a network that backbone/families/test_basenet.py trains from scratch."""


def variants(name: str, *, slow: bool = False) -> list[Any]:
    return [variant for variant in small(name) if (variant.name in SLOW.get(name, ())) == slow]


def test_slow_variants_are_variants() -> None:
    assert all(len(variants(name, slow=True)) == len(names) for name, names in SLOW.items())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that runs a twin, once; what several twins have in common is made once, too."""
    done: dict[tuple[str, bool], list[VariantResult]] = {}
    cache = tmp_path_factory.mktemp("cache")

    def run(name: str, *, slow: bool = False) -> list[VariantResult]:
        if (name, slow) not in done:
            done[name, slow] = list(run_variants(variants(name, slow=slow), cache=cache))
        return done[name, slow]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurebank.system.runtime._threads", 1)  # threads that wait for each other are slower than one
        yield run


@pytest.mark.parametrize(
    ("name", "slow"),
    [*((name, False) for name in BIG), *(pytest.param(name, True, marks=pytest.mark.slow) for name in SLOW)],
)
def test_a_twin_runs(name: str, slow: bool, results: Any) -> None:
    """Every head of its grid is trained, its phases are run, and something is chosen by validation."""
    for variant, done in zip(variants(name, slow=slow), results(name, slow=slow), strict=True):
        pipeline, found = variant.pipeline, done.result
        assert done.name == variant.name
        assert [run.failure for run in found.runs if run.failure] == []
        heads = [run for run in found.runs if run.head != "finetune"]
        assert {run.head for run in heads} == {head["kind"] for head in read_grid(pipeline.heads.grid)}
        assert {run.params["cut"] for run in heads if run.head == "tail"} == {
            head["cut"] for head in read_grid(pipeline.heads.grid) if head["kind"] == "tail"
        }
        chance = 1 / len(found.extraction.bank.classes)
        assert found.chosen.metrics["val"]["accuracy"] > max(0.5, 2 * chance), "it learns, and does not only run"
        assert ("test" in found.chosen.metrics) == (pipeline.select.test is True)
        assert found.chosen.metrics["val"]["accuracy"] == max(run.metrics["val"]["accuracy"] for run in found.runs)
        assert (found.finetuned is not None) == (pipeline.finetune is not None)
        if pipeline.finetune is not None:
            check_finetuned(done, pipeline.finetune)


def check_finetuned(done: VariantResult, section: FinetuneSection) -> None:
    """Looks at a fine-tune: it began with the best head of this variant, is no worse, and ran its phases in order."""
    tuned = done.result.finetuned
    assert tuned is not None
    assert tuned.finetune is not None
    started = next(run for run in done.result.runs if run.run == tuned.finetune["from"])
    assert tuned.metrics["val"]["accuracy"] >= started.metrics["val"]["accuracy"]
    assert tuned.finetune["epoch_0"]["accuracy"] == pytest.approx(started.metrics["val"]["accuracy"])
    ran = [phase["unfreeze"] for phase in tuned.finetune["phases"]]
    if section.progressive:
        assert ran
        assert "all" not in ran[:-1]
    else:
        assert ran == list(section.unfreeze[: len(ran)])
        improved = [phase["improved"] for phase in tuned.finetune["phases"]]
        assert len(ran) == len(section.unfreeze) or not improved[-1]


def test_variants_of_one_bank_begin_with_heads_of_their_own(results: Any) -> None:
    """`birds` and `birds-full` share a bank: the full fine-tune begins with the head of its own grid."""
    done = {found.name: found.result for found in results("study_d")}
    assert done["birds"].extraction.bank.path == done["birds-full"].extraction.bank.path
    tuned = done["birds-full"].finetuned
    own = {run.run for run in done["birds-full"].runs}
    assert tuned is not None
    assert tuned.finetune is not None
    assert tuned.finetune["from"] in own
    assert tuned.finetune["from"] not in {run.run for run in done["birds"].runs}


def test_a_twin_again_does_nothing(results: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = results("study_b")[0].result
    cache = first.extraction.bank.path.parent
    again = next(run_variants(small("study_b"), cache=cache)).result
    assert again.extraction.added == 0
    assert [(run.run, run.created) for run in again.runs] == [(run.run, run.created) for run in first.runs]
