"""Pipeline files: what is right is read, what is wrong is told with what to write instead."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from featurebank import read_pipeline
from featurebank.errors import ConfigError

GOOD = '[dataset]\nname = "digits"\n[extract]\nbackbone = "efficientnet_lite0"\n'


def write(folder: Path, text: str, name: str = "a.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    pipeline = read_pipeline(write(tmp_path, GOOD))
    assert (pipeline.dataset.name, pipeline.extract.backbone) == ("digits", "efficientnet_lite0")
    assert (pipeline.extract.taps, pipeline.heads.grid, pipeline.heads.seeds) == (("pooled",), "default", 1)
    assert pipeline.select.test is False


def test_a_pipeline_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        read_pipeline(write(tmp_path, GOOD)).dataset.name = "cifar10"


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("[dataset]\nnmae = 1", "dataset.name"),
        ("[dataset]\nsplits = [1.0, 0.0]", "dataset.split"),
        ("[extract]\nbatchsize = 3", "extract.batch_size"),
        ("[heads]\nseed = 3", "heads.seeds"),
        ("[heads]\ntap = ['map']", "heads.taps"),
        ("[select]\ntests = true", "select.test"),
        ("[exract]\nbackbone = 'x'", "extract"),
    ],
)
def test_a_wrong_key_gets_the_nearest_name(tmp_path: Path, key: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean .*'{near}'"):
        read_pipeline(write(tmp_path, key))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("heads.seeds=many", "'heads.seeds' is 'many'"),
        ("heads.seeds=0", "'heads.seeds' is 0: expected a whole number of 1 or more"),
        ("heads.seeds=1.5", "'heads.seeds' is 1.5"),
        ("heads.seeds=true", "'heads.seeds' is True"),
        ("heads.search=best", "'heads.search' is 'best': expected 'all', 'random' or 'halving'"),
        ("heads.folds=1", "'heads.folds' is 1: expected a whole number of 2 or more, such as 5, or 'given'"),
        ("heads.folds='drawn'", "'heads.folds' is 'drawn': .*or 'given' for the dataset's own"),
        ("heads.budget=0", "'heads.budget' is 0: expected a number of seconds above 0"),
        ("heads.run=3", "did you mean .*'heads.runs'"),
        ("extract.taps=pooled", "'extract.taps' is 'pooled': expected a list"),
        ("extract.taps=[]", "'extract.taps' is \\[\\]"),
        ("extract.store=float64", "'extract.store' is 'float64': expected 'float32' or 'float16'"),
        ("dataset.split=[1.0]", "'dataset.split' is \\[1.0\\]"),
        ("dataset.classes=['ant']", "'dataset.classes' is \\['ant'\\]"),
        ("dataset.limit=0", "'dataset.limit' is 0: expected a whole number of images, 1 or more"),
        ("dataset.per_class=1.5", "'dataset.per_class' is 1.5"),
        ("select.test=1", "'select.test' is 1: expected true or false or 'once'"),
        ("extract=3", "expected SECTION.KEY=VALUE"),
        ("extract.views=2", "2 views without an augmentation: add --augment"),
        ("finetune.epochs=5", "nothing would be trained: expected --unfreeze LAYERS"),
    ],
)
def test_a_wrong_value_is_told(tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_pipeline(write(tmp_path, GOOD), [override])


def test_all_problems_are_told_one_a_line(tmp_path: Path) -> None:
    text = '[dataset]\nseed = "x"\n[extract]\nbackbone = "b"\nstroe = "float16"\n[heads]\nseeds = 0\n'
    with pytest.raises(ConfigError) as caught:
        read_pipeline(write(tmp_path, text))
    message = str(caught.value)
    for told in (
        "'dataset.name' is missing",
        "'dataset.seed' is 'x'",
        "'extract.store'",
        "'heads.seeds' is 0",
        "a.toml",
    ):
        assert told in message
    assert [line.partition(": ")[0] for line in message.split("\n")] == [str(tmp_path / "a.toml")] * 4


def test_overrides_are_toml_or_plain_words(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    overrides = [
        "heads.seeds=3",
        "heads.grid=quick",
        'extract.taps=["map"]',
        "select.test=true",
        "dataset.name=npz:a b.npz",
    ]
    pipeline = read_pipeline(path, overrides)
    assert (pipeline.heads.seeds, pipeline.heads.grid, pipeline.extract.taps) == (3, "quick", ("map",))
    assert (pipeline.select.test, pipeline.dataset.name) == (True, "npz:a b.npz")


def test_the_last_override_counts(tmp_path: Path) -> None:
    assert read_pipeline(write(tmp_path, GOOD), ["heads.seeds=3", "heads.seeds=5"]).heads.seeds == 5


@pytest.mark.parametrize("override", ["heads.seeds", "seeds=3", ".seeds=3", "heads.=3", "=3", ""])
def test_bad_syntax_of_an_override(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"expected SECTION.KEY=VALUE, as --set heads.seeds=3"):
        read_pipeline(write(tmp_path, GOOD), [override])


def test_an_override_of_what_is_no_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'heads' is no section"):
        read_pipeline(write(tmp_path, f"heads = 3\n{GOOD}"), ["heads.seeds=3"])


def test_an_override_with_an_unknown_key_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'heads.seeds'"):
        read_pipeline(write(tmp_path, GOOD), ["heads.seed=3"])


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_pipeline(path) == read_pipeline(write(tmp_path, GOOD, "b.toml"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no pipeline file '.*none.toml'"):
        read_pipeline(tmp_path / "none.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pipeline(tmp_path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pipeline(tmp_path / "a.toml")


def test_bad_toml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML: .*line 2"):
        read_pipeline(write(tmp_path, "[dataset]\nname = digits\n"))


def test_a_relative_grid_starts_from_the_pipeline_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study").mkdir()
    write(tmp_path / "study", '[[head]]\nkind = "knn"\n', "grid.toml")
    write(tmp_path, '[[head]]\nkind = "svm"\n', "grid.toml")
    monkeypatch.chdir(tmp_path)
    pipeline = read_pipeline(write(tmp_path / "study", f'{GOOD}[heads]\ngrid = "grid.toml"\n'))
    assert Path(pipeline.heads.grid) == tmp_path / "study" / "grid.toml"


def test_an_absolute_grid_is_taken_as_it_is(tmp_path: Path) -> None:
    grid = write(tmp_path, '[[head]]\nkind = "knn"\n', "grid.toml")
    pipeline = read_pipeline(write(tmp_path, f"{GOOD}[heads]\ngrid = '{grid}'\n"))
    assert pipeline.heads.grid == str(grid)
