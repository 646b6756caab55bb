"""The candidates of a race: their grammar, and all that is wrong with them at once."""

from __future__ import annotations

import pytest

import featurebank as fb
from featurebank.backbone import BackboneOptions
from featurebank.errors import ConfigError, UnknownNameError, raise_all
from featurebank.racing.candidates import load_candidates, parse_candidate

LITE = "efficientnet_lite0"


@pytest.mark.parametrize(
    ("text", "weights", "size"),
    [
        (LITE, None, 96), (f"{LITE}@random:3", "random:3", 96), (f"{LITE}@64px", None, 64),
        (f"{LITE}@64px@random:3", "random:3", 64), (f"{LITE}@my.weights.h5@64px", "my.weights.h5", 64),
    ],
)  # fmt: skip
def test_weights_and_size_follow_the_name(text: str, weights: str | None, size: int) -> None:
    name, options = parse_candidate(text, BackboneOptions(image_size=96, resize="pad"))
    assert (name, options.weights, options.image_size, options.resize) == (LITE, weights, size, "pad")


@pytest.mark.parametrize("text", ["a@1px@2px", "a@random:0@random:1", "a@", "@64px", "a@@64px"])
def test_unclear_candidates_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME, NAME@WEIGHTS"):
        parse_candidate(text, BackboneOptions())


def test_backbones_are_candidates_with_a_name_that_tells_them_apart() -> None:
    networks = [fb.load_backbone(LITE, weights=f"random:{seed}", image_size=64) for seed in (0, 1)]
    candidates, errors = load_candidates(networks, BackboneOptions())
    assert [one.name for one in candidates] == [f"{LITE}@random:0@64px", f"{LITE}@random:1@64px"]
    assert not errors


def test_all_problems_come_at_once() -> None:
    candidates, errors = load_candidates(["nope", f"{LITE}@random:0", f"{LITE}@random:0@224px"], BackboneOptions())
    assert [one.name for one in candidates] == [f"{LITE}@random:0"]
    with pytest.raises(ConfigError) as caught:
        raise_all(errors)
    assert len(str(caught.value).splitlines()) == 2
    assert "unknown backbone 'nope'" in str(caught.value)
    assert f"'{LITE}@random:0@224px' is the same network as '{LITE}@random:0'" in str(caught.value)


def test_one_candidate_is_no_race() -> None:
    with pytest.raises(ConfigError, match="only 'efficientnet_lite0@random:0' would race: expected at least two"):
        raise_all(load_candidates([f"{LITE}@random:0"], BackboneOptions())[1])
    with pytest.raises(UnknownNameError, match="nope"):
        raise_all(load_candidates(["nope", LITE], BackboneOptions(weights="random:0"))[1])
    raise_all([])
