"""Tutorials: their stored results are those of their code, and the code runs on small photos."""

from __future__ import annotations

import copy
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run_command
from PIL import Image
from remembering import remember_features
from sklearn.datasets import load_digits
from tutorial_cells import run_cells

from docs.tutorials.__main__ import main
from docs.tutorials.notebooks import MOST_BYTES, TutorialError, checked, code_cells, execute, notebooks, read, source

SMALL: dict[str, dict[str, Any]] = {
    "choosing_a_backbone": {
        "photos": "photos", "split": (0.4, 0.5, 0.1), "image_size": None, "grid": "grid.toml", "one_class": "rose",
        "networks": [("my_networks:small", "own"), *(("my_networks:small", f"random:{seed}") for seed in (1, 2))],
    },
    "cifar10_tails": {
        "photos": "photos", "split": (0.6, 0.3, 0.1), "network": "my_networks:small", "image_size": None,
        "candidates": ["stem"], "cuts": ["stem"], "grid": "grid.toml", "tail_epochs": 2, "finetune_epochs": 1,
    },
    "flowers": {"photos": "photos", "network": "my_networks:small", "unfreeze": ["last"], "epochs": 1},
    "wrong_labels": {"photos": "photos", "look_at": 20},
    "your_own_network": {
        "digits": "folder:digits", "epochs": 1, "pretrained": "my_networks:small", "middle": "stem:avg", "size": 32,
    },
}  # fmt: skip
"""Values for the cell `parameters` of each tutorial; they may name files of `save_photos`, `grid.toml`, the folder
`digits` and `my_networks:small`."""

ELSEWHERE = {"on_a_cluster"}
"""Tutorials whose code needs processes of its own: `tests/cluster/test_tutorial.py`."""
GRID = '[[head]]\nkind = "nearest_mean"\n[[head]]\nkind = "ridge"\n'


def save_digits(place: Path, each: int = 30) -> None:
    """Writes a folder with some digits of scikit-learn, as many of each class."""
    pixels, labels = load_digits(return_X_y=True)
    for label in range(10):
        (place / str(label)).mkdir(parents=True)
        for number, image in enumerate(pixels[labels == label][:each].reshape(-1, 8, 8) * 15.9):
            Image.fromarray(image.astype("uint8")).save(place / str(label) / f"{number}.png")


each_tutorial = pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)


