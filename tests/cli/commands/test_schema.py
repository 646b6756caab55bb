"""`featurebank schema` prints a schema, or writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from featurebank.cli import group
from featurebank.errors import ConfigError
from featurebank.grid.schema import grid_schema
from featurebank.pipeline.schema import pipeline_schema


@pytest.mark.parametrize(("what", "schema"), [("grid", grid_schema()), ("pipeline", pipeline_schema())])
def test_it_is_printed_or_written(what: str, schema: object, tmp_path: Path) -> None:
    printed = CliRunner().invoke(group, ["schema", what])
    assert json.loads(printed.output) == schema
    file = tmp_path / "made.json"
    written = CliRunner().invoke(group, ["schema", what, "-o", str(file)])
    assert "#:schema ./made.json" in written.output
    assert json.loads(file.read_text(encoding="utf-8")) == schema


def test_force_without_a_file_is_refused() -> None:
    refused = CliRunner().invoke(group, ["schema", "grid", "--force"])
    assert refused.exit_code == 2
    assert "name it with --output" in refused.output


def test_a_file_is_replaced_only_on_demand(tmp_path: Path) -> None:
    file = tmp_path / "made.json"
    file.write_text("mine", encoding="utf-8")
    refused = CliRunner().invoke(group, ["schema", "grid", "-o", str(file)])
    assert isinstance(refused.exception, ConfigError)
    assert file.read_text(encoding="utf-8") == "mine"
    assert CliRunner().invoke(group, ["schema", "grid", "-o", str(file), "--force"]).exit_code == 0
    assert json.loads(file.read_text(encoding="utf-8"))["title"] == "featurebank grid"
