"""What the pages show is what happens: their examples and sessions run, in one directory for each page.

A page has the photos of `tests/support/made_photos.py` and an empty cache of its own; see `docs/develop/pages.md` for
what a page may hold.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from agreement import FLAGS, agrees, comparable
from made_photos import save_photos
from page_blocks import Block, Command, blocks_of, commands_of
from remembering import remember_features, remember_heads
from shell import Shell

from featurebank import doctor

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
WITH_BUCKET = {"cloud-images.md"}
PAGES = [path for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES] if blocks_of(path)]


TENSORFLOW = cache(doctor._tensorflow)
"""Whether TensorFlow runs in a process of its own, which takes seconds: once for all pages."""


@pytest.fixture
def directory(tmp_path: Path, made_photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a page. What a page exports ends with it."""
    for name in ("photos", "new_photos", "photos.csv"):
        copy(made_photos / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    remember_features(monkeypatch)
    remember_heads(monkeypatch)
    monkeypatch.setattr("featurebank.doctor._tensorflow", TENSORFLOW)
    before = dict(os.environ)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@contextlib.contextmanager
def bucket_of(directory: Path) -> Iterator[None]:
    """Lets a page use the bucket `lab`, which has the photos in `scans`, and their table."""
    pytest.importorskip("moto")
    import s3fs
    from buckets import Machine, server_with_bucket

    os.environ["FEATUREBANK_DOWNLOADS"] = str(directory / "downloads")
    with server_with_bucket("lab"), Machine(directory / "mirrors").used(shared_client=False):
        files = s3fs.S3FileSystem()
        files.put("photos", "lab/scans/photos", recursive=True)
        files.put("photos.csv", "lab/scans/table.csv")
        yield


def copy(source: Path, target: Path) -> None:
    """Copies a file or a folder."""
    if source.is_dir():
        target.mkdir()
        for one in source.iterdir():
            copy(one, target / one.name)
    else:
        target.write_bytes(source.read_bytes())


def wrong_examples(block: Block, names: dict[str, Any], page: str) -> list[str]:
    """Runs the examples of a block with the names of the page; returns what is not as the page shows it."""
    wrong: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    test = doctest.DocTestParser().get_doctest(block.text, names, page, page, block.line - 1)
    runner.run(test, out=wrong.append, clear_globs=False)
    names.update(test.globs)
    return ["".join(wrong)] if wrong else []


def wrong_output(command: Command, shell: Shell) -> str | None:
    """Runs a command of a session; returns how what it prints differs from what the page shows."""
    printed = shell.run(command.words)
    shown = command.printed
    if shell.code and "Error" not in shown:
        return f"exit code {shell.code}, and the page shows no error. It prints:\n{printed}"
    if not agrees(shown, printed):
        return doctest.OutputChecker().output_difference(doctest.Example(command.words, shown), printed, FLAGS)
    return None


def problems(page: Path) -> Iterator[str]:
    """Runs the blocks of a page in their order; yields what is not as the page shows it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shell, title = Shell(), page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    for block in blocks_of(page):
        if block.kind == "setup":
            exec(compile(block.text, f"{title}, setup of line {block.line}", "exec"), names)
        elif block.kind == "file":
            Path(block.name).parent.mkdir(parents=True, exist_ok=True)
            Path(block.name).write_text(block.text, encoding="utf-8")
            sys.modules.pop(Path(block.name).stem, None)  # that of another page with the same name
        elif block.kind == "python":
            yield from wrong_examples(block, names, title)
        else:
            for command in commands_of(block):
                if difference := wrong_output(command, shell):
                    yield f"{title}:{command.line}: $ {command.words}\n{difference}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_the_page_shows_is_what_happens(page: Path, directory: Path) -> None:
    with bucket_of(directory) if page.name in WITH_BUCKET else contextlib.nullcontext():
        if wrong := list(problems(page)):
            pytest.fail("\n\n".join(wrong), pytrace=False)


PAGE = """
A page that shows {0}.

<!-- setup
from pathlib import Path
Path("made.txt").write_text("made\\n")
-->

<!-- file: lists/grid.toml -->
```toml
kind = "ridge"
```

```console
$ export WORD='two words' && cd lists
$ cat grid.toml
kind = ...
$ echo "$WORD" \\
    and more > said.txt
$ cat said.txt | wc -w; ls
4
grid.toml
said.txt
$ featurebank leaderboard
Error: no bank in the cache ...
$ cd .. && cat made.txt
{0}
```

```python
>>> Path("lists/said.txt").read_text()
'two words and more...'
>>> len("{0}")
4

```
"""


def test_a_page_that_is_right_has_no_problem(directory: Path) -> None:
    (directory / "right.md").write_text(PAGE.format("made"))
    assert list(problems(directory / "right.md")) == []


def test_each_wrong_line_of_a_page_is_found_with_its_place(directory: Path) -> None:
    (directory / "wrong.md").write_text(PAGE.format("other").replace("two words and", "and"))
    printed, *examples = problems(directory / "wrong.md")
    assert printed.startswith("wrong.md:26: $ cd .. && cat made.txt")
    assert "Expected:\n    other\nGot:\n    made" in printed
    assert [part in examples[0] for part in ("two words and more", 'len("other")')] == [True, True]


def test_figures_of_time_and_digests_need_not_agree() -> None:
    shown, printed = "60 images in 1.3 s (45 images/s)", "60 images in 12 s (5.01 images/s)"
    assert comparable(shown) == comparable(printed) == "60 images in # s (# images/s)"
    board = "head   val acc   seconds\n ridge  0.93   at chance   {} \n\nselected: 0.93\n"
    assert comparable(board.format("0.52")) == comparable(board.format("12.10"))
    assert "ridge  0.93 " in comparable(board)
    assert comparable("bank: cache/photos-0ea98c-lite0 run 02bf05004b") == "bank: cache/photos-#-lite0 run #"


BOARD = """
 = 02bf05004b   mlp(dropout=0.25)   pooled    0.9048     0.711-0.973   fits
 file          label   probability   other classes
 new_1.jpg     rose          97.2%   tulip 2.8%
 1.0000  a.jpg  ~  b.jpg (cosine of pooled above 0.98)
a.jpg,,0.7407,rose,12
"""


def test_measured_figures_may_differ_as_those_of_another_processor() -> None:
    printed = BOARD
    figures = {"0.9048": "0.9524", "0.711-0.973": "0.731-0.992", "97.2%": "99.9%", "2.8%": "0.1%", "1.0000": "0.9998"}
    for shown, other in {**figures, "0.7407": "0.7399"}.items():
        printed = printed.replace(shown, other)
    assert agrees(BOARD, printed)
    assert agrees(BOARD.replace("rose          97.2%   tulip", "...%   ..."), printed)


@pytest.mark.parametrize(
    ("shown", "other"),
    [
        ("0.9048", "0.8500"),
        ("0.9048", "0.905"),
        ("97.2%", "91.9%"),
        ("0.25", "0.27"),
        ("above 0.98", "above 0.97"),
        ("fits", "over-fits"),
        ("rose,12", "rose,13"),
        ("tulip 2.8%", "daisy 2.8%"),
        ("pooled    ", "pooled    0.9048     "),
    ],
)
def test_whatever_is_no_measured_figure_must_be_the_same(shown: str, other: str) -> None:
    assert not agrees(BOARD, BOARD.replace(shown, other))


@pytest.mark.parametrize("typed", ["featurebank predict", "cat no_such_file", "false_program"])
def test_a_command_that_fails_is_a_problem_unless_the_page_shows_its_error(typed: str, directory: Path) -> None:
    (directory / "page.md").write_text(f"```console\n$ {typed}\n...\n```\n")
    (problem,) = problems(directory / "page.md")
    assert f"page.md:2: $ {typed}\nexit code" in problem


def test_the_photos_are_the_same_each_time_and_of_known_number(made_photos: Path, tmp_path: Path) -> None:
    save_photos(tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert len(files) == 3 * 40 + 4 + 1
    assert all((tmp_path / file).read_bytes() == (made_photos / file).read_bytes() for file in files)
