"""`featurebank inspect` as people and scripts use it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from featurebank import inspect_dataset, load_dataset
from featurebank.bank import Bank
from featurebank.cli.commands.inspect import inspect
from featurebank.cli.inspection_view import print_inspection
from featurebank.dataset import Skipped
from featurebank.inspection.near_duplicates import NEAR
from featurebank.inspection.stage import Inspection

pytestmark = pytest.mark.heavy

Answer = tuple[str, str]
SPLIT = ("--split", ".8,.2")


@pytest.fixture
def ask(tmp_path: Path, in_process: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs the command in this process, with the cache of this test; returns both outputs."""
    return partial(in_process, "--cache", tmp_path / "cache")


def test_json_is_one_document_also_with_problems(ask: Callable[..., Answer], leaky: Path, leaky_bank: Bank) -> None:
    output, _ = ask("inspect", leaky, *SPLIT, "--near", ".99999", "--json")
    found = json.loads(output)
    assert found["near_duplicates"]["bank"] == str(leaky_bank.path)
    assert found["near_duplicates"]["total"] == 1
    assert found["unreadable"][0]["id"] == "train/bee/broken.jpg"


def test_people_get_all_of_it_in_plain_text(ask: Callable[..., Answer], leaky: Path, leaky_bank: Bank) -> None:
    output, _ = ask("inspect", leaky, *SPLIT, "--near", ".99999")
    assert "\x1b" not in output
    assert "▀" not in output
    for words in (
        "20 images, 2 classes", "sizes: all 32 x 32 pixels", "formats: PNG 19; pixels: RGB 19",
        "train/bee/broken.jpg: not an image that can be read, but a text",
        "different labels and splits: test/bee/same.png (bee, test) = train/ant/same.png (ant, ",
        "1.0000  train/ant/near.png (ant, train)  ~  test/ant/nearly.png (ant, test)",
        "what to do:", "more than one class",
    ):  # fmt: skip
        assert words in output, words


def test_without_a_bank_one_line_says_how_to_make_one(ask: Callable[..., Answer], leaky: Path) -> None:
    output, _ = ask("inspect", leaky)
    (line,) = [line for line in output.splitlines() if "near duplicates" in line]
    assert f"featurebank extract --backbone efficientnet_lite0 --dataset folder:{leaky}" in line


def test_a_bank_is_left_alone_on_request(ask: Callable[..., Answer], leaky: Path, leaky_bank: Bank) -> None:
    assert json.loads(ask("inspect", leaky, "--no-bank", "--json")[0])["near_duplicates"] is None


def test_another_bank_by_name(ask: Callable[..., Answer], leaky: Path, leaky_bank: Bank) -> None:
    renamed = leaky.rename(leaky.with_name("moved"))
    output, errors = ask("inspect", renamed, *SPLIT, "--bank", "leaky", "--json")
    assert json.loads(output)["near_duplicates"]["compared"] == 19
    assert errors == ""


def test_the_page_is_written_and_named(ask: Callable[..., Answer], leaky: Path, tmp_path: Path) -> None:
    output, _ = ask("inspect", leaky, "-o", tmp_path / "page.html", "--augment", "flip", "--views", "2")
    assert f"page: {tmp_path / 'page.html'}" in output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "view 2" in page
    assert "view 3" not in page


def test_with_json_the_page_is_written_all_the_same(ask: Callable[..., Answer], leaky: Path, tmp_path: Path) -> None:
    json.loads(ask("inspect", leaky, "-o", tmp_path / "page.html", "--json")[0])
    assert (tmp_path / "page.html").is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("inspect", "./nowhere"), "nowhere"),
        (("inspect", "digit"), "did you mean 'digits'"),
        (("inspect", "digits", "--near", "2"), "between 0 and 1"),
        (("inspect", "digits", "--bank", "nothing"), "no bank in the cache"),
        (("inspect", "digits", "--augment", "flop"), "flop"),
    ],
)
def test_mistakes_get_one_line(ask: Callable[..., Answer], words: tuple[str, ...], expected: str) -> None:
    output, errors = ask(*words, code=2 if "--near" in words else 1)
    assert output == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert expected in line


@pytest.mark.parametrize(
    "words",
    [
        ("inspect",),
        ("inspect", "digits", "--views", "3"),
        ("inspect", "digits", "--image-size", "32"),
        ("inspect", "digits", "--bank", "a", "--no-bank"),
    ],
)
def test_wrong_usage_exits_with_2(ask: Callable[..., Answer], words: tuple[str, ...]) -> None:
    assert "Usage:" in ask(*words, code=2)[1]


def test_the_default_of_near_is_that_of_the_stage() -> None:
    """Written twice, because the command may not import the stage before it runs."""
    assert {option.name: option.default for option in inspect.params}["near"] == NEAR


