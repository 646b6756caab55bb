"""The page of heads: every kind, every parameter, what memory and time depend on."""

from __future__ import annotations

import re

import pytest

from docs.extensions.head_pages import growth, heads_text, streams
from featurebank.heads.catalog import HEADS, kind_of

TEXT = heads_text()


@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_has_a_section_with_its_parameters(kind: str) -> None:
    section = re.split(r"^## ", TEXT.partition(f"\n## {kind}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    shared = TEXT.partition("\n## Parameters of heads with epochs\n")[2]
    named = set(re.findall(r"^\| `(\w+)` \|", section + shared, re.MULTILINE))
    assert set(HEADS[kind].parameter_names) <= named
    assert f"[`{kind}`](#{kind})" in TEXT


def test_growth_is_measured() -> None:
    assert growth(kind_of("svm"), "time").startswith("4.0 times with twice the images")
    assert growth(kind_of("ridge"), "time").startswith("2.0 times with twice the images, 4.0 times with twice the feat")


def test_streaming_heads_say_so() -> None:
    assert streams(kind_of("ridge"))
    assert not streams(kind_of("svm"))
