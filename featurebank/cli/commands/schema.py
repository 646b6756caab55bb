"""`featurebank schema`."""

from __future__ import annotations

from pathlib import Path

import click

from featurebank.cli.context import as_json
from featurebank.cli.terminal import echo, print_json


@click.command()
@click.argument("what", metavar="grid|pipeline", type=click.Choice(["grid", "pipeline"]))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.json",
    help="Write the schema to FILE.json.  [default: print it]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE.json if it exists.")
@as_json
def schema(what: str, output: Path | None, *, force: bool, as_json: bool) -> None:
    """Write the JSON Schema of grid or pipeline files, for editors.

    An editor that knows TOML then completes keys, shows what they mean and marks wrong ones. The file begins with the
    line "#:schema FILE.json", or the settings of the editor name the schema.
    """
    from featurebank.grid.schema import grid_schema
    from featurebank.pipeline.schema import pipeline_schema
    from featurebank.system.files import check_output, write_json

    if force and output is None:
        message = "--force replaces an existing file: name it with --output"
        raise click.UsageError(message)
    if output is not None:
        check_output(output, force=force, suffixes=(".json",))
    value = grid_schema() if what == "grid" else pipeline_schema()
    if output is not None:
        write_json(output, value)
    if output is None or as_json:
        print_json(value)
    else:
        echo(f"wrote {output}: begin a {what} file beside it with the line  #:schema ./{output.name}")