# ---- what is drawn


def drawn(found: Inspection, width: int, *, terminal: bool = True) -> str:
    file = io.StringIO()
    colours = "truecolor" if terminal else None
    print_inspection(found, Console(file=file, width=width, force_terminal=terminal, color_system=colours))
    return file.getvalue()


@pytest.fixture
def found(leaky: Path) -> Inspection:
    return inspect_dataset(load_dataset(str(leaky), split=(0.8, 0.2)))


def test_a_terminal_with_colours_gets_pictures(found: Inspection) -> None:
    red = replace(found, thumbnails=dict.fromkeys(found.thumbnails, np.full((5, 9, 3), (200, 10, 20), np.uint8)))
    text = drawn(red, 100)
    assert "\x1b[38;2;200;10;20;48;2;200;10;20m▀" in text
    assert text.count("▀") == 2 * 5 * 16 * 8  # two classes, as many as fit beside each other, sixteen by sixteen pixels


def test_bars_and_distributions_are_not_wrapped_at_80_columns(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "photos" / ("ant", "sunflowers")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100 + number, 180 - 7 * number), (20 * number, 0, 0)).save(path)
    found = inspect_dataset(load_dataset(str(tmp_path / "photos")))
    for width in (80, 140):
        text = drawn(found, width, terminal=False)
        names = [line.split("  ")[0].strip() for line in text.splitlines()]
        assert names[names.index("ant") : names.index("all")] == ["ant", "sunflowers", ""], text
        assert names[names.index("width, px") :][:4] == ["width, px", "height, px", "width / height", "megapixels"], (
            text
        )


@pytest.mark.parametrize("size", [(16, 40), (48, 32), (8, 8)])
def test_pictures_on_the_terminal_are_means_of_the_central_square(found: Inspection, size: tuple[int, int]) -> None:
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    side = min(size)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    square[: side // 2] = (255, 0, 0)
    square[side // 2 :] = (0, 0, 255)
    text = drawn(replace(found, thumbnails=dict.fromkeys(found.thumbnails, image)), 100)
    rows = [row for row in text.splitlines() if "▀" in row]
    assert all("38;2;255;0;0;48;2;255;0;0" in row for row in rows[:4])
    assert all("38;2;0;0;255;48;2;0;0;255" in row for row in rows[4:8])
    assert "38;2;0;0;0" not in text


def test_a_narrow_terminal_and_a_file_get_none(found: Inspection) -> None:
    assert "▀" not in drawn(found, 79)
    assert "▀" not in drawn(found, 200, terminal=False)


def test_bars_have_the_length_of_their_counts(found: Inspection) -> None:
    counts = {"train": {"ant": 30, "bee": 1}, "val": {"ant": 5, "bee": 1}, "test": {"ant": 5, "bee": 2}}
    lines = drawn(replace(found, counts=counts), 140, terminal=False).splitlines()
    ant = next(line for line in lines if line.startswith(" ant"))
    bee = next(line for line in lines if line.startswith(" bee"))
    assert [ant.count(mark) for mark in "█▓░"] == [30, 5, 5]
    assert [bee.count(mark) for mark in "█▓░"] == [1, 1, 2]


def test_long_lists_end_with_how_many_more_there_are(found: Inspection) -> None:
    bad = tuple(Skipped(f"{number}.jpg", "empty file") for number in range(25))
    text = drawn(replace(found, unreadable=bad), 140, terminal=False)
    assert "25 images cannot be read:" in text
    assert "9.jpg: empty file" in text
    assert "10.jpg" not in text
    assert "and 15 more" in text


def test_names_are_never_taken_for_markup(found: Inspection) -> None:
    odd = replace(
        found, classes=("[red]a", "b"), unreadable=(Skipped("[bold]x[/nothing]", "[why]"),), samples={},
        counts={split: {"[red]a": 1, "b": 1} for split in found.counts},
    )  # fmt: skip
    text = drawn(odd, 140, terminal=False)
    assert "[red]a" in text
    assert "[bold]x[/nothing]: [why]" in text


def test_the_default_dataset_is_named(in_process: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    words = ("--cache", tmp_path, "extract", "--backbone", "efficientnet_lite0", "--weights", "random:0", "--dry-run")
    errors = in_process(*words, "--image-size", 32)[1]
    assert "no --dataset: taking the bundled digits; '--dataset FOLDER' takes your images" in errors


def test_a_folder_one_level_too_high_is_one_line(in_process: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    for name in ("flowers/rose/1.png", "flowers/tulip/1.png", "other/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    out, errors = in_process("inspect", tmp_path, code=1)
    assert out == ""
    assert len(errors.splitlines()) == 1
    assert "class 'flowers' has class folders of its own ('rose', 'tulip')" in errors
    assert f"did you mean '{tmp_path}/flowers'?" in errors
