"""Names in backticks become links where they have a page; attributes get their types."""

from __future__ import annotations

from typing import NamedTuple

import featurebank
from docs.extensions.docstrings import described_fields, documented_members, linked, with_attributes


class Place(NamedTuple):
    """A place.

    Args:
        row: from the top,
            beginning with 0.
        name: of the place.

    Raises:
        ValueError: never.
    """

    row: int
    name: str
    note: str = ""


def test_names_with_a_page_are_links_and_others_code() -> None:
    text = "See `load_dataset`, `featurebank.extract`, `Bank.labels` and `x + 1`; ``code`` stays."
    assert linked([text]) == [
        "See :py:obj:`load_dataset <featurebank.load_dataset>`, :py:obj:`featurebank.extract <featurebank.extract>`, "
        ":py:obj:`Bank.labels <featurebank.Bank.labels>` and ``x + 1``; ``code`` stays."
    ]


def test_a_class_calls_its_members_by_their_names_alone() -> None:
    assert linked(["in the order of `ids`"], featurebank.Bank) == [
        "in the order of :py:obj:`ids <featurebank.Bank.ids>`"
    ]
    assert linked(["in the order of `ids`"]) == ["in the order of ``ids``"]


def test_examples_are_not_changed() -> None:
    lines = ["Loads `Bank`.", "", "Example:", "    >>> f('`Bank`')"]
    assert linked(lines)[1:] == lines[1:]


def test_arguments_of_results_are_attributes_with_types() -> None:
    lines = with_attributes((Place.__doc__ or "").replace("\n    ", "\n").split("\n"), Place, {"row": "int"})
    assert lines[2:13] == [
        "", ".. py:attribute:: row", "   :type: int", "", "   from the top,", "   beginning with 0.",
        "", ".. py:attribute:: name", "", "   of the place.", "",
    ]  # fmt: skip
    assert "Raises:" in lines
    assert lines[lines.index("Raises:") - 1] == ""


def test_members_are_those_of_featurebank_that_the_class_does_not_describe() -> None:
    assert described_fields(Place) == {"row", "name"}
    assert {"fit", "transform"} <= set(documented_members(featurebank.FeatureBank))
    assert not {"get_params", "set_output", "get_metadata_routing"} & set(documented_members(featurebank.FeatureBank))
    assert {"plot_map", "sample_weights", "features"} <= set(documented_members(featurebank.Bank))
