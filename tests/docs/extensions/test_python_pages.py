"""The pages of the Python interface: what they contain, and how they are written."""

from __future__ import annotations

from pathlib import Path

import featurebank
from docs.extensions.python_pages import first_sentence, page_texts, write_pages


def test_every_public_name_has_a_page_and_is_in_a_table() -> None:
    texts = page_texts()
    everything = "\n".join(texts.values())
    for name in featurebank.__all__:
        assert f"featurebank.{name}\n" in everything
        assert f":doc:`fb.{name} <" in everything
    assert len({name.lower() for name in texts}) == len(texts)  # some disks do not tell Report from report


def test_scikit_learn_members_are_left_out() -> None:
    assert "set_params" not in page_texts()["class-FeatureBank.rst"]
    assert "transform" in page_texts()["class-FeatureBank.rst"]


def test_the_first_sentence_of_a_docstring() -> None:
    assert first_sentence(featurebank.list_datasets) == "Returns the built-in datasets and the kinds of datasets."


def test_only_changed_pages_are_written_and_old_ones_deleted(tmp_path: Path) -> None:
    texts = {"a.rst": "one", "b.rst": "two"}
    write_pages(tmp_path, texts)
    (tmp_path / "index.md").write_text("by hand", encoding="utf-8")
    (tmp_path / "old.rst").write_text("old", encoding="utf-8")
    before = (tmp_path / "a.rst").stat().st_mtime_ns
    write_pages(tmp_path, {**texts, "b.rst": "three"})
    assert (tmp_path / "a.rst").stat().st_mtime_ns == before
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        "a.rst": "one", "b.rst": "three", "index.md": "by hand",
    }  # fmt: skip
