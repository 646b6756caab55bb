"""Where the images of a bank are: a stranger's bank decides neither which machines are asked nor what is shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.errors import LostImageError
from featurebank.extraction.source_images import image_paths, is_present, picture_sources

FAR = (
    "hf:stranger/data", "tfds:data", "https://host/data.csv", "manifest:https://host/data.csv", "npz://host/data.npz",
    "manifest:\\\\host\\data.csv", "npz:/\\host\\data.npz", "lists:a.txt,//host/b.txt", "folder:\\\\host\\photos",
)  # fmt: skip


def bank_of(spec: str, name: str, subset: dict[str, Any] | None = None) -> Bank:
    """What `picture_sources` reads of a bank of one image, as a stranger may have written it."""
    dataset = {"spec": spec, "subset": subset or {}, "fractions": [0.7, 0.3, 0.0], "seed": 0}
    bank = SimpleNamespace(
        name="bank", manifest=SimpleNamespace(dataset=dataset), digests=lambda: np.array([b"0" * 32], "S32"),
        ids_at=lambda positions: [name for _ in positions], ids=lambda: [name], classes=("a",),
    )  # fmt: skip
    return cast("Bank", bank)


@pytest.fixture
def no_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dataset is loaded."""

    def fail(*_: object) -> None:
        pytest.fail("the dataset is loaded")

    monkeypatch.setattr("featurebank.extraction.source_images.load_images", fail)


@pytest.mark.parametrize("spec", FAR)
@pytest.mark.parametrize("name", ["1.jpg", "/missing/1.jpg", "\\\\host\\1.jpg", "https://host/1.jpg"])
def test_no_other_machine_is_asked(spec: str, name: str, no_dataset: None) -> None:
    for bank in (bank_of(spec, name), bank_of("digits", name, {"test": spec})):
        image_paths(bank, [name])
        (source,) = picture_sources(bank, [0])
        assert isinstance(source, str) or not name.startswith("https:")


def test_only_the_image_of_the_bank_is_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "photos").mkdir()
    (source,) = picture_sources(bank_of(f"folder:{tmp_path}/photos", "../secret.png"), [0])
    assert not isinstance(source, str)
    with pytest.raises(LostImageError, match="changed"):
        source(10)


def test_what_is_present(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    assert [is_present(path) for path in (str(tmp_path / "1.png"), f"/{tmp_path / '1.png'}", "\0", None)] == [
        True, False, False, False,
    ]  # fmt: skip
