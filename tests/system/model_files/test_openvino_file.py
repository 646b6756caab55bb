"""Model files of OpenVINO are checked before OpenVINO opens them, and their weights, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurebank.errors import ArchiveError
from featurebank.system.model_files.openvino_file import check_openvino

NET = '<?xml version="1.0"?><net name="a"><layers><layer id="0"><data offset="8" size="92"/></layer></layers></net>'


def write(place: Path, text: str, weights: int | None) -> Path:
    path = place / "net.xml"
    path.write_text(text)
    if weights is not None:
        path.with_suffix(".bin").write_bytes(bytes(weights))
    return path


def test_a_whole_model(tmp_path: Path) -> None:
    assert check_openvino(write(tmp_path, NET, 100)) == [tmp_path / "net.bin"]
    (tmp_path / "net.bin").unlink()
    assert check_openvino(write(tmp_path, "<net/>", None)) == []


@pytest.mark.parametrize(
    ("text", "weights", "reason"),
    [
        (NET, None, r"its weights 'net.bin' are missing: copy them beside it"),
        (NET, 99, r"have 99 bytes, expected 100: copy them again"),
        (NET[:-20], 100, "damaged or not a model of OpenVINO: unclosed token"),
        ("", 100, "damaged or not a model of OpenVINO"),
        ("<html/>", 100, "its root is 'html', expected 'net'"),
        (NET.replace('"8"', '"x"'), 100, "a place of weights that is not a number"),
        (NET.replace('"8"', '"-8"'), 100, "a place of weights that is not a number"),
        (NET.replace('"8"', '"18446744073709551600"'), 100, "have 100 bytes, expected 18,446,744,073,709,551,692"),
        ('<!DOCTYPE net [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><net>&b;</net>', 0, "declares a document type"),
        ("<net>" + "<a>" * 300 + "</a>" * 300 + "</net>", 0, "nested too deeply"),
    ],
)
def test_a_broken_model(text: str, weights: int | None, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=reason):
        check_openvino(write(tmp_path, text, weights))


def test_weights_that_are_a_folder(tmp_path: Path) -> None:
    (tmp_path / "net.bin").mkdir()
    with pytest.raises(ArchiveError, match="not a regular file"):
        check_openvino(write(tmp_path, NET, None))
