"""The files beside the code that sites and people read have the form that they expect."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import featurebank

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""The kinds of changes of Keep a Changelog, in its order."""


def headings(text: str, level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", text, re.MULTILINE)


def wrong_form(changelog: str) -> list[str]:
    """Returns what in a changelog is not as Keep a Changelog has it."""
    versions = headings(changelog, 2)
    wrong = [] if versions[:1] == ["[Unreleased]"] else ["the first version is not [Unreleased]"]
    released = []
    for title in versions[1:]:
        match = re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", title)
        if match is None:
            wrong.append(f"'{title}' is not [VERSION] - DATE")
        else:
            released.append((tuple(map(int, match.groups()[:3])), date.fromisoformat(match[4])))
    wrong += [f"{newer} stands above {older}" for newer, older in pairwise(released) if newer[0] <= older[0]]
    wrong += [f"{newer} is older than {older}" for newer, older in pairwise(released) if newer[1] < older[1]]
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        kinds = headings(section, 3)
        if kinds != [kind for kind in KINDS if kind in kinds]:
            wrong.append(f"{section.splitlines()[0]}: {', '.join(kinds)} are not kinds of changes in their order")
        for text in re.split(r"^### .+\n", section, flags=re.MULTILINE)[1:]:
            wrong += [
                f"'{line}' is no item" for line in text.splitlines() if line and not line.startswith(("- ", "  "))
            ]
    return wrong


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert headings(text, 1) == ["Changelog"]
    assert "https://keepachangelog.com" in text
    assert wrong_form(text) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("## [1.0.0] - 2026-01-01\n", "the first version"),
        ("## [Unreleased]\n## 1.0.0\n", "is not [VERSION] - DATE"),
        ("## [Unreleased]\n## [1.0.0] - 2026-01-01\n## [1.1.0] - 2025-01-01\n", "stands above"),
        ("## [Unreleased]\n## [1.1.0] - 2025-01-01\n## [1.0.0] - 2026-01-01\n", "is older than"),
        ("## [Unreleased]\n### Fixed\n### Added\n", "are not kinds"),
        ("## [Unreleased]\n### Added\n- One.\nText.\n", "is no item"),
    ],
)
def test_another_form_is_found(text: str, complaint: str) -> None:
    (found,) = wrong_form(text)
    assert complaint in found


def test_the_citation_is_complete() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "abstract", "keywords"} <= set(citation)
    assert all("name" in author or {"family-names", "given-names"} <= set(author) for author in citation["authors"])
    assert (citation["type"], citation["license"]) == ("software", "Apache-2.0")
    assert citation["version"] == featurebank.__version__
    assert f"version = {{{featurebank.__version__}}}" in (ROOT / "docs" / "how-to" / "cite.md").read_text()


ELEMENTS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_valid(path: Path) -> None:
    form: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert (
        {"name", "description", "body"} <= set(form) <= {"name", "description", "title", "labels", "assignees", "body"}
    )
    asked = [element for element in form["body"] if element["type"] != "markdown"]
    assert asked
    assert {element["type"] for element in form["body"]} <= ELEMENTS
    ids = [element["id"] for element in asked]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in ids)
    assert all(element["attributes"]["label"] for element in asked)


def test_there_is_a_form_for_each_purpose() -> None:
    assert {path.stem for path in FORMS} == {"bug", "config", "proposal", "question"}
    assert "featurebank doctor" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
