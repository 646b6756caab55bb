"""The options that say which images a command works on."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from featurebank.backbone.resize import RULES, rule_of
from featurebank.cli import group
from featurebank.cli.options import Images, count, dataset_argument, dataset_options, resize_option
from featurebank.dataset import DatasetOptions


def given(*words: str) -> Images:
    found: list[Images] = []

    @click.command()
    @click.argument("other")
    @dataset_options
    @click.option("--flag", is_flag=True)
    def command(other: str, images: Images, *, flag: bool) -> None:
        assert (other, flag) == ("x", False)
        found.append(images)

    result = CliRunner().invoke(command, ["x", *words])
    assert result.exit_code == 0, result.output
    return found[0]


def test_without_options_it_is_all_of_the_digits() -> None:
    assert given() == Images(None, DatasetOptions())
    assert given().load().spec == "digits"


def test_layout_and_columns() -> None:
    found = given("--dataset", "d", "--layout", "splits", "--columns", "path=file, label=the class")
    assert (found.options.layout, found.options.columns) == ("splits", {"path": "file", "label": "the class"})


@pytest.mark.parametrize("text", ["file", "path=", "=file", "path=a,b"])
def test_columns_are_pairs(text: str) -> None:
    @click.command()
    @dataset_options
    def command(images: Images) -> None:
        raise AssertionError

    result = CliRunner().invoke(command, ["--columns", text])
    assert result.exit_code == 2
    assert "expected NAME=COLUMN, as path=file,label=class" in result.output


def test_columns_name_each_once() -> None:
    command = click.command()(dataset_options(lambda images: None))
    result = CliRunner().invoke(command, ["--columns", "path=a,label=c,path=b"])
    assert "two columns for 'path', 'a' and 'b'; leave one out" in result.output
    assert CliRunner().invoke(command, ["--columns", "path=a,path=a"]).exit_code == 0


def test_all_options() -> None:
    part = ("--classes", "a,b", "--classes", "c", "--limit", "9", "--per-class", "2")
    assert given("--dataset", "d", "--split", ".8,.2", "--seed", "3", *part) == Images(
        "d", DatasetOptions(split=[0.8, 0.2], seed=3, classes=["a", "b", "c"], limit=9, per_class=2)
    )


def test_the_dataset_as_an_argument() -> None:
    found: list[Images] = []

    @click.command()
    @dataset_argument
    def command(images: Images) -> None:
        found.append(images)

    assert CliRunner().invoke(command, ["photos", "--limit", "3"]).exit_code == 0
    assert found == [Images("photos", DatasetOptions(limit=3))]
    assert CliRunner().invoke(command, []).exit_code == 2


def test_every_resize_rule_can_be_chosen() -> None:
    @click.command()
    @resize_option
    def command(resize: str | None) -> None:
        click.echo(rule_of(resize))

    for word, rule in RULES.items():
        assert CliRunner().invoke(command, ["--resize", word]).output.strip() == rule
    assert CliRunner().invoke(command, []).output.strip() == RULES["auto"]
    assert CliRunner().invoke(command, ["--resize", "zoom"]).exit_code == 2


def test_it_loads_what_was_asked_for() -> None:
    images = given("--classes", "3, 7", "--limit", "50", "--split", ".5,.5").load()
    assert images.classes == ("3", "7")
    assert len(images) == 50
    assert images.fractions == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1" * 20, "²"])
def test_counts_are_1_or_more(text: str) -> None:
    result = CliRunner().invoke(group, ["predict", "m", "i", "--batch-size", text])
    assert result.exit_code == 2
    assert f"'{text}': expected a whole number of 1 or more" in result.output
    assert count("12") == 12


@pytest.mark.parametrize("words", [("--split", "a,b"), ("--limit", "many"), ("--seed", "x")])
def test_wrong_words_are_wrong_usage(words: tuple[str, str]) -> None:
    result = CliRunner().invoke(click.command()(dataset_options(lambda images: None)), words)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--split", ".5,.2"), "--split is (0.5, 0.2): they sum to 0.7, expected 1"),
        (("--limit", "0"), "--limit is 0: expected a whole number of images, 1 or more"),
        (("--classes", "ant"), "--classes is ['ant']: expected at least two different class names"),
    ],
)
def test_wrong_values_are_named_as_on_the_command_line(words: tuple[str, str], expected: str) -> None:
    result = CliRunner().invoke(group, ["inspect", "digits", *words])
    assert result.exit_code == 2
    assert expected in result.output