def place_of_parameters(cells: list[dict[str, Any]]) -> int | None:
    """Returns the place of the cell with the tag `parameters` among the code cells."""
    places = [place for place, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
    return places[0] if places else None


@each_tutorial
def test_stored_results_are_those_of_the_code(path: Path) -> None:
    assert list(checked(read(path))) == []


@pytest.mark.heavy
@pytest.mark.parametrize(
    "path", [path for path in notebooks() if path.stem not in ELSEWHERE], ids=lambda path: path.stem
)
def test_the_code_runs(
    path: Path,
    made_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, with small photos and a network that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)
    shutil.copytree(made_photos, tmp_path, dirs_exist_ok=True)
    save_digits(Path("digits"))
    Path("grid.toml").write_text(GRID, encoding="utf-8")
    remember_features(monkeypatch)
    cells = code_cells(read(path))

    def command(words: str) -> str:
        return "".join(run_command(tuple(shlex.split(words)), monkeypatch, capsys))

    names = run_cells([source(cell) for cell in cells], SMALL[path.stem], place_of_parameters(cells), command)
    assert set(SMALL[path.stem]) <= set(names)


def notebook(*codes: str) -> dict[str, Any]:
    """A notebook that was never executed, as Jupyter saves it."""
    cells = [
        {"cell_type": "code", "id": f"c{place}", "metadata": {}, "execution_count": None, "outputs": [], "source": code}
        for place, code in enumerate(codes)
    ]
    text = {"cell_type": "markdown", "id": "text", "metadata": {}, "source": "# Title"}
    return {"cells": [text, *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


CODES = [
    "from pathlib import Path\nfolder = Path('flowers').resolve()\nsorted(path.name for path in folder.iterdir())",
    "import altair as alt\nalt.Chart({'values': [{'x': 1}]}, title='one x').mark_point().encode(x='x:Q')",
    "import warnings, featurebank as fb\nwarnings.warn('look', fb.FeatureBankWarning)\nprint(folder)",
    "import sys\nsys.stderr.write('I0000 00:00:1796058259.0 24518 port.cc:153] oneDNN is on\\n');",
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A notebook after its execution."""
    place = tmp_path_factory.mktemp("tutorial")
    (place / "data" / "flowers" / "rose").mkdir(parents=True)
    values = notebook(*CODES)
    values["metadata"]["featurebank"] = {"data": ["flowers"]}
    path = place / "made.ipynb"
    path.write_text(json.dumps(values), encoding="utf-8")
    execute(path, place / "data")
    assert [one.name for one in place.iterdir() if one.is_file()] == ["made.ipynb"]
    return read(path)


@pytest.mark.heavy
def test_execution_stores_what_every_machine_would(executed: dict[str, Any]) -> None:
    listing, chart, printed, logged = (cell["outputs"] for cell in code_cells(executed))
    assert list(checked(executed)) == []
    assert "".join(listing[0]["data"]["text/plain"]) == "['rose']"
    assert "".join(chart[0]["data"]["image/svg+xml"]).startswith("<svg")
    assert code_cells(executed)[1]["metadata"]["mystnb"]["image"]["alt"] == "Chart: one x"
    assert sorted("".join(output["text"]) for output in printed) == ["FeatureBankWarning: look\n", "flowers\n"]
    assert logged == []
    assert [cell["execution_count"] for cell in code_cells(executed)] == [1, 2, 3, 4]
    assert [cell["source"] for cell in executed["cells"] if cell["cell_type"] == "markdown"] == [["# Title"]]


def rewritten(values: dict[str, Any]) -> None:
    code_cells(values)[0]["source"] = "1 + 1"


def cleared(values: dict[str, Any]) -> None:
    code_cells(values)[0]["outputs"] = []


def renumbered(values: dict[str, Any]) -> None:
    code_cells(values)[1]["execution_count"] = 7


def nameless(values: dict[str, Any]) -> None:
    del code_cells(values)[1]["metadata"]["mystnb"]


def with_text(text: str, name: str = "stdout") -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        code_cells(values)[2]["outputs"] = [{"output_type": "stream", "name": name, "text": text}]

    return change


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rewritten, "the results are not those of the code"),
        (cleared, "code cell 1 shows something, and has no result"),
        (renumbered, "code cell 2 has the number 7"),
        (nameless, "code cell 2 has a picture without a title"),
        (with_text("in /home/me/photos"), "names what only this machine has: '/home/me/photos'"),
        (with_text("<object object at 0x7f2a3c4d5e6f>"), "names what only this machine has"),
        (with_text("Traceback (most recent call last):"), "shows a traceback"),
        (with_text("I0000 oneDNN is on\n", "stderr"), "no warning of featurebank: 'I0000 oneDNN is on'"),
        (with_text("<script>draw()</script>"), "needs JavaScript"),
        (with_text("x" * MOST_BYTES), "show fewer or smaller pictures"),
    ],
)
def test_results_that_must_not_be_stored(
    executed: dict[str, Any], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    values = copy.deepcopy(executed)
    change(values)
    (line,) = checked(values)
    assert words in line


@pytest.mark.heavy
def test_a_notebook_that_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "made.ipynb"
    path.write_text(json.dumps(notebook("1 / 0")), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(TutorialError, match="ZeroDivisionError"):
        execute(path, None)
    assert path.read_bytes() == before


def test_missing_photos(tmp_path: Path) -> None:
    values = notebook("1")
    values["metadata"]["featurebank"] = {"data": ["flowers"]}
    path = tmp_path / "made.ipynb"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(TutorialError, match=r"made.ipynb reads the folder 'flowers'.*--data"):
        execute(path, tmp_path)


@pytest.mark.heavy
def test_the_text_may_change_without_an_execution(executed: dict[str, Any]) -> None:
    values = copy.deepcopy(executed)
    values["cells"][0]["source"] = "# Another title"
    assert list(checked(values)) == []


def test_the_command_checks_and_executes_nothing_that_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == "".join(f"{path.stem}: up to date\n" for path in notebooks())


def test_the_command_knows_its_tutorials(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tuor"])
    assert "unknown tutorial 'tuor': expected one of " in capsys.readouterr().err
