"""The committed table of backbones has every network, and what it says is computed now as well."""

from __future__ import annotations

import pytest

from docs.backbone_table import facts_of, read_table
from docs.extensions.backbone_pages import PUBLISHED, UNKNOWN, backbones_text, licence_of
from featurebank.backbone import known_backbones

SPECS = {spec.name: spec for spec in known_backbones()}
TABLE = read_table()


def test_figures_are_those_of_the_catalog() -> None:
    assert set(TABLE) == set(SPECS)
    for name, facts in TABLE.items():
        spec = SPECS[name]
        figures = (facts["parameters"], facts["image_size"], facts["features"])
        assert figures == (spec.parameters, spec.image_size, spec.channels)
        assert len(facts["cuts"]) >= 2


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["basenet", "squeezenet1_1"])
def test_a_network_is_computed_again(name: str) -> None:
    assert facts_of(SPECS[name]) == TABLE[name]


def test_every_backbone_is_on_the_page() -> None:
    text = backbones_text()
    for name in SPECS:
        assert text.count(f"| `{name}` |") == 2  # its size, and its licences


def test_no_licence_is_guessed() -> None:
    """A licence comes with the place where its publisher states it."""
    for spec in SPECS.values():
        _, weights, source, _ = licence_of(spec)
        assert bool(source) == (weights != UNKNOWN and not spec.name.startswith("basenet"))
    assert set(PUBLISHED) <= set(SPECS)
    for unstated in ("efficientnet_b0", "efficientnet_v2_b0", "mobilenet_v3_small", "squeezenet1_1"):
        assert unstated not in PUBLISHED
