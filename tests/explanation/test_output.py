"""Files of explanations: names are harmless whatever the images and classes are called, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurebank.backbone.resize import AUTO
from featurebank.errors import ConfigError
from featurebank.explanation.explanations import Explanation, Explanations
from featurebank.explanation.output import Output, safe_name
from featurebank.explanation.overlay import Frame

EVIL = "<script>alert(1)</script>\u202e\"'/../\U0001f600"


def explained(*names: str, class_name: str = "rose", skipped: tuple[tuple[str, str], ...] = ()) -> Explanations:
    picture, cells = np.full((20, 30, 3), 90, np.uint8), np.eye(7, dtype=np.float32)
    frame = Frame(30, 20, 14, AUTO)
    items = [
        Explanation(name, class_name, 0.931, class_name, "tulip", "cam", picture, cells, frame) for name in names
    ]  # fmt: skip
    return Explanations(items, run="0123456789", head="softmax on pooled", method="cam", skipped=skipped)


@given(st.text(max_size=300))
def test_any_text_becomes_a_harmless_part_of_a_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name.encode()) <= 80
    assert not set(name) & set('/\\:*?"<>|\0\n\u202e ')
    assert not name.startswith((".", "-"))
    assert ".." not in name
    assert "__" not in name  # it separates the image from the class


def test_one_picture_for_each_image(tmp_path: Path) -> None:
    """Those of one name stay apart, and the image stands beside its overlay."""
    files = explained("a/x.jpg", "b/x.jpg", class_name=EVIL).save(tmp_path / "out")
    assert [file.name for file in files] == [f"00{n}_x__script_alert_1_script_0.93.png" for n in (1, 2)]
    assert sorted((tmp_path / "out").iterdir()) == files
    pixels = np.asarray(Image.open(files[0]))
    assert pixels.shape == (20, 66, 3)
    assert np.array_equal(pixels[:, :30], explained("x")[0].picture)
    assert np.array_equal(pixels[:, 36:], explained("x")[0].overlay)


def test_names_of_images_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    files = explained("../../evil.png", "/etc/passwd", "..", "CON", EVIL, "\u202egpj.exe").save(tmp_path / "out")
    assert {file.parent for file in files} == {tmp_path / "out"}
    assert all(file.is_file() for file in files)


def test_a_page_shows_hostile_names_as_text(tmp_path: Path) -> None:
    pages = explained(f"{EVIL}.jpg", class_name=EVIL, skipped=((EVIL, "no image"),)).save(tmp_path / "page.html")
    text = pages[0].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("<img") == 2
    assert "1 image of 1 with a known label are classified wrongly" not in text
    assert "1 of 1 image with a known label is classified wrongly" in text
    assert "no image" in text


def test_existing_files_are_asked_about(tmp_path: Path) -> None:
    explanations = explained("x.jpg", "y.jpg")
    first, _ = explanations.save(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"001_x__rose_0.93.png' exists \(and 1 more\): .* --force"):
        Output.of(tmp_path / "out", ["x.jpg", "y.jpg"])
    explained("z.jpg").save(tmp_path / "out")  # another image, another file
    first.write_bytes(b"")
    explanations.save(tmp_path / "out", force=True)
    assert first.stat().st_size > 0
    explanations.save(tmp_path / "page.html")
    with pytest.raises(ConfigError, match=r"page.html' exists: .* --force"):
        explanations.save(tmp_path / "page.html")
    explanations.save(tmp_path / "page.html", force=True)


def test_the_picture_of_another_class_is_replaced(tmp_path: Path) -> None:
    old, _ = explained("x.jpg", "y.jpg").save(tmp_path / "out")
    wrong = old.rename(old.with_name("001_x__tulip_0.51.png"))
    gone = tmp_path / "out" / "002_z__tulip_0.51.png"
    gone.write_bytes(b"another image")
    new, *_ = explained("x.jpg", "y.jpg").save(tmp_path / "out", force=True)
    assert new == old
    assert not wrong.exists()
    assert gone.exists()


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.html").mkdir()
    for path, message in (
        ("gone/out", "there is no folder '.*gone'; create it"),
        ("gone/page.html", "there is no folder '.*gone'; create it"),
        ("file", "it is a file; expected a folder for PNG files, or a page that ends with .html"),
        ("folder.html", "it is a folder"),
        ("one.png", "each image has a PNG file of its own; expected a folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            Output.of(tmp_path / path, ["x.jpg"])


def test_images_that_cannot_be_read_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    output = Output.of(tmp_path / "out", ["a.jpg", "bad.jpg", "c.jpg"])
    files = output.write(explained("a.jpg", "c.jpg", skipped=(("bad.jpg", "no image"),)))
    assert [file.name[:5] for file in files] == ["001_a", "003_c"]


def test_a_notebook_shows_them() -> None:
    html = explained(f"{EVIL}.jpg", *"abcdefgh", class_name=EVIL)._repr_html_()
    assert html is not None
    assert "<script" not in html
    assert html.count("<img") == 8
    assert "and 1 more image" in html
