"""Which files are looked at: images by suffix; no hidden files, none of systems; what is left out is counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, features

from featurebank import load_dataset
from featurebank.dataset.readers.walk import SUFFIXES, SYSTEM_FOLDERS, image_files
from featurebank.errors import DatasetError

WRITTEN = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP",
    "gif": "GIF", "tif": "TIFF", "tiff": "TIFF", "ppm": "PPM", "pgm": "PPM", "pbm": "PPM", "pnm": "PPM",
    "jp2": "JPEG2000", "j2k": "JPEG2000", "avif": "AVIF", "heic": "HEIF", "heif": "HEIF",
}  # fmt: skip


@pytest.mark.parametrize("folder", sorted(SYSTEM_FOLDERS))
def test_folders_of_systems_are_not_looked_at(tmp_path: Path, make: SimpleNamespace, folder: str) -> None:
    make.folder(tmp_path, each=2)
    make.save(tmp_path / folder / "x" / "1.png", 90)
    make.save(tmp_path / "ant" / folder.upper() / "0.png" / "thumb.png", 91)
    assert len(load_dataset(tmp_path).ids) == 6
    assert len(image_files(str(tmp_path))) == 6


def test_files_that_are_no_images_are_counted_by_suffix(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=20)
    for name in ("Thumbs.db", "desktop.ini", ".hidden.xyz", "1.xyz", "2.XYZ", "3.txt", "noend"):
        (tmp_path / "ant" / name).write_text("x")
    (tmp_path / "LICENSE.txt").write_text("beside the classes, in nobody's way")
    assert load_dataset(tmp_path).warnings() == ["4 files are not read: 2 .xyz, 1 without a suffix, 1 .txt"]


def test_photos_of_phones_need_an_extra(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.dataset.readers.walk.SUFFIXES", SUFFIXES - {"heic", "heif"})
    make.folder(tmp_path / "some", each=20)
    for name in ("1.HEIC", "2.heic"):
        (tmp_path / "some" / "bee" / name).write_text("x")
    line = "2 files are not read: 2 .heic (pip install 'featurebank[heic]' reads .heic)"
    assert load_dataset(tmp_path / "some").warnings() == [line]
    (tmp_path / "all" / "bee").mkdir(parents=True)
    (tmp_path / "all" / "bee" / "1.heic").write_text("x")
    with pytest.raises(DatasetError, match=r"no images in .*, found 1 \.heic \(pip install 'featurebank\[heic\]'"):
        load_dataset(tmp_path / "all")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    kind = WRITTEN[suffix]
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow is built without AVIF")
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    for name, colour in (("ant", (200, 40, 40)), ("bee", (40, 60, 200))):
        (tmp_path / name).mkdir()
        picture = Image.new("1" if suffix == "pbm" else "L" if suffix == "pgm" else "RGB", (32, 24), 0)
        picture.paste(255 if picture.mode == "1" else 120 if picture.mode == "L" else colour, (0, 0, 32, 12))
        picture.save(tmp_path / name / f"1.{suffix.upper()}", kind)
    found = load_dataset(tmp_path)
    assert found.unreadable == []
    image = found.image(0)
    assert image.shape == (24, 32, 3)
    expected = {"pbm": (255,) * 3, "pgm": (120,) * 3}.get(suffix, (200, 40, 40))
    np.testing.assert_allclose(image[3, 16], expected, atol=6)


def test_prediction_finds_what_extraction_finds(tmp_path: Path, make: SimpleNamespace) -> None:
    store = make.folder(tmp_path / "store", each=3)
    root = tmp_path / "links"
    root.mkdir()
    for name in ("ant", "bee", "cat"):
        (root / name).symlink_to(store / name)
    (root / "loop").symlink_to(root)
    make.save(root / "dog" / "@eaDir" / "1.png", 5)
    found = load_dataset(root)
    assert image_files(str(root)) == [f"{root}/{name}" for name in sorted(found.ids)]
    assert len(found.ids) == 9
