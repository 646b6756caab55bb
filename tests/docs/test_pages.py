"""The pages are true: the Python in them compiles, the files and names exist, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from manual import (
    CONTRIBUTING,
    README,
    ROOT,
    blocks,
    code_spans,
    each_page,
    prose,
    text_of,
)

import featurebank
from featurebank import make_head
from featurebank.grid.files import NOT_PARAMETERS, read_grid
from featurebank.pipeline.variants import variants_from_file

NOT_HERE = {"runs", ".", "photos", "new_photos"}
"""How paths begin that are no part of the source but the reader's."""


@each_page
def test_python_without_results_compiles(page: Path) -> None:
    for code in blocks(page, "python"):
        if ">>> " not in code:
            ast.parse(code)


@pytest.mark.heavy
@each_page
def test_what_python_without_results_imports_exists(page: Path) -> None:
    code = "\n".join(block for block in blocks(page, "python") if ">>> " not in block)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), {})


@each_page
def test_toml_of_the_pages_is_valid(page: Path, tmp_path: Path) -> None:
    """A block of heads is a grid, one with variants continues the pipeline above it."""
    pipeline, file = "", tmp_path / "shown.toml"
    for block in blocks(page, "toml"):
        file.write_text(block, encoding="utf-8")
        if "head" in tomllib.loads(block):
            for values in read_grid(str(file)):
                params = {name: value for name, value in values.items() if name not in NOT_PARAMETERS}
                assert make_head(values["kind"], params)
            continue
        pipeline = f"{pipeline}\n{block}" if "variant" in tomllib.loads(block) else block
        file.write_text(pipeline, encoding="utf-8")
        assert variants_from_file(file)


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = prose(page)
    targets = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)]
    for target in (one for one in targets if not one.startswith("http")):
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        assert leads_to.exists(), target
        assert leads_to.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(leads_to), target


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 150


@each_page
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """A path may be relative to the package, as in CONTRIBUTING.md; capitals stand for a name."""
    pattern = r"[a-z_\d/.*-]+/([a-z_\d*-]+\.(py|md|toml))?"
    for name in (span for span in code_spans(page) if re.fullmatch(pattern, span)):
        here = any(any(place.glob(name)) for place in (ROOT, ROOT / "featurebank"))
        assert here or name.split("/")[0] in NOT_HERE, name


@each_page
def test_every_public_name_exists(page: Path) -> None:
    names = set(re.findall(r"(?<![\w.])fb\.([A-Za-z_]\w*)", text_of(page)))
    assert {name for name in names if not hasattr(featurebank, name)} == set()


def test_the_page_about_reports_explains_each_section() -> None:
    """The title of each section, as the sources set it."""
    sources = "".join(map(text_of, (ROOT / "featurebank" / "reporting").rglob("*.py")))
    titles = set(re.findall(r'\bConclusion\(\s*"([^"]+)"', sources))
    assert len(titles) > 10
    assert titles <= set(re.findall(r"^\*\*([^*]+)\*\*", text_of(ROOT / "docs" / "guide" / "report.md"), re.MULTILINE))


def test_contributing_names_every_room_and_module_and_what_is_beside_them() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", text_of(CONTRIBUTING), re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    package = ROOT / "featurebank"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py")} - {"__main__.py"}
    beside = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert {*rooms, *modules} - named == set()
    if beside:  # an archive of the source has no list of its files
        assert {name.partition("/")[0] for name in beside if not name.startswith(".")} - named == set()
