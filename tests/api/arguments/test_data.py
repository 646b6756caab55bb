"""Arguments as people write them, and wrong ones."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import featurebank as fb

WRONG = {"an object": object(), "a complex number": 1j, "bytes": b"text", "a function": len}
FUNCTIONS = [name for name in fb.__all__ if inspect.isfunction(getattr(fb, name))]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_types_are_refused_by_the_names_of_their_parameters(function: str, wrong: str) -> None:
    """Each problem of a call has its own line, so that the arguments that are needed may be wrong, too."""
    call = getattr(fb, function)
    known = [one for one in inspect.signature(call).parameters.values() if one.kind is not one.VAR_KEYWORD]
    needed = [one.name for one in known if one.default is one.empty]
    for name in (one.name for one in known):
        with pytest.raises((fb.FeatureBankError, TypeError)) as caught:
            call(**dict.fromkeys([*needed, name], WRONG[wrong]))
        assert f"{name} is " in str(caught.value)


def test_an_image_size_may_be_a_pair() -> None:
    assert fb.load_backbone("resnet50", weights="random:0", image_size=(64, 64)).image_size == 64
    with pytest.raises(fb.FeatureBankError, match=r"image_size is \(64, 32\): expected twice the same"):
        fb.load_backbone("resnet50", weights="random:0", image_size=(64, 32))


def test_a_name_is_a_backbone_and_a_path_a_dataset(
    photos: Path, pixels: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)
    banks = [fb.extract(photos, "efficientnet_lite0", "pooled"), fb.extract(str(photos), "efficientnet_lite0")]
    assert {bank.path.resolve() for bank in banks} == {next((tmp_path / "cache").glob("*-lite0-*"))}
    assert fb.list_banks()[0].name == banks[0].name
    assert fb.find_bank().name == fb.open_bank(banks[0].name[:8]).name == fb.open_bank(banks[0]).name == banks[0].name
    assert np.array_equal(fb.find_bank("cache").labels(), banks[0].labels())
    start = banks[0].name[:8]
    (tmp_path / start).mkdir()  # as a folder of images with the name of its bank
    assert fb.open_bank(start).name == banks[0].name


def test_a_bank_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(fb.FeatureBankError, match="no bank at"):
        fb.open_bank(tmp_path / "nothing")
    with pytest.raises(fb.FeatureBankError, match="no bank in the cache"):
        fb.open_bank("flowers", cache=tmp_path)
