"""Pipeline files with variants: what lies over what, and what is told of mistakes."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from featurebank import read_pipeline, read_variants, run_variants
from featurebank.errors import ConfigError, DatasetError, UnknownNameError
from featurebank.pipeline.config import SECTIONS, Pipeline, key_of

BASE = """
[dataset]
name = "digits"
classes = ["1", "2"]
[extract]
backbone = "basenet"
weights = "random:0"
taps = ["map"]
[finetune]
unfreeze = ["all"]
epochs = 3
"""
TWO = (
    BASE
    + """
[[variant]]
name = "plain"
finetune = false
[[variant]]
name = "two words"
dataset.classes = false
extract.taps = ["pooled"]
finetune.epochs = 5
finetune.normalize = true
"""
)


def write(folder: Path, text: str) -> Path:
    path = folder / "a.toml"
    path.write_text(text)
    return path


def test_keys_of_a_variant_lie_over_those_of_the_file(tmp_path: Path) -> None:
    plain, other = read_variants(write(tmp_path, TWO))
    assert (plain.name, other.name) == ("plain", "two words")
    assert plain.pipeline.finetune is None
    assert (plain.pipeline.dataset.classes, plain.pipeline.extract.taps) == (("1", "2"), ("map",))
    assert other.pipeline.dataset.classes is None
    assert (other.pipeline.extract.backbone, other.pipeline.extract.taps) == ("basenet", ("pooled",))
    assert other.pipeline.finetune is not None
    assert (other.pipeline.finetune.unfreeze, other.pipeline.finetune.epochs) == (("all",), 5)
    assert other.pipeline.finetune.normalize


def test_a_variant_switches_a_switch_off_and_a_fine_tune_on(tmp_path: Path) -> None:
    text = BASE.replace("epochs = 3", "progressive = true\nkeep_going = true")
    variant = '[[variant]]\nname = "a"\nfinetune = { progressive = false, keep_going = false }\n'
    (found,) = read_variants(write(tmp_path, text + variant))
    assert found.pipeline.finetune is not None
    assert (found.pipeline.finetune.progressive, found.pipeline.finetune.keep_going) == (False, False)
    without = BASE[: BASE.index("[finetune]")]
    off, on = '[[variant]]\nname = "off"\nfinetune = false\n', '[[variant]]\nname = "on"\nfinetune.unfreeze = ["all"]\n'
    assert [bool(v.pipeline.finetune) for v in read_variants(write(tmp_path, without + off + on))] == [False, True]


def test_a_file_without_variants_is_one_without_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    (found,) = read_variants(path, ["finetune.epochs=2"])
    assert (found.name, found.pipeline) == ("", read_pipeline(path, ["finetune.epochs=2"]))


def test_a_file_with_variants_is_no_single_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a.toml has variants: .*read_variants"):
        read_pipeline(write(tmp_path, TWO))


def test_overrides_lie_under_variants_unless_they_name_one(tmp_path: Path) -> None:
    given = ["finetune.epochs=7", "finetune.seed=1", "two words.extract.weights=random:4", "plain.finetune.epochs=9"]
    text = TWO.replace("finetune = false\n", "")
    plain, other = (v.pipeline for v in read_variants(write(tmp_path, text), given))
    assert plain.finetune is not None
    assert other.finetune is not None
    assert (plain.finetune.epochs, other.finetune.epochs) == (9, 5)
    assert (plain.finetune.seed, other.finetune.seed) == (1, 1)
    assert (plain.extract.weights, other.extract.weights) == ("random:0", "random:4")


def test_only_the_variants_that_are_wanted(tmp_path: Path) -> None:
    path = write(tmp_path, TWO)
    assert [variant.name for variant in read_variants(path, only=["two words"])] == ["two words"]
    assert [variant.name for variant in read_variants(path, only=["two words", "plain"])] == ["plain", "two words"]
    with pytest.raises(UnknownNameError, match="unknown variant 'plian': did you mean 'plain'"):
        read_variants(path, only=["plain", "plian"])
    with pytest.raises(ConfigError, match="has no variants, so there is none of the name 'a': leave --variant out"):
        read_variants(write(tmp_path, BASE), only=["a"])


def test_all_problems_are_told_once_and_with_their_variants(tmp_path: Path) -> None:
    text = (
        BASE.replace('backbone = "basenet"', "")
        + '[select]\ntset = true\n[[variant]]\nname = "a"\nheads.seeds = 0\nextract.backbone = "x"\n'
        + 'finetune.optimizer = "adma"\n'
        + '[[variant]]\nname = "b"\nheads.sedes = 3\nexrtact.taps = ["map"]\n'
    )
    with pytest.raises(ConfigError) as caught:
        read_variants(write(tmp_path, text))
    told = str(caught.value)
    lines = told.split("\n")
    assert all(line.startswith(f"{tmp_path / 'a.toml'}: ") for line in lines)
    problems = [line.removeprefix(f"{tmp_path / 'a.toml'}: ") for line in lines]
    assert len(problems) == 6
    assert sum(problem.startswith("unknown key 'select.tset': did you mean 'select.test'") for problem in problems) == 1
    assert any(problem.startswith("variant 'a': 'heads.seeds' is 0: ") for problem in problems)
    assert any(problem.startswith("variant 'a': 'finetune.optimizer' is 'adma': expected ") for problem in problems)
    assert "variant 'b': 'extract.backbone' is missing" in problems
    assert any(p.startswith("variant 'b': unknown key 'heads.sedes': did you mean 'heads.seeds'") for p in problems)
    assert any(p.startswith("variant 'b': unknown key 'exrtact': did you mean 'extract'") for p in problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("variant = 3\n" + BASE, "'variant' is 3: expected \\[\\[variant\\]\\] blocks, each with a name"),
        (BASE + "[variant]\nname = 'a'\n", "'variant' is .*: expected \\[\\[variant\\]\\] blocks"),
        ("variant = []\n" + BASE, "'variant' is \\[\\]: expected"),
        (BASE + "[[variant]]\nextract.taps = ['map']\n", "variant 1: 'name' is missing"),
        (BASE + "[[variant]]\nname = 3\n", "variant 1: 'name' is 3: expected a word"),
        (BASE + "[[variant]]\nname = ' '\n", "variant 1: 'name' is ' ': expected a word"),
        (BASE + "[[variant]]\nname = 'a'\n[[variant]]\nname = 'a'\n", "2 variants have the name 'a'"),
        (BASE + "[[variant]]\nname = 'a'\nextract = 3\n", "variant 'a': 'extract' is 3"),
    ],
)
def test_variants_of_a_wrong_form(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_variants(write(tmp_path, text))


def run(path: Path) -> None:
    list(run_variants(read_variants(path), cache=path.parent / "cache"))


def test_what_is_wrong_with_a_later_variant_is_told_before_the_first_starts(tmp_path: Path) -> None:
    text = TWO + (
        '[[variant]]\nname = "c"\nextract.backbone = "basnet"\nheads.grid = "defalt"\n'
        '[[variant]]\nname = "d"\nheads.grid = "defalt"\ndataset.name = "nowhere"\n'
    )
    with pytest.raises(ConfigError) as caught:
        run(write(tmp_path, text))
    told = str(caught.value)
    assert "variant 'c': unknown backbone 'basnet': did you mean 'basenet'" in told
    assert "variants 'c', 'd': unknown grid 'defalt'" in told
    assert "variant 'd': " in told
    assert len(told.split("\n")) == 3
    assert not (tmp_path / "cache").exists()


def test_a_single_problem_keeps_its_kind(tmp_path: Path) -> None:
    wrong = '[[variant]]\nname = "c"\ndataset = { name = "folder:nowhere", classes = false }\n'
    with pytest.raises(DatasetError, match=r"^variant 'c': .*nowhere"):
        run(write(tmp_path, TWO + wrong))
    everywhere = TWO.replace('"basenet"', '"basnet"')
    with pytest.raises(UnknownNameError, match=r"^unknown backbone 'basnet'"):
        run(write(tmp_path, everywhere))


def test_what_fails_on_the_way_names_its_variant(tmp_path: Path) -> None:
    text = BASE[: BASE.index("[finetune]")] + '[[variant]]\nname = "lost"\nextract.taps = ["pol1"]\n'
    with pytest.raises(UnknownNameError, match=r"^variant 'lost': unknown tap 'pol1': did you mean"):
        run(write(tmp_path, text))


FULL = """
dataset = { name = "photos", split = [0.6, 0.4], seed = 3, test = "others", classes = ["1", "2"], limit = 90, \
per_class = 9, layout = "classes", columns = { label = "kind", path = "file" }, \
unlabelled = "keep", groups = "patient" }
extract = { backbone = "basenet", weights = "random:0", image_size = 48, preprocessing = "tf", resize = "pad", \
levels = "0,1", taps = ["map"], engine = "tensorflow", batch_size = 8, store = "float16", on_bad_image = "fail", \
views = 2, augment = "flip", wait = true, precision = "bfloat16", max_bad = 0.5, cluster = "local:2" }
race = { backbones = ["basenet", "vgg16"], budget = 9.0, share = 0.5, part = 20 }
heads = { seeds = 2, taps = ["map"], search = "random", runs = 9, folds = 3, repeats = 2, budget = 9.0, \
retry_failed = true, views = 1, sample = 50, metric = "loss", cluster = "local:2", grid = "quick" }
finetune = { unfreeze = ["all"], progressive = true, epochs = 2, learning_rate = 0.1, patience = 1, keep_going = true, \
batch_norm = "train", batch_norm_momentum = 0.5, layer_decay = 0.5, global_clipnorm = 1.0, augment = "flip", \
dropout = 0.1, normalize = true, mixed_precision = true, optimizer = "adamw", momentum = 0.5, nesterov = true, \
weight_decay = 0.1, schedule = "plateau", decay = 0.1, warmup = 0.1, plateau_factor = 0.5, plateau_patience = 1, \
plateau_floor = 0.001, label_smoothing = 0.1, class_weight = { "1" = 2.0, "2" = 1.0 }, batch_size = 8, \
min_delta = 0.1, monitor = "val_loss", seed = 1, validate_every = 2, validate_on = "part", checkpoint_every = 9, \
from = "1234567890" }
select = { test = true, metric = "loss" }
report = { output = "page.html", force = true, metric = "loss" }
""".replace("\\\n", "")
"""Every key of every section, none with its default."""


def read(folder: Path, file: dict[str, Any], variant: dict[str, Any]) -> Any:
    """Returns the pipeline of a file with one variant, or the problems of both."""
    text = "\n".join(f"{name} = {as_toml(value)}" for name, value in file.items())
    lines = [f"{name} = {as_toml(value)}" for name, value in variant.items()]
    try:
        (found,) = read_variants(write(folder, "\n".join([text, '[[variant]]\nname = "a"', *lines])))
    except ConfigError as error:
        return str(error).replace("variant 'a': ", "")
    return found.pipeline


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {as_toml(own)}' for key, own in value.items()) + " }"
    return json.dumps(value)


def files_of(section: str) -> dict[str, Any]:
    """Returns a valid file that has as many keys of a section as fit together, and of the others what they need."""
    least = {"dataset": {"name": "photos"}, "extract": {"backbone": "basenet"}}
    own = tomllib.loads(FULL)[section]
    without = {"finetune": ["progressive", "nesterov", "normalize"], "extract": ["cluster"]}
    fitting = {key: value for key, value in own.items() if key not in without.get(section, [])}
    return {**(least if section != "race" else {"dataset": least["dataset"]}), section: fitting}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_variant_changes_nothing_but_what_it_names(tmp_path: Path, section: str) -> None:
    file, full = files_of(section), tomllib.loads(FULL)[section]
    assert set(full) == {key_of(one) for one in fields(SECTIONS[section])}
    whole = read(tmp_path, file, {})
    assert isinstance(whole, Pipeline), whole
    for key, value in full.items():
        other = {name: old for name, old in file[section].items() if name != key}
        replaced = read(tmp_path, {**file, section: {**other, key: value}}, {})
        assert read(tmp_path, {**file, section: other}, {section: {key: value}}) == replaced, key
        assert read(tmp_path, {**file, section: {**other, key: "no value of it"}}, {section: {key: value}}) == replaced
        left_out = read(tmp_path, {**file, section: {**other, **({key: False} if value is True else {})}}, {})
        assert read(tmp_path, {**file, section: {**other, key: value}}, {section: {key: False}}) == left_out, key
        assert read(tmp_path, {**file, section: other}, {section: {key: False}}) == left_out, "nothing to leave out"
    without = {name: value for name, value in file.items() if name != section}
    expected = read(tmp_path, without, {})
    assert read(tmp_path, file, {section: False}) == read(tmp_path, without, {section: False}) == expected
