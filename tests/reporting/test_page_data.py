"""The data of a report's page: each picture once, and JSON that no name can end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from report_contents import HOSTILE, board_row, report_content

from featurebank.reporting.content import ImageMap, ReportPicture
from featurebank.reporting.page_data import PageData


def data_of(data: PageData) -> dict[str, Any]:
    text = str(data.json())
    assert "<" not in text
    assert "\u2028" not in text
    values: dict[str, Any] = json.loads(text)
    return values


def bank(*pictures: ReportPicture) -> dict[str, Any]:
    return {"id": "bank0", "pictures": pictures}


def test_a_picture_is_stored_once_and_shrunk() -> None:
    data = PageData()
    photo = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)
    of_bank = bank(ReportPicture("a.jpg", "ant", photo))
    first, again = data.picture(of_bank, 0), data.picture(of_bank, 0, heat=photo)
    assert first["key"] == again["key"] == "bank0.0"
    assert first["text"] == "a.jpg, ant"
    assert set(data_of(data)["pictures"]) == {"bank0.0", again["heat"]}
    assert len(data_of(data)["pictures"]["bank0.0"]) < 12_000


def test_a_picture_that_is_gone_has_its_reason() -> None:
    data = PageData()
    found = data.picture(bank(ReportPicture("a.jpg", "ant", None, "the file\nis gone")), 0)
    assert (found["key"], found["reason"]) == ("", "the file is gone")
    assert data_of(data)["pictures"] == {}


def test_the_points_of_a_map_find_their_pictures_whatever_they_are_called() -> None:
    data = PageData()
    pictures = [ReportPicture(name, "ant", np.zeros((8, 8, 3), np.uint8)) for name in HOSTILE]
    conclusion = report_content(rows=4, pictures=6).banks[0].sections[0].conclusion
    section = ImageMap(conclusion, [], {name: place for place, name in enumerate(HOSTILE)})
    assert data.pictures_of_map(section, bank(*pictures)) == 0
    assert data_of(data)["maps"][0] == [[name, f"bank0.{place}"] for place, name in enumerate(HOSTILE)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_values_of_curves_that_are_not_finite_are_missing(value: float | None) -> None:
    from dataclasses import replace

    data = PageData()
    row = replace(board_row(0, 10), curves={"loss": [0.123456789, value]}, epochs=[1, 2])
    assert data.run(row) == 0
    assert data_of(data)["runs"][0]["curves"] == {"loss": [0.1235, None]}
